"""How unlike what was heard a window's surroundings are, and what of a statistic that alone explains.

Beside a forklift that training never had, every detector finds every window odd, the healthy machine's too. Healthy
sound tells by itself how much: each context is itself strange to the other recordings, some more, some less, and its
out-of-fold statistic rises with that or does not. What a straight line in the logarithm of the distance explains is
taken off, damped by how well it explains (R squared), and never beyond what healthy sound has shown: whoever lies
farther than every healthy context is allowed as much as the farthest, so that worse is never less odd.

This is an analysis of covariance with the distance as covariate. That what is hard by itself is judged against what is
as hard is the idea of normalised conformal scores (Papadopoulos, Gammerman and Vovk, "Normalized nonconformity
measures for regression conformal prediction", 2008).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from detectors.base import Evidence
from detectors.folds import groups_of
from detectors.statistics import band_statistics, require, standardise
from detectors.surroundings import AXES, PER_KIND, kinds_of

FEWEST = 2 * PER_KIND  # contexts below which nothing is told of surroundings, as in `kinds_of`
_LEAST = 1e-6  # a distance; identical sound has none


class Strangeness:
    """Distances to what was heard, along the first principal components of the bands' levels and deviations."""

    def __init__(self, mean: Tensor, axes: Tensor, heard: Tensor) -> None:
        self._mean = mean  # [feature] in dB
        self._axes = axes  # [feature, axis]
        self._heard = heard  # [context, axis]

    @classmethod
    def of(cls, values: Tensor, groups: Tensor) -> tuple[Self, Tensor]:
        """From the bands' statistics of healthy contexts [context, feature] of recordings numbered by groups [context].

        Besides the logarithm [context] of each one's distance to the nearest context of another recording.
        """
        mean, scale, white = standardise(values)
        axes = torch.linalg.svd(white, full_matrices=False)[2][:AXES].T / scale[:, None]  # [feature, axis]
        self = cls(mean, axes.contiguous(), (values - mean) @ axes)
        far = distances(self._heard, self._heard)
        far = far.masked_fill((groups[:, None] == groups[None, :]).to(far.device), torch.inf)
        return self, far.amin(1).clamp_min(_LEAST).log()

    def __call__(self, values: Tensor) -> Tensor:
        """The logarithm [batch] of the distance to the nearest healthy context, of statistics [batch, feature]."""
        return distances((values - self._mean) @ self._axes, self._heard).amin(1).clamp_min(_LEAST).log()

    def state(self) -> Mapping[str, Tensor]:
        """Mean [feature], axes [feature, axis] and what was heard [context, axis]."""
        return {"near_mean": self._mean, "near_axes": self._axes, "near_heard": self._heard}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        require(state, near_mean=(None,), near_heard=(None, None))
        require(state, near_axes=(len(state["near_mean"]), state["near_heard"].shape[1]))
        return cls(state["near_mean"], state["near_axes"], state["near_heard"])


class Allowance(NamedTuple):
    """slope per e-fold of distance, and the logarithms of the least and the largest distance that are told apart."""

    slope: float
    least: float
    most: float

    @classmethod
    def fit(cls, strange: Tensor, statistic: Tensor) -> Allowance:
        """From the healthy contexts' log distances [context] and out-of-fold statistics [context].

        The slope is that of least squares times R squared; where the statistic falls with the distance it is 0.
        """
        x, y = strange - strange.mean(), statistic - statistic.mean()
        across, down, both = (float(one.sum()) for one in (x.square(), y.square(), x * y))
        slope = (both / across) * (both * both / (across * down)) if min(across, down) > 0.0 and both > 0.0 else 0.0
        return cls(slope, float(strange.min()), float(strange.max()))

    def __call__(self, strange: Tensor) -> Tensor:
        """What the log distances [batch] explain of the statistic [batch]."""
        return self.slope * strange.clamp(self.least, self.most)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of the surroundings of healthy contexts: their kinds [batch], and how strange each is [batch].

    Without enough contexts to tell there is no strangeness, and distances are 0.
    """

    kinds: Tensor
    strangeness: Strangeness | None
    distance: Tensor

    @classmethod
    def of(cls, healthy: Evidence, groups: Tensor | None = None) -> Surroundings:
        """Of recordings numbered by groups [batch]."""
        groups = groups_of(healthy, groups)
        kinds = kinds_of(healthy)
        if len(healthy) < FEWEST or bool((groups == groups[0]).all()):
            return cls(kinds, None, torch.zeros(len(healthy), dtype=torch.float64))
        return cls(kinds, *Strangeness.of(band_statistics(healthy), groups))


def distances(one: Tensor, other: Tensor) -> Tensor:
    """Euclidean distances [one, other]; each row's for itself, whatever else is in the batch."""
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")
