"""What the SDS tests share: a Gaussian prior, noise without chance, and a maker whose parameters are the sound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from sds_engine.priors.denoiser import Prior
from sds_engine.priors.gaussian import Mixture, oracle_prior
from sds_engine.sds import SeededNoise

TIME = 16
DOUBLE = torch.float64
MU_A = torch.linspace(-1.0, 1.0, TIME, dtype=DOUBLE)
MU_B = torch.cos(torch.arange(TIME, dtype=DOUBLE))


class Antithetic:
    """Each noise together with its opposite: means over draws of what is affine in the noise are exact."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._inner = SeededNoise(seeds)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        half = self._inner.normal((shape[0] // 2, *shape[1:]))
        return torch.cat([half, -half], dim=1)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return self._inner.uniform(shape)


def two_gaussians(std_a: float = 0.5, std_b: float = 0.5) -> Prior:
    """Prompts "a" and "b", a Gaussian each; the null branch is their even mixture."""
    stds = torch.tensor([[std_a], [std_b]], dtype=DOUBLE).expand(2, TIME)
    return oracle_prior(Mixture(torch.stack([MU_A, MU_B]), stds, torch.full((2,), 0.5, dtype=DOUBLE)), ["a", "b"])


def t_of(prior: Prior, sigma: float) -> float:
    """The t at which the oracle's map gives sigma (it is log-linear)."""
    low, high = (float(prior.sigma_of_t(torch.tensor(t, dtype=DOUBLE))) for t in (0.0, 1.0))
    return math.log(sigma / low) / math.log(high / low)


@dataclass(frozen=True)
class Free:
    """Parameters that are nothing but free."""

    free: Mapping[str, Tensor]

    def with_free(self, free: Mapping[str, Tensor]) -> Self:
        return type(self)(free)


class Plain:
    """The sound is its parameters."""

    def render(self, params: Free, /) -> Tensor:
        return params.free["wave"]
