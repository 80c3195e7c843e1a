"""The chains of an evaluation: detectors that hear the separated path, or the worst of all paths, instead of raw sound.

They are wrapped as detectors, so that everything else (folds, aggregation, calibration, intervals) is the same on the
same files. The separator of a machine is adapted on its training rows alone: `clean`, `background`, healthy mixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from detectors.base import Detector, Evidence, needs_waveform
from detectors.paths import Worst, behind_separator
from monitor.errors import WorkFailed
from monitor.manifest import Manifest
from monitor.site_sound import SiteRecordings, adapted_stage, enhanced_stage
from monitor.stages import RATE, MaskStage, Stage
from streams.soundfiles import read_clip

SINGLE = ("raw", "separated", "enhanced", "full", "full-enhanced")
CHAINS = (*SINGLE, "all")
HEALTHY = 64  # healthy mixtures that stand in for clean recordings at most


def check_chain(chain: str) -> None:
    """Raise WorkFailed for a chain that is not there."""
    if chain not in CHAINS:
        raise WorkFailed(f"--chain is {chain!r}, allowed is {', '.join(CHAINS)}")


def chains_of(chain: str) -> tuple[str, ...]:
    """What is evaluated: one chain, or with `all` each."""
    return SINGLE if chain == "all" else (chain,)


def is_enhanced(one: str) -> bool:
    """Whether Ex-Diff is part of that chain."""
    return one.endswith("enhanced")


def named(name: str, one: str, chain: str) -> str:
    """The result's name: NAME+separated where several chains stand side by side."""
    return name if chain != "all" or one == "raw" else f"{name}+{one}"


class Remembering:
    """A stage that keeps what it made of the last few batches: every detector hears the same ones."""

    def __init__(self, stage: Stage) -> None:
        self.name, self.needs_fine = stage.name, stage.needs_fine
        self._stage = stage
        self._made: dict[int, tuple[Evidence, Mapping[str, Evidence]]] = {}
        self._taught: tuple[Evidence, Remembering] | None = None

    def __call__(self, evidence: Evidence) -> Mapping[str, Evidence]:
        """The paths of `evidence`; the same object gives the same paths."""
        known = self._made.get(id(evidence))
        if known is None or known[0] is not evidence:
            known = self._made[id(evidence)] = (evidence, self._stage(evidence))
        return known[1]

    def learned(self, healthy: Evidence) -> Remembering:
        """The stage that has learned these healthy contexts; the same for the same object."""
        if self._taught is None or self._taught[0] is not healthy:
            self._taught = healthy, Remembering(self._stage.learned(healthy))
        return self._taught[1]


class Separately:
    """A detector that hears the processed path, called separated whatever the stage."""

    def __init__(self, detector: Detector, stage: Stage) -> None:
        self.name, self.context_s = detector.name, detector.context_s
        self.needs_waveform = needs_waveform(detector)
        self._detector, self._stage = detector, stage

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """As the detector does, after the stage has learned."""
        self._stage = self._stage.learned(healthy)
        self._detector.fit(self._stage(healthy)["separated"], groups)
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """As the detector does, after the stage has learned."""
        self._stage = self._stage.learned(healthy)
        return self._detector.cross_fit(self._stage(healthy)["separated"], groups)

    def score(self, evidence: Evidence) -> Tensor:
        """As the detector does."""
        return self._detector.score(self._stage(evidence)["separated"])

    def state(self) -> Mapping[str, Tensor]:
        """The detector's."""
        return self._detector.state()

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """Never: an evaluation stores nothing."""
        raise NotImplementedError(f"{len(state)} tensors: an evaluation's detectors are not stored")


class WorstPath(Separately):
    """The worst of the paths: what `run` computes with the stages raw and separated, or with Ex-Diff besides."""

    _worst: Worst

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Fit a detector for each path."""
        self.cross_fit(healthy, groups)
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold statistic [batch]."""
        groups = torch.arange(len(healthy)) if groups is None else groups
        self._stage = self._stage.learned(healthy)
        self._worst, statistic = Worst.fit(self.name, self._stage(healthy), groups)
        return statistic

    def score(self, evidence: Evidence) -> Tensor:
        """The worst of the paths [batch]."""
        return self._worst.score(self._stage(evidence))[0]


def through(detector: Detector, one: str, stage: Stage | None) -> Detector:
    """The detector behind that chain; a stage is needed for all but raw."""
    if one == "raw" or stage is None:
        return detector
    return (
        Separately(behind_separator(detector), stage)
        if one in ("separated", "enhanced")
        else WorstPath(detector, stage)
    )


Adapt = Callable[..., tuple[MaskStage, tuple[str, ...]]]


def site_stage(
    manifest: Manifest, machine: str, seed: int, minutes: float, adapt: Adapt = adapted_stage
) -> tuple[Stage, tuple[str, ...]]:
    """The machine's separator, from its training rows alone, and notes on it."""
    stage, notes = adapt(site_recordings(manifest, machine), minutes=minutes, seed=seed)
    return Remembering(stage), notes


def site_stages(
    manifest: Manifest, machine: str, seed: int, minutes: float, chains: Sequence[str]
) -> tuple[Mapping[str, Stage], tuple[str, ...]]:
    """The stage of each of the chains that has one, and notes: one separator, adapted once.

    Where Ex-Diff is asked for it has half of the minutes, and goes on from that separator.
    """
    wanted = [one for one in chains if one != "raw"]
    if not wanted:
        return {}, ()
    enhanced = any(is_enhanced(one) for one in wanted)
    recordings = site_recordings(manifest, machine)
    each = minutes / 2 if enhanced else minutes
    mask, notes = adapted_stage(recordings, minutes=each, seed=seed)
    plain = Remembering(mask)
    better = plain
    if enhanced:
        stage, more = enhanced_stage(mask, recordings, minutes=each, seed=seed)
        better, notes = Remembering(stage), (*notes, *more)
    return {one: better if is_enhanced(one) else plain for one in wanted}, notes


def site_recordings(manifest: Manifest, machine: str) -> SiteRecordings:
    """What a machine's training rows teach a separator."""

    def clips(label: str, most: int = 0) -> tuple[Tensor, ...]:
        rows = [row for row in manifest.rows if row.machine == machine and row.label == label and row.split == "train"]
        step = max(1, -(-len(rows) // most)) if most else 1
        return tuple(torch.from_numpy(read_clip(row.file, rate=RATE)) for row in rows[::step])

    clean = clips("clean")
    return SiteRecordings(clean, clips("background"), () if clean else clips("normal", HEALTHY))


def chain_notes(chains: Sequence[str]) -> list[str]:
    """What a reader of the report should know of the chains."""
    if set(chains) <= {"raw"}:
        return []
    notes = [
        "chain separated: mel bands masked, weighted by the squared mask, as usual where nothing is believed",
        "chain full: raw and separated sound by the machine's share of raw sound; Ex-Diff is no part of it",
    ]
    if any(is_enhanced(one) for one in chains):
        notes.append("chain enhanced, full-enhanced: Ex-Diff's mask, weighted by how much of the machine it knows")
    return notes
