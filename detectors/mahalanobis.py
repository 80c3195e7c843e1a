"""Distance from the mean of healthy sound, in units of its covariance, shrunk so that few recordings suffice.

Covariance by Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
Multivariate Analysis 88 (2004), from scikit-learn; the score is one matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Evidence
from detectors.folds import groups_of, out_of_fold
from detectors.statistics import band_statistics, require


class Mahalanobis:
    """Mahalanobis distance of the band statistics to their healthy mean; a gain does not change it."""

    name = "mahalanobis"
    context_s = CONTEXT_S

    def __init__(self) -> None:
        self._mean = torch.empty(0, dtype=torch.float64)  # [feature]
        self._whiten = torch.empty(0, 0, dtype=torch.float64)  # [feature, feature], W W' = precision

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Mean and shrunk covariance. Raises ValueError for fewer than two contexts."""
        from sklearn.covariance import LedoitWolf

        groups_of(healthy, groups)
        if len(healthy) < 2:
            raise ValueError(f"{len(healthy)} healthy contexts are too few for a covariance: give two or more")
        values = band_statistics(healthy)
        self._mean = values.mean(0)
        covariance = torch.from_numpy(LedoitWolf().fit(values.numpy()).covariance_)
        # Bands without any variance (identical recordings) would make the matrix singular: 0.01 dB is nothing.
        covariance = covariance + 1e-4 * torch.eye(len(covariance), dtype=torch.float64)
        self._whiten = torch.linalg.cholesky(torch.linalg.inv(covariance))
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold distance [batch] of every healthy context."""
        statistic = out_of_fold(type(self), healthy, groups)
        self.fit(healthy, groups)
        return statistic

    def score(self, evidence: Evidence) -> Tensor:
        """The distance [batch]."""
        white = (band_statistics(evidence) - self._mean) @ self._whiten  # [batch, feature]
        return white.square().sum(1).sqrt()

    def state(self) -> Mapping[str, Tensor]:
        """The mean [feature] and whiten [feature, feature]."""
        return {"mean": self._mean, "whiten": self._whiten}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        require(state, mean=(None,))
        require(state, whiten=(len(state["mean"]), len(state["mean"])))
        self = cls()
        self._mean, self._whiten = state["mean"], state["whiten"]
        return self
