"""What drives a structure: tones locked to a shaft, noise, blows, and clips, made block by block.

Each drive is a pure function of the block's number, so a stream, a recording and a second reading agree to the bit,
and nothing is kept between blocks. No drive loops over samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sds_engine.physics.wander import BLOCK_S, F32, F64, Motion, block_length, generator

_TAPS, _PHASES = 8, 64


class Drive(Protocol):
    """One excitation of one part."""

    def block(self, index: int) -> F32 | None:
        """The samples `[BLOCK_S * rate]` of block `index`, or None for silence."""


def _sinc_table() -> F32:
    """Windowed-sinc interpolation `[phase, tap]`: where a blow falls between two samples, it must not move or dull."""
    taps = np.arange(_TAPS) - (_TAPS // 2 - 1)
    distance = taps[None, :] - np.arange(_PHASES)[:, None] / _PHASES
    window = np.cos(np.pi * distance / (_TAPS + 1)) ** 2
    table = np.sinc(distance) * window
    return np.asarray(table / table.sum(axis=1, keepdims=True), dtype=np.float32)


_SINC = _sinc_table()


@dataclass(frozen=True, slots=True, eq=False)
class Orbit:
    """A sound that repeats with every turn of a part turning `hz` times a second at nominal speed.

    `table` [2^k + 1] holds one turn, the last value equal to the first; all orders of the shaft come from one look-up,
    interpolated by straight lines (32 points per period of the highest order: its error is 50 dB below it).
    """

    motion: Motion
    hz: float
    table: F32
    speed_power: float = 0.0
    load_power: float = 0.0
    envelope: Orbit | None = None

    def block(self, index: int) -> F32:
        """The turn, read at the phase of every sample."""
        size = len(self.table) - 1  # a power of two, so that a mask wraps the phase
        position = self.motion.running_time(index) * (self.hz * size)
        whole = position.astype(np.int64)
        between = (position - whole).astype(np.float32)
        whole &= size - 1
        here = self.table[whole]
        sound: F32 = here + between * (self.table[whole + 1] - here)
        if self.speed_power or self.load_power:
            sound *= self.motion.gain(index, self.speed_power, self.load_power)
        if self.envelope is not None:
            sound *= self.envelope.block(index)
        return sound


def orders_table(orders: Mapping[int, float], rng: np.random.Generator) -> F32:
    """One turn `[2^k + 1]` with these amplitudes by order (whole numbers from 1) and random phases, RMS 1."""
    highest = max(orders)
    size = max(64, 2 ** int(np.ceil(np.log2(32 * highest))))
    spectrum = np.zeros(size // 2 + 1, dtype=np.complex128)
    for order, amplitude in sorted(orders.items()):
        spectrum[order] = amplitude * np.exp(2j * np.pi * rng.random())
    turn = np.fft.irfft(spectrum)
    turn /= np.sqrt(np.mean(turn**2))
    return np.append(turn, turn[0]).astype(np.float32)


def shape_table(shape: Callable[[F64], F64], size: int = 1024) -> F32:
    """One turn `[size + 1]` of shape(turn in 0..1), not scaled: an envelope for `Noise`."""
    turn = shape(np.arange(size) / size)
    return np.append(turn, turn[0]).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """White noise of RMS 1, louder or softer with speed and load, and with the turn of a part if it has an envelope.

    Uniform numbers, six times faster than normal ones: whatever response follows adds up hundreds of them, and the
    sum is normal. Each block has its own seed.
    """

    motion: Motion
    seed: int
    speed_power: float = 0.0
    load_power: float = 0.0
    envelope: Orbit | None = None

    def block(self, index: int) -> F32:
        """Fresh noise for this block."""
        noise = generator(self.seed, index).random(block_length(self.motion.rate), dtype=np.float32)
        noise -= np.float32(0.5)
        noise *= np.float32(12.0**0.5) * self.motion.gain(index, self.speed_power, self.load_power)
        if self.envelope is not None:
            noise *= self.envelope.block(index)
        return noise


@dataclass(frozen=True, slots=True, eq=False)
class Blows:
    """Impulses at `instants` (s, sorted) of `strengths`, each placed between the samples where it belongs."""

    rate: int
    instants: F64
    strengths: F64

    def block(self, index: int) -> F32 | None:
        """All blows whose interpolation reaches into this block."""
        length = block_length(self.rate)
        start = index * length
        first, last = np.searchsorted(
            self.instants, [(start - _TAPS) / self.rate, (start + length + _TAPS) / self.rate]
        )
        if first == last:
            return None
        return scatter(self.instants[first:last] * self.rate - start, self.strengths[first:last], length)


def scatter(positions: F64, strengths: F64, length: int) -> F32:
    """Band-limited impulses at fractional `positions` -> `[length]`; what falls outside is left out."""
    steps = np.round(positions * _PHASES).astype(np.int64)
    whole, phase = np.divmod(steps, _PHASES)
    where = whole[:, None] + (np.arange(_TAPS) - (_TAPS // 2 - 1))  # [blow, tap]
    value = _SINC[phase] * strengths[:, None]
    inside = (where >= 0) & (where < length)
    return np.bincount(where[inside], weights=value[inside], minlength=length).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Shower:
    """Blows at random, `per_second` on average, so many that they are drawn block by block.

    Poisson in number, even in time, exponential in strength (many small, few large); with an envelope, thinned to
    the parts of the turn where it is high, and stronger with load.
    """

    motion: Motion
    seed: int
    per_second: float
    envelope: Orbit | None = None
    load_power: float = 0.0

    def block(self, index: int) -> F32:
        """A fresh shower for this block; it does not depend on its neighbours."""
        rng = generator(self.seed, index)
        length = block_length(self.motion.rate)
        count = rng.poisson(self.per_second * BLOCK_S)
        positions = rng.random(count) * length
        strengths = rng.standard_exponential(count) * rng.choice(np.array([-1.0, 1.0]), count)
        drops = scatter(positions, strengths, length)
        if self.envelope is not None:
            drops *= self.envelope.block(index)
        if self.load_power:
            drops *= self.motion.gain(index, 0.0, self.load_power)
        return drops


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """Ready-made sounds that start at given samples: `starts`, `numbers` (which clip) and `gains`, sorted by start."""

    rate: int
    clips: Sequence[F32]
    starts: F64
    numbers: F64
    gains: F64

    def block(self, index: int) -> F32 | None:
        """The clips, or the parts of clips, that sound in this block."""
        length = block_length(self.rate)
        start = index * length
        longest = max(len(clip) for clip in self.clips)
        first, last = np.searchsorted(self.starts, [start - longest, start + length])
        if first == last:
            return None
        sound = np.zeros(length, dtype=np.float32)
        for i in range(first, last):
            clip = self.clips[int(self.numbers[i])]
            at = int(self.starts[i]) - start
            low, high = max(at, 0), min(at + len(clip), length)
            if low < high:
                sound[low:high] += np.float32(self.gains[i]) * clip[low - at : high - at]
        return sound


@dataclass(frozen=True, slots=True, eq=False)
class Faded:
    """Another drive with a gain over time: `gain` [point] at CONTROL_HZ; silent blocks are not even made."""

    motion: Motion
    drive: Drive
    gain: F64

    def block(self, index: int) -> F32 | None:
        """The drive's block times its gain."""
        ramp = self.motion.ramp(self.gain, index)
        if not ramp.any():
            return None
        sound = self.drive.block(index)
        return None if sound is None else sound * ramp.astype(np.float32)
