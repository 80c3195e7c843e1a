"""The sound of each fault by itself: what strikes, hisses or squeals, and what of the machine it sounds through."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.signal

from sds_engine.physics import bearings, flow, friction, gears
from sds_engine.physics.drives import Blows, Faded, Noise, Orbit, Shower, orders_table
from sds_engine.physics.machines import Machine
from sds_engine.physics.mixer import Part, Response
from sds_engine.physics.modes import hertz_pulse
from sds_engine.physics.room import shaped_noise_response
from sds_engine.physics.rotating import Fan, Pump, below_nyquist, ripple
from sds_engine.physics.structure import sheet
from sds_engine.physics.wander import CONTROL_HZ, F64, Motion, generator, ornstein_uhlenbeck, wandering_motion


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """Where and when a fault sounds: `start` and `stop` in running time of the machine; `seed` is the fault's."""

    machine: Machine
    motion: Motion
    seed: int
    start: float
    stop: float

    @property
    def rng(self) -> np.random.Generator:
        """The random numbers of this fault, from their beginning."""
        return generator(self.seed, 11)

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self.motion.rate

    def blows(self, train: tuple[F64, F64], load_power: float = 1.0) -> Blows:
        """A train in running time -> blows in time, as strong as the load makes them."""
        when = self.motion.when(train[0])
        return Blows(self.rate, when, train[1] * self.motion.load_at(when) ** load_power)


def _race(train: Callable[..., tuple[F64, F64]]) -> Callable[[Site], list[Part]]:
    """A bearing fault: slip 1 to 2%, blows of 0.15 ms into the bearing's seat and, weaker, into the body."""

    def parts(site: Site) -> list[Part]:
        rng = site.rng
        slip = rng.uniform(0.01, 0.02)
        blows = site.blows(train(site.machine.bearing, site.machine.shaft_hz, site.start, site.stop, slip, rng))
        pulse = hertz_pulse(0.15e-3, site.rate)
        seat, body = (s.response(site.rate, 0.0, pulse) for s in (site.machine.seat, site.machine.body))
        taps = max(len(seat.samples), len(body.samples))
        both = np.zeros(taps, dtype=np.float32)
        both[: len(seat.samples)] += seat.samples
        both[: len(body.samples)] += np.float32(0.35) * body.samples
        return [Part([blows], Response(both, site.rate))]

    return parts


def _broken_tooth(site: Site) -> list[Part]:
    """One blow a turn of the pinion's shaft, half a millisecond long, through the housing."""
    blows = site.blows(gears.broken_tooth_train(site.machine.shaft_hz, site.start, site.stop, site.rng))
    return [Part([blows], site.machine.body.response(site.rate, 0.05, hertz_pulse(0.4e-3, site.rate)))]


def _thrown(site: Site, hz: float, restitution: float, flight_s: float, count: int, share: float) -> tuple[F64, F64]:
    """A part that is thrown up on a `share` of all cycles and bounces; first flights last about `flight_s`."""
    rng = site.rng
    cycles = np.arange(math.ceil(site.start * hz), site.stop * hz)
    cycles = cycles[rng.random(len(cycles)) < share]
    throws = (cycles + 0.03 * rng.standard_normal(len(cycles))) / hz
    speeds = np.exp(0.3 * rng.standard_normal(len(cycles)))
    return friction.bouncing_train(np.sort(throws), speeds, restitution, 2.0 / flight_s, count)


def _looseness(site: Site) -> list[Part]:
    """A loose foot: lifted by every great force, it falls back within a third of the cycle and bounces a little."""
    hz = site.machine.cycle_hz
    train = _thrown(site, hz, 0.45, min(0.3 / hz, 0.05), 5, 1.0)
    return [Part([site.blows(train)], site.machine.body.response(site.rate, 0.0, hertz_pulse(1.0e-3, site.rate)))]


