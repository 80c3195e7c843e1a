"""The tap test (打音検査): a part's modes against those of healthy parts, as a calibrated score.

Recordings of one part belong together; the calibration is conformal, out of fold by part, like that of every
detector here (`calibrate`): n healthy parts cannot count below 1 / (n + 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detectors.calibrate import Calibration, calibrate
from detectors.statistics import require
from detectors.tap_reference import Departure, Reference, learn
from sds_engine.dsp.modal import Modes, find_modes
from sds_engine.dsp.strikes import find_strikes

LEAST_PARTS = 5
ODD_P = 0.05  # a part is called odd at this p-value, or at the smallest that fewer than 19 healthy parts can count
FOLDS = 10
MOST_STRIKES = 8
_KEYS = ("centre", "spread", "common", "level", "sure", "present", "others")


class Heard(NamedTuple):
    """What a recording of taps holds: its modes, how many strikes they come from, and why others were left out."""

    modes: Modes | None
    strikes: int
    dropped: tuple[str, ...]


class TapScore(NamedTuple):
    """score = -log10 p, whether it is beyond what the healthy parts can count, and what departs most."""

    score: float
    extrapolated: bool
    departure: Departure


def hear_taps(samples: NDArray[np.floating], rate: int) -> Heard:
    """The modes of one part from a recording [time] of one or more strikes; None where no strike can be used."""
    strikes = find_strikes(np.asarray(samples, dtype=np.float64), rate)
    if not strikes.ringing:
        return Heard(None, 0, strikes.dropped)
    ringing = sorted(strikes.ringing, key=len, reverse=True)[:MOST_STRIKES]
    least = max(0.6 * len(ringing[0]), 0.05 * rate)  # one short ring must not shorten all
    ringing = [ring for ring in ringing if len(ring) >= least]
    return Heard(find_modes(ringing, rate), len(ringing), strikes.dropped)


@dataclass(frozen=True)
class TapModel:
    """Scores parts whose modes were found in recordings at `rate` Hz."""

    rate: int
    reference: Reference
    calibration: Calibration

    @property
    def effective_n(self) -> int:
        """How many healthy parts the calibration counts."""
        return self.calibration.recordings

    @property
    def threshold(self) -> float:
        """The score at and above which a part is called odd."""
        return -math.log10(max(ODD_P, self.calibration.floor)) - 1e-9

    def score(self, modes: Modes) -> TapScore:
        """How odd a part with these modes is; higher is worse."""
        departure = self.reference.compare(modes)
        scored = self.calibration(torch.tensor([departure.statistic], dtype=torch.float64))
        return TapScore(float(scored.score[0]), bool(scored.extrapolated[0]), departure)

    def state(self) -> Mapping[str, Tensor]:
        """All that it knows, as tensors."""
        reference = {f"reference.{key}": torch.from_numpy(getattr(self.reference, key).copy()) for key in _KEYS}
        numbers = torch.tensor([float(self.rate), float(self.reference.parts)], dtype=torch.float64)
        calibration = {f"calibration.{key}": value for key, value in self.calibration.state().items()}
        return {"numbers": numbers, **reference, **calibration}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> TapModel:
        """From its state; raises ValueError where that does not fit together."""
        require(state, numbers=(2,), **{"reference.centre": (2, None)})
        modes = state["reference.centre"].shape[1]
        shapes: dict[str, tuple[int | None, ...]] = {
            "spread": (2, modes),
            "common": (2,),
            "level": (modes,),
            "sure": (2, modes),
        }
        shapes |= {"present": (modes,), "others": (None,)}
        require(state, **{f"reference.{key}": shape for key, shape in shapes.items()})
        rate, parts = (int(number) for number in state["numbers"].tolist())
        spreads = (state["reference.spread"], state["reference.common"])
        if rate < 1 or parts < 1 or any(bool((spread <= 0).any()) for spread in spreads):
            raise ValueError("tensors numbers, reference.spread and reference.common must be above 0")
        prefix = "calibration."
        calibration = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        reference = Reference(**{key: state[f"reference.{key}"].numpy() for key in _KEYS}, parts=parts)
        return cls(rate, reference, Calibration.restore(calibration))


def fit_taps(recordings: Sequence[Modes], parts: Sequence[str], rate: int) -> TapModel:
    """Learn from recordings of healthy parts; recordings with the same name in `parts` are of one part.

    Raises ValueError for fewer than five parts, and where they share no mode.
    """
    names = list(dict.fromkeys(parts))
    if len(names) < LEAST_PARTS:
        raise ValueError(f"{len(names)} healthy parts, at least {LEAST_PARTS} are needed: tap more parts")
    group = np.array([names.index(name) for name in parts])
    statistic = np.empty(len(recordings))
    for fold in range(min(FOLDS, len(names))):
        held = group % min(FOLDS, len(names)) == fold
        reference = learn([one for one, out in zip(recordings, held, strict=True) if not out])
        for number in np.flatnonzero(held).tolist():
            statistic[number] = reference.compare(recordings[number]).statistic
    calibration = calibrate(torch.from_numpy(statistic), torch.from_numpy(group))
    return TapModel(rate, learn(recordings), calibration)
