"""What the gate's judge hears: magnitudes alone, so that sound made from a log-mel picture is judged as any other.

- log-mel: 64 bands (HTK scale, as O'Shaughnessy 1987), 32 ms Hann windows every 8 ms, dB below the loudest cell's
  power, floor at -70 dB. The level of the whole sound is divided out.
- modulation: the spectrum up to 60 Hz of the envelope of 16 groups of bands (16 ms windows every 8 ms): a bearing's
  outer ring clicks evenly, an inner ring swells at shaft rate f, a ball at cage rate 0.4 f (Randall & Antoni, MSSP
  25, 2011).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

RATE = 16_000
SAMPLES = 2 * RATE
HOP = 128
MELS = 64
GROUPS = 16
FRAMES = SAMPLES // HOP
MODULATION_BINS = 120  # 0.5 to 60 Hz in steps of 0.5 Hz
_FLOOR_DB = -70.0


def check_sound(wave: Tensor) -> Tensor:
    """Sound [batch, time] float32 of RMS 1, silence stays zero. Raises ValueError for another shape or NaN."""
    if wave.ndim != 2 or wave.shape[1] != SAMPLES:
        raise ValueError(f"sound is {tuple(wave.shape)}, allowed is [batch, {SAMPLES}]: 2 s at {RATE} Hz")
    if not bool(torch.isfinite(wave).all()):
        raise ValueError("sound holds NaN or infinity: leave it out")
    wave = wave.float()
    wave = wave - wave.mean(1, keepdim=True)
    return wave / wave.square().mean(1, keepdim=True).sqrt().clamp_min(1e-8)


def hear(wave: Tensor) -> tuple[Tensor, Tensor]:
    """Sound [batch, time] of 2 s at 16 kHz -> log-mel [batch, mel, frame] in -1..0, modulation [batch, group, bin].

    Raises ValueError as `check_sound`.
    """
    wave = check_sound(wave)
    mel = _power(wave, 512) @ _mel_matrix(512)  # [batch, frame, mel]
    peak = mel.amax((1, 2), keepdim=True).clamp_min(1e-12)
    log_mel = (10.0 * torch.log10((mel / peak).clamp_min(1e-12))).clamp_min(_FLOOR_DB) / -_FLOOR_DB
    return log_mel.transpose(1, 2), _modulation(_power(wave, 256) @ _group_matrix())


def _power(wave: Tensor, n_fft: int) -> Tensor:
    """The STFT's power [batch, frame, bin] every HOP samples."""
    window = torch.hann_window(n_fft, device=wave.device)
    padded = torch.nn.functional.pad(wave, (n_fft // 2, n_fft // 2 - HOP))
    framed = padded.unfold(-1, n_fft, HOP) * window
    power: Tensor = torch.view_as_real(torch.fft.rfft(framed)).square().sum(-1) / n_fft
    return power


def _modulation(energy: Tensor) -> Tensor:
    """Energies [batch, frame, group] -> the depth of their envelopes' modulation [batch, group, bin], log-scaled."""
    amplitude = (energy + 1e-4 * energy.mean((1, 2), keepdim=True) + 1e-10).sqrt()
    relative = amplitude / amplitude.mean(1, keepdim=True) - 1.0
    window = torch.hann_window(energy.shape[1], device=energy.device)[:, None]
    depth = torch.fft.rfft(relative * window, dim=1).abs() * (4.0 / energy.shape[1])
    log_depth: Tensor = (depth[:, 1 : MODULATION_BINS + 1] + 1e-3).log10()
    return log_depth.transpose(1, 2)


@functools.lru_cache(maxsize=4)
def _mel_matrix(n_fft: int) -> Tensor:
    """Triangular bands [bin, mel] from 40 Hz to Nyquist, each of sum at least one bin."""
    low, high = (2595.0 * torch.log10(torch.tensor(1.0 + hz / 700.0, dtype=torch.float64)) for hz in (40.0, RATE / 2))
    edges = 700.0 * (10.0 ** (torch.linspace(float(low), float(high), MELS + 2, dtype=torch.float64) / 2595.0) - 1.0)
    bins = torch.linspace(0.0, RATE / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    width = RATE / n_fft  # a band narrower than a bin still takes the bins beside its centre
    left = torch.maximum(edges[1:-1] - edges[:-2], torch.tensor(width, dtype=torch.float64))
    right = torch.maximum(edges[2:] - edges[1:-1], torch.tensor(width, dtype=torch.float64))
    rise = 1.0 - (edges[1:-1] - bins) / left
    fall = 1.0 - (bins - edges[1:-1]) / right
    matrix: Tensor = torch.minimum(rise, fall).clamp(0.0, 1.0).float()
    return matrix


@functools.lru_cache(maxsize=1)
def _group_matrix() -> Tensor:
    """Sums of neighbouring mel bands [bin of 256, group]."""
    matrix = _mel_matrix(256)
    return matrix.reshape(len(matrix), GROUPS, MELS // GROUPS).sum(2)
