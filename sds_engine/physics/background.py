"""What a hall sounds like besides its machines: ventilation, clanks, impact wrenches, forklifts, people.

Levels are RMS at 1 m in dBFS while the event lasts, set beside machines at about -30 dBFS: an impact wrench is
12 dB louder than a machine, a raised voice 12 dB softer, a forklift as loud as a machine.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.signal

from sds_engine.physics.drives import Clips, Noise
from sds_engine.physics.mixer import Part, Response
from sds_engine.physics.modes import hertz_pulse
from sds_engine.physics.people import phrase
from sds_engine.physics.room import shaped_noise_response
from sds_engine.physics.rotating import OCTAVES
from sds_engine.physics.structure import Structure, sheet
from sds_engine.physics.wander import CONTROL_HZ, F32, F64, Motion, generator

POOL = 16  # ready-made clips of each event: enough that a repetition is not noticed among machines


@dataclass(frozen=True, slots=True)
class Event:
    """An event that comes `per_minute` on average (Poisson), at `level_dbfs` give or take `spread_db`."""

    per_minute: float
    level_dbfs: float
    spread_db: float


# Busy but not loud: an engineer who wants a worse hall hands in other numbers.
EVENTS: Mapping[str, Event] = {
    "clank": Event(4.0, -24.0, 4.0),
    "wrench": Event(0.8, -18.0, 2.0),
    "forklift": Event(0.5, -30.0, 2.0),
    "people": Event(9.0, -42.0, 4.0),
}


def _steel(rng: np.random.Generator) -> Structure:
    return sheet(rng.uniform(0.15, 0.5), rng.uniform(0.05, 0.3), rng.uniform(4e-3, 1e-2), "steel", rng, tilt=0.0)


def clank(rate: int, rng: np.random.Generator) -> F32:
    """A piece of steel dropped: a short blow on a plate or bar, with one to three bounces."""
    body = _steel(rng)
    while min(body.hz) >= rate / 2:  # too small and thick to be heard at this rate: another piece was dropped
        body = _steel(rng)
    ring = np.convolve(body.impulse(rate), hertz_pulse(rng.uniform(1e-4, 3e-4), rate))
    clip = np.zeros(rate)
    at, size = 0, 1.0
    for _ in range(int(rng.integers(2, 5))):
        end = min(at + len(ring), len(clip))
        clip[at:end] += size * ring[: end - at]
        at, size = at + int(rng.uniform(0.04, 0.15) * rate), size * rng.uniform(0.3, 0.6)
        if at >= len(clip):
            break
    return _unit(clip)


def wrench(rate: int, rng: np.random.Generator) -> F32:
    """An air impact wrench for one to two seconds: the hammer's 15 to 25 blows a second, and the air motor's hiss."""
    seconds = rng.uniform(1.0, 2.2)
    samples = int(seconds * rate)
    blows = np.zeros(samples)
    steps = (1.0 + 0.03 * rng.standard_normal(80)) / rng.uniform(15.0, 25.0)
    where = (np.cumsum(steps) * rate).astype(np.int64)
    where = where[where < samples]
    blows[where] = np.exp(0.2 * rng.standard_normal(len(where)))
    socket = sheet(0.12, 0.08, 8e-3, "steel", rng, tilt=0.0).impulse(rate)[: rate // 20]
    hiss = scipy.signal.lfilter([1.0, -0.9], [1.0], rng.standard_normal(samples))
    knock = _unit(scipy.signal.fftconvolve(blows, socket)[:samples])
    envelope = np.minimum(1.0, np.minimum(np.arange(samples), np.arange(samples)[::-1]) / (0.05 * rate))
    return _unit((knock + 0.5 * _unit(hiss)) * envelope)


def forklift(rate: int, rng: np.random.Generator) -> F32:
    """An electric forklift that passes in 6 to 10 s: the motor's whine with Doppler shift, tyres, 1 / r."""
    seconds = rng.uniform(6.0, 10.0)
    t = np.arange(int(seconds * rate)) / rate
    speed, closest = rng.uniform(1.5, 3.0), rng.uniform(2.0, 4.0)
    r = np.sqrt(closest**2 + (speed * (t - seconds / 2.0)) ** 2)
    turns = rng.uniform(30.0, 45.0) * (t - r / 343.0)  # heard when it was sent: that is the Doppler shift
    whine = sum(a * np.sin(2.0 * np.pi * k * turns) for k, a in ((1, 0.5), (6, 1.0), (12, 0.7), (24, 0.3)))
    tyres = scipy.signal.lfilter([1.0], [1.0, -0.93], rng.standard_normal(len(t)))
    fade = np.minimum(1.0, np.minimum(t, seconds - t) / 1.0)
    return _unit((whine + 0.6 * tyres / np.std(tyres)) * (closest / r) * fade)


def speech(rate: int, rng: np.random.Generator) -> F32:
    """A phrase of one person, one to four seconds."""
    return phrase(rng.uniform(1.2, 4.0), rate, rng)


def _unit(sound: F64) -> F32:
    return np.asarray(sound / np.sqrt(np.mean(np.square(sound))), dtype=np.float32)


# "assembly" is a place where one works all day: a hall that has it hands in its level.
_MAKERS = {"clank": clank, "wrench": wrench, "assembly": wrench, "forklift": forklift, "people": speech}


@functools.lru_cache(maxsize=64)
def clip_pool(kind: str, seed: int, rate: int) -> tuple[F32, ...]:
    """POOL clips of RMS 1 of one kind of event, made once for a hall."""
    return tuple(_MAKERS[kind](rate, generator(seed, 50, i)) for i in range(POOL))


def event_part(kind: str, event: Event, hall_seed: int, motion: Motion, seed: int) -> Part:
    """The events of one kind at one place: when, which clip and how loud are drawn from `seed`."""
    rng = generator(seed, 51)
    rate = motion.rate
    seconds = len(motion.theta) / CONTROL_HZ
    count = rng.poisson(seconds * event.per_minute / 60.0)
    starts = np.floor(np.sort(rng.uniform(-5.0, seconds, count)) * rate)
    gains = 10.0 ** ((event.level_dbfs + event.spread_db * np.clip(rng.standard_normal(count), -2.0, 2.0)) / 20.0)
    numbers = rng.integers(0, POOL, count).astype(np.float64)
    return Part([Clips(rate, clip_pool(kind, hall_seed, rate), starts, numbers, gains)], unit_response(rate))


@functools.lru_cache(maxsize=8)
def unit_response(rate: int) -> Response:
    """The response that changes nothing."""
    return Response(np.ones(1, dtype=np.float32), rate)


@functools.lru_cache(maxsize=64)
def _duct(hall_seed: int, rate: int) -> Response:
    rng = generator(hall_seed, 52)
    levels = np.array([0.0, -1.0, -4.0, -8.0, -13.0, -19.0, -26.0, -34.0]) + rng.standard_normal(8)
    return Response(shaped_noise_response(OCTAVES, levels, rate), rate)


def ventilation_part(hall_seed: int, level_dbfs: float, motion: Motion, seed: int) -> Part:
    """The ventilation of the hall: steady, low, of RMS `level_dbfs` through a path of energy 1."""
    return Part([Noise(motion, seed)], _duct(hall_seed, motion.rate), gain=10.0 ** (level_dbfs / 20.0))
