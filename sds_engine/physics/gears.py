"""Gears: the mesh with its harmonics and sidebands, and the blow of a broken tooth.

Randall, "A new method of modeling gear faults", J. Mechanical Design 104 (1982) 259-267.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mesh_hz(teeth: int, shaft_hz: float) -> float:
    """The mesh frequency N f in Hz; the same seen from either wheel."""
    return teeth * shaft_hz


def mesh_orders(teeth: int, harmonics: int, modulation: float, slope_db: float) -> dict[int, float]:
    """Amplitudes by order of the shaft: k N with sidebands k N +- 1 and +- 2 (Randall 1982).

    Amplitude modulation by 1 + modulation cos(shaft) splits off modulation / 2 on either side of each harmonic, the
    second pair its square; harmonic k is `slope_db` (k - 1) below the first. Orders at or below 0 are left out.
    """
    orders: dict[int, float] = {}
    for k in range(1, harmonics + 1):
        mesh = 10.0 ** (-slope_db * (k - 1) / 20.0)
        for j, share in ((0, 1.0), (1, modulation / 2.0), (2, (modulation / 2.0) ** 2)):
            for order in {k * teeth - j, k * teeth + j}:
                if order > 0:
                    orders[order] = orders.get(order, 0.0) + mesh * share
    return orders


def broken_tooth_train(
    shaft_hz: float, start: float, stop: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Blows of a broken tooth, instants and strengths `[blow]`: one a turn, always at the same angle (Randall 1982).

    The gap lets the next tooth fall into mesh late: a blow, and 0.03 turns later a weaker one as the following pair
    takes the load. Strength varies by 1.5 dB with the load it happens to meet.
    """
    first = start + rng.random() / shaft_hz
    turns = np.arange(first, stop, 1.0 / shaft_hz)
    strengths = np.exp(0.17 * rng.standard_normal(len(turns)))
    instants = np.concatenate([turns, turns + 0.03 / shaft_hz])
    order = np.argsort(instants, kind="stable")
    return instants[order], np.concatenate([strengths, 0.4 * strengths])[order]
