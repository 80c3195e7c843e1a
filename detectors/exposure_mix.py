"""Fault sounds mixed into healthy contexts, at known levels: what outlier exposure and level curves are made of.

The level of a fault is its RMS over that of the healthy context that it is mixed into, machine and background together,
in dB: of all that the microphone hears, that is what can be measured at any site. Where the background is louder than
the machine, the level against the machine alone is higher by as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from detectors.aggregate import cut, join
from detectors.base import Evidence
from detectors.frontend import FrontEnd
from detectors.recordings import Chosen, Clip, stack

FADE_S = 0.02  # where a short sound is repeated
_TINY = 1e-9
_BATCH = 16  # contexts heard at a time


@dataclass(frozen=True, slots=True, eq=False)
class FaultSound:
    """What a fault adds: `wave` [time] at any level, repeated where it is shorter than the context.

    With `band_hz` instead nothing is added from outside: the healthy sound's own band gets louder by as much.
    """

    kind: str
    wave: Tensor
    band_hz: tuple[float, float] | None = None

    def part(self, healthy: Tensor, rate: int, rng: np.random.Generator) -> Tensor:
        """What is added to a healthy context [time], at the healthy RMS. Silence for a wave of nothing."""
        if self.band_hz is not None:
            wave = _band(healthy, rate, self.band_hz)
        else:
            wave = _repeated(self.wave.to(healthy), len(healthy), round(FADE_S * rate), rng)
        return wave * (_rms(healthy) / max(_rms(wave), _TINY)) if _rms(wave) > _TINY else torch.zeros_like(healthy)


@dataclass(frozen=True, slots=True)
class Exposed:
    """Healthy contexts with a fault in each: what they sound like, and the rows that were mixed [batch].

    group: the recording that it was mixed into, numbered as the healthy contexts are; sound: which fault sound;
    level_db over the healthy context.
    """

    evidence: Evidence
    group: Tensor
    sound: Tensor
    level_db: Tensor


@dataclass(frozen=True, slots=True)
class Doses:
    """How many contexts are exposed, and at levels drawn evenly from low_db to high_db."""

    count: int = 192
    low_db: float = -12.0
    high_db: float = 6.0
    seed: int = 0


def expose(
    clips: Sequence[Clip], chosen: Chosen, sounds: Sequence[FaultSound], front_end: FrontEnd, size: int, doses: Doses
) -> Exposed:
    """Mix the sounds in turn into contexts drawn in turn, each at a level drawn for it; heard with the waveform.

    `size` is samples per window. Raises ValueError for no sounds.
    """
    if not sounds:
        raise ValueError("0 fault sounds, at least 1 is needed")
    rng = np.random.default_rng([doses.seed, 71])
    turns = -(-doses.count // len(chosen.spans))
    spans = np.concatenate([rng.permutation(len(chosen.spans)) for _ in range(turns)])[: doses.count].tolist()
    levels = rng.uniform(doses.low_db, doses.high_db, doses.count)
    order = [number % len(sounds) for number in range(doses.count)]
    mixed = []
    for place, number, level_db in zip(spans, order, levels, strict=True):
        span = chosen.spans[place]
        healthy = clips[span.clip].samples[span.first * size : span.last * size]
        mixed.append(mix(healthy, sounds[number].part(healthy, front_end.rate, rng), float(level_db)))
    return Exposed(
        heard(mixed, front_end, size),
        torch.tensor([chosen.spans[place].group for place in spans]),
        torch.tensor(order),
        torch.from_numpy(levels),
    )


def mix(healthy: Tensor, part: Tensor, level_db: float) -> Tensor:
    """A healthy context [time] with a part of the same RMS added at that level, inside full scale."""
    mixed: Tensor = healthy + part * 10.0 ** (level_db / 20.0)
    return mixed.clamp(-1.0, 1.0)


def heard(contexts: Sequence[Tensor], front_end: FrontEnd, size: int) -> Evidence:
    """The evidence of contexts [time] of one length in whole windows, with their waveforms' values."""
    found = []
    for start in range(0, len(contexts), _BATCH):
        some = [cut(context, size) for context in contexts[start : start + _BATCH]]
        features = front_end(torch.cat(some), waveform=True)
        each = len(some[0])
        rows = [[features.row(number * each + k) for k in range(each)] for number in range(len(some))]
        found.append(join(rows))
    return stack(found)


def _rms(wave: Tensor) -> float:
    return float(wave.double().square().mean().sqrt()) if len(wave) else 0.0


def _repeated(wave: Tensor, length: int, fade: int, rng: np.random.Generator) -> Tensor:
    """The wave from a random place on, its copies cross-faded, `length` samples."""
    if len(wave) == 0:
        return wave.new_zeros(length)
    wave = wave.roll(int(rng.integers(len(wave)))) if len(wave) >= length else wave
    if len(wave) >= length:
        return wave[:length]
    fade = min(fade, len(wave) // 4)
    step = len(wave) - fade
    ramp = torch.linspace(0.0, 1.0, fade).to(wave)
    shaped = wave.clone()
    if fade:
        shaped[:fade] *= ramp
        shaped[-fade:] *= 1.0 - ramp
    copies = -(-length // step) + 2
    joined = wave.new_zeros(step * copies + fade)
    for number in range(copies):
        joined[number * step : number * step + len(wave)] += shaped
    start = fade + int(rng.integers(step))
    return joined[start : start + length]


def _band(healthy: Tensor, rate: int, band_hz: tuple[float, float]) -> Tensor:
    spectrum = torch.fft.rfft(healthy)
    hz = torch.fft.rfftfreq(len(healthy), 1.0 / rate)
    inside = (hz >= band_hz[0]) & (hz < band_hz[1])
    part: Tensor = torch.fft.irfft(spectrum * inside, len(healthy))
    return part
