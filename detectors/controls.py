"""Controls: what anybody would try first. A detector that does not beat them has learned nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Evidence
from detectors.folds import groups_of, out_of_fold
from detectors.statistics import band_means, require


class Loudness:
    """The RMS level alone, in dBFS: louder is odder. It is all gain: +6 dB adds 6. It learns nothing."""

    name = "loudness"
    context_s = CONTEXT_S

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Nothing to learn."""
        groups_of(healthy, groups)
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """The level [batch]: what learns nothing is out of fold by itself."""
        return self.fit(healthy, groups).score(healthy)

    def score(self, evidence: Evidence) -> Tensor:
        """The level [batch] in dBFS, from the mean power of the frames."""
        return 10.0 * torch.log10((10.0 ** (evidence.level_dbfs.double() / 10.0)).mean(-1))

    def state(self) -> Mapping[str, Tensor]:
        """A version, since a state must not be empty."""
        return {"version": torch.ones(1)}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where the version is missing."""
        require(state, version=(1,))
        return cls()


class MeanSpectrum:
    """Plain distance in dB to the mean healthy spectrum, level included: a gain moves it."""

    name = "mean-spectrum"
    context_s = CONTEXT_S

    def __init__(self) -> None:
        self._mean = torch.empty(0, dtype=torch.float64)  # [mel]

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """The mean over healthy contexts. Raises ValueError for none."""
        groups_of(healthy, groups)
        if not len(healthy):
            raise ValueError("0 healthy contexts, at least 1 is needed")
        self._mean = band_means(healthy).double().mean(0)
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold distance [batch] of every healthy context."""
        statistic = out_of_fold(type(self), healthy, groups)
        self.fit(healthy, groups)
        return statistic

    def score(self, evidence: Evidence) -> Tensor:
        """Root mean square difference over bands [batch] in dB."""
        return (band_means(evidence).double() - self._mean).square().mean(1).sqrt()

    def state(self) -> Mapping[str, Tensor]:
        """The mean [mel]."""
        return {"mean": self._mean}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where the mean is missing."""
        require(state, mean=(None,))
        self = cls()
        self._mean = state["mean"]
        return self