def _rattle(site: Site) -> list[Part]:
    """A loose cover or bolt: light, many bounces, on most cycles; it rings as thin sheet and through the body."""
    rng = generator(site.machine.seed, 12)
    cover = sheet(0.35, 0.25, 1.2e-3, "steel", rng, tilt=0.5)
    pulse = hertz_pulse(0.2e-3, site.rate)
    through = scipy.signal.fftconvolve(pulse, cover.impulse(site.rate)[: site.rate // 25]).astype(np.float32)
    train = _thrown(site, min(site.machine.cycle_hz, 12.0), 0.8, 0.03, 14, 0.8)
    return [Part([site.blows(train)], site.machine.body.response(site.rate, 0.8, through))]


def _cavitation(site: Site) -> list[Part]:
    """Bubbles that collapse behind the vanes: sharp clicks, and the ring of what is left at Minnaert's frequency.

    Three classes of radius, 0.4 to 1.6 mm at atmospheric pressure (2 to 8 kHz), more than a thousand a second each.
    """
    rng, rate = site.rng, site.rate
    passing = Orbit(site.motion, site.machine.shaft_hz * blades_of(site.machine), ripple(0.7))
    parts = []
    for i, radius in enumerate((1.6e-3, 0.9e-3, 0.5e-3)):
        hz = flow.minnaert_hz(radius * rng.uniform(0.85, 1.15))
        t = np.arange(rate // 50) / rate
        ring = np.exp(-2.0 * np.pi * 0.04 * hz * t) * np.sin(2.0 * np.pi * hz * t) * (hz < 0.48 * rate)
        # The collapse itself lasts microseconds (Rayleigh): at audio rates one sample.
        ring[0] += 1.0
        click = (ring / np.sqrt(np.sum(ring**2))).astype(np.float32)
        shower = Shower(site.motion, site.seed + 20 + i, 1400.0, passing, 1.5)
        parts.append(Part([shower], site.machine.body.response(rate, 0.6, click)))
    return parts


def _leak(site: Site) -> list[Part]:
    """A jet from a crack: noise that peaks at 0.2 U / D, straight into the air; it barely follows the load."""
    rng = site.rng
    peak = flow.jet_peak_hz(rng.uniform(90.0, 220.0), rng.uniform(4e-3, 10e-3))
    hz = np.geomspace(60.0, site.rate / 2, 40)
    colour = shaped_noise_response(hz, 10.0 * np.log10(flow.jet_density(hz, peak)), site.rate)
    return [Part([Noise(site.motion, site.seed + 30, 0.0, 0.4)], Response(colour, site.rate))]


def _belt_squeal(site: Site) -> list[Part]:
    """Stick-slip of a belt at (1/2L) sqrt(T/mu): a sawtooth whose harmonics at 1 to 5 kHz radiate.

    It comes and goes; its pitch follows the belt's tension (0.5% of wander), not the speed of the machine.
    """
    rng, rate = site.rng, site.rate
    hz = friction.belt_hz(rng.uniform(0.16, 0.28), rng.uniform(350.0, 700.0), rng.uniform(0.04, 0.08))
    seconds = (len(site.motion.theta) - 1) / CONTROL_HZ
    tension = wandering_motion(seconds, rate, 0.005, 0.1, rng)
    focus = rng.uniform(1800.0, 3200.0)
    orders = {
        n: a * math.exp(-0.5 * (math.log2(n * hz / focus) / 0.45) ** 2) * n
        for n, a in friction.stick_slip_orders(int(0.45 * rate / hz)).items()
    }
    saw = Orbit(tension, hz, orders_table(below_nyquist(orders, hz, rate), rng))
    grip = ornstein_uhlenbeck(len(tension.theta), 1.0 / CONTROL_HZ, 0.6, 1.0, rng)
    comes_and_goes = Faded(site.motion, saw, 0.15 + 0.85 / (1.0 + np.exp(-4.0 * (grip + 0.3))))
    return [Part([comes_and_goes], site.machine.body.response(rate, 0.8))]


def _blade_imbalance(site: Site) -> list[Part]:
    """A bad blade: orders of the shaft, sidebands around blade pass, and air noise that swells once a turn."""
    machine, rate = site.machine, site.rate
    orders = below_nyquist(flow.imbalance_orders(blades_of(machine)), machine.shaft_hz, rate)
    casing = machine.body.response(rate, 0.4)
    tones = Orbit(site.motion, machine.shaft_hz, orders_table(orders, site.rng), 2.0, 0.5)
    air = machine.responses(rate)[0]
    swell = Noise(site.motion, site.seed + 40, 2.5, 1.0, Orbit(site.motion, machine.shaft_hz, ripple(1.0)))
    return [Part([tones], casing), Part([swell], air, -6.0)]


def blades_of(machine: Machine) -> int:
    """Blades of a fan, vanes of a pump. Raises ValueError for a machine that has none."""
    if isinstance(machine, Fan):
        return machine.blades
    if isinstance(machine, Pump):
        return machine.vanes
    raise ValueError(f"a {machine.kind} has no blades, allowed is fan or pump")


MAKERS: Mapping[str, Callable[[Site], list[Part]]] = {
    "outer_race": _race(bearings.outer_race_train),
    "inner_race": _race(bearings.inner_race_train),
    "ball": _race(bearings.ball_train),
    "broken_tooth": _broken_tooth,
    "looseness": _looseness,
    "rattle": _rattle,
    "cavitation": _cavitation,
    "leak": _leak,
    "belt_squeal": _belt_squeal,
    "blade_imbalance": _blade_imbalance,
}
