"""Several denoising steps instead of one, and the way back: DDIM in the convention z = x + sigma e.

The probability-flow ODE is dz/dsigma = (z - D(z, sigma)) / sigma (Karras et al., 2022, Eq. 1 with s(t) = 1); DDIM
(Song, Meng and Ermon, 2021) without its own noise is Euler's method on it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from sds_engine.priors.denoiser import LevelMap
from sds_engine.sds.guidance import Guided
from sds_engine.sds.noise import like

LEAST = 1e-5  # t = 0 is no noise in some maps, and the slope divides by sigma


def ladder(sigma_of_t: LevelMap, t: Tensor, steps: int) -> Tensor:
    """Noise levels `[steps + 1, row]` from sigma(t) down to 0, t `[row]`, equal steps of t."""
    shares = 1.0 - torch.arange(steps, device=t.device, dtype=t.dtype) / steps  # 1 .. 1/steps
    levels = sigma_of_t(shares.unsqueeze(1) * t).clamp_min(LEAST)  # [steps, row]
    return torch.cat([levels, torch.zeros_like(levels[:1])])


@torch.no_grad()
def denoise(clean: Guided, z: Tensor, levels: Tensor) -> Tensor:
    """From z `[row, *shape]` at levels[0] down the ladder `[steps + 1, row]`: z' = D + (sigma' / sigma) (z - D).

    One step is D itself, as in plain SDS; Audio-SDS uses 2 to 10.
    """
    for sigma, lower in pairwise(levels):
        answer = clean(z, sigma)
        z = answer + like(lower / sigma, z) * (z - answer)
    return z


@torch.no_grad()
def invert(clean: Guided, latent: Tensor, levels: Tensor) -> Tensor:
    """From the clean latent `[row, *shape]` up the same ladder: the noisy z that denoises to it.

    For SDI (Lukoianov et al., "Score distillation via reparametrized DDIM", 2024). Each step takes
    the slope at its upper level, (z - D(z, sigma')) / sigma', since sigma = 0 has none.
    """
    z = latent
    for lower, sigma in pairwise(levels.flip(0)):
        z = z + like((sigma - lower) / sigma, z) * (z - clean(z, sigma))
    return z
