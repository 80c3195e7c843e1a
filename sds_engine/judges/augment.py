"""What happens to sound on its way to a judge: another speed, colour, noise, and the loss of its phase.

A prior that draws log-mel pictures gives sound whose phase is made up (Griffin & Lim, IEEE TASSP 32, 1984), so the
judge learns from such sound too. Everything is drawn from the generator that is handed in.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

F32 = NDArray[np.float32]


def at_speed(wave: F32, ratio: float, samples: int) -> F32:
    """The first `samples` of the sound played `ratio` times as fast; pitch and tempo move together."""
    if ratio == 1.0:
        return wave[:samples]
    needed = int(samples * ratio) + 200
    return np.asarray(soxr.resample(wave[:needed], ratio, 1.0, quality="LQ"), dtype=np.float32)[:samples]


def coloured(wave: F32, rng: np.random.Generator, tilt_db: float = 2.0, ripple_db: float = 4.0) -> F32:
    """A microphone and path of another colour: dB per octave of tilt, and ripple between seven places."""
    spectrum = scipy.fft.rfft(wave)
    octave = np.log2(np.maximum(np.arange(len(spectrum)), 1) / len(spectrum) * 8.0)  # 0 at 1 kHz
    places = np.linspace(-5.0, 3.0, 7)
    shape = np.interp(octave, places, ripple_db * rng.standard_normal(7)) + tilt_db * rng.standard_normal() * octave
    gain = 10.0 ** (np.clip(shape, -40.0, 30.0) / 20.0)
    return np.asarray(scipy.fft.irfft(spectrum * gain.astype(np.float32), len(wave)), dtype=np.float32)


def noisy(wave: F32, snr_db: float, rng: np.random.Generator) -> F32:
    """With coloured noise of that level below it; the spectrum falls by 0 to 9 dB an octave."""
    noise = scipy.fft.rfft(rng.standard_normal(len(wave)).astype(np.float32))
    noise *= np.maximum(np.arange(len(noise)), 20).astype(np.float32) ** np.float32(-rng.uniform(0.0, 1.5))
    sound = scipy.fft.irfft(noise, len(wave))
    share = 10.0 ** (-snr_db / 20.0) * np.std(wave) / max(float(np.std(sound)), 1e-12)
    return np.asarray(wave + np.float32(share) * sound, dtype=np.float32)


def rephased(wave: Tensor, generator: torch.Generator, steps: int, bands: int) -> Tensor:
    """Sound [batch, time] rebuilt from magnitudes alone: smeared over `bands` mel-like bands, then Griffin-Lim.

    `steps` 0 leaves the phase random; `bands` 0 keeps every bin of the 512-point STFT.
    """
    window = torch.hann_window(512)
    magnitude = torch.stft(wave, 512, 128, window=window, return_complex=True).abs()
    if bands:
        matrix = _bands(bands)
        magnitude = (matrix.T @ (matrix @ magnitude.square())).clamp_min(0.0).sqrt()
    angle = 2.0 * torch.pi * torch.rand(magnitude.shape, generator=generator)
    spectrum = torch.polar(magnitude, angle)
    for _ in range(steps):
        sound = torch.istft(spectrum, 512, 128, window=window, length=wave.shape[1])
        spectrum = torch.stft(sound, 512, 128, window=window, return_complex=True)
        spectrum = magnitude * spectrum / spectrum.abs().clamp_min(1e-9)
    return torch.istft(spectrum, 512, 128, window=window, length=wave.shape[1])


def _bands(count: int) -> Tensor:
    """An orthonormal-like averaging over bands [band, bin] that widen with frequency, as mel bands do."""
    hz = torch.linspace(0.0, 8000.0, 257)
    mel = torch.log1p(hz / 700.0)
    number = (mel / mel[-1] * count).long().clamp_max(count - 1)
    matrix = torch.nn.functional.one_hot(number, count).T.float()
    return matrix / matrix.sum(1, keepdim=True).clamp_min(1.0).sqrt()
