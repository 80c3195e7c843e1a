"""AudioLDM 2 as a prior, through diffusers: Liu et al., "AudioLDM 2", IEEE/ACM TASLP 2024 (arXiv 2308.05734).

Its latents are those of a variational autoencoder on log-mel spectrograms (16 kHz, 64 bands, hop 160), its sound comes
from a HiFi-GAN vocoder. It is variance preserving: y = sqrt(a) h + sqrt(1 - a) e, a the scheduler's alphas_cumprod.
With z = y / sqrt(a) = h + sigma e that is

    sigma = sqrt((1 - a) / a),   input z / sqrt(1 + sigma^2),   D = z - sigma e^,

and the network's time follows from sigma by interpolating log sigma between the scheduler's own levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sds_engine.priors.denoiser import Prior
from sds_engine.priors.published import digest, find_folder, fit_length, freeze, quiet_loading

if TYPE_CHECKING:
    from diffusers import AudioLDM2Pipeline, AudioLDM2UNet2DConditionModel, AutoencoderKL
    from transformers import SpeechT5HifiGan

NAME = "cvssp/audioldm2"
N_FFT, HOP, LOWEST_HZ, HIGHEST_HZ, FLOOR = 1024, 160, 0.0, 8000.0, 1e-5
NEW_TOKENS = 8  # that the language model adds, where the model's folder does not say
TOKENS = 128  # of the second text encoder; a condition is one tensor, whatever the prompt's length


def load(
    model: str | Path = NAME,
    *,
    seconds: float = 10.0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    download: bool = False,
) -> Prior:
    """The prior in a folder or in the hub's cache, for sounds of `seconds` at the model's own rate (16 kHz).

    Raises FileNotFoundError where there is none, ValueError where it is another kind of model.
    """
    folder = find_folder(model, download=download)
    weights = digest(folder)
    with quiet_loading():
        from diffusers import AudioLDM2Pipeline

        pipeline = AudioLDM2Pipeline.from_pretrained(
            folder, torch_dtype=dtype, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
        )
    return from_pipeline(pipeline.to(device), seconds=seconds, name=str(model), digest=weights)


def from_pipeline(pipeline: AudioLDM2Pipeline, *, seconds: float, name: str = "", digest: str = "") -> Prior:
    """The prior of a pipeline in memory, whose weights are frozen. Raises ValueError for what does not fit."""
    kind = pipeline.scheduler.config.prediction_type
    if kind not in {"epsilon", "v_prediction"}:
        raise ValueError(f"the scheduler has prediction_type {kind}: allowed is epsilon or v_prediction")
    if not seconds > 0.0:
        raise ValueError(f"sounds of {seconds} s: allowed is more than 0")
    freeze(pipeline.vae, pipeline.unet, pipeline.vocoder, pipeline.text_encoder, pipeline.text_encoder_2)
    freeze(pipeline.projection_model, pipeline.language_model)
    embed = _embedder(pipeline)
    levels = Levels.of_scheduler(pipeline.scheduler.alphas_cumprod, pipeline.unet.device)
    return Prior(
        denoiser=AudioLdm2Denoiser(pipeline.unet, levels, embed([""]), _sizes(pipeline), kind == "v_prediction"),
        codec=AudioLdm2Codec(pipeline.vae, pipeline.vocoder, pipeline.vae_scale_factor),
        embed=embed,
        rate=pipeline.vocoder.config.sampling_rate,
        seconds=seconds,
        sigma_of_t=levels.sigma_of_t,
        name=name,
        digest=digest,
    )


@dataclass(frozen=True, slots=True)
class Levels:
    """The scheduler's noise levels as log sigma `[step]`, rising, float64."""

    logs: Tensor

    @classmethod
    def of_scheduler(cls, alphas_cumprod: Tensor, device: torch.device | str = "cpu") -> Levels:
        """From the products of alphas `[step]`, falling."""
        a = alphas_cumprod.double().to(device)
        return cls(0.5 * ((1.0 - a) / a).log())

    def sigma_of_t(self, t: Tensor) -> Tensor:
        """The level at t in [0, 1] of the way through the scheduler's steps."""
        place = (t.double() * (len(self.logs) - 1)).clamp(0.0, len(self.logs) - 1.0)
        low = place.floor().long().clamp_max(len(self.logs) - 2)
        logs = self.logs.to(t.device)
        return torch.exp(logs[low] + (place - low) * (logs[low + 1] - logs[low])).to(t.dtype)

    def step_of_sigma(self, sigma: Tensor) -> Tensor:
        """The network's time for levels `[batch]`; between two steps a fraction, beyond the ends the ends."""
        wanted = sigma.double().log().clamp(self.logs[0], self.logs[-1])
        low = (torch.searchsorted(self.logs, wanted, right=True) - 1).clamp(0, len(self.logs) - 2)
        step: Tensor = low + (wanted - self.logs[low]) / (self.logs[low + 1] - self.logs[low])
        return step


