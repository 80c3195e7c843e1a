"""Randomness and noise levels: one seed per item, t drawn and mapped to sigma, and the weights w(t)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from sds_engine.sds.settings import Schedule, Weighting

FALLING_WIDTH = 0.2  # of t's range: the falling schedule still draws within this, so that draws differ


class NoiseSource(Protocol):
    """Random numbers, item by item: an item's numbers never depend on who else is in the batch."""

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal `[item, *shape]`."""
        ...

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform in [0, 1) `[item, *shape]`."""
        ...


class SeededNoise:
    """One generator per item, on the CPU, so that every device hears the same noise."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal `[item, *shape]`, float32."""
        return torch.stack([torch.randn(shape, generator=one) for one in self._generators])

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform in [0, 1) `[item, *shape]`, float32."""
        return torch.stack([torch.rand(shape, generator=one) for one in self._generators])


def draw_t(
    noise: NoiseSource, draws: int, low: float, high: float, schedule: Schedule = "uniform", progress: float = 0.0
) -> Tensor:
    """Times t `[item, draws]` in [low, high], float64.

    Stratified: draw k falls into the k-th of `draws` equal parts, which leaves each expectation as it is and lowers its
    variance. "falling": the range is a fifth as wide and slides from high to low as progress goes from 0 to 1 (coarse
    form first, detail last; Huang et al., "DreamTime", 2023, argue for a t that only falls).
    """
    shares = (noise.uniform((draws,)).double() + torch.arange(draws)) / draws
    if schedule == "falling":
        shares = FALLING_WIDTH * shares + (1.0 - FALLING_WIDTH) * (1.0 - progress)
    return low + (high - low) * shares


def _signal(sigma: Tensor) -> Tensor:
    return sigma


def _variance(sigma: Tensor) -> Tensor:
    return sigma.square() / (1.0 + sigma.square())


# w(t) of Eq. 4, which weighs e^ - e = (z - D)/sigma. The paper leaves it open. "signal": sigma, so that the pull is the
# plain difference to the denoised, as in Eq. 5. "noise": 1. "variance": sigma^2/(1 + sigma^2), the noise variance of
# the same level in a variance-preserving model, the choice of DreamFusion (Poole, Jain, Barron and Mildenhall, 2022).
WEIGHTS: dict[Weighting, Callable[[Tensor], Tensor]] = {
    "signal": _signal,
    "noise": torch.ones_like,
    "variance": _variance,
}


def like(values: Tensor, other: Tensor) -> Tensor:
    """`[a, b]` as `[a, b, 1, ...]`, to be multiplied with `other` `[a, b, *shape]`."""
    return values.reshape(*values.shape, *([1] * (other.dim() - values.dim())))
