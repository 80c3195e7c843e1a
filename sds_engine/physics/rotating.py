"""Machines that turn steadily: fan, pump, gearbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sds_engine.physics.bearings import Bearing
from sds_engine.physics.drives import Noise, Orbit, orders_table, shape_table
from sds_engine.physics.gears import mesh_orders
from sds_engine.physics.machines import Machine
from sds_engine.physics.mixer import Part, Response
from sds_engine.physics.room import shaped_noise_response
from sds_engine.physics.structure import bearing_seat, casting, sheet
from sds_engine.physics.wander import F32, F64, Motion

OCTAVES = np.array([63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0])


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for an individual."""
    return int(rng.integers(2**62))


def draw_bearing(rng: np.random.Generator) -> Bearing:
    """A deep-groove ball bearing of the usual proportions: 7 to 10 balls, d / D from 0.18 to 0.25."""
    D = rng.uniform(30e-3, 65e-3)
    return Bearing(int(rng.integers(7, 11)), D * rng.uniform(0.18, 0.25), D)


def below_nyquist(orders: dict[int, float], hz: float, rate: int) -> dict[int, float]:
    """The orders of a shaft that stay below Nyquist even when it runs 10% fast."""
    return {order: amplitude for order, amplitude in orders.items() if order * hz * 1.1 < rate / 2}


def colour(levels_db: list[float], number: int, machine: Machine, rate: int) -> F32:
    """The machine's own noise colour: these octave levels, each off by 1.5 dB from one individual to the next."""
    own = np.array(levels_db) + 1.5 * machine.tables(number).standard_normal(len(levels_db))
    return shaped_noise_response(OCTAVES, own, rate)


def hum(machine: Machine, motion: Motion) -> Orbit:
    """The magnetic hum of its motor: twice the mains frequency and multiples, whatever the shaft does."""
    table = orders_table({1: 1.0, 2: 0.35, 3: 0.12, 4: 0.06}, machine.tables(90))
    return Orbit(motion.unmoved(), 2.0 * machine.mains_hz, table)


def rolling(machine: Machine, motion: Motion, seed: int) -> Noise:
    """The rustle of healthy bearings, swelling a little once a turn."""
    turn = Orbit(motion, machine.shaft_hz, shape_table(lambda x: 1.0 + 0.15 * np.cos(2 * np.pi * x)))
    return Noise(motion, seed, 1.0, 0.5, turn)


def ripple(depth: float) -> F32:
    """An envelope that swells once a turn: 1 + depth cos."""

    def shape(turn: F64) -> F64:
        return np.asarray(1.0 + depth * np.cos(2.0 * np.pi * turn))

    return shape_table(shape)


@dataclass(frozen=True, kw_only=True)
class Fan(Machine):
    """An axial or centrifugal fan in a sheet casing: broadband air noise, blade pass tones, hum.

    Sound power follows the fifth power of speed (fan laws; Bies and Hansen, chapter 10): pressure its 2.5th.
    """

    kind: ClassVar[str] = "fan"
    blades: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Fan:
        """A fan of 0.5 to 0.9 m, 5 to 9 blades, 17 to 29 turns a second."""
        shaft = rng.uniform(17.0, 29.0)
        return cls(
            seed=draw_seed(rng),
            shaft_hz=shaft,
            cycle_hz=shaft,
            bearing=draw_bearing(rng),
            body=sheet(rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.7), rng.uniform(2e-3, 3e-3), "steel", rng),
            seat=bearing_seat(rng.uniform(0.035, 0.05), rng.uniform(6e-3, 9e-3), rng),
            level_dbfs=rng.uniform(-32.0, -29.0),
            speed_sd=0.008,
            load_sd=0.08,
            blades=int(rng.integers(5, 10)),
        )

    def orders(self) -> dict[int, float]:
        """Tones by order: a little imbalance, blade pass and its harmonics with slight sidebands."""
        tones = {1: 0.12, 2: 0.1, 3: 0.05}
        for k, level in enumerate((1.0, 0.55, 0.3, 0.15), start=1):
            for order, share in ((0, 1.0), (-1, 0.06), (1, 0.06)):
                tones[k * self.blades + order] = tones.get(k * self.blades + order, 0.0) + level * share
        return tones

    def build_responses(self, rate: int) -> tuple[Response, ...]:
        """Air, tones, bearings."""
        air = colour([-5.0, -1.0, 0.0, -2.0, -5.0, -9.0, -14.0, -21.0], 1, self, rate)
        return self.body.response(rate, 0.6, air), self.body.response(rate, 0.5), self.seat.response(rate)

    def parts(self, motion: Motion, seed: int) -> list[Part]:
        """Air noise, tones through the casing, bearings."""
        rate = motion.rate
        air, casing, seat = self.responses(rate)
        tones = below_nyquist(self.orders(), self.shaft_hz, rate)
        blades = Orbit(motion, self.shaft_hz * self.blades, ripple(0.2))
        tonal = Orbit(motion, self.shaft_hz, orders_table(tones, self.tables(2)), 2.5, 0.5)
        return [
            Part([Noise(motion, seed, 2.5, 1.0, blades)], air),
            Part([tonal], casing, -5.0),
            Part([hum(self, motion)], casing, -14.0),
            Part([rolling(self, motion, seed + 1)], seat, -17.0),
        ]


