"""Classifier-free guidance: what the prompt adds, exaggerated.

e^ = (1 + tau) e(z, t, p) - tau e(z, t, null) (Audio-SDS, section 3; Ho and Salimans, "Classifier-free diffusion
guidance", 2022). D = z - sigma e is affine in e at a fixed z, so the same holds of D: that is where it is applied.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sds_engine.priors.denoiser import Denoiser

Guided = Callable[[Tensor, Tensor], Tensor]  # z [row, *shape], sigma [row] -> clean [row, *shape]


def guide(prompted: Tensor, other: Tensor, tau: float) -> Tensor:
    """(1 + tau) prompted - tau other: noise estimates or denoised alike, any shape."""
    return (1.0 + tau) * prompted - tau * other


def guided(denoiser: Denoiser, condition: Tensor, other: Tensor | None = None, tau: float = 0.0) -> Guided:
    """The denoiser under a prompt, as a function of z and sigma alone; never differentiated.

    condition `[batch, ...]`. other: None for the null branch, or the condition of a source prompt that describes what
    is heard now: SDS-Bridge (McAllister et al., "Rethinking score distillation as a bridge between image
    distributions", 2024). Rows are batch x draws, the draws of an item side by side.
    """

    @torch.no_grad()
    def clean(z: Tensor, sigma: Tensor) -> Tensor:
        repeats = z.shape[0] // condition.shape[0]
        prompted = denoiser(z, sigma, condition.repeat_interleave(repeats, dim=0))
        if tau == 0.0:
            return prompted
        rows = None if other is None else other.repeat_interleave(repeats, dim=0)
        return guide(prompted, denoiser(z, sigma, rows), tau)

    return clean
