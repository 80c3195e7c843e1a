"""A trained model of one microphone: front end, detector, calibration and what healthy sound looks like."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from detectors.aggregate import context_windows
from detectors.base import Detector, Evidence, needs_waveform
from detectors.calibrate import Calibration, calibrate
from detectors.exposure import ExposedFusion
from detectors.exposure_mix import Doses, FaultSound, expose
from detectors.frontend import FrontEnd, mel_edges
from detectors.fusion import part
from detectors.healthy import Healthy
from detectors.kinematics import Kinematics
from detectors.library import Library, hear_lines
from detectors.lineup import DEFAULT, detector_named, new_detector
from detectors.paths import PathModel, Paths, PathScored
from detectors.recordings import Clip, choose_contexts, hear
from detectors.surroundings import kinds_of

__all__ = ["NEEDS_FINE", "Clip", "Model", "Scored", "fit_model"]
NEEDS_FINE = "needs_fine"  # in the state of a separation that needs `Evidence.fine`


class Scored(NamedTuple):
    """What a model says of contexts [batch]; higher is more abnormal.

    statistic is uncalibrated, score = -log10 p, extrapolated says that p is beyond what healthy recordings can
    count; band_hz [batch, 2] and band_db [batch]: where the sound departs most from healthy; profile_db [batch, part]:
    by how much it does from the lowest bands to the highest.
    """

    statistic: Tensor
    score: Tensor
    extrapolated: Tensor
    band_hz: Tensor
    band_db: Tensor
    profile_db: Tensor


@dataclass(frozen=True)
class Model:
    """Scores contexts of `context_windows` windows of `window_s` at `front_end.rate`. Frozen once fitted."""

    front_end: FrontEnd
    window_s: float
    context_windows: int
    detector: Detector
    calibration: Calibration
    healthy: Healthy
    notes: tuple[str, ...] = ()
    library: Library | None = None  # models of card version 1 have none
    kinematics: Kinematics = field(default_factory=Kinematics)
    paths: PathModel | None = None  # where a separator was adapted to the site

    @property
    def rate(self) -> int:
        """The sampling rate in Hz that it was trained at."""
        return self.front_end.rate

    @property
    def context_s(self) -> float:
        """How long a context sounds."""
        return self.context_windows * self.window_s

    @property
    def detector_name(self) -> str:
        """Which detector it is."""
        return self.detector.name

    @property
    def needs_waveform(self) -> bool:
        """Whether its windows must be heard with `waveform=True`."""
        return needs_waveform(self.detector)

    @property
    def effective_n(self) -> int:
        """How many healthy recordings its calibration counts."""
        return self.calibration.recordings

    @cached_property
    def band_edges_hz(self) -> Tensor:
        """The borders between mel bands [mel + 1] in Hz: half-way between their peaks."""
        corners = mel_edges(self.front_end)
        middle = (corners[1:-2] + corners[2:-1]) / 2
        return torch.cat([corners[:1], middle, corners[-1:]])

    @cached_property
    def id(self) -> str:
        """A short hash of everything that decides a score, 12 hex digits."""
        digest = hashlib.sha256(
            repr((self.front_end, self.window_s, self.context_windows, self.detector.name)).encode()
        )
        for key, tensor in sorted(self.state().items()):
            digest.update(f"{key}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    @torch.inference_mode()
    def score(self, evidence: Evidence) -> Scored:
        """Score contexts [batch]; each row for itself."""
        statistic = self.detector.score(evidence)
        score, extrapolated = self.calibration(statistic)
        band_hz, band_db = self.healthy.band(evidence, self.band_edges_hz)
        return Scored(statistic, score, extrapolated, band_hz, band_db, self.healthy.profile(evidence))

    def score_paths(self, paths: Paths) -> PathScored:
        """Score the paths of contexts [batch] as one. Raises ValueError for a model without a separator."""
        if self.paths is None:
            raise ValueError("this model has no separator: train it with clean or background recordings")
        return self.paths.score(paths)

    @torch.inference_mode()
    def heat(self, evidence: Evidence) -> Tensor:
        """The residual map [mel, frame] of the first context: how many healthy spreads every band departs."""
        return self.healthy.heat(evidence.rows([0]))[0]

    def state(self) -> Mapping[str, Tensor]:
        """All tensors, for safetensors."""
        parts = {
            "detector": self.detector.state(),
            "calibration": self.calibration.state(),
            "healthy": self.healthy.state(),
            "library": self.library.state() if self.library else {},
            "paths": self.paths.state() if self.paths else {},
        }
        return {f"{name}.{key}": value for name, state in parts.items() for key, value in state.items()}

    @classmethod
    def restore(
        cls,
        state: Mapping[str, Tensor],
        front_end: FrontEnd,
        window_s: float,
        context: int,
        detector: str,
        recordings: Sequence[str] = (),
        kinematics: Mapping[str, float] | None = None,
    ) -> Model:
        """From its state and settings; raises ValueError where they do not fit together.

        `recordings` names what the library points to; a state without one is an older model's.
        """
        library, paths = part(state, "library"), part(state, "paths")
        separator = part(paths, "separator")
        return cls(
            front_end=replace(front_end, fine=NEEDS_FINE in separator),
            window_s=window_s,
            context_windows=context,
            detector=detector_named(detector).restore(part(state, "detector")),
            calibration=Calibration.restore(part(state, "calibration")),
            healthy=Healthy.restore(part(state, "healthy"), front_end.mels),
            library=Library.restore(library, front_end.mels, recordings) if library else None,
            kinematics=Kinematics.of(kinematics or {}),
            paths=PathModel.restore(paths, detector) if paths else None,
        )


class Separation(Protocol):
    """What makes paths of contexts, and its tensors."""

    @property
    def needs_fine(self) -> bool:
        """Whether it needs `Evidence.fine`."""

    def __call__(self, evidence: Evidence) -> Paths:
        """The paths of contexts [batch]."""

    def learned(self, healthy: Evidence) -> Separation:
        """The same, knowing how these healthy contexts usually sound."""

    def state(self) -> Mapping[str, Tensor]:
        """All that it needs, for safetensors."""


@torch.inference_mode()
def fit_model(
    clips: Sequence[Clip],
    *,
    rate: int = 16_000,
    window_s: float = 2.0,
    detector: str | None = None,
    grouped: bool = False,
    seed: int = 0,
    kinematics: Kinematics | None = None,
    separation: Separation | None = None,
    faults: Sequence[FaultSound] = (),
) -> Model:
    """Learn from healthy recordings and calibrate out of fold, recordings never split.

    grouped says that the clips' recordings are the true groups; else recordings of over two minutes are cut into blocks
    of 60 s that count as recordings. At most 1,000 contexts are learned from, drawn with `seed`. With a
    `separation` the model has the worst of its paths besides, with a calibration of its own. `faults` are mixed into
    the healthy contexts for a detector that can hear them (`lineup.EXPOSED`), on the raw path. Raises ValueError, with
    the remedy, for fewer than three recordings (or blocks), for clips that are not sound, and for faults without such a
    detector.
    """
    front_end = replace(FrontEnd.at(rate), fine=separation is not None and separation.needs_fine)
    size = round(window_s * rate)
    fresh = new_detector(detector or DEFAULT, kinematics)
    wanted = context_windows(fresh.context_s, window_s)
    chosen = choose_contexts(clips, size, rate, wanted, grouped=grouped, seed=seed)
    if chosen.recordings < 3:
        raise ValueError(
            f"{chosen.recordings} healthy recordings, at least 3 are needed: add recordings, or one of 3 min"
        )
    evidence, groups = hear(clips, chosen, front_end, size, waveform=needs_waveform(fresh))
    if faults:
        if not isinstance(fresh, ExposedFusion):
            raise ValueError(f"detector {fresh.name} cannot hear faults in training, allowed is {fresh.name}+faults")
        fresh.expose(expose(clips, chosen, faults, front_end, size, Doses(seed=seed)), seed)
    statistic = fresh.cross_fit(evidence, groups)
    return Model(
        front_end=front_end,
        window_s=window_s,
        context_windows=chosen.context,
        detector=fresh,
        calibration=calibrate(statistic, groups, kinds_of(evidence)),
        healthy=Healthy.of(evidence),
        notes=(*chosen.notes, *getattr(fresh, "notes", ())),
        library=Library.of(
            evidence,
            [span.clip for span in chosen.spans],
            [span.first * window_s for span in chosen.spans],
            [clip.file or clip.recording for clip in clips],
            hear_lines([clips[one.clip].samples[one.first * size : one.last * size] for one in chosen.spans], rate),
        ),
        kinematics=kinematics or Kinematics(),
        paths=_paths(fresh.name, evidence, groups, separation, kinematics),
    )


def _paths(
    name: str, healthy: Evidence, groups: Tensor, separation: Separation | None, kinematics: Kinematics | None
) -> PathModel | None:
    if separation is None:
        return None
    separation = separation.learned(healthy)
    return PathModel.fit(name, separation(healthy), groups, separation.state(), kinematics)
