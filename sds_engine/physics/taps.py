"""Tapped parts: beams, plates and rings that are struck by hand with a hammer, recorded close by in a hall.

A `Design` is what the drawing says; `make_part` makes one piece of it, with the scatter of production; `tap` records
some strikes on it, each with its own place, force and contact time. SI units; levels in dB relative to full scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.signal

from sds_engine.physics.modes import MATERIALS, beam_frequencies, beam_roots, hertz_pulse, ring_frequencies
from sds_engine.physics.room import Room, room_response
from sds_engine.physics.wander import F32, F64

HIGHEST_HZ = 20_000.0
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Scatter:
    """How pieces of one design differ: relative deviations.

    `size` moves all modes together (dimensions, temperature), `hz` each alone; `grip` scales all damping (how it is
    held), `zeta` each alone; `hold` is the change of all damping from strike to strike.
    """

    size: float = 0.0015
    hz: float = 0.0005
    grip: float = 0.03
    zeta: float = 0.02
    hold: float = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One piece: hz, zeta `[mode]`, and how strongly each mode answers a blow at a place 0..1 and is heard."""

    hz: F64
    zeta: F64
    shape: Callable[[float], F64]
    heard: F64

    def with_fault(self, mode: int, *, hz: float = 1.0, zeta: float = 1.0) -> Part:
        """The same piece with one mode's frequency and damping multiplied, as by a crack or a loose fit."""
        factors = np.ones((2, len(self.hz)))
        factors[:, mode] = hz, zeta
        return replace(self, hz=self.hz * factors[0], zeta=self.zeta * factors[1])


def _beam(rng: np.random.Generator) -> tuple[F64, Callable[[float], F64]]:
    """Free-free bending of a steel bar; shapes after Blevins 1979, chapter 8."""
    hz = beam_frequencies(rng.uniform(0.18, 0.25), rng.uniform(0.010, 0.014), MATERIALS["steel"], 8)
    b = beam_roots("free-free", 8)
    ratio = (np.cosh(b) - np.cos(b)) / (np.sinh(b) - np.sin(b))
    return hz, lambda x: np.cosh(b * x) + np.cos(b * x) - ratio * (np.sinh(b * x) + np.sin(b * x))


def _plate(rng: np.random.Generator) -> tuple[F64, Callable[[float], F64]]:
    """A steel plate on its edges, struck along a slanted line across it (Leissa 1969, chapter 4)."""
    a, ratio = rng.uniform(0.22, 0.28), rng.uniform(1.25, 1.45)
    steel = MATERIALS["steel"]
    h = 0.006
    c = math.pi / 2.0 * math.sqrt(steel.plane_modulus * h**2 / 12.0 / steel.rho)
    m, n = (grid.ravel() for grid in np.mgrid[1:6, 1:6].astype(np.float64))
    hz = c * (m**2 + n**2 * ratio**2) / a**2
    order = np.argsort(hz)
    hz, m, n = hz[order], m[order], n[order]
    return hz, lambda x: 2.0 * np.sin(math.pi * m * x) * np.sin(math.pi * n * (0.2 + 0.45 * x))


def _ring(rng: np.random.Generator) -> tuple[F64, Callable[[float], F64]]:
    """A steel ring; every mode is a pair, split by the weld or the bore (Blevins 1979, chapter 9)."""
    base = ring_frequencies(rng.uniform(0.045, 0.055), rng.uniform(0.007, 0.009), MATERIALS["steel"], 6)
    split = rng.uniform(0.004, 0.012, len(base))
    n = np.repeat(np.arange(2, 2 + len(base)), 2)
    turned = np.tile([0.0, math.pi / 2], len(base))
    hz = np.column_stack([base, base * (1.0 + split)]).ravel()
    return hz, lambda x: 1.4 * np.cos(n * 2.0 * math.pi * x + turned)


DESIGNS: Mapping[str, Callable[[np.random.Generator], tuple[F64, Callable[[float], F64]]]] = {
    "beam": _beam,
    "plate": _plate,
    "ring": _ring,
}


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """A drawing: the nominal piece, where it is struck (0..1) and the contact time in s."""

    nominal: Part
    place: float
    contact_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """Where parts are tapped: microphone `distance` m from the part, `path` [time] from one to the other at `rate` Hz.

    `stir` is how much of the reflections (amplitude) is new in each recording: people and trolleys move.
    """

    rate: int
    distance: float
    path: F32
    noise_dbfs: float = -60.0
    stir: float = 0.3


