"""EDM after Karras, Aittala, Aila and Laine (2022): preconditioning, training loss, sampling.

The network F is handed in, the noise too; equations and letters are the paper's (table 1, algorithm 1).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from sds_engine.priors.denoiser import Denoiser

SIGMA_DATA = 1.0
SIGMA_MIN, SIGMA_MAX, RHO = 0.02, 40.0, 7.0
P_MEAN, P_STD = -0.2, 1.5

F = Callable[[Tensor, Tensor, Tensor], Tensor]


def precondition(network: F, x: Tensor, sigma: Tensor, prompt: Tensor) -> Tensor:
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) (eq. 7, table 1): `[batch, *shape]`, sigma `[batch]`."""
    s = sigma.view(-1, *[1] * (x.ndim - 1))
    total = s.square() + SIGMA_DATA**2
    c_skip, c_out, c_in = SIGMA_DATA**2 / total, s * SIGMA_DATA / total.sqrt(), 1.0 / total.sqrt()
    return c_skip * x + c_out * network(c_in * x, sigma.log() / 4.0, prompt)


def loss(network: F, y: Tensor, prompt: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """The weighted denoising loss of each example `[batch]` (eq. 8: lambda c_out^2 = 1), at sigma with this noise."""
    s = sigma.view(-1, *[1] * (y.ndim - 1))
    weight = (s.square() + SIGMA_DATA**2) / (s * SIGMA_DATA).square()
    error: Tensor = weight * (precondition(network, y + s * noise, sigma, prompt) - y).square()
    return error.flatten(1).mean(dim=1)


def levels(steps: int, device: torch.device | str = "cpu") -> Tensor:
    """The sampler's noise levels `[steps + 1]` from SIGMA_MAX to 0 (eq. 5)."""
    i = torch.arange(steps, device=device) / max(steps - 1, 1)
    sigma = (SIGMA_MAX ** (1 / RHO) + i * (SIGMA_MIN ** (1 / RHO) - SIGMA_MAX ** (1 / RHO))) ** RHO
    return torch.cat([sigma, sigma.new_zeros(1)])


def sample(denoiser: Denoiser, noise: Tensor, condition: Tensor | None, steps: int = 24) -> Tensor:
    """Heun's second-order deterministic sampler (algorithm 1): unit noise `[batch, *shape]` -> samples."""
    sigma = levels(steps, noise.device)
    x = noise * sigma[0]
    noises: list[Tensor] = list(sigma)
    for now, then in itertools.pairwise(noises):
        d = (x - denoiser(x, now.expand(len(x)), condition)) / now
        euler = x + (then - now) * d
        if then == 0:
            return euler
        d_then = (euler - denoiser(euler, then.expand(len(x)), condition)) / then
        x = x + (then - now) * 0.5 * (d + d_then)
    return x
