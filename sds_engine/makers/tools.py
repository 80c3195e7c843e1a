"""Parts that makers share, differentiable and batched: blows between samples, ringing modes, pulses, convolution."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import scipy.fft
import torch
from torch import Tensor

TINY = 1e-12
_REACH = 4  # taps of interpolation on either side of a blow
_KNEE, _FULL = 0.7, 0.98  # where peaks begin to bend, and what they never reach
_LONGEST = 24.0  # contact time times frequency up to which the pulse's spectrum is tabulated
_STEPS = 3072


def to_level(wave: Tensor, level_db: Tensor) -> Tensor:
    """The sound `[batch, time]` at this RMS `[batch, 1]` in dBFS; silence stays silence."""
    rms = (wave.square().mean(dim=-1, keepdim=True) + TINY**2).sqrt()
    return wave * torch.pow(10.0, level_db / 20.0) / rms


def limited(wave: Tensor) -> Tensor:
    """Peaks over 0.7 bent by tanh so that they stay below 0.98: the slope is continuous, what is below is untouched."""
    room = _FULL - _KNEE
    over = (wave.abs() - _KNEE).clamp_min(0.0)
    return wave.clamp(-_KNEE, _KNEE) + wave.sign() * room * torch.tanh(over / room)


def place(instants: Tensor, strengths: Tensor, rate: int, samples: int) -> Tensor:
    """Blows at `instants` (s) of `strengths`, both `[batch, blow]` -> `[batch, samples]`, between the samples.

    Windowed-sinc interpolation of 8 taps, exact derivative with respect to time. What falls outside is left out.
    """
    position = instants * rate
    whole = position.detach().floor()
    taps = torch.arange(1 - _REACH, _REACH + 1, device=instants.device)  # [tap]
    distance = (taps - (position - whole)[..., None]).clamp(-_REACH, _REACH)  # [batch, blow, tap]
    value = torch.sinc(distance) * torch.cos(math.pi / (2 * _REACH + 1) * distance).square() * strengths[..., None]
    where = whole.long()[..., None] + taps
    inside = (where >= 0) & (where < samples)
    train = torch.zeros(*instants.shape[:-1], samples, dtype=value.dtype, device=value.device)
    return train.scatter_add(
        -1, where.clamp(0, samples - 1).flatten(-2), (value * inside).flatten(-2)
    )  # [batch, samples]


def ringing(hz: Tensor, zeta: Tensor, gains: Tensor, rate: int, taps: int) -> Tensor:
    """Modes `[batch, mode]` -> sum a exp(-2 pi zeta f t) sin(2 pi f t), `[batch, taps]`.

    Meirovitch, Fundamentals of Vibrations; as `physics.modes.damped_modes`. Time is split into t = i T + j / rate, so
    exp(s t) is a product and the sum over modes one matrix product. Modes fade out towards Nyquist instead of folding.
    """
    inner = 2 ** round(math.log2(max(2.0, math.sqrt(taps))))
    outer = -(-taps // inner)
    gains = gains * below(hz, 0.47 * rate, 0.01 * rate)
    decay = 2.0 * math.pi * zeta * hz
    first, first_turn = _exponent(decay, hz, torch.arange(outer, device=hz.device) * (inner / rate))
    second, second_turn = _exponent(decay, hz, torch.arange(inner, device=hz.device) / rate)
    first = first * gains[..., None]  # [batch, mode, outer]
    left = torch.cat([first * torch.sin(first_turn), first * torch.cos(first_turn)], dim=-2)
    right = torch.cat([second * torch.cos(second_turn), second * torch.sin(second_turn)], dim=-2)
    return (left.transpose(-1, -2) @ right).flatten(-2)[..., :taps]  # [batch, taps]


def _exponent(decay: Tensor, hz: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-decay t) and 2 pi (hz t mod 1), `[batch, mode, time]`; turns are counted in float64."""
    turns = hz.double()[..., None] * t.double()
    angle = (2.0 * math.pi * (turns - turns.detach().floor())).to(hz.dtype)
    return torch.exp(-decay[..., None] * t.to(hz.dtype)), angle


def below(value: Tensor, edge: float, soft: float) -> Tensor:
    """1 well below `edge`, 0 above, over about `soft` on either side."""
    return torch.sigmoid((edge - value) * (4.0 / soft))


@functools.cache
def _pulse_table() -> Tensor:
    """The spectrum of a centred pulse cos^1.5(pi t), length 1 and sum 1, at frequencies to _LONGEST `[_STEPS + 1]`."""
    t = (np.arange(4096) + 0.5) / 4096 - 0.5
    force = np.cos(np.pi * t) ** 1.5
    x = np.linspace(0.0, _LONGEST, _STEPS + 1)
    return torch.from_numpy(np.cos(2.0 * np.pi * x[:, None] * t) @ (force / force.sum()))


