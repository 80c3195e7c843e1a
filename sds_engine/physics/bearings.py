"""Rolling bearings: their four frequencies, and the trains of impacts that a damaged one makes.

Randall and Antoni, "Rolling element bearing diagnostics - a tutorial", MSSP 25 (2011) 485-520.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Bearing:
    """`n` rolling elements of diameter `d` on pitch diameter `D` (same unit), contact angle `phi` in degrees."""

    n: int
    d: float
    D: float
    phi: float = 0.0

    @property
    def ratio(self) -> float:
        """The g of the formulas below: (d / D) cos phi."""
        return self.d / self.D * math.cos(math.radians(self.phi))

    @property
    def bpfo(self) -> float:
        """Ball pass frequency of the outer race per shaft turn: n/2 (1 - g)."""
        return self.n / 2.0 * (1.0 - self.ratio)

    @property
    def bpfi(self) -> float:
        """Ball pass frequency of the inner race per shaft turn: n/2 (1 + g)."""
        return self.n / 2.0 * (1.0 + self.ratio)

    @property
    def bsf(self) -> float:
        """Ball spin frequency per shaft turn: D/2d (1 - g^2). A spot on a ball strikes twice a spin."""
        return self.D / (2.0 * self.d) * (1.0 - self.ratio**2)

    @property
    def ftf(self) -> float:
        """Fundamental train (cage) frequency per shaft turn: (1 - g) / 2."""
        return (1.0 - self.ratio) / 2.0


def slipping_train(hz: float, start: float, stop: float, slip: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The instants in start..stop of impacts that come `hz` times a second, each interval with its own random slip.

    T_i = T_(i-1) + (1 + slip N(0, 1)) / hz, so the phase walks at random and high harmonics smear out, as Randall and
    Antoni describe; `slip` is the standard deviation of an interval relative to its mean, 0.01 to 0.02.
    """
    mean = (stop - start) * hz
    count = int(mean + 6.0 * slip * math.sqrt(mean + 1.0) + 3)
    steps = (1.0 + slip * rng.standard_normal(count)) / hz
    instants = start + rng.random() / hz + np.cumsum(steps) - steps[0]
    return np.asarray(instants[instants < stop])


def load_zone(angle: NDArray[np.float64], epsilon: float = 0.5) -> NDArray[np.float64]:
    """The load on a rolling element at `angle` (radians from the load), 1 at most, 0 outside the zone.

    Stribeck: q = (1 - (1 - cos a) / (2 epsilon))^1.5 (Harris, Rolling Bearing Analysis, chapter 7); epsilon 0.5
    is a zone of half the turn, no clearance.
    """
    return np.asarray(np.clip(1.0 - (1.0 - np.cos(angle)) / (2.0 * epsilon), 0.0, None) ** 1.5)


def outer_race_train(
    bearing: Bearing, shaft_hz: float, start: float, stop: float, slip: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Impacts of a spot on the standing outer race: instants and strengths `[impact]`; it stays in the load zone."""
    instants = slipping_train(bearing.bpfo * shaft_hz, start, stop, slip, rng)
    return instants, _uneven(len(instants), rng)


def inner_race_train(
    bearing: Bearing, shaft_hz: float, start: float, stop: float, slip: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Impacts of a spot on the turning inner race: it passes the load zone once a turn of the shaft."""
    instants = slipping_train(bearing.bpfi * shaft_hz, start, stop, slip, rng)
    return instants, load_zone(2.0 * np.pi * shaft_hz * instants) * _uneven(len(instants), rng)


def ball_train(
    bearing: Bearing, shaft_hz: float, start: float, stop: float, slip: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Impacts of a spot on a ball: it strikes the outer, then the inner race; the cage takes it round.

    So 2 BSF, every other blow 0.7 times as strong (the inner race is farther from the housing), modulated at FTF.
    """
    instants = slipping_train(2.0 * bearing.bsf * shaft_hz, start, stop, slip, rng)
    races = np.where(np.arange(len(instants)) % 2 == 0, 1.0, 0.7)
    zone = load_zone(2.0 * np.pi * bearing.ftf * shaft_hz * instants)
    return instants, races * zone * _uneven(len(instants), rng)


def _uneven(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.exp(0.12 * rng.standard_normal(count))  # 1 dB from blow to blow
