"""From time to frequency: STFT power, mel bands, decibels, and the spectrum of the squared envelope."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor


def stft_power(samples: Tensor, n_fft: int, hop: int) -> Tensor:
    """The power of the short-time Fourier transform: `[..., time]` -> `[..., n_fft // 2 + 1, frame]`.

    Hann window (periodic), not scaled; frame t starts at sample t * hop and nothing is padded, so there are
    1 + (time - n_fft) // hop frames and the last samples may be left over.
    Raises ValueError for sound shorter than one frame.
    """
    if samples.shape[-1] < n_fft:
        raise ValueError(f"the sound has {samples.shape[-1]} samples: one frame needs n_fft = {n_fft}")
    window = torch.hann_window(n_fft, dtype=samples.dtype, device=samples.device)
    frames = samples.unfold(-1, n_fft, hop) * window  # [..., frame, n_fft]
    spectrum: Tensor = torch.fft.rfft(frames)  # [..., frame, bin]
    return (spectrum.real.square() + spectrum.imag.square()).transpose(-1, -2)  # [..., bin, frame]


def mel_filters(rate: int, n_fft: int, n_mels: int, low_hz: float = 0.0, high_hz: float | None = None) -> Tensor:
    """Triangular mel filters `[n_mels, n_fft // 2 + 1]`, peak 1, HTK scale: mel = 2595 log10(1 + f / 700).

    Multiply from the left: `filters @ power`. `high_hz` is rate / 2 by default. Raises ValueError for an empty band
    (too many bands for so few bins), which would read as silence for ever.
    """
    from torchaudio.functional import melscale_fbanks

    high_hz = rate / 2 if high_hz is None else high_hz
    if not 0.0 <= low_hz < high_hz <= rate / 2:
        raise ValueError(f"the bands reach from {low_hz} to {high_hz} Hz: allowed is 0 <= low < high <= {rate / 2}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an empty band it warns, we raise
        banks: Tensor = melscale_fbanks(n_fft // 2 + 1, low_hz, high_hz, n_mels, rate, norm=None, mel_scale="htk")
    filters = banks.T.contiguous()  # [mel, bin]
    empty = int((filters.amax(dim=1) == 0).sum())
    if empty:
        raise ValueError(f"{empty} of {n_mels} mel bands hold no bin: use fewer bands or an n_fft above {n_fft}")
    return filters


def power_to_db(power: Tensor, floor_db: float = -120.0) -> Tensor:
    """10 log10 of a power, the same shape, never below `floor_db`; relative to power 1.0, never to the batch."""
    return 10.0 * power.clamp_min(10.0 ** (floor_db / 10.0)).log10()


def envelope_spectrum(samples: Tensor, rate: int, low_hz: float = 0.0, high_hz: float | None = None) -> Tensor:
    """The squared envelope spectrum of the band low_hz..high_hz: `[..., time]` -> `[..., time // 2 + 1]`.

    Randall and Antoni, "Rolling element bearing diagnostics - a tutorial", MSSP 25 (2011), on envelope analysis:
    band-pass by taking only those bins, analytic signal by leaving out the negative ones, squared magnitude, then the
    Fourier transform. The value at bin k (frequency k * rate / time) is the amplitude of that modulation relative to
    the mean squared envelope: 1 + m cos(2 pi f t) on the squared envelope reads m. Bin 0 is 0. Silence gives zeros.
    """
    high_hz = rate / 2 if high_hz is None else high_hz
    time = samples.shape[-1]
    frequencies = torch.arange(time // 2 + 1, device=samples.device) * (rate / time)
    inside = (frequencies > low_hz) & (frequencies < high_hz)  # without 0 Hz and Nyquist, whose weight is half
    half = torch.fft.rfft(samples) * inside  # [..., bin]
    full = torch.nn.functional.pad(half, (0, time - half.shape[-1]))  # [..., time], no negative frequencies
    analytic = 2.0 * torch.fft.ifft(full)
    squared = analytic.real.square() + analytic.imag.square()  # [..., time]
    mean = squared.mean(dim=-1, keepdim=True)
    spectrum: Tensor = torch.fft.rfft(squared - mean).abs() * (2.0 / time)
    relative: Tensor = spectrum / mean.clamp_min(torch.finfo(samples.dtype).tiny)
    return relative
