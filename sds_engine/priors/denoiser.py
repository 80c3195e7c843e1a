"""The contract of every prior: a denoiser D(x, sigma, condition), a codec, prompts, and the bundle of them.

Noise is added as x_t = x + sigma e (variance exploding, the convention of Karras, Aittala, Aila and Laine, "Elucidating
the design space of diffusion-based generative models", 2022). Other conventions are converted at the edge, in the file
of the model that has them. With it, the score is (D - x_t) / sigma^2 and the noise estimate is e^ = (x_t - D) / sigma.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

LevelMap = Callable[[Tensor], Tensor]  # t in [0, 1] -> sigma, rising; each prior has its own


class Denoiser(Protocol):
    """D: the expected clean x, given x + sigma e."""

    def __call__(self, x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        """From x `[batch, *shape]`, sigma `[batch]`, condition `[batch, ...]` -> `[batch, *shape]`.

        condition None is the unconditional (null) branch. Each item's answer depends on that item alone.
        """
        ...


class Codec(Protocol):
    """Between waveforms and what the denoiser works on."""

    def encode(self, wave: Tensor) -> Tensor:
        """`[batch, time]` -> latent `[batch, *shape]`, differentiable (the encoder's Jacobian of Eq. 4)."""
        ...

    def decode(self, latent: Tensor, carrier: Tensor) -> Tensor:
        """Latent `[row, *shape]` -> `[row, time]`, as long as the carrier `[batch, time]`.

        Rows are one for each carrier, or as many for each, side by side. The carrier lends what the latent does not
        hold (phase, say); a codec that needs nothing ignores it.
        """
        ...


class IdentityCodec:
    """The latent is the waveform: for oracles."""

    def encode(self, wave: Tensor) -> Tensor:
        """The same tensor."""
        return wave

    def decode(self, latent: Tensor, carrier: Tensor) -> Tensor:  # noqa: ARG002 - the contract has a carrier
        """The same tensor."""
        return latent


def log_levels(lowest: float, highest: float) -> LevelMap:
    """The map sigma = lowest^(1-t) highest^t: equal steps of t are equal ratios of noise."""
    if not 0.0 < lowest < highest:
        raise ValueError(f"noise levels from {lowest} to {highest}: allowed is 0 < lowest < highest")
    return lambda t: lowest * torch.exp(t * math.log(highest / lowest))


def tangent_levels(t: Tensor) -> Tensor:
    """The map sigma = tan(pi t / 2) of a v-prediction model on the circle (Stable Audio)."""
    return torch.tan(t * (math.pi / 2))


@dataclass(frozen=True, slots=True)
class Prior:
    """All that SDS needs of a model.

    embed: prompts -> condition `[batch, ...]`; what it gives is what the denoiser takes. rate in Hz; seconds is the
    length the model was made for (0: any). sigma_of_t maps t in [0, 1] to the noise level. name and digest (SHA-256 of
    the weights, hexadecimal) go into the provenance of what it makes.
    """

    denoiser: Denoiser
    codec: Codec
    embed: Callable[[Sequence[str]], Tensor]
    rate: int
    seconds: float
    sigma_of_t: LevelMap
    name: str = ""
    digest: str = ""
