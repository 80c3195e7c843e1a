"""Fluids that make noise: collapsing bubbles, jets, blades. SI units throughout."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ATMOSPHERE = 101_325.0  # Pa
WATER = 998.0  # kg/m^3 at 20 C


def collapse_time(radius: float, overpressure: float, density: float = WATER) -> float:
    """How long an empty bubble takes to collapse, in s: 0.915 R sqrt(rho / dp).

    Rayleigh, Phil. Mag. 34 (1917) 94; Brennen, Cavitation and Bubble Dynamics, 1995, section 2.4. `overpressure` is the
    pressure around less the vapour pressure, in Pa.
    """
    return 0.915 * radius * math.sqrt(density / overpressure)


def minnaert_hz(radius: float, pressure: float = ATMOSPHERE, density: float = WATER, gamma: float = 1.4) -> float:
    """The ring of a gas bubble in Hz: sqrt(3 gamma p / rho) / (2 pi R) (Minnaert, Phil. Mag. 16, 1933, 235).

    1 mm in water at one atmosphere: 3.29 kHz.
    """
    return math.sqrt(3.0 * gamma * pressure / density) / (2.0 * math.pi * radius)


def jet_peak_hz(speed: float, diameter: float) -> float:
    """Where the noise of a subsonic jet is loudest, in Hz: about 0.2 U / D.

    A Strouhal number of 0.2 (Bies and Hansen, Engineering Noise Control, chapter 10).
    """
    return 0.2 * speed / diameter


def jet_level_db(speed: float, reference_speed: float) -> float:
    """By how many dB the power of a jet's noise changes with its speed: 10 log10 (U / U0)^8.

    Lighthill, Proc. Royal Society A 211 (1952) 564, the eighth-power law.
    """
    return 80.0 * math.log10(speed / reference_speed)


def jet_density(hz: NDArray[np.float64], peak_hz: float) -> NDArray[np.float64]:
    """The shape of a jet's power density, 1 at the peak: (2 x / (1 + x^2))^2, x = f / peak.

    It rises with f^2 and falls with f^-2, the far-field asymptotes of Powell (J. Acoust. Soc. Am. 31, 1959, 812).
    """
    x = hz / peak_hz
    return (2.0 * x / (1.0 + x**2)) ** 2


def blade_pass_hz(blades: int, shaft_hz: float) -> float:
    """The blade (or vane) pass frequency in Hz: B f (Bies and Hansen, chapter 10)."""
    return blades * shaft_hz


def imbalance_force(mass: float, eccentricity: float, shaft_hz: float) -> float:
    """The rotating force of an imbalance in N: m e omega^2 (ISO 21940-11)."""
    return mass * eccentricity * (2.0 * math.pi * shaft_hz) ** 2


def imbalance_orders(blades: int, harmonics: int = 3) -> dict[int, float]:
    """What one bad blade adds, amplitudes by order of the shaft.

    The force at order 1 with its bends at 2 and 3 (a soft foot is not linear), and B k +- 1, +- 2 around each
    blade-pass harmonic, because one blade of B loads the air otherwise once a turn: amplitude modulation at the
    shaft rate. The proportions are ours.
    """
    orders = {1: 1.0, 2: 0.5, 3: 0.3}
    for k in range(1, harmonics + 1):
        for j, share in ((1, 0.7), (2, 0.35)):
            for order in (k * blades - j, k * blades + j):
                orders[order] = orders.get(order, 0.0) + share / k
    return orders
