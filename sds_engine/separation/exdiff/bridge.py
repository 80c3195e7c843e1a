"""A Brownian bridge from a first guess to the target, and a sampler that takes a predictor of the target.

Notation (Liu et al., I2SB, ICML 2023; Jukic et al., "Schroedinger bridge for generative speech enhancement",
Interspeech 2024): x_0 the target, x_1 where sampling starts, t in 0..1, sigma the bridge's noise:

    x_t | x_0, x_1 ~ N((1 - t) x_0 + t x_1, sigma^2 t (1 - t))

The predictor answers E[x_0 | x_t, x_1], whatever network it is. One evaluation, at t = 1, is that mean itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SIGMA = 0.5
Predictor = Callable[[Tensor, float], Tensor]
Noise = Callable[[Tensor], Tensor]


def times(evaluations: int) -> list[float]:
    """Where the predictor is asked, from 1 down. Raises ValueError for fewer than one evaluation."""
    if evaluations < 1:
        raise ValueError(f"evaluations is {evaluations}, allowed is 1 or more: 1, 2, 4 and 30 are measured")
    return [1.0 - step / evaluations for step in range(evaluations)]


def sample(predict: Predictor, x1: Tensor, evaluations: int, noise: Noise | None, sigma: float = SIGMA) -> Tensor:
    """The target that `predict` sees behind x1, after so many evaluations; of the shape of x1.

    noise(x) draws standard normal numbers of the shape of x: then every step from t to s < t is one of the bridge that
    is pinned at the prediction and x_t, N(x_0 (1 - s/t) + x_t s/t, sigma^2 s (t - s) / t), exact for a predictor that
    draws from the posterior (I2SB, Eq. 11). Without noise the steps take that mean: the optimal-transport limit of
    I2SB (Sec. 3.2), which answers the same every time. The last evaluation's prediction is the answer.
    """
    steps = times(evaluations)
    x, x0 = x1, x1
    for t, s in zip(steps, [*steps[1:], 0.0], strict=True):
        x0 = predict(x, t)
        if s == 0.0:
            break
        x = torch.lerp(x0, x, s / t)
        if noise is not None:
            x = x + sigma * (s * (t - s) / t) ** 0.5 * noise(x)
    return x0