def pulse_spectrum(contact_s: Tensor, hz: Tensor) -> Tensor:
    """The spectrum of a Hertz contact's force, sin^1.5 over `contact_s` `[batch, 1]`: at `hz` `[bin]`, `[batch, bin]`.

    After Johnson, Contact Mechanics, 1985, section 11.4; 1 at 0 Hz; real, since the pulse is centred on the blow.
    Read from a table by straight lines (its error is below 1e-4).
    """
    x = (contact_s * hz).clamp_max(_LONGEST - 1e-3) * (_STEPS / _LONGEST)
    whole = x.detach().floor()
    table = _pulse_table().to(device=hz.device, dtype=contact_s.dtype)
    left, right = table[whole.long()], table[whole.long() + 1]
    return left + (right - left) * (x - whole)


def steady_turns(hz: Tensor, rate: int, samples: int) -> Tensor:
    """Turns so far at `hz` `[...]`, less whole ones at blocks' starts: `[..., samples]`, from 0.

    Whole turns are taken off in float64 every 256 samples: float32 would be a thousandth of a turn wrong after 10,000.
    """
    block = 256
    count = -(-samples // block)
    starts = torch.arange(count, device=hz.device, dtype=torch.float64) * (block / rate)
    coarse = hz.double()[..., None] * starts
    coarse = (coarse - coarse.detach().floor()).to(hz.dtype)  # [..., block]
    fine = hz[..., None] * (torch.arange(block, device=hz.device, dtype=hz.dtype) / rate)
    return (coarse[..., :, None] + fine[..., None, :]).flatten(-2)[..., :samples]


def one_turn(orders: Tensor, amplitudes: Tensor, start_turns: Tensor, size: int = 4096) -> Tensor:
    """One turn `[batch, size + 1]` of sum a sin(2 pi (order u + start)), all `[batch, tone]`; ends as it begins."""
    u = torch.arange(size + 1, device=orders.device, dtype=orders.dtype) / size
    angle = 2.0 * math.pi * (orders[..., None] * u + start_turns[..., None])
    return (amplitudes[..., None] * torch.sin(angle)).sum(dim=-2)


def orbit(table: Tensor, turns: Tensor) -> Tensor:
    """The table `[batch, size + 1]` read by straight lines at the phase of `turns` `[batch, time]`."""
    size = table.shape[-1] - 1
    position = turns * size
    whole = position.detach().floor()
    index = whole.long() % size
    left, right = table.gather(-1, index), table.gather(-1, index + 1)
    return left + (right - left) * (position - whole)


def transform_length(samples: int) -> int:
    """The next length from `samples` that transforms quickly and is even."""
    return 2 * int(scipy.fft.next_fast_len((samples + 1) // 2, real=True))


def bins(length: int, rate: int, like: Tensor) -> Tensor:
    """The frequencies in Hz of the bins of a transform of that length, on the device of `like`."""
    return torch.arange(length // 2 + 1, device=like.device, dtype=like.dtype) * (rate / length)


def convolve(sound: Tensor, response: Tensor, rate: int, contact_s: Tensor | None = None) -> Tensor:
    """The linear convolution `[batch, time]` * `[batch, taps]`, cut to the sound's length.

    With `contact_s` also with a Hertz pulse of that length.
    """
    length = transform_length(sound.shape[-1] + response.shape[-1])
    spectrum = torch.fft.rfft(sound, length) * torch.fft.rfft(response, length)
    if contact_s is not None:
        spectrum = spectrum * pulse_spectrum(contact_s, bins(length, rate, sound))
    wave: Tensor = torch.fft.irfft(spectrum, length)
    return wave[..., : sound.shape[-1]]


def shaped(noise: Tensor, magnitude: Tensor) -> Tensor:
    """Noise `[batch, time]` with each bin's amplitude times `magnitude` `[batch, time // 2 + 1]` (circular)."""
    wave: Tensor = torch.fft.irfft(torch.fft.rfft(noise) * magnitude, noise.shape[-1])
    return wave


def share(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Sounds `[batch, time]`, each first brought to RMS 1, added with gains `[batch, 1]`."""
    return torch.stack([to_level(wave, torch.zeros_like(gain)) * gain for wave, gain in parts]).sum(dim=0)


def db(value: Tensor) -> Tensor:
    """The amplitude factor of so many dB."""
    return torch.pow(10.0, value / 20.0)
