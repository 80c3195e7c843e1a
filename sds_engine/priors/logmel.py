"""The prior's view of sound: log-mel frames, level taken out, and the way back to sound on a carrier's phases.

2 s at 16 kHz become 250 frames of 8 ms by 64 mel bands: fine enough in time that a shaft's amplitude modulation
(up to 62 Hz) is seen, coarse enough that two cores can train on millions of them.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from sds_engine.dsp import mel_filters

RATE = 16_000
SAMPLES = 32_000
HOP = 128
WINDOW = 512
N_FFT = 1024  # the window is padded with zeros: else the lowest mel bands hold no bin
FRAMES = SAMPLES // HOP
BANDS = 64
LOW_HZ = 50.0
RANGE_DB = 70.0  # below the sound's own level by more than this, everything is silence
_PAD = (WINDOW - HOP) // 2
_TINY = 1e-14


def filters(device: torch.device | str = "cpu") -> Tensor:
    """The mel filters `[band, bin]`, peak 1, from 50 Hz to 8 kHz."""
    return _filters(str(device))


@functools.cache
def _filters(device: str) -> Tensor:
    # Made outside inference mode whoever asks first: an inference tensor could never take part in a gradient again.
    with torch.inference_mode(mode=False):
        return mel_filters(RATE, N_FFT, BANDS, LOW_HZ).to(device)


def stft(wave: Tensor) -> Tensor:
    """The complex STFT of `[batch, time]`: `[batch, bin, frame]`; frame t is centred on sample (t + 1/2) hop."""
    padded = torch.nn.functional.pad(wave, (_PAD, _PAD))
    frames = padded.unfold(-1, WINDOW, HOP) * torch.hann_window(WINDOW, device=wave.device)  # [batch, frame, window]
    spectrum: Tensor = torch.fft.rfft(frames, n=N_FFT)
    return spectrum.transpose(-1, -2)  # [batch, bin, frame]


def istft(spectrum: Tensor) -> Tensor:
    """The least-squares inverse of `stft` (Griffin and Lim 1984, eq. 6): `[batch, bin, frame]` -> `[batch, time]`."""
    window = torch.hann_window(WINDOW, device=spectrum.device)
    frames = torch.fft.irfft(spectrum.transpose(-1, -2), n=N_FFT)[..., :WINDOW] * window  # [batch, frame, window]
    time = (frames.shape[-2] - 1) * HOP + WINDOW
    summed = _overlap_add(frames, time)
    weight = _overlap_add((window**2).expand_as(frames[:1]), time).clamp_min(1e-3)
    return (summed / weight)[:, _PAD : time - _PAD]


def _overlap_add(frames: Tensor, time: int) -> Tensor:
    """`[batch, frame, window]` -> `[batch, time]`."""
    folded = torch.nn.functional.fold(frames.transpose(-1, -2), (1, time), (1, WINDOW), stride=(1, HOP))
    return folded[:, 0, 0]


def mel_power(wave: Tensor, banks: Tensor | None = None) -> Tensor:
    """The power in mel bands `[batch, frame, band]` of `[batch, time]`; not scaled."""
    return mel_power_of(stft(wave), banks)


def mel_power_of(spectrum: Tensor, banks: Tensor | None = None) -> Tensor:
    """The same of an STFT `[batch, bin, frame]`."""
    power = spectrum.real.square() + spectrum.imag.square()
    return ((filters(spectrum.device) if banks is None else banks) @ power).transpose(-1, -2)


def relative_db(power: Tensor) -> Tensor:
    """Decibels over the sound's own mean power, never below -RANGE_DB: `[batch, frame, band]`, silence all -RANGE_DB.

    The mean is over frames and bands: gain drops out. Soft at the floor, so that a gradient survives there.
    """
    mean = power.mean(dim=(-1, -2), keepdim=True).clamp_min(_TINY)
    floor = 10.0 ** (-RANGE_DB / 10.0)
    return 10.0 * torch.log10(power / mean + floor)


def transfer(spectrum: Tensor, change_db: Tensor, banks: Tensor | None = None, most_db: float = 30.0) -> Tensor:
    """The sound `[batch, time]` of an STFT `[batch, bin, frame]`, its magnitudes changed, its phases kept.

    change_db `[batch, frame, band]`.
    Bins between the centres of two bands get the mean of their changes, weighted by the filters.
    """
    banks = filters(spectrum.device) if banks is None else banks
    share = banks / banks.sum(dim=0, keepdim=True).clamp_min(1e-6)  # [band, bin]
    change = change_db.clamp(-most_db, most_db) @ share  # [batch, frame, bin]
    return istft(spectrum * torch.exp(change.transpose(-1, -2) * (math.log(10.0) / 20.0)))


def griffin_lim(power: Tensor, iterations: int, generator: torch.Generator) -> Tensor:
    """A wave `[batch, time]` whose mel power is near `power` `[batch, frame, band]` (Griffin and Lim 1984).

    Bins get the power of their bands; phases start at random. RMS 0.05; silence stays silence.
    """
    banks = filters(power.device)
    share = banks / banks.sum(dim=1, keepdim=True)
    magnitude = (power @ share).clamp_min(0.0).sqrt().transpose(-1, -2)  # [batch, bin, frame]
    angle = torch.rand(magnitude.shape, generator=generator, device=generator.device).to(power.device) * 2.0 * torch.pi
    wave = istft(torch.polar(magnitude, angle))
    for _ in range(iterations):
        spectrum = stft(wave)
        wave = istft(magnitude * spectrum / spectrum.abs().clamp_min(1e-9))
    return 0.05 * wave / wave.square().mean(dim=-1, keepdim=True).sqrt().clamp_min(1e-9)
