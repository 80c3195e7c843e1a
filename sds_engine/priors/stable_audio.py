"""Stable Audio Open as a prior, through diffusers: Evans et al., "Stable Audio Open", 2024 (arXiv 2407.14358).

The parts are called, not the pipeline, whose `__call__` cannot start from a sound and takes no gradient. Conversions:
the network predicts v on the circle cos(pi t / 2) h + sin(pi t / 2) e, so with z = h + sigma e

    t = 2/pi atan(sigma),   input z / sqrt(sigma^2 + 1),   D = z / (sigma^2 + 1) - sigma v / sqrt(sigma^2 + 1).

A sound shorter than the model's 47 s gets a latent as long as itself, as Audio-SDS does for its 10 s clips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sds_engine.priors.denoiser import Prior, tangent_levels
from sds_engine.priors.published import digest, find_folder, fit_length, freeze, quiet_loading

if TYPE_CHECKING:
    from diffusers import AutoencoderOobleck, StableAudioDiTModel, StableAudioPipeline

NAME = "stabilityai/stable-audio-open-1.0"


def load(
    model: str | Path = NAME,
    *,
    seconds: float = 10.0,
    rate: int = 16_000,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    download: bool = False,
) -> Prior:
    """The prior in a folder or in the hub's cache, for sounds of `seconds` at `rate` Hz.

    Raises FileNotFoundError where there is none, ValueError where it is another kind of model.
    """
    folder = find_folder(model, download=download)
    weights = digest(folder)
    with quiet_loading():
        from diffusers import StableAudioPipeline

        pipeline = StableAudioPipeline.from_pretrained(
            folder, torch_dtype=dtype, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
        )
    return from_pipeline(pipeline.to(device), seconds=seconds, rate=rate, name=str(model), digest=weights)


def from_pipeline(
    pipeline: StableAudioPipeline, *, seconds: float, rate: int = 16_000, name: str = "", digest: str = ""
) -> Prior:
    """The prior of a pipeline in memory, whose weights are frozen. Raises ValueError for what does not fit."""
    settings = pipeline.scheduler.config
    if settings.prediction_type != "v_prediction" or settings.sigma_data != 1.0:
        raise ValueError(
            f"the scheduler has prediction_type {settings.prediction_type} and sigma_data {settings.sigma_data}: "
            "Stable Audio has v_prediction and 1.0"
        )
    longest = pipeline.transformer.config.sample_size * pipeline.vae.hop_length / pipeline.vae.config.sampling_rate
    if not 0.0 < seconds <= longest:
        raise ValueError(f"sounds of {seconds} s: the model takes more than 0 and at most {longest:.2f} s")
    freeze(pipeline.vae, pipeline.text_encoder, pipeline.projection_model, pipeline.transformer)
    device = pipeline.transformer.device

    @torch.no_grad()
    def times(batch: int) -> tuple[Tensor, Tensor]:
        """Start and end of the sound, embedded: `[batch, 1, width]` each."""
        start, end = pipeline.encode_duration(0.0, seconds, device, do_classifier_free_guidance=False, batch_size=batch)
        return start, end

    @torch.no_grad()
    def embed(prompts: Sequence[str]) -> Tensor:
        """Prompts -> `[batch, token + 2, width]`: the text, then the start and the end of the sound."""
        text = pipeline.encode_prompt(list(prompts), device, do_classifier_free_guidance=False)
        return torch.cat([text, *times(len(prompts))], dim=1)

    return Prior(
        denoiser=StableAudioDenoiser(pipeline.transformer, torch.cat(times(1), dim=2), embed([""]).shape[1]),
        codec=StableAudioCodec(pipeline.vae, rate),
        embed=embed,
        rate=rate,
        seconds=seconds,
        sigma_of_t=tangent_levels,
        name=name,
        digest=digest,
    )


@dataclass(frozen=True, slots=True)
class StableAudioDenoiser:
    """D of the diffusion transformer. `duration` `[1, 1, 2 width]` is the global condition; `tokens` of a condition."""

    transformer: StableAudioDiTModel
    duration: Tensor
    tokens: int

    def __call__(self, x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        """From x `[batch, channel, frame]`, sigma `[batch]`, condition `[batch, token, width]` (None: zeros)."""
        from diffusers.models.embeddings import get_1d_rotary_pos_embed

        settings, dtype = self.transformer.config, self.transformer.dtype
        if condition is None:
            width = settings.cross_attention_input_dim
            condition = x.new_zeros(x.shape[0], self.tokens, width)
        rotary = get_1d_rotary_pos_embed(
            settings.attention_head_dim // 2,
            x.shape[2] + 1,  # the global condition stands before the frames
            use_real=True,
            repeat_interleave_real=False,
        )
        level = sigma.reshape(-1, 1, 1)
        norm = (level.square() + 1.0).sqrt()
        v = self.transformer(
            (x / norm).to(dtype),
            (torch.atan(sigma) * (2 / math.pi)).to(dtype),
            encoder_hidden_states=condition.to(dtype),
            global_hidden_states=self.duration.expand(x.shape[0], -1, -1).to(dtype),
            rotary_embedding=tuple(part.to(x.device) for part in rotary),
            return_dict=False,
        )[0].to(x.dtype)
        clean: Tensor = x / norm.square() - level * v / norm
        return clean


@dataclass(frozen=True, slots=True)
class StableAudioCodec:
    """The variational autoencoder (stereo, 44.1 kHz) around mono sound at `rate` Hz: resampled in, and out again."""

    vae: AutoencoderOobleck
    rate: int

    def encode(self, wave: Tensor) -> Tensor:
        """`[batch, time]` -> `[batch, channel, frame]`, the mode; filled up with silence to whole frames."""
        from torchaudio.functional import resample

        fine: Tensor = resample(wave, self.rate, self.vae.config.sampling_rate)
        frames = math.ceil(fine.shape[-1] / self.vae.hop_length)
        fine = fit_length(fine, frames * self.vae.hop_length)
        channels = fine.unsqueeze(1).expand(-1, self.vae.config.audio_channels, -1)  # [batch, channel, time]
        latent: Tensor = self.vae.encode(channels.to(self.vae.dtype)).latent_dist.mode()
        return latent.to(wave.dtype)

    def decode(self, latent: Tensor, carrier: Tensor) -> Tensor:
        """`[batch, channel, frame]` -> `[batch, time]`, the mean of the channels; of the carrier only the length."""
        from torchaudio.functional import resample

        channels: Tensor = self.vae.decode(latent.to(self.vae.dtype)).sample  # [batch, channel, time]
        mono = channels.mean(dim=1).to(latent.dtype)
        return fit_length(resample(mono, self.vae.config.sampling_rate, self.rate), carrier.shape[-1])
