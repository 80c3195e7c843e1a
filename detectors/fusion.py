"""The default: several views of the same sound, each in units of its own healthy scatter, averaged.

On one machine the nearest neighbour wins, on another the Mahalanobis distance, and healthy sound alone cannot tell
which it will be. So every member speaks in robust z-scores of its out-of-fold healthy statistics: one that
faults move by many healthy spreads carries the mean, one that they do not move adds little. The spread is that of the
upper half: what healthy sound does on the side where faults lie. Beyond a few spreads a z-score counts by its logarithm
(asinh): a likelihood grows with the square of a distance, and would otherwise outvote all distances together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Detector, Evidence
from detectors.frame_gmm import FrameGmm
from detectors.mahalanobis import Mahalanobis
from detectors.neighbours import FloorNeighbours, Neighbours
from detectors.statistics import require

MEMBERS: tuple[type[Mahalanobis] | type[Neighbours] | type[FloorNeighbours] | type[FrameGmm], ...] = (
    Mahalanobis,
    Neighbours,
    FloorNeighbours,
    FrameGmm,
)
_NORMAL_90 = 1.2816  # the normal law's 90% quantile


class Fusion:
    """Mean of the members' robust z-scores, tamed."""

    name = "fusion"
    context_s = CONTEXT_S

    def __init__(self) -> None:
        self._members: tuple[Detector, ...] = ()
        self._centre = torch.empty(0, dtype=torch.float64)  # [member]
        self._spread = torch.empty(0, dtype=torch.float64)  # [member]

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Fit the members and their healthy scatter. Raises ValueError for fewer than three recordings."""
        self.cross_fit(healthy, groups)
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold statistic [batch] of every healthy context.

        One round of folds serves both: centre and spread are medians over all healthy contexts alike, so that
        no context is treated otherwise than its calibration mates.
        """
        self._members = tuple(member() for member in MEMBERS)
        statistics = torch.stack([member.cross_fit(healthy, groups) for member in self._members])  # [member, batch]
        self._centre = statistics.quantile(0.5, dim=1)
        upper = statistics.quantile(0.9, dim=1) - self._centre
        middle = (statistics - self._centre[:, None]).abs().quantile(0.5, dim=1) * 1.4826
        self._spread = torch.maximum(upper / _NORMAL_90, middle).clamp_min(1e-6)
        return self._combine(statistics)

    def score(self, evidence: Evidence) -> Tensor:
        """Mean over the members [batch] of their tamed z-scores."""
        return self._combine(torch.stack([member.score(evidence) for member in self._members]))

    def _combine(self, statistics: Tensor) -> Tensor:
        return ((statistics - self._centre[:, None]) / self._spread[:, None]).asinh().mean(0)

    def state(self) -> Mapping[str, Tensor]:
        """Centre and spread [member], and the members' states under their names."""
        inner = {f"{member.name}.{key}": value for member in self._members for key, value in member.state().items()}
        return {"centre": self._centre, "spread": self._spread, **inner}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        require(state, centre=(len(MEMBERS),), spread=(len(MEMBERS),))
        self = cls()
        self._members = tuple(member.restore(part(state, member.name)) for member in MEMBERS)
        self._centre, self._spread = state["centre"], state["spread"]
        return self


def part(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """What a state holds under `name.`, without that prefix."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
