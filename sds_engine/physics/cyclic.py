"""Machines that work in strokes and items: press, conveyor, compressor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.signal

from sds_engine.physics.drives import Blows, Noise, Orbit, orders_table, shape_table
from sds_engine.physics.gears import mesh_orders
from sds_engine.physics.machines import Machine
from sds_engine.physics.mixer import Part, Response
from sds_engine.physics.modes import hertz_pulse
from sds_engine.physics.rotating import below_nyquist, colour, draw_bearing, draw_seed, hum, ripple, rolling
from sds_engine.physics.structure import bearing_seat, casting, sheet
from sds_engine.physics.wander import F32, F64, Motion, generator


@dataclass(frozen=True, slots=True)
class Stroke:
    """A blow at `phase` of each cycle (0..1) of this strength, late or early by `jitter_s`."""

    phase: float
    strength: float
    jitter_s: float


def cycle_blows(
    motion: Motion, hz: float, strokes: tuple[Stroke, ...], uneven: float, rng: np.random.Generator
) -> Blows:
    """The blows of every cycle of a part that turns `hz` times a second; strength varies by exp(uneven N(0, 1)).

    It also grows with the load, linearly.
    """
    cycles = np.arange(np.ceil(motion.theta[0] * hz) - 1, np.floor(motion.theta[-1] * hz) + 1)
    phases = np.array([stroke.phase for stroke in strokes])
    jitter = np.array([stroke.jitter_s for stroke in strokes])
    strengths = np.array([stroke.strength for stroke in strokes])
    theta = (cycles[:, None] + phases) / hz
    inside = (theta >= motion.theta[0]) & (theta < motion.theta[-1])
    when = motion.when(theta) + jitter * rng.standard_normal(theta.shape)  # [cycle, stroke]
    size = strengths * np.exp(uneven * rng.standard_normal(theta.shape)) * motion.load_at(when)
    order = np.argsort(when[inside], kind="stable")
    return Blows(motion.rate, when[inside][order], size[inside][order])


def window(start: float, stop: float, edge: float) -> F32:
    """An envelope that is open from `start` to `stop` of the turn, with edges that long."""

    def shape(turn: F64) -> F64:
        return np.clip((turn - start) / edge, 0.0, 1.0) * np.clip((stop - turn) / edge, 0.0, 1.0)

    return shape_table(shape)


@dataclass(frozen=True, kw_only=True)
class Press(Machine):
    """A mechanical press: clutch, die blow, snap-through and ejector in every stroke, an air blast, the drive.

    Clutch and die are bodies of kilograms that meet over about half a millisecond (Hertz, `modes.hertz_contact_time`).
    """

    kind: ClassVar[str] = "press"
    strokes: tuple[Stroke, ...]
    contact_s: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Press:
        """50 to 75 strokes a minute."""
        die = rng.uniform(0.45, 0.55)
        return cls(
            seed=draw_seed(rng),
            shaft_hz=rng.uniform(24.2, 24.8),
            cycle_hz=rng.uniform(0.83, 1.25),
            bearing=draw_bearing(rng),
            body=casting(rng.uniform(0.25, 0.35), rng.uniform(0.016, 0.024), "cast_iron", rng, tilt=-0.4),
            seat=bearing_seat(rng.uniform(0.045, 0.06), rng.uniform(7e-3, 1e-2), rng),
            level_dbfs=rng.uniform(-31.0, -29.0),
            speed_sd=0.008,
            load_sd=0.10,
            strokes=(
                Stroke(rng.uniform(0.02, 0.08), rng.uniform(0.12, 0.25), 0.002),
                Stroke(die, 1.0, 0.001),
                Stroke(die + rng.uniform(0.02, 0.04), rng.uniform(0.4, 0.6), 0.001),
                Stroke(rng.uniform(0.68, 0.74), rng.uniform(0.15, 0.25), 0.003),
            ),
            contact_s=rng.uniform(0.35e-3, 0.6e-3),
        )

    def build_responses(self, rate: int) -> tuple[Response, ...]:
        """Blows, air, drive, bearings."""
        pulse = hertz_pulse(self.contact_s, rate)
        air = colour([-40.0, -34.0, -26.0, -17.0, -9.0, -3.0, 0.0, -2.0], 1, self, rate)
        drive = colour([-4.0, -1.0, 0.0, -2.0, -5.0, -9.0, -14.0, -20.0], 3, self, rate)
        return (
            self.body.response(rate, 0.1, pulse),
            self.body.response(rate, 0.95, air),
            self.body.response(rate, 0.3, drive),
            self.seat.response(rate),
        )

    def parts(self, motion: Motion, seed: int) -> list[Part]:
        """Strokes, air blast, drive noise, hum, bearings."""
        blow, air, drive, seat = self.responses(motion.rate)
        strokes = cycle_blows(motion, self.cycle_hz, self.strokes, 0.1, generator(seed, 7))
        blast = Orbit(motion, self.cycle_hz, window(0.76, 0.92, 0.01))
        turn = Orbit(motion, self.shaft_hz, ripple(0.3))
        return [
            Part([strokes], blow),
            Part([Noise(motion, seed, 0.0, 0.3, blast)], air, -8.0),
            Part([Noise(motion, seed + 2, 1.0, 0.5, turn)], drive, -7.0),
            Part([hum(self, motion)], drive, -14.0),
            Part([rolling(self, motion, seed + 1)], seat, -16.0),
        ]


@dataclass(frozen=True, kw_only=True)
class Conveyor(Machine):
    """A roller conveyor: rolling noise that swells with uneven rollers, a geared motor, items and the splice.

    `roller_hz` is what a roller turns, `splice_s` how long the belt takes round, `items_per_s` how often one comes.
    """

    kind: ClassVar[str] = "conveyor"
    teeth: int
    roller_hz: float
    splice_s: float
    items_per_s: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Conveyor:
        """0.4 to 0.8 m/s over rollers of 50 mm."""
        roller = rng.uniform(2.6, 5.0)
        return cls(
            seed=draw_seed(rng),
            shaft_hz=rng.uniform(23.8, 24.6),
            cycle_hz=roller,
            bearing=draw_bearing(rng),
            body=sheet(
                rng.uniform(0.9, 1.4), rng.uniform(0.15, 0.25), rng.uniform(2e-3, 3e-3), "steel", rng, tilt=-0.4
            ),
            seat=bearing_seat(rng.uniform(0.025, 0.035), rng.uniform(4e-3, 6e-3), rng),
            level_dbfs=rng.uniform(-34.0, -31.0),
            speed_sd=0.01,
            load_sd=0.12,
            teeth=int(rng.integers(13, 22)),
            roller_hz=roller,
            splice_s=rng.uniform(4.0, 7.0),
            items_per_s=rng.uniform(0.5, 1.0),
        )

    def build_responses(self, rate: int) -> tuple[Response, ...]:
        """Rolling, motor, knocks, bearings."""
        roll = colour([-10.0, -6.0, -2.0, 0.0, -1.0, -4.0, -9.0, -15.0], 1, self, rate)
        return (
            self.body.response(rate, 0.25, roll),
            self.body.response(rate, 0.5),
            self.body.response(rate, 0.1, hertz_pulse(0.5e-3, rate)),
            self.seat.response(rate),
        )

    def parts(self, motion: Motion, seed: int) -> list[Part]:
        """Rolling, geared motor, knocks of items and of the splice, hum, bearings."""
        rate = motion.rate
        roll, casing, knock, seat = self.responses(rate)
        mesh = below_nyquist(mesh_orders(self.teeth, 8, 0.3, 3.0), self.shaft_hz, rate)
        uneven = orders_table({1: 1.0, 2: 0.5, 3: 0.3, 5: 0.2}, self.tables(4))
        rollers = Orbit(motion, self.roller_hz, np.asarray(1.0 + 0.25 * uneven, dtype=np.float32))
        splice = cycle_blows(
            motion, 1.0 / self.splice_s, (Stroke(0.0, 1.0, 5e-3), Stroke(0.02, 0.6, 5e-3)), 0.1, generator(seed, 7)
        )
        return [
            Part([Noise(motion, seed, 1.5, 1.0, rollers)], roll),
            Part([Orbit(motion, self.shaft_hz, orders_table(mesh, self.tables(2)), 1.0, 1.0)], casing, -5.0),
            Part([splice, self._items(motion, seed)], knock, -7.0),
            Part([hum(self, motion)], casing, -14.0),
            Part([rolling(self, motion, seed + 1)], seat, -12.0),
        ]

    def _items(self, motion: Motion, seed: int) -> Blows:
        """Each item knocks on the six rollers that it runs over here, one after another."""
        rng = generator(seed, 8)
        span = motion.theta[-1] - motion.theta[0]
        arrivals = motion.theta[0] + np.sort(rng.random(rng.poisson(span * self.items_per_s))) * span
        theta = arrivals[:, None] + (np.arange(6) + 0.08 * rng.standard_normal((len(arrivals), 6))) * 0.11
        size = (
            np.exp(0.5 * rng.standard_normal((len(arrivals), 1)) + 0.3 * rng.standard_normal((len(arrivals), 6))) * 0.35
        )
        inside = (theta >= motion.theta[0]) & (theta < motion.theta[-1])
        order = np.argsort(theta[inside], kind="stable")
        return Blows(motion.rate, motion.when(theta[inside][order]), size[inside][order])


@dataclass(frozen=True, kw_only=True)
class Compressor(Machine):
    """A reciprocating compressor of two cylinders: gas pulsation, four valve clacks a turn, breath noise."""

    kind: ClassVar[str] = "compressor"
    valves: tuple[Stroke, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Compressor:
        """600 to 960 turns a minute."""
        shaft = rng.uniform(10.0, 16.0)
        lag = rng.uniform(0.2, 0.3)
        valves = tuple(
            Stroke((first + later + rng.uniform(-0.01, 0.01)) % 1.0, strength * rng.uniform(0.8, 1.25), 4e-4)
            for first in (0.05, 0.55)
            for later, strength in ((0.0, 1.0), (lag, 0.6))
        )
        return cls(
            seed=draw_seed(rng),
            shaft_hz=shaft,
            cycle_hz=shaft,
            bearing=draw_bearing(rng),
            body=casting(rng.uniform(0.13, 0.18), rng.uniform(7e-3, 1e-2), "cast_iron", rng),
            seat=bearing_seat(rng.uniform(0.035, 0.05), rng.uniform(6e-3, 9e-3), rng),
            level_dbfs=rng.uniform(-31.0, -28.0),
            speed_sd=0.008,
            load_sd=0.12,
            valves=valves,
        )

    def build_responses(self, rate: int) -> tuple[Response, ...]:
        """Pulsation, valves, breath, bearings."""
        breath = colour([-14.0, -8.0, -4.0, -1.0, 0.0, -2.0, -6.0, -12.0], 1, self, rate)
        plate = hertz_pulse(0.35e-3, rate)
        return (
            self.body.response(rate, 0.6),
            self.body.response(rate, 0.1, plate),
            Response(scipy.signal.fftconvolve(self.body.impulse(rate)[: rate // 50], breath).astype(np.float32), rate),
            self.seat.response(rate),
        )

    def parts(self, motion: Motion, seed: int) -> list[Part]:
        """Pulsation, valves, breath, hum, bearings."""
        rate = motion.rate
        gas, valve, breath, seat = self.responses(rate)
        orders = {k: (1.0 if k % 2 == 0 else 0.25) / max(1.0, k / 4) for k in range(1, 41)}
        pulsation = orders_table(below_nyquist(orders, self.shaft_hz, rate), self.tables(2))
        clacks = cycle_blows(motion, self.shaft_hz, self.valves, 0.12, generator(seed, 7))
        strokes = Orbit(motion, 2.0 * self.shaft_hz, ripple(0.6))
        return [
            Part([Orbit(motion, self.shaft_hz, pulsation, 1.0, 1.0)], gas),
            Part([clacks], valve, -3.0),
            Part([Noise(motion, seed, 1.0, 1.0, strokes)], breath, -2.0),
            Part([hum(self, motion)], gas, -12.0),
            Part([rolling(self, motion, seed + 1)], seat, -16.0),
        ]
