"""Stand-ins for faults, and variety: what makes of one healthy recording many sounds, some of them faulty.

A separator that has only heard healthy targets takes a fault for background and removes it. So a share of the targets
carries a random change, none of them a model of a real fault: tilts, gains of bands, modulation and blows.
Everything is drawn from a generator that is handed in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from sds_engine.separation.grid import BINS, RATE


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator) * (high - low) + low


def random_gains(batch: int, generator: torch.Generator, *, tilt_db: float = 6.0, bump_db: float = 12.0) -> Tensor:
    """Amplitude gains of bins [batch, bin]: a tilt over frequency and three bumps, in dB, of random place and width."""
    octave = torch.log2(torch.arange(BINS).clamp_min(4) / 4.0)  # [bin], 0 at 62 Hz, 7 at 8 kHz
    along = octave / octave[-1]
    gain = _uniform(generator, -tilt_db, tilt_db, batch, 1) * (2.0 * along - 1.0)
    for _ in range(3):
        centre = _uniform(generator, 0.0, 7.0, batch, 1)
        width = _uniform(generator, 0.05, 1.0, batch, 1)
        height = _uniform(generator, -bump_db, bump_db, batch, 1)
        gain = gain + height * torch.exp(-0.5 * ((octave - centre) / width) ** 2)
    return 10.0 ** (gain / 20.0)


def unrest(batch: int, frames: int, generator: torch.Generator, *, spread_db: float = 2.5) -> Tensor:
    """Amplitude gains [batch, bin, frame] of a machine that does not run quite as it did when it was recorded.

    A slow random field over twelve places on a scale of octaves and one point in 0.8 s, and
    a profile over 40 places that stays for the whole of an example. On real fans bands differ by 1.5 to 5 dB between
    recordings, and by 1.5 to 2 dB between halves of seconds.
    """
    stays = torch.randn(batch, 1, 40, 1, generator=generator) * spread_db
    moves = torch.randn(batch, 1, 12, max(2, frames // 25), generator=generator) * 0.8 * spread_db
    stays, moves = (
        functional.interpolate(field, size=(BINS, frames), mode="bilinear", align_corners=True)[:, 0]
        for field in (stays, moves)
    )
    place = torch.log2(1.0 + torch.arange(BINS) / 16.0)  # linear below 250 Hz, octaves above
    nearest = (place / place[-1] * (BINS - 1)).round().long()
    gains: Tensor = 10.0 ** ((stays + moves)[:, nearest] / 20.0)
    return gains


def modulated(sound: Tensor, generator: torch.Generator) -> Tensor:
    """Sound [batch, time] with its amplitude modulated at 0.5 to 30 Hz, a fifth to all of it."""
    batch, time = sound.shape
    rate_hz = 0.5 * 60.0 ** torch.rand(batch, 1, generator=generator)
    depth = _uniform(generator, 0.2, 1.0, batch, 1)
    phase = _uniform(generator, 0.0, 2.0 * math.pi, batch, 1)
    wave = torch.cos(2.0 * math.pi * rate_hz * torch.arange(time) / RATE + phase)
    return sound * (1.0 + depth * wave) / (1.0 + depth)


def blows(sound: Tensor, generator: torch.Generator) -> Tensor:
    """Blows to add [batch, time]: trains of 0.7 to 40 a second, each a damped ring, -15 to +6 dB of the sound's RMS."""
    batch, time = sound.shape
    period = RATE / (0.7 * 57.0 ** torch.rand(batch, 1, generator=generator))
    at = torch.arange(time)
    turn = (at + _uniform(generator, 0.0, 1.0, batch, 1) * period) / period
    start = torch.diff(turn.floor(), dim=1, prepend=turn[:, :1].floor())  # 1 where a blow falls
    strength = start * _uniform(generator, 0.5, 1.5, batch, time)
    taps = torch.arange(1600) / RATE
    hz = 200.0 * 35.0 ** torch.rand(batch, 1, generator=generator)
    decay = 10.0 ** _uniform(generator, 1.5, 3.0, batch, 1)
    ring = torch.exp(-decay * taps) * torch.sin(2.0 * math.pi * hz * taps)
    size = time + 1600
    train: Tensor = torch.fft.irfft(torch.fft.rfft(strength, size) * torch.fft.rfft(ring, size), size)[:, :time]
    level = 10.0 ** (_uniform(generator, -15.0, 6.0, batch, 1) / 20.0)
    rms = sound.square().mean(1, keepdim=True).sqrt()
    unit: Tensor = train / train.square().mean(1, keepdim=True).sqrt().clamp_min(1e-9)
    return unit * rms * level


def with_stand_ins(sound: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A `share` of the sounds [batch, time] changed: the sounds, and gains of bins [batch, bin] still to be applied.

    A changed sound gets gains, modulation and blows, each with probability one half.
    """
    batch = len(sound)
    chosen = torch.rand(batch, generator=generator) < share
    kinds = (torch.rand(3, batch, generator=generator) < 0.5) & chosen  # [kind, batch]
    gains = torch.where(kinds[0][:, None], random_gains(batch, generator), 1.0)
    changed = sound.clone()
    for kind, change in ((kinds[1], modulated), (kinds[2], _with_blows)):
        rows = torch.nonzero(kind).squeeze(1)
        if len(rows):
            changed[rows] = change(changed[rows], generator)
    return changed, gains


def _with_blows(sound: Tensor, generator: torch.Generator) -> Tensor:
    return sound + blows(sound, generator)
