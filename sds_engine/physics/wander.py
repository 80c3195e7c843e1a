"""How a machine's speed and load wander: what makes one machine's recordings differ from each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.typing import NDArray

CONTROL_HZ = 50  # slow things are computed this often and joined by straight lines
BLOCK_S = 2  # everything is made in blocks of this many seconds, which are counted from 0

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def block_length(rate: int) -> int:
    """Samples in a block. Raises ValueError for a rate that the control rate does not divide."""
    if rate < 1000 or rate % CONTROL_HZ:
        raise ValueError(
            f"rate is {rate} Hz, allowed is a multiple of {CONTROL_HZ} Hz from 1000 Hz: resample afterwards"
        )
    return BLOCK_S * rate


def blocks_in(seconds: float) -> int:
    """How many blocks cover that many seconds."""
    return math.ceil(seconds / BLOCK_S - 1e-9)


def generator(*seed: int) -> np.random.Generator:
    """The random numbers that belong to these seeds and to nothing else: one per item, so order never matters."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed)))


def ornstein_uhlenbeck(count: int, step_s: float, tau_s: float, deviation: float, rng: np.random.Generator) -> F64:
    """A stationary Ornstein-Uhlenbeck process `[count]` of mean 0: exact at its points for any step.

    x_(i+1) = a x_i + deviation sqrt(1 - a^2) N(0, 1), a = exp(-step / tau) (Gillespie, Phys. Rev. E 54 (1996) 2084).
    It starts from its stationary law, so any excerpt is as likely as any other: a recording of ten seconds and a
    stretch of a stream come from one distribution.
    """
    a = math.exp(-step_s / tau_s)
    noise = rng.standard_normal(count) * (deviation * math.sqrt(1.0 - a * a))
    noise[0] = deviation * rng.standard_normal()
    wander: F64 = scipy.signal.lfilter([1.0], [1.0, -a], noise)
    return wander


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """The speed and load of one machine over time, at CONTROL_HZ, relative to nominal.

    speed, load [point], theta [point]: the running time in s that the shaft would have needed at nominal speed, so a
    part that turns f times a second has made f * theta turns. Phases are accumulated in float64.
    """

    rate: int
    speed: F64
    load: F64
    theta: F64

    def unmoved(self) -> Motion:
        """As long, at nominal speed and load: what follows the mains, not the shaft."""
        ones = np.ones(len(self.theta))
        return Motion(self.rate, ones, ones, self.theta[0] + np.arange(len(ones)) / CONTROL_HZ)

    def ramp(self, points: F64, block: int) -> F64:
        """Values at control points -> float64 `[sample]` of one block, by straight lines."""
        per_block = BLOCK_S * CONTROL_HZ
        here = points[block * per_block : (block + 1) * per_block + 1, None]
        hop = self.rate // CONTROL_HZ
        rising = np.arange(hop) / hop
        return np.asarray(here[:-1] + (here[1:] - here[:-1]) * rising).ravel()

    def running_time(self, block: int) -> F64:
        """The running time theta `[sample]` over one block."""
        return self.ramp(self.theta, block)

    def gain(self, block: int, speed_power: float, load_power: float) -> F32:
        """How loud a part is now: speed ** speed_power * load ** load_power, `[sample]` over one block."""
        per_block = BLOCK_S * CONTROL_HZ
        here = slice(block * per_block, (block + 1) * per_block + 1)
        points = self.speed[here] ** speed_power * self.load[here] ** load_power
        start = points[:, None].astype(np.float32)
        hop = self.rate // CONTROL_HZ
        rising = np.arange(hop, dtype=np.float32) / np.float32(hop)
        return (start[:-1] + (start[1:] - start[:-1]) * rising).ravel()

    def load_at(self, times: F64) -> F64:
        """The load at these times in s (any shape)."""
        return np.interp(times, np.arange(len(self.load)) / CONTROL_HZ, self.load)

    def when(self, theta: F64) -> F64:
        """The time in s at which the running time reached `theta` (any shape); the inverse of `running_time`."""
        times = np.arange(len(self.theta)) / CONTROL_HZ
        return np.interp(theta, self.theta, times)


def steady_motion(seconds: float, rate: int) -> Motion:
    """Nominal speed and load throughout: what levels are stated at."""
    count = blocks_in(seconds) * BLOCK_S * CONTROL_HZ + 1
    return Motion(rate, np.ones(count), np.ones(count), np.arange(count) / CONTROL_HZ)


def wandering_motion(seconds: float, rate: int, speed_sd: float, load_sd: float, rng: np.random.Generator) -> Motion:
    """A motion that drifts: set point over minutes (speed_sd), fast wander (a fifth of it), load over 20 s (load_sd).

    Both deviations are relative; load is the exponential of its wander, so it stays positive.
    """
    block_length(rate)
    count = blocks_in(seconds) * BLOCK_S * CONTROL_HZ + 1
    step = 1.0 / CONTROL_HZ
    slow = ornstein_uhlenbeck(count, step, 300.0, speed_sd, rng)
    fast = ornstein_uhlenbeck(count, step, 1.5, 0.2 * speed_sd, rng)
    load = np.exp(ornstein_uhlenbeck(count, step, 20.0, load_sd, rng))
    speed = 1.0 + np.clip(slow, -3 * speed_sd, 3 * speed_sd) + np.clip(fast, -speed_sd, speed_sd)
    theta = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) * (0.5 * step))])
    return Motion(rate, speed, load, rng.uniform(0.0, 1000.0) + theta)  # no recording begins at the same angle