@dataclass(frozen=True, slots=True)
class AudioLdm2Denoiser:
    """D of the U-Net. `null` `[1, feature]` is the empty prompt; `sizes` say how a condition is unpacked."""

    unet: AudioLDM2UNet2DConditionModel
    levels: Levels
    null: Tensor
    sizes: tuple[int, int]
    predicts_v: bool = False

    def __call__(self, x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        """From x `[batch, channel, frame, band]`, sigma `[batch]`, condition `[batch, feature]` (None: no words)."""
        rows = self.null.expand(x.shape[0], -1) if condition is None else condition
        generated, words, mask = unpack(rows, *self.sizes)
        level = sigma.reshape(-1, 1, 1, 1)
        norm = (1.0 + level.square()).sqrt()
        dtype = self.unet.dtype
        answer = self.unet(
            (x / norm).to(dtype),
            self.levels.step_of_sigma(sigma).float(),  # half precision cannot count to 999.5
            encoder_hidden_states=generated.to(dtype),
            encoder_hidden_states_1=words.to(dtype),
            encoder_attention_mask_1=mask.to(dtype),
            return_dict=False,
        )[0].to(x.dtype)
        clean: Tensor = x / norm.square() - level * answer / norm if self.predicts_v else x - level * answer
        return clean


@dataclass(frozen=True, slots=True)
class AudioLdm2Codec:
    """Log-mel and its autoencoder on the way in, the vocoder on the way out. The carrier lends its length alone."""

    vae: AutoencoderKL
    vocoder: SpeechT5HifiGan
    factor: int  # frames and bands of the spectrogram for one of the latent

    def encode(self, wave: Tensor) -> Tensor:
        """`[batch, time]` at the vocoder's rate -> `[batch, channel, frame, band]`, the mode, scaled."""
        mel = log_mel(wave, self.vocoder.config.sampling_rate, self.vocoder.config.model_in_dim)  # [batch, frame, band]
        frames = -(-mel.shape[1] // self.factor) * self.factor
        full = torch.nn.functional.pad(mel, (0, 0, 0, frames - mel.shape[1]), value=math.log(FLOOR))
        latent: Tensor = self.vae.encode(full.unsqueeze(1).to(self.vae.dtype)).latent_dist.mode()
        scale: float = self.vae.config.scaling_factor
        return latent.to(wave.dtype) * scale

    def decode(self, latent: Tensor, carrier: Tensor) -> Tensor:
        """`[batch, channel, frame, band]` -> `[batch, time]`, as long as the carrier."""
        mel = self.vae.decode((latent / self.vae.config.scaling_factor).to(self.vae.dtype)).sample  # [batch, 1, ...]
        wave: Tensor = self.vocoder(mel.squeeze(1)).reshape(latent.shape[0], -1)
        return fit_length(wave.to(latent.dtype), carrier.shape[-1])


def log_mel(wave: Tensor, rate: int, bands: int) -> Tensor:
    """Natural logarithm of mel magnitudes: `[batch, time]` -> `[batch, frame, band]`, as AudioLDM was trained on them.

    Hann window of 1024, hop 160, mirrored by 432 samples at the ends, Slaney's mel bands of 0 to 8000 Hz and of equal
    area, floor 1e-5. Raises ValueError for sound shorter than the mirrored part.
    """
    from torchaudio.functional import melscale_fbanks

    edge = (N_FFT - HOP) // 2
    if wave.shape[-1] <= edge:
        raise ValueError(f"the sound has {wave.shape[-1]} samples: at least {edge + 1} are needed")
    padded = torch.nn.functional.pad(wave.unsqueeze(1), (edge, edge), mode="reflect").squeeze(1)
    window = torch.hann_window(N_FFT, dtype=wave.dtype, device=wave.device)
    spectrum = torch.stft(padded, N_FFT, HOP, window=window, center=False, return_complex=True).abs()
    highest = min(HIGHEST_HZ, rate / 2)
    banks = melscale_fbanks(N_FFT // 2 + 1, LOWEST_HZ, highest, bands, rate, norm="slaney", mel_scale="slaney")
    mel: Tensor = spectrum.transpose(1, 2) @ banks.to(spectrum)
    return mel.clamp_min(FLOOR).log()


def pack(generated: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    """Three conditions as one `[batch, feature]`: `[batch, 8, a]`, `[batch, token, b]` and `[batch, token]`.

    Words are filled up, or cut, to TOKENS tokens; what is filled up is masked.
    """
    words = words[:, :TOKENS]
    words = torch.nn.functional.pad(words, (0, 0, 0, TOKENS - words.shape[1]))
    mask = fit_length(mask.to(words), TOKENS)
    return torch.cat([generated.flatten(1).to(words), words.flatten(1), mask], dim=1)


def unpack(packed: Tensor, generated_width: int, words_width: int) -> tuple[Tensor, Tensor, Tensor]:
    """What `pack` packed."""
    words_end = packed.shape[1] - TOKENS
    words_start = words_end - TOKENS * words_width
    return (
        packed[:, :words_start].reshape(packed.shape[0], -1, generated_width),
        packed[:, words_start:words_end].reshape(packed.shape[0], TOKENS, words_width),
        packed[:, words_end:],
    )


def _sizes(pipeline: AudioLDM2Pipeline) -> tuple[int, int]:
    return pipeline.language_model.config.n_embd, pipeline.text_encoder_2.config.d_model


def _embedder(pipeline: AudioLDM2Pipeline) -> Callable[[Sequence[str]], Tensor]:
    """Prompts -> `[batch, feature]`, one at a time: a prompt's condition never depends on the prompts beside it."""
    model = pipeline.language_model
    count = getattr(model.config, "max_new_tokens", None) or model.generation_config.max_new_tokens or NEW_TOKENS

    @torch.no_grad()
    def embed(prompts: Sequence[str]) -> Tensor:
        rows = []
        for prompt in prompts:
            words, mask, generated = pipeline.encode_prompt(
                prompt,
                pipeline.unet.device,
                num_waveforms_per_prompt=1,
                do_classifier_free_guidance=False,
                max_new_tokens=count,
            )
            rows.append(pack(generated, words, mask))
        return torch.cat(rows)

    return embed