@dataclass(frozen=True, kw_only=True)
class Pump(Machine):
    """A centrifugal pump in a cast housing: flow noise in the middle octaves, vane pass, motor hum."""

    kind: ClassVar[str] = "pump"
    vanes: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Pump:
        """A two-pole motor at 48 to 49.5 turns a second, 5 to 7 vanes."""
        shaft = rng.uniform(48.0, 49.5)
        return cls(
            seed=draw_seed(rng),
            shaft_hz=shaft,
            cycle_hz=shaft,
            bearing=draw_bearing(rng),
            body=casting(rng.uniform(0.11, 0.16), rng.uniform(7e-3, 11e-3), "cast_iron", rng),
            seat=bearing_seat(rng.uniform(0.03, 0.04), rng.uniform(6e-3, 9e-3), rng),
            level_dbfs=rng.uniform(-32.0, -29.0),
            speed_sd=0.004,
            load_sd=0.12,
            vanes=int(rng.integers(5, 8)),
        )

    def orders(self) -> dict[int, float]:
        """Tones by order: shaft, vane pass and its harmonics."""
        tones = {1: 0.3, 2: 0.25, 3: 0.1, 4: 0.08}
        for k, level in enumerate((1.0, 0.6, 0.4, 0.2), start=1):
            for order, share in ((0, 1.0), (-1, 0.1), (1, 0.1)):
                tones[k * self.vanes + order] = tones.get(k * self.vanes + order, 0.0) + level * share
        return tones

    def build_responses(self, rate: int) -> tuple[Response, ...]:
        """Flow, tones, bearings."""
        flow = colour([-14.0, -9.0, -5.0, -1.0, 0.0, -2.0, -7.0, -14.0], 1, self, rate)
        return self.body.response(rate, 0.35, flow), self.body.response(rate, 0.4), self.seat.response(rate)

    def parts(self, motion: Motion, seed: int) -> list[Part]:
        """Flow noise and tones through the housing, hum, bearings."""
        rate = motion.rate
        flow, casing, seat = self.responses(rate)
        tones = below_nyquist(self.orders(), self.shaft_hz, rate)
        vanes = Orbit(motion, self.shaft_hz * self.vanes, ripple(0.3))
        tonal = Orbit(motion, self.shaft_hz, orders_table(tones, self.tables(2)), 2.0, 0.5)
        return [
            Part([Noise(motion, seed, 2.0, 1.0, vanes)], flow),
            Part([tonal], casing, -4.0),
            Part([hum(self, motion)], casing, -9.0),
            Part([rolling(self, motion, seed + 1)], seat, -16.0),
        ]


@dataclass(frozen=True, kw_only=True)
class Gearbox(Machine):
    """Two stages of spur gears in a cast housing: mesh tones with sidebands of both shafts, rolling noise.

    `teeth` are those of pinion and wheel of the first stage, then of the second.
    """

    kind: ClassVar[str] = "gearbox"
    teeth: tuple[int, int, int, int]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Gearbox:
        """A four-pole motor at 24.2 to 24.8 turns a second, ratios from 1.9 to 4."""
        shaft = rng.uniform(24.2, 24.8)
        pinions = rng.integers(19, 30, 2)
        wheels = np.round(pinions * rng.uniform(1.9, 4.0, 2)).astype(int)
        return cls(
            seed=draw_seed(rng),
            shaft_hz=shaft,
            cycle_hz=shaft,
            bearing=draw_bearing(rng),
            body=casting(rng.uniform(0.14, 0.2), rng.uniform(9e-3, 13e-3), "cast_iron", rng),
            seat=bearing_seat(rng.uniform(0.04, 0.055), rng.uniform(7e-3, 1e-2), rng),
            level_dbfs=rng.uniform(-31.0, -28.0),
            speed_sd=0.006,
            load_sd=0.12,
            teeth=(int(pinions[0]), int(wheels[0]), int(pinions[1]), int(wheels[1])),
        )

    @property
    def second_hz(self) -> float:
        """Turns a second of the middle shaft."""
        return self.shaft_hz * self.teeth[0] / self.teeth[1]

    def build_responses(self, rate: int) -> tuple[Response, ...]:
        """Tones, noise, bearings."""
        noise = colour([-12.0, -7.0, -3.0, 0.0, 0.0, -2.0, -6.0, -12.0], 1, self, rate)
        return self.body.response(rate, 0.35), self.body.response(rate, 0.2, noise), self.seat.response(rate)

    def parts(self, motion: Motion, seed: int) -> list[Part]:
        """Both meshes, noise in the mesh, hum, bearings."""
        rate = motion.rate
        casing, noise, seat = self.responses(rate)
        first = below_nyquist(mesh_orders(self.teeth[0], 10, 0.25, 3.5), self.shaft_hz, rate)
        second = below_nyquist(mesh_orders(self.teeth[2], 12, 0.2, 3.0), self.second_hz, rate)
        middle = Orbit(motion, self.second_hz, ripple(0.15))
        fast = Orbit(motion, self.shaft_hz, orders_table(first, self.tables(2)), 1.0, 1.0, middle)
        slow = Orbit(motion, self.second_hz, orders_table(second, self.tables(3)), 1.0, 1.0)
        turn = Orbit(motion, self.shaft_hz, ripple(0.2))
        return [
            Part([fast], casing),
            Part([slow], casing, -4.0),
            Part([Noise(motion, seed, 1.0, 1.0, turn)], noise, -1.0),
            Part([hum(self, motion)], casing, -12.0),
            Part([rolling(self, motion, seed + 1)], seat, -14.0),
        ]
