"""How unlikely single frames are under a mixture of healthy ones: hears what mean and deviation average away.

Diagonal Gaussian mixture fitted by scikit-learn, scored here. With confidences, every band's log-likelihood is
weighted by the belief in it; a frame that nothing is believed of does not count (Cooke et al., 2001).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Evidence
from detectors.folds import groups_of, out_of_fold
from detectors.statistics import require, weights

COMPONENTS = 8
_FRAMES = 6000  # enough for 8 x 128 means; more only takes longer
_LEAST_VARIANCE = 1.0  # dB squared: a band that never moves must not decide alone
_BATCH = 32  # contexts at a time: [context, component, frame] stays small


class FrameGmm:
    """Mean negative log-likelihood of a context's frames."""

    name = "frame-gmm"
    context_s = CONTEXT_S

    def __init__(self) -> None:
        self._log_weight = torch.empty(0, dtype=torch.float64)  # [component]
        self._mean = torch.empty(0, 0, dtype=torch.float64)  # [component, mel], dB
        self._variance = torch.empty(0, 0, dtype=torch.float64)  # [component, mel]

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Fit on frames drawn evenly from all contexts. Raises ValueError for fewer frames than components."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        groups_of(healthy, groups)
        frames = healthy.log_mel.transpose(1, 2).reshape(-1, healthy.log_mel.shape[1])  # [frame, mel]
        if len(frames) < 2 * COMPONENTS:
            raise ValueError(f"{len(frames)} healthy frames are too few: give at least {2 * COMPONENTS}")
        drawn = np.random.default_rng(0).permutation(len(frames))[:_FRAMES]
        mixture = GaussianMixture(
            COMPONENTS, covariance_type="diag", reg_covar=_LEAST_VARIANCE, max_iter=40, tol=1e-2, random_state=0
        )
        with warnings.catch_warnings():  # 40 rounds are enough for a density; its last digits decide nothing
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(frames[torch.from_numpy(drawn)].double().numpy())
        self._log_weight = torch.from_numpy(mixture.weights_).clamp_min(1e-12).log()
        self._mean = torch.from_numpy(mixture.means_)
        self._variance = torch.from_numpy(mixture.covariances_)
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold statistic [batch] of every healthy context."""
        statistic = out_of_fold(type(self), healthy, groups)
        self.fit(healthy, groups)
        return statistic

    def score(self, evidence: Evidence) -> Tensor:
        """Mean negative log-likelihood per frame [batch], in nats."""
        parts = [torch.arange(start, min(start + _BATCH, len(evidence))) for start in range(0, len(evidence), _BATCH)]
        return torch.cat([self._score(evidence.rows(part)) for part in parts])

    def _score(self, evidence: Evidence) -> Tensor:
        level, weight = evidence.log_mel, weights(evidence)  # [batch, mel, frame]
        belief = weight.mean(1, keepdim=True)  # [batch, 1, frame]
        weight = weight / belief  # within a frame only the bands' shares count: an even doubt changes nothing
        precision = self._variance.reciprocal().float()  # [component, mel]
        mean = self._mean.float()
        # sum over bands of w (x - m)^2 / v, opened up into three products
        off = precision @ (weight * level.square()) - 2.0 * (precision * mean) @ (weight * level)
        off = off + (precision * mean.square()) @ weight  # [batch, component, frame]
        log_volume = (self._variance.log() + math.log(2.0 * math.pi)).float() @ weight
        joint = self._log_weight[:, None] - 0.5 * (off + log_volume).double()
        likelihood = torch.logsumexp(joint, dim=1)  # [batch, frame]
        counts = belief.squeeze(1).double()
        return -(counts * likelihood).sum(-1) / counts.sum(-1)

    def state(self) -> Mapping[str, Tensor]:
        """log_weight [component], mean and variance [component, mel]."""
        return {"log_weight": self._log_weight, "mean": self._mean, "variance": self._variance}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        require(state, log_weight=(None,), mean=(None, None))
        require(state, mean=(len(state["log_weight"]), None), variance=tuple(state["mean"].shape))
        if not bool((state["variance"] > 0).all()):
            raise ValueError("tensor variance holds values that are not above 0")
        self = cls()
        self._log_weight, self._mean, self._variance = state["log_weight"], state["mean"], state["variance"]
        return self
