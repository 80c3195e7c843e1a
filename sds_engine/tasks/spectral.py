"""How far two sounds are apart: spectra at several scales, and the work of carrying one spectrum to the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

WINDOWS = (2048, 512, 128)
FLOOR = 0.01  # relative to a sine of the sound's own RMS: 40 dB down nothing counts


def unit_rms(wave: Tensor) -> Tensor:
    """The sound `[..., time]` at RMS 1; silence stays silence."""
    return wave / (wave.square().mean(dim=-1, keepdim=True) + 1e-18).sqrt()


@dataclass(frozen=True, slots=True, eq=False)
class Spectra:
    """Magnitudes of a sound at RMS 1, one tensor `[batch, bin, frame]` a scale; a sine of amplitude 1 reads about 1."""

    scales: tuple[Tensor, ...]

    @classmethod
    def of(cls, wave: Tensor) -> Spectra:
        """The spectra of `[batch, time]`. Raises ValueError for sound shorter than the longest window."""
        if wave.ndim != 2 or wave.shape[-1] < max(WINDOWS):
            raise ValueError(
                f"sound of shape {tuple(wave.shape)}: give [batch, time] of {max(WINDOWS)} samples or more"
            )
        levelled = unit_rms(wave)
        scales = []
        for size in WINDOWS:
            window = torch.hann_window(size, dtype=wave.dtype, device=wave.device)
            stft = torch.stft(levelled, size, size // 2, window=window, center=False, return_complex=True)
            power = stft.real.square() + stft.imag.square()
            scales.append((power + 1e-12).sqrt() * (2.0 / float(window.sum())))
        return cls(tuple(scales))


def spectral_distance(ours: Spectra, target: Spectra) -> Tensor:
    """The distance `[batch]` of two sounds' spectra, 0 for equal sounds whatever their levels.

    Mean over scales of |S - T| / |T| (Frobenius) plus the mean of |ln(S + FLOOR) - ln(T + FLOOR)|: spectral convergence
    and log magnitude (Yamamoto, Song and Kim, "Parallel WaveGAN", ICASSP 2020, Eq. 5-7). The target may be one sound.
    """
    total = torch.zeros_like(ours.scales[0][:, 0, 0])
    for S, T in zip(ours.scales, target.scales, strict=True):
        shape = (S - T).square().sum(dim=(-1, -2)).sqrt() / T.square().sum(dim=(-1, -2)).sqrt().clamp_min(1e-9)
        total = total + shape + ((S + FLOOR).log() - (T + FLOOR).log()).abs().mean(dim=(-1, -2))
    return total / len(WINDOWS)


def transport(ours: Spectra, target: Spectra, rate: int) -> Tensor:
    """How far, in octaves, the target's spectrum must be carried to become ours: `[batch]`, mean over frames.

    The 1-Wasserstein distance of each frame's magnitudes over log frequency, by their cumulative sums (Torres, Peeters
    and Richard, "Unsupervised harmonic parameter estimation using differentiable DSP and spectral optimal transport",
    ICASSP 2024): unlike a difference of bins it has a slope where partials do not overlap. Louder frames count more.
    """
    S, T = ours.scales[0], target.scales[0]
    hz = torch.arange(S.shape[-2], device=S.device, dtype=S.dtype) * (rate / (2 * (S.shape[-2] - 1)))
    width = torch.log2(hz[2:] / hz[1:-1])[:, None]  # octaves from bin to bin, without 0 Hz
    p, q = (torch.cumsum(x[:, 1:], dim=-2) for x in (S, T))
    p, q = (x / (x[:, -1:] + 1e-6) for x in (p, q))
    work = ((p - q).abs()[:, :-1] * width).sum(dim=-2)  # [batch, frame]
    loud = T.square().sum(dim=-2).sqrt()
    return (work * loud).sum(dim=-1) / loud.sum(dim=-1).clamp_min(1e-9)