def draw_station(rate: int, rng: np.random.Generator, distance: float = 0.1, noise_dbfs: float = -60.0) -> Station:
    """A place in a hall of 9,000 m^3 with 0.9 s of reverberation."""
    return Station(rate, distance, room_response(Room(), distance, rate, int(0.6 * rate), rng), noise_dbfs)


def draw_design(kind: str, rng: np.random.Generator) -> Design:
    """A new design of that kind. Raises ValueError for a kind that is not in DESIGNS."""
    if kind not in DESIGNS:
        raise ValueError(f"kind is {kind!r}, allowed is one of {', '.join(DESIGNS)}")
    hz, shape = DESIGNS[kind](rng)
    kept = hz < HIGHEST_HZ
    # Metal that stands on soft feet: 0.1 to 0.4% of critical (after Bert, J. Sound Vib. 29, 1973, on metals in joints).
    zeta = np.exp(rng.uniform(math.log(0.001), math.log(0.004), len(hz)))
    heard = np.exp(0.4 * rng.standard_normal(len(hz)))
    nominal = Part(hz[kept], zeta[kept], lambda x: shape(x)[kept], heard[kept])
    return Design(nominal, rng.uniform(0.08, 0.16), rng.uniform(0.15e-3, 0.3e-3))


def make_part(design: Design, rng: np.random.Generator, scatter: Scatter | None = None) -> Part:
    """One healthy piece of the design."""
    by = scatter or Scatter()
    nominal = design.nominal
    count = len(nominal.hz)
    hz = nominal.hz * (1.0 + by.size * rng.standard_normal()) * (1.0 + by.hz * rng.standard_normal(count))
    zeta = nominal.zeta * np.exp(by.grip * rng.standard_normal() + by.zeta * rng.standard_normal(count))
    return replace(nominal, hz=hz, zeta=zeta)


def tap(
    design: Design,
    part: Part,
    station: Station,
    rng: np.random.Generator,
    *,
    strikes: int = 3,
    every_s: float = 0.9,
    hold: float = 0.01,
) -> F32:
    """A recording `[time]` of `strikes` blows on the part at the station, with its noise.

    Place (2% of the part), force (3 dB) and contact time (15%) vary from blow to blow; each blow's ringing is added to
    what is left of the one before; `hold` is the change of all damping from blow to blow. The loudest sample is at
    -6 dBFS before noise.
    """
    rate = station.rate
    total = round((0.3 + strikes * every_s) * rate)
    sound = np.zeros(total)
    for number in range(strikes):
        start = round((0.3 + (number + 0.05 * rng.uniform(-1, 1)) * every_s) * rate)
        ring = _blow(design, part, rate, rng, hold)[: total - start]
        sound[start : start + len(ring)] += ring
    fresh = room_response(Room(), station.distance, rate, len(station.path), rng)
    path = station.path + np.float32(station.stir) * (fresh - station.path)  # the direct sound is the same in both
    sound = scipy.signal.oaconvolve(sound, path)[:total]
    sound *= 0.5 / max(float(np.abs(sound).max()), 1e-12)
    return np.asarray(sound + 10.0 ** (station.noise_dbfs / 20.0) * rng.standard_normal(total), dtype=np.float32)


def _blow(design: Design, part: Part, rate: int, rng: np.random.Generator, hold: float) -> F64:
    """The sound of one blow at the part, 1.5 s long."""
    place = design.place + 0.02 * float(np.clip(rng.standard_normal(), -2, 2))
    below = part.hz < rate / 2
    omega = 2.0 * math.pi * part.hz[below]
    zeta = part.zeta[below] * math.exp(hold * rng.standard_normal())
    coarse, fine = np.arange(int(1.5 * rate) // _BLOCK) * _BLOCK / rate, np.arange(_BLOCK) / rate
    # Radiated pressure follows acceleration: higher modes are louder for the same blow, as far as the pulse reaches.
    gains = (part.shape(place) * part.heard)[below] * np.sqrt(part.hz[below] / 1000.0)
    poles = (-zeta * omega + 1j * omega)[:, None]
    # exp(s (a + b)) = exp(s a) exp(s b): one matrix product instead of an exponential for every mode and sample
    ringing = ((gains[:, None] * np.exp(poles * coarse)).T @ np.exp(poles * fine)).imag.ravel()  # [time]
    pulse = hertz_pulse(design.contact_s * math.exp(0.15 * rng.standard_normal()), rate)
    force = 10.0 ** (3.0 * float(np.clip(rng.standard_normal(), -2, 2)) / 20.0)
    return np.asarray(force * np.convolve(ringing, pulse), dtype=np.float64)
