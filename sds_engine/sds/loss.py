"""One loss for all forms of SDS: what the prior would have heard, and the distance to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds_engine.priors.denoiser import Prior
from sds_engine.sds.denoise import denoise, invert, ladder
from sds_engine.sds.emphasis import emphasis_loss
from sds_engine.sds.guidance import guided
from sds_engine.sds.noise import NoiseSource, draw_t, like
from sds_engine.sds.residuals import decoder_residual, encoder_residual, surrogate
from sds_engine.sds.settings import SdsSettings


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for, one row per item: condition `[batch, ...]` of the prompt, and perhaps of a source prompt.

    source None: guidance pushes away from the null branch. Given: away from what the source prompt says (SDS-Bridge).
    """

    condition: Tensor
    source: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Sds:
    """What one evaluation gives, `[batch]` each: loss, whose gradient is the paper's; residual, its RMS, no gradient.

    The residual is the latent's in encoder-SDS (Eq. 4) and the waveform's in decoder-SDS (Eq. 5).
    """

    loss: Tensor
    residual: Tensor


def sds_loss(
    prior: Prior, wave: Tensor, ask: Ask, settings: SdsSettings, noise: NoiseSource, progress: float = 0.0
) -> Sds:
    """The SDS loss of waves `[batch, time]` under prompts, differentiable in the waves.

    Gradients flow through the codec's encoder in encoder-SDS, through nothing of the prior in decoder-SDS, and through
    the network never. progress, 0 to 1, moves a falling schedule. A silent wave is a wave like any other.
    """
    if settings.kind == "encoder":
        latent = prior.codec.encode(wave)
        denoised, sigma = predict(prior, latent.detach(), ask, settings, noise, progress)
        residual = encoder_residual(latent.detach(), denoised, sigma, settings.weighting)
        return Sds(surrogate(latent, residual), _rms(residual))
    heard, sigma = hear(prior, wave.detach(), ask, settings, noise, progress)
    residual = decoder_residual(wave.detach(), heard, sigma, settings.weighting)
    if settings.windows:
        return Sds(emphasis_loss(wave, heard, sigma, settings.windows, settings.weighting), _rms(residual))
    return Sds(surrogate(wave, residual), _rms(residual))


@torch.no_grad()
def predict(
    prior: Prior, latent: Tensor, ask: Ask, settings: SdsSettings, noise: NoiseSource, progress: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The denoised `[batch, draws, *shape]` of a latent `[batch, *shape]`, and the levels `[batch, draws]` it had.

    With baseline "null": the latent, moved by (1 + tau) times what the prompt changes.
    """
    draws = settings.draws
    t = draw_t(noise, draws, settings.t_low, settings.t_high, settings.schedule, progress).to(latent)
    levels = ladder(prior.sigma_of_t, t.flatten(), settings.steps)  # [steps + 1, row]
    rows = latent.repeat_interleave(draws, dim=0)  # [row, *shape]
    if settings.start == "inversion":
        plain = guided(prior.denoiser, ask.condition)  # without guidance: inversion under it drifts away
        z = invert(plain, rows, levels)
    else:
        e = noise.normal((draws, *latent.shape[1:])).to(latent).flatten(0, 1)
        z = rows + like(levels[0], rows) * e
    if settings.baseline == "null":
        prompted = guided(prior.denoiser, ask.condition)(z, levels[0])
        source = None if ask.source is None else ask.source.repeat_interleave(draws, dim=0)
        denoised = rows + (1.0 + settings.guidance) * (prompted - prior.denoiser(z, levels[0], source))
    else:
        denoised = denoise(guided(prior.denoiser, ask.condition, ask.source, settings.guidance), z, levels)
    return denoised.reshape(-1, draws, *latent.shape[1:]), levels[0].reshape(-1, draws)


@torch.no_grad()
def hear(
    prior: Prior, wave: Tensor, ask: Ask, settings: SdsSettings, noise: NoiseSource, progress: float = 0.0
) -> tuple[Tensor, Tensor]:
    """x^ = dec(denoise(noise(enc(x)))) `[batch, draws, time]` of waves `[batch, time]`, and levels `[batch, draws]`."""
    latent = prior.codec.encode(wave)
    denoised, sigma = predict(prior, latent, ask, settings, noise, progress)
    heard = prior.codec.decode(denoised.flatten(0, 1), wave).reshape(-1, settings.draws, wave.shape[-1])
    if settings.compensate:
        heard = heard + (wave - prior.codec.decode(latent, wave)).unsqueeze(1)
    return heard, sigma


def _rms(residual: Tensor) -> Tensor:
    return residual.detach().flatten(1).square().mean(dim=1).sqrt()
