"""Operating states: idle, start-up and several speeds get a baseline each, and the nearest one judges.

Healthy contexts are clustered by a Gaussian mixture with one shared covariance on their first principal components; the
number of states is the one with the best Bayesian information criterion (Schwarz, Annals of Statistics 6, 1978) whose
states each hold enough contexts. The score is the smallest Mahalanobis distance over states, as in the selective
Mahalanobis of DCASE 2023-2025 Task 2, whose states are given (source and target) rather than found.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Evidence
from detectors.folds import groups_of, out_of_fold
from detectors.statistics import band_means, band_statistics, require, standardise

MOST_STATES = 6
LEAST_CONTEXTS = 4  # in a state, from at least two recordings: a single odd recording is no state
COMPONENTS = 4  # principal ones that states are told apart by
_POOLED = 10.0  # how many contexts the scale common to all states is worth beside a state's own
_LEAST_SCALE = 0.05  # in units of the deviation over all contexts


class States:
    """Smallest Mahalanobis distance of the band statistics to a state's mean, each state with its own scales."""

    name = "states"
    context_s = CONTEXT_S

    def __init__(self) -> None:
        self._mean = self._unit = torch.empty(0, dtype=torch.float64)  # [feature]
        self._centre = self._scale = torch.empty(0, 0, dtype=torch.float64)  # [state, feature], in units
        self._whiten = torch.empty(0, 0, dtype=torch.float64)  # [feature, feature]

    @property
    def count(self) -> int:
        """How many states were found."""
        return len(self._centre)

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Find the states and learn each. Raises ValueError for fewer than two contexts."""
        from sklearn.covariance import LedoitWolf

        groups = groups_of(healthy, groups)
        if len(healthy) < 2:
            raise ValueError(f"{len(healthy)} healthy contexts are too few for a covariance: give two or more")
        self._mean, self._unit, values = standardise(band_statistics(healthy))
        state = find_states(band_means(healthy).double(), groups)
        number = int(state.max()) + 1
        self._centre = torch.stack([values[state == one].mean(0) for one in range(number)])
        off = values - self._centre[state]
        common = off.square().mean(0)  # [feature]
        self._scale = torch.stack([_scale(off[state == one], common) for one in range(number)])
        covariance = torch.from_numpy(LedoitWolf().fit((off / self._scale[state]).numpy()).covariance_)
        covariance = covariance + 1e-6 * torch.eye(len(covariance), dtype=torch.float64)
        self._whiten = torch.linalg.cholesky(torch.linalg.inv(covariance)).contiguous()  # as it is when loaded
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold distance [batch] of every healthy context."""
        statistic = out_of_fold(type(self), healthy, groups)
        self.fit(healthy, groups)
        return statistic

    def distances(self, evidence: Evidence) -> Tensor:
        """The distance to every state [batch, state]."""
        values = (band_statistics(evidence) - self._mean) / self._unit
        off = (values[:, None] - self._centre) / self._scale  # [batch, state, feature]
        return (off @ self._whiten).square().sum(-1).sqrt()

    def score(self, evidence: Evidence) -> Tensor:
        """The distance to the nearest state [batch]."""
        return self.distances(evidence).amin(1)

    def state(self) -> Mapping[str, Tensor]:
        """The mean and unit [feature], centre and scale [state, feature], whiten [feature, feature]."""
        return {
            "mean": self._mean,
            "unit": self._unit,
            "centre": self._centre,
            "scale": self._scale,
            "whiten": self._whiten,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        require(state, centre=(None, None))
        states, features = state["centre"].shape
        require(state, mean=(features,), unit=(features,), scale=(states, features), whiten=(features, features))
        self = cls()
        self._mean, self._unit, self._whiten = state["mean"], state["unit"], state["whiten"]
        self._centre, self._scale = state["centre"], state["scale"]
        return self


def _scale(off: Tensor, common: Tensor) -> Tensor:
    """A state's scale [feature], drawn towards that of all states."""
    own = off.square().sum(0)
    return ((own + _POOLED * common) / (len(off) + _POOLED)).sqrt().clamp_min(_LEAST_SCALE)


def find_states(levels: Tensor, groups: Tensor) -> Tensor:
    """The state's number of every healthy context [batch], 0, 1, ... in order of level; chosen on healthy sound alone.

    levels [batch, mel] are the bands' mean levels in dB, groups [batch] the recordings' numbers.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    centred = levels - levels.mean(0)
    single = torch.zeros(len(levels), dtype=torch.long)
    if len(levels) < 2 * LEAST_CONTEXTS or float(centred.square().mean()) < 1e-6:
        return single
    components = min(COMPONENTS, len(levels) // 4)
    axes = torch.linalg.svd(centred, full_matrices=False)[2][:components]
    points = (centred @ axes.T).numpy()
    best, best_bic = single, float("inf")
    for count in range(1, MOST_STATES + 1):
        if count * LEAST_CONTEXTS > len(levels):
            break
        mixture = GaussianMixture(count, covariance_type="tied", reg_covar=0.05, n_init=2, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(points)
        state = torch.from_numpy(mixture.predict(points))
        bic = float(mixture.bic(points))
        if bic < best_bic and _holds(state, groups, count):
            best, best_bic = state, bic
    loudness = torch.stack([levels[best == one].mean() for one in range(int(best.max()) + 1)])
    return loudness.argsort().argsort()[best]


def _holds(state: Tensor, groups: Tensor, count: int) -> bool:
    """Whether every state has enough contexts, from more than one recording."""
    return all(
        int((state == one).sum()) >= LEAST_CONTEXTS and len(set(groups[state == one].tolist())) >= 2
        for one in range(count)
    )
