"""The bodies of machines: what rings when something in them is struck or shaken."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.signal

from sds_engine.physics.mixer import PART_S, Response
from sds_engine.physics.modes import MATERIALS, damped_modes, plate_frequencies, rayleigh_damping, ring_frequencies
from sds_engine.physics.room import unit_energy
from sds_engine.physics.wander import F32, F64

_HIGHEST_HZ = 20_000.0  # modes above are of no use at any rate that we render


@dataclass(frozen=True, slots=True)
class Structure:
    """Modes in parallel, as tuples so that a machine can be a dictionary's key: Hz, damping ratios, gains."""

    hz: tuple[float, ...]
    zeta: tuple[float, ...]
    gains: tuple[float, ...]

    def impulse(self, rate: int) -> F32:
        """The modes' answer to a blow `[taps]`, of energy 1, faded out at its end."""
        taps = int(0.2 * rate)
        ringing = damped_modes(np.array(self.hz), np.array(self.zeta), np.array(self.gains), rate, taps)
        fade = taps // 5
        ringing[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
        return unit_energy(ringing)

    def response(self, rate: int, direct: float = 0.0, through: F32 | None = None) -> Response:
        """The impulse with a share `direct` of its energy replaced by sound that goes straight out.

        `through` [taps] (a blow's force, a noise's colour) comes before it. Energy 1 in all.
        """
        impulse = math.sqrt(1.0 - direct) * self.impulse(rate)
        impulse[0] += math.sqrt(direct)
        if through is not None:
            impulse = scipy.signal.fftconvolve(impulse, through).astype(np.float32)
        return Response(unit_energy(impulse[: int(PART_S * rate)]), rate)


def _structure(hz: F64, alpha: float, beta: float, tilt: float, rng: np.random.Generator) -> Structure:
    zeta = np.clip(rayleigh_damping(hz, alpha, beta) * np.exp(0.25 * rng.standard_normal(len(hz))), 0.002, 0.2)
    # A mode's share is random: where it is struck, where one listens. sqrt(zeta f) evens the energies, not the peaks.
    gains = rng.standard_normal(len(hz)) * np.sqrt(zeta * hz) * (hz / 1000.0) ** tilt
    return Structure(tuple(hz.tolist()), tuple(zeta.tolist()), tuple(gains.tolist()))


def sheet(
    a: float, b: float, thickness: float, material: str, rng: np.random.Generator, tilt: float = -0.5, most: int = 60
) -> Structure:
    """A casing, guard or cabinet of sheet metal: a simply supported plate of a x b metres.

    Of its many modes `most` are kept, evenly spread in number. `tilt` is the power of f by which they radiate.
    """
    hz = plate_frequencies(a, b, thickness, MATERIALS[material], _HIGHEST_HZ)
    hz = hz[np.unique(np.geomspace(1, len(hz), most).astype(np.int64) - 1)]
    return _structure(hz * (1.0 + 0.01 * rng.standard_normal(len(hz))), rng.uniform(50, 90), 1e-6, tilt, rng)


def casting(size: float, wall: float, material: str, rng: np.random.Generator, tilt: float = -0.3) -> Structure:
    """A thick housing: rings of radius `size` and of half of it, with the walls' plate modes between them."""
    body = MATERIALS[material]
    rings = [ring_frequencies(radius, wall, body, 14) for radius in (size, 0.5 * size)]
    plate = plate_frequencies(2.5 * size, 1.8 * size, wall, body, 9000.0)[:30]
    hz = np.sort(np.concatenate([*rings, plate]))
    hz = hz[hz < _HIGHEST_HZ] * (1.0 + 0.02 * rng.standard_normal(int((hz < _HIGHEST_HZ).sum())))
    return _structure(hz, rng.uniform(60, 120), 8e-7, tilt, rng)


def bearing_seat(radius: float, thickness: float, rng: np.random.Generator) -> Structure:
    """The ring that a bearing sits in, each mode split by 12% to both sides: high, well damped."""
    rings = ring_frequencies(radius, thickness, MATERIALS["cast_iron"], 6)
    seat = np.concatenate([rings, rings * 1.13, rings * 0.88])
    hz = np.sort(seat[(seat > 500.0) & (seat < _HIGHEST_HZ)])
    return _structure(hz, 150.0, 1.2e-6, 0.0, rng)
