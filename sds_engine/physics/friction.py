"""Things that stick, slip and bounce: belt squeal, looseness, rattle. SI units throughout."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

GRAVITY = 9.80665  # m/s^2


def belt_hz(length: float, tension: float, mass_per_length: float) -> float:
    """The first transverse mode of a belt's free span in Hz: (1 / 2L) sqrt(T / mu).

    The ideal string (Fletcher and Rossing, The Physics of Musical Instruments, chapter 2); stick-slip locks
    to it as a bow locks to a string.
    """
    return math.sqrt(tension / mass_per_length) / (2.0 * length)


def stick_slip_orders(count: int) -> dict[int, float]:
    """Amplitudes by harmonic of the force that stick-slip puts on the supports: a sawtooth, 1 / n.

    Helmholtz motion (Fletcher and Rossing, chapter 10): long stick, sudden slip.
    """
    return {n: 1.0 / n for n in range(1, count + 1)}


def bounces(speed: float, restitution: float, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A mass thrown up at `speed` m/s: when it strikes, in s after the throw, and how fast, `[count]` each.

    Flight k lasts 2 v e^k / g, each blow returns e of its speed (Goldsmith, Impact, 1960), so the
    series ends after 2 v / (g (1 - e)). Raises ValueError for e outside 0..1.
    """
    if not 0.0 <= restitution < 1.0:
        raise ValueError(f"restitution is {restitution}, allowed is 0 up to below 1")
    flights = restitution ** np.arange(count, dtype=np.float64)
    return np.cumsum(2.0 * speed * flights / GRAVITY), np.asarray(speed * flights)


def bouncing_train(
    throws: NDArray[np.float64],
    speeds: NDArray[np.float64],
    restitution: float,
    gravity_like: float,
    count: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Blows of a mass that is thrown at each instant of `throws`; instants and strengths, sorted.

    As in `bounces`, with `gravity_like` m/s^2 for g: a loose part is called back by its spring or its own weight,
    so a bolt with a little preload comes back much faster than by gravity. A new throw ends the old series.
    """
    flights = restitution ** np.arange(count)
    after = np.cumsum(flights)[None, :] * (2.0 * speeds / gravity_like)[:, None]  # [throw, blow]
    next_throw = np.append(throws[1:], np.inf)[:, None]
    instants = throws[:, None] + after
    kept = instants < next_throw
    order = np.argsort(instants[kept], kind="stable")
    return instants[kept][order], (speeds[:, None] * flights[None, :])[kept][order]
