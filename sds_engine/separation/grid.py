"""The grid that separation works on: the STFT of the mixture, masks on it, and mel bands.

Frames of 1024 samples, half overlapping, Hann: at 16 kHz the bins and hop of the detectors' front end, so a mask that
was made for the ear is one for the detector too.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

RATE = 16_000
N_FFT = 1024
HOP = 512
BINS = N_FFT // 2 + 1
MELS = 128
FLOOR = 1e-10  # power


@dataclass(frozen=True, slots=True)
class Separated:
    """What a separator made of mixtures: `target` + `residual` [batch, time] = mixture.

    mask [batch, band, frame] in 0..1 is on the mixture's STFT (`analyse`); target = `synthesise(mask * analyse(mix))`,
    so it never holds energy of a band and frame that the mixture has not.
    """

    target: Tensor
    residual: Tensor
    mask: Tensor


def analyse(samples: Tensor) -> Tensor:
    """The complex STFT [batch, band, frame] of sound [batch, time]; frame t is centred on sample t * HOP.

    Raises ValueError for sound that is not [batch, time], or empty.
    """
    if samples.ndim != 2 or samples.shape[1] < 1 or not samples.is_floating_point():
        raise ValueError(f"samples are {tuple(samples.shape)} {samples.dtype}, allowed is floating point [batch, time]")
    window = torch.hann_window(N_FFT, device=samples.device)
    spectrum: Tensor = torch.stft(samples.float(), N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)
    return spectrum


def synthesise(spectrum: Tensor, length: int) -> Tensor:
    """The sound [batch, length] of an STFT [batch, band, frame]; the inverse of `analyse`."""
    window = torch.hann_window(N_FFT, device=spectrum.device)
    length_padded = HOP * (spectrum.shape[-1] - 1)
    sound: Tensor = torch.istft(spectrum, N_FFT, HOP, window=window, length=max(length, length_padded))
    return sound[:, :length]


def apply_mask(samples: Tensor, mask: Tensor) -> Separated:
    """Cut mixtures [batch, time] in two by a mask [batch, band, frame] on their STFT."""
    spectrum = analyse(samples)
    if mask.shape != spectrum.shape:
        raise ValueError(f"mask is {tuple(mask.shape)}, allowed is the STFT's {tuple(spectrum.shape)}")
    mask = mask.clamp(0.0, 1.0)
    target = synthesise(spectrum * mask, samples.shape[1])
    return Separated(target, samples - target, mask)


def power(spectrum: Tensor) -> Tensor:
    """|X|^2 of an STFT, the same shape."""
    return spectrum.real.square() + spectrum.imag.square()


@functools.lru_cache(maxsize=4)
def mel_bands(device: torch.device) -> Tensor:
    """Weights [bin, mel] of triangular bands, each 1 at its peak: those of the detectors' front end at 16 kHz.

    mel = 2595 log10(1 + Hz / 700) (O'Shaughnessy, Speech Communication, 1987; HTK).
    """
    highest = 2595.0 * math.log10(1.0 + RATE / 2 / 700.0)
    mel = torch.linspace(0.0, highest, MELS + 2, dtype=torch.float64)
    edges = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bins = torch.linspace(0.0, RATE / 2, BINS, dtype=torch.float64)[:, None]
    triangles = torch.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clamp_min(0.0)
    return triangles.float().to(device)


@functools.lru_cache(maxsize=4)
def _bins_of_bands(device: torch.device) -> Tensor:
    """Weights [mel, bin], each bin's adding up to 1: from bands back to bins. Bins outside take the nearest band."""
    weights = mel_bands(device).clone()
    empty = weights.sum(1) < 1e-6
    inside = torch.nonzero(~empty).squeeze(1)
    for number in torch.nonzero(empty).squeeze(1).tolist():
        nearest = inside[(inside - number).abs().argmin()]
        weights[number] = weights[nearest]
    return (weights / weights.sum(1, keepdim=True)).T.contiguous()


def log_mel(spectrum_power: Tensor) -> Tensor:
    """Power [batch, bin, frame] to mel bands in dB [batch, mel, frame]."""
    bands = spectrum_power.transpose(1, 2) @ mel_bands(spectrum_power.device)
    return bands.clamp_min(FLOOR).log10().mul(10.0).transpose(1, 2)


def mel_to_bins(mask: Tensor) -> Tensor:
    """A mask on mel bands [batch, mel, frame] as one on the STFT's bins [batch, bin, frame], in 0..1 as it was."""
    return (mask.transpose(1, 2) @ _bins_of_bands(mask.device)).transpose(1, 2).clamp(0.0, 1.0)
