"""Distance to the nearest healthy context, in units of how far apart healthy contexts lie there.

Local density normalisation after Wilkinghoff et al., "Keeping the Balance: Anomaly Score Calculation for Domain
Generalization" (ICASSP 2025): a rare background has few and distant neighbours, and would otherwise always look odd.
Here the distance is divided by the square root of the local radius, half-way between no normalisation and theirs:
with a dozen recordings a radius is itself a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Evidence
from detectors.folds import groups_of
from detectors.many_folds import out_of_many
from detectors.statistics import band_floors, band_quiet, band_statistics, require, standardise

NEIGHBOURS = 5  # whose mean distance is the radius around a healthy context
_POWER = 0.5
_LEAST_RADIUS = 1e-3  # identical recordings would give a radius of 0


class Neighbours:
    """Nearest healthy context by the band statistics, each in units of its healthy deviation."""

    name = "neighbours"
    context_s = CONTEXT_S
    sees: ClassVar[str] = "statistics"  # detectors that see the same have the same `statistic`

    def __init__(self) -> None:
        self._mean = self._unit = torch.empty(0, dtype=torch.float64)  # [feature], dB
        self._known = torch.empty(0, 0, dtype=torch.float64)  # [healthy, feature], in units
        self._scale = torch.empty(0, dtype=torch.float64)  # [healthy]

    @staticmethod
    def statistic(evidence: Evidence) -> Tensor:
        """The numbers [batch, feature] in dB that distances are between."""
        return band_statistics(evidence)

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Keep the healthy contexts; radii are to contexts of other recordings. ValueError for fewer than two."""
        self.learn(self.statistic(healthy), groups_of(healthy, groups))
        return self

    def learn(self, values: Tensor, groups: Tensor, /) -> None:
        """`fit` from statistics [batch, feature]."""
        if not len(groups) or int(groups.max()) == int(groups.min()):
            raise ValueError("healthy sound comes from fewer than two recordings: give at least two")
        self._mean, self._unit, self._known = standardise(values)
        apart = torch.cdist(self._known, self._known)  # [healthy, healthy]
        apart[groups[:, None] == groups[None, :]] = torch.inf
        nearest = apart.topk(min(NEIGHBOURS, len(groups) - 1), largest=False).values
        nearest = torch.where(nearest.isinf(), nearest[:, :1], nearest)  # fewer strangers than NEIGHBOURS
        self._scale = nearest.mean(1).clamp_min(_LEAST_RADIUS) ** _POWER

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold statistic [batch] of every healthy context."""
        values, groups = self.statistic(healthy), groups_of(healthy, groups)
        self.learn(values, groups)
        return out_of_many(type(self), values, groups)

    def score(self, evidence: Evidence) -> Tensor:
        """The smallest normalised distance [batch]."""
        return self.judge(self.statistic(evidence))

    def judge(self, values: Tensor) -> Tensor:
        """The smallest normalised distance [batch] of statistics [batch, feature]."""
        # Not by matrix product: that loses digits near 0, and a recording must be at distance 0 from itself.
        values = (values - self._mean) / self._unit
        distance = torch.cdist(values, self._known, compute_mode="donot_use_mm_for_euclid_dist")
        return (distance / self._scale).amin(1)

    def state(self) -> Mapping[str, Tensor]:
        """The mean and unit [feature], the known contexts [healthy, feature] and their scale [healthy]."""
        return {"mean": self._mean, "unit": self._unit, "known": self._known, "scale": self._scale}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        require(state, known=(None, None))
        count, features = state["known"].shape
        require(state, scale=(count,), mean=(features,), unit=(features,))
        self = cls()
        self._mean, self._unit = state["mean"], state["unit"]
        self._known, self._scale = state["known"], state["scale"]
        return self


class FloorNeighbours(Neighbours):
    """The same by the bands' floors: what is heard when the background pauses."""

    name = "floor-neighbours"
    sees = "floors"

    @staticmethod
    def statistic(evidence: Evidence) -> Tensor:
        """The bands' floors [batch, mel] in dB."""
        return band_floors(evidence)


class QuietNeighbours(Neighbours):
    """The same by the bands' levels in quiet moments: floors of levels averaged over 0.2 s, which scatter less."""

    name = "quiet-neighbours"
    sees = "quiet moments"

    @staticmethod
    def statistic(evidence: Evidence) -> Tensor:
        """The bands' smoothed floors [batch, mel] in dB."""
        return band_quiet(evidence)
