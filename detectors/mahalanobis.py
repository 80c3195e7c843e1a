"""Distance from the mean of healthy sound, in units of its covariance, shrunk so that few recordings suffice.

Covariance by Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
Multivariate Analysis 88 (2004), from scikit-learn; the score is one matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Evidence
from detectors.folds import groups_of
from detectors.many_folds import out_of_many
from detectors.statistics import band_quiet, band_statistics, require, standardise


class Mahalanobis:
    """Mahalanobis distance of the band statistics to their healthy mean, after standardising.

    Without standardising, Ledoit and Wolf's target, a multiple of the identity, would pull steady bands towards those
    that vary.
    """

    name = "mahalanobis"
    context_s = CONTEXT_S
    sees: ClassVar[str] = "statistics"  # detectors that see the same have the same `statistic`

    def __init__(self) -> None:
        self._mean = torch.empty(0, dtype=torch.float64)  # [feature]
        self._whiten = torch.empty(0, 0, dtype=torch.float64)  # [feature, feature], W W' = precision

    @staticmethod
    def statistic(evidence: Evidence) -> Tensor:
        """The numbers [batch, feature] in dB whose covariance is learned."""
        return band_statistics(evidence)

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Mean and shrunk covariance. Raises ValueError for fewer than two contexts."""
        self.learn(self.statistic(healthy), groups_of(healthy, groups))
        return self

    def learn(self, values: Tensor, _groups: Tensor, /) -> None:
        """`fit` from statistics [batch, feature]; the recordings do not matter."""
        from sklearn.covariance import LedoitWolf

        if len(values) < 2:
            raise ValueError(f"{len(values)} healthy contexts are too few for a covariance: give two or more")
        self._mean, scale, values = standardise(values)
        covariance = torch.from_numpy(LedoitWolf().fit(values.numpy()).covariance_)
        # Identical recordings have no variance at all and would make the matrix singular.
        covariance = covariance + 1e-6 * torch.eye(len(covariance), dtype=torch.float64)
        whiten = torch.linalg.cholesky(torch.linalg.inv(covariance)) / scale[:, None]
        self._whiten = whiten.contiguous()  # as it is loaded: another layout rounds otherwise

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold distance [batch] of every healthy context."""
        values, groups = self.statistic(healthy), groups_of(healthy, groups)
        self.learn(values, groups)
        return out_of_many(type(self), values, groups)

    def score(self, evidence: Evidence) -> Tensor:
        """The distance [batch]."""
        return self.judge(self.statistic(evidence))

    def judge(self, values: Tensor) -> Tensor:
        """The distance [batch] of statistics [batch, feature]."""
        white = (values - self._mean) @ self._whiten  # [batch, feature]
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


class QuietMahalanobis(Mahalanobis):
    """The same of the bands' levels in quiet moments: the machine alone, while the background pauses."""

    name = "quiet-mahalanobis"
    sees = "quiet moments"

    @staticmethod
    def statistic(evidence: Evidence) -> Tensor:
        """The bands' smoothed floors [batch, mel] in dB."""
        return band_quiet(evidence)
