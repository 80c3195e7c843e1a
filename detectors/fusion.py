"""The default: every recipe of the line-up, each in units of its own healthy scatter, averaged.

On one machine the nearest neighbour wins, on another the Mahalanobis distance, and healthy sound alone cannot tell
which it will be. So nothing is chosen: whatever looks at the sound in its own way is a member once
(a Gaussian of statistics and their nearest neighbour, the nearest neighbour of the noise floor, both of levels in quiet
moments, a mixture of frames, features with names, and what a network learns from the machine's own sound). One thing
healthy sound does tell: which members' out-of-fold scores follow the surroundings (`surroundings`). They hear the hall
and not the machine, and weigh less: by the square of the share of their scatter that the kind of surroundings leaves
unexplained.

Every member speaks in robust z-scores of its out-of-fold healthy statistics: one that faults move by many healthy
spreads carries the mean, one that they do not move adds little. The spread is that of the upper half: what healthy
sound does on the side where faults lie. Beyond a few spreads a z-score counts by its logarithm (asinh): a likelihood
grows with the square of a distance, and would otherwise outvote all others.

Beside the members stand sentinels. They attend to what members average away (a click), and on most sound say nothing
but noise, which would blur the mean. So a sentinel is silent up to SILENT healthy spreads, and what it has beyond
them is added. Nine cost nothing on development evidence (`tests/benchmarks/bench_choice.py`).

`QuickFusion` is the same without the network: it fits in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Detector, Evidence
from detectors.frame_gmm import FrameGmm
from detectors.impulses import Impulses
from detectors.kinematics import Kinematics
from detectors.mahalanobis import Mahalanobis, QuietMahalanobis
from detectors.neighbours import FloorNeighbours, Neighbours, QuietNeighbours
from detectors.physical import Physical
from detectors.selfsupervised import SelfSupervised
from detectors.statistics import require, upper_spread
from detectors.surroundings import kinds_of, share_within

Part = (
    type[Mahalanobis]
    | type[Neighbours]
    | type[FloorNeighbours]
    | type[QuietMahalanobis]
    | type[QuietNeighbours]
    | type[FrameGmm]
    | type[Physical]
    | type[SelfSupervised]
    | type[Impulses]
)
QUICK_MEMBERS: tuple[Part, ...] = (
    Mahalanobis,
    Neighbours,
    FloorNeighbours,
    QuietMahalanobis,
    QuietNeighbours,
    FrameGmm,
    Physical,
)
MEMBERS: tuple[Part, ...] = (*QUICK_MEMBERS, SelfSupervised)
LATE: tuple[Part, ...] = (QuietMahalanobis, QuietNeighbours)  # stored models of before do without them
SENTINELS: tuple[Part, ...] = (Impulses,)
SILENT = 9.0  # healthy spreads that a sentinel keeps to itself


class Fusion:
    """Weighted mean of the members' robust z-scores, tamed, and what sentinels find very odd."""

    name = "fusion"
    members: tuple[Part, ...] = MEMBERS  # of a restored model: those that it was stored with
    context_s = CONTEXT_S
    needs_waveform = True

    def __init__(self, kinematics: Kinematics | None = None) -> None:
        self._kinematics = kinematics
        self._parts: tuple[Detector, ...] = ()  # members, then sentinels
        self._centre = torch.empty(0, dtype=torch.float64)  # [part]
        self._spread = torch.empty(0, dtype=torch.float64)  # [part]
        self._weight = torch.empty(0, dtype=torch.float64)  # [member], their sum is 1

    def behind_separator(self) -> Self:
        """The same, not fitted yet, for separated sound: without the members that listen to quiet moments.

        Where background pauses raw sound shows the machine alone; behind a mask a quiet moment shows what the mask
        left. On eight worlds without a test recording both cost .008 there, and bring .033 on raw sound
        (docs/separation.md).
        """
        self.members = tuple(kind for kind in self.members if kind not in LATE)
        return self

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Fit the members and their healthy scatter. Raises ValueError for fewer than three recordings."""
        self.cross_fit(healthy, groups)
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold statistic [batch] of every healthy context.

        One round of folds serves both: centre and spread are medians over all healthy contexts alike, so that
        no context is treated otherwise than its calibration mates.
        """
        self._parts = self.new_parts()
        statistics = torch.stack([part.cross_fit(healthy, groups) for part in self._parts])
        return self.settle(statistics, kinds_of(healthy))

    def new_parts(self) -> tuple[Detector, ...]:
        """Members, then sentinels, none of them fitted."""
        kinds = (*self.members, *SENTINELS)
        return tuple(kind(self._kinematics) if kind is Physical else kind() for kind in kinds)

    def settle(self, statistics: Tensor, kinds: Tensor) -> Tensor:
        """Take scale and weights from the parts' out-of-fold statistics [part, batch]; they joined [batch].

        kinds [batch] numbers the surroundings of every healthy context (`kinds_of`). Whoever has fitted the parts
        already, for rows of their own, need not do so again.
        """
        self._centre, self._spread = robust_scale(statistics)
        z = (statistics - self._centre[:, None]) / self._spread[:, None]
        self._weight = member_weights(z[: len(self.members)], kinds)
        return self.join(statistics)

    def score(self, evidence: Evidence) -> Tensor:
        """Weighted mean over the members [batch] of their tamed z-scores, and the sentinels' excess."""
        seen: dict[str, Tensor] = {}  # what two members look at is worked out once

        def said(part: Detector) -> Tensor:
            if not isinstance(part, Mahalanobis | Neighbours):
                return part.score(evidence)
            if part.sees not in seen:
                seen[part.sees] = part.statistic(evidence)
            return part.judge(seen[part.sees])

        return self.join(torch.stack([said(part) for part in self._parts]))

    def join(self, statistics: Tensor) -> Tensor:
        """One statistic [batch] from those of the parts [part, batch]."""
        z = (statistics - self._centre[:, None]) / self._spread[:, None]
        return combine(z[: len(self.members)], z[len(self.members) :], self._weight)

    def state(self) -> Mapping[str, Tensor]:
        """Centre and spread [part], weight [member], and the parts' states under their names."""
        inner = {f"{one.name}.{key}": value for one in self._parts for key, value in one.state().items()}
        return {"centre": self._centre, "spread": self._spread, "weight": self._weight, **inner}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        self = cls()
        stored = {key.partition(".")[0] for key in state}
        if not stored & {kind.name for kind in LATE}:
            self.members = tuple(kind for kind in cls.members if kind not in LATE)
        kinds = (*self.members, *SENTINELS)
        require(state, centre=(len(kinds),), spread=(len(kinds),), weight=(len(self.members),))
        self._parts = tuple(kind.restore(part(state, kind.name)) for kind in kinds)
        self._centre, self._spread = state["centre"], state["spread"]
        self._weight = state["weight"]
        return self


class QuickFusion(Fusion):
    """The fusion without the part that trains a network."""

    name = "quick-fusion"
    members = QUICK_MEMBERS


def robust_scale(statistics: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and spread [part] of out-of-fold healthy statistics [part, batch]; the spread is the upper half's."""
    centre = statistics.quantile(0.5, dim=1)
    middle = (statistics - centre[:, None]).abs().quantile(0.5, dim=1) * 1.4826
    return centre, torch.maximum(upper_spread(statistics, centre, dim=1), middle).clamp_min(1e-6)


def member_weights(members: Tensor, kinds: Tensor) -> Tensor:
    """Weights [member], sum 1, from out-of-fold healthy z-scores [member, batch] in surroundings of kinds [batch]."""
    share = share_within(members.asinh(), kinds).square()
    return share / share.sum().clamp_min(1e-6)


def combine(members: Tensor, sentinels: Tensor, weight: Tensor) -> Tensor:
    """The statistic [batch] from z-scores of members [member, batch] and sentinels [sentinel, batch]."""
    excess = (sentinels.asinh() - math.asinh(SILENT)).clamp_min(0.0)
    return (weight[:, None] * members.asinh()).sum(0) + excess.sum(0)


def part(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """What a state holds under `name.`, without that prefix."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
