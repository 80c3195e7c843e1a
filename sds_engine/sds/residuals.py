"""The two gradients of Audio-SDS, as residuals, and the loss whose gradient they are.

Both are expectations over noise: here means over `draws`. Both drop the Jacobian of the network.
"""

from __future__ import annotations

from torch import Tensor

from sds_engine.sds.noise import WEIGHTS, like
from sds_engine.sds.settings import Weighting


def pull(sigma: Tensor, weighting: Weighting = "signal") -> Tensor:
    """w(sigma) / sigma, what multiplies a difference to the denoised: 1 for "signal"."""
    return WEIGHTS[weighting](sigma) / sigma


def encoder_residual(latent: Tensor, denoised: Tensor, sigma: Tensor, weighting: Weighting = "signal") -> Tensor:
    """E[w(t) (e^ - e)] of Eq. 4: latent `[batch, *shape]`, denoised `[batch, draws, *shape]`, sigma `[batch, draws]`.

    z = h + sigma e gives e^ - e = (z - D)/sigma - e = (h - D)/sigma: the noise drops out, save through D. In a
    variance-preserving model dz/dtheta would carry alpha(t) too; here it is dh/dtheta.
    """
    each = like(pull(sigma, weighting), denoised) * (latent.unsqueeze(1) - denoised)
    return each.mean(dim=1)


def decoder_residual(wave: Tensor, heard: Tensor, sigma: Tensor, weighting: Weighting = "signal") -> Tensor:
    """The x - E[x^] of Eq. 5 (the direction of ascent, so that descent goes to x^): wave `[batch, time]`.

    heard x^ = dec(denoise(noise(enc(x)))) `[batch, draws, time]`. The paper has no weight here, and "signal" is none.
    Also of spectrogram magnitudes `[batch, ...]` and `[batch, draws, ...]` (Eq. 7).
    """
    return encoder_residual(wave, heard, sigma, weighting)


def surrogate(quantity: Tensor, residual: Tensor) -> Tensor:
    """1/2 ||sg(target) - quantity||^2 `[batch]`, target = quantity - residual: its gradient is residual dquantity."""
    target = (quantity - residual).detach()
    return 0.5 * (target - quantity).square().flatten(1).sum(dim=1)
