"""How well sounds fit a prompt, by the prior that would make them."""

from __future__ import annotations

import torch
from torch import Tensor

from sds_engine.priors.denoiser import Prior
from sds_engine.sds import SeededNoise

LEVELS = (0.3, 0.45, 0.6)  # t, where a prompt still matters and the sound is still heard


@torch.no_grad()
def agreement(prior: Prior, wave: Tensor, condition: Tensor, seeds: list[int]) -> Tensor:
    """How much better the prior denoises waves `[batch, time]` with the prompt `[batch, ...]` than without: `[batch]`.

    Mean over noise levels of (|D_null - z|^2 - |D_prompt - z|^2) / (2 sigma^2), each with the same noise: the part of
    the evidence lower bound that the prompt adds (after Li et al., "Your diffusion model is secretly a zero-shot
    classifier", 2023), in nats a latent number. Above 0: the prompt helps.
    """
    latent = prior.codec.encode(wave)
    noise = SeededNoise(seeds)
    total = torch.zeros(len(wave))
    for t in LEVELS:
        sigma = prior.sigma_of_t(torch.full((len(wave),), t))
        s = sigma.reshape(-1, *[1] * (latent.dim() - 1))
        noisy = latent + s * noise.normal(tuple(latent.shape[1:]))
        free, told = (prior.denoiser(noisy, sigma, c) for c in (None, condition))
        gain = (free - latent).square() - (told - latent).square()
        total += (gain / (2.0 * s.square())).flatten(1).mean(dim=1)
    return total / len(LEVELS)
