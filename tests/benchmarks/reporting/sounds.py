"""A second synthesis of the ten faults and of healthy machines, for the judge that reports. numpy and scipy alone.

It shares nothing with `sds_engine.physics` but the textbooks. Every number is drawn anew for every sound and wider
than any one workshop, since a judge that reports must not know one workshop only: bodies, paths and rooms come from
`bodies`, machines from `machines`, blows and bubbles and jets from here.

Sources: Randall & Antoni, MSSP 25 (2011), bearing rates; Harris, Rolling Bearing Analysis, load zone; Brennen,
Cavitation and Bubble Dynamics; Lighthill's jet noise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft
from reporting.bodies import (
    HZ,
    OCTAVE,
    RATE,
    TIME,
    TOTAL,
    Array,
    N,
    Rng,
    big_body,
    body,
    colour,
    coloured_path,
    filtered,
    log_uniform,
    room,
    taps,
    unit,
)
from reporting.machines import KINDS, STRIKING, background, harmonics, healthy, phase_of, slow

CLASSES = (
    "ball",
    "belt_squeal",
    "blade_imbalance",
    "broken_tooth",
    "cavitation",
    "inner_race",
    "leak",
    "looseness",
    "outer_race",
    "rattle",
    "healthy",
)
# The turning rates in Hz at which the fault is usual.
SHAFTS = {"cavitation": (15.0, 55.0), "blade_imbalance": (8.0, 55.0), "broken_tooth": (6.0, 45.0)}


def _shell(rng: Rng, frame: Array, own: Array) -> Array:
    """Where a blow lands: in the machine's frame, in a part of its own, or in both."""
    way = rng.random()
    if way < 0.3:
        return frame
    return own if way < 0.7 else own + rng.uniform(0.1, 1.0) * frame


def _gaps(rate: float, scatter: float, rng: Rng) -> Array:
    """Instants in s of events at `rate` Hz whose gaps scatter by that share, on a speed that drifts a little."""
    count = int(rate * TOTAL / RATE * 1.3) + 8
    drift = 1 + rng.uniform(0, 0.01) * np.sin(np.arange(count) / count * rng.uniform(1, 20) + rng.uniform(0, 6))
    return np.cumsum((1 + scatter * rng.normal(size=count)) * drift / rate) - rng.random() / rate


def bearing(shaft: float, rng: Rng, frame: Array, kind: str) -> Array:
    """Blows at BPFO, BPFI or twice the ball spin; even, swelling with the shaft, or with the cage."""
    balls = int(rng.integers(6, 18))
    gamma = min(rng.uniform(0.12, 0.35), 2.2 / balls) * np.cos(rng.uniform(0, 0.7))
    rate, turn = {
        "outer_race": (balls / 2 * (1 - gamma), 0.0),
        "inner_race": (balls / 2 * (1 + gamma), 1.0),
        "ball": ((1 - gamma**2) / gamma, (1 - gamma) / 2),
    }[kind]
    rate, turn = rate * shaft, turn * shaft
    at = _gaps(rate, log_uniform(rng, 0.003, 0.025), rng)
    strength = np.exp(rng.uniform(0.03, 0.3) * rng.normal(size=len(at)))
    if turn:
        angle = 2 * np.pi * (turn * at + rng.random())
        reach = rng.uniform(0.3, 0.95)
        zone = np.maximum(1 - (1 - np.cos(angle)) / (2 * reach), 0) ** rng.choice([1.1, 1.5])
        strength *= rng.choice([0, 0, rng.uniform(0, 0.3)]) + zone
    if kind == "ball":
        strength[1::2] *= rng.uniform(0.0, 1.0)  # one race may answer less, or not at all
    drive = taps(at, strength, log_uniform(rng, 0.05e-3, 0.5e-3))
    own = body(rng, log_uniform(rng, 300, 2500), log_uniform(rng, 3000, 7800), (0.008, 0.15))
    return unit(filtered(drive, _shell(rng, frame, own)))


def bounced(throws: Array, speeds: Array, restitution: float, flight: float, most: int) -> tuple[Array, Array]:
    """A mass thrown up at these times: it lands, again and again, each flight e times as long."""
    falls = restitution ** np.arange(most)
    after = np.cumsum(flight * speeds[:, None] * falls, axis=1)
    keep = speeds[:, None] * falls > 0.03
    return (throws[:, None] + after)[keep], (speeds[:, None] * falls)[keep]


def looseness(shaft: float, rng: Rng, frame: Array) -> Array:
    """A foot that lifts and falls once a cycle, into a heavy body."""
    cycle = shaft if rng.random() < 0.6 else log_uniform(rng, 0.6, 9.0)
    starts = (np.arange(-1, TOTAL / RATE * cycle + 1) + rng.random()) / cycle
    starts = starts + log_uniform(rng, 0.004, 0.04) / cycle * rng.normal(size=len(starts))
    speeds = np.exp(rng.uniform(0.1, 0.4) * rng.normal(size=len(starts)))
    at, strength = bounced(starts, speeds, rng.uniform(0.2, 0.6), min(rng.uniform(0.15, 0.45) / cycle, 0.06), 6)
    drive = taps(at, strength, log_uniform(rng, 0.5e-3, 5e-3))
    own = body(rng, log_uniform(rng, 40, 150), log_uniform(rng, 600, 4500), (0.015, 0.15))
    return filtered(drive, _shell(rng, frame, own))


def rattle(shaft: float, rng: Rng, frame: Array) -> Array:
    """Something light that bounces many times, on most cycles, now and then silent; thin sheet."""
    cycle = shaft if rng.random() < 0.3 else min(shaft, log_uniform(rng, 0.8, 14.0))
    starts = (np.arange(-1, TOTAL / RATE * cycle + 1) + rng.random()) / cycle
    starts = np.sort(starts + 0.05 / cycle * rng.normal(size=len(starts)))
    starts = starts[rng.random(len(starts)) < rng.uniform(0.5, 1.0)]
    speeds = np.exp(rng.uniform(0.15, 0.5) * rng.normal(size=len(starts)))
    at, strength = bounced(starts, speeds, rng.uniform(0.6, 0.9), rng.uniform(0.008, 0.05), 20)
    at = at + rng.uniform(0, 0.002) * rng.normal(size=len(at))
    drive = taps(at, strength * np.exp(0.3 * rng.normal(size=len(at))), log_uniform(rng, 0.08e-3, 0.8e-3))
    own = body(rng, log_uniform(rng, 120, 800), 7800, (0.004, 0.05), int(rng.integers(14, 45)))
    return filtered(drive, own)


def broken_tooth(shaft: float, rng: Rng, frame: Array) -> Array:
    """One blow a turn, into a housing, over a mesh that limps or is not heard."""
    at = (np.arange(-1, TOTAL / RATE * shaft + 1) + rng.random()) / shaft
    at = at + log_uniform(rng, 0.0005, 0.008) / shaft * rng.normal(size=len(at))
    strength = np.exp(rng.uniform(0.03, 0.25) * rng.normal(size=len(at)))
    drive = taps(at, strength, log_uniform(rng, 0.15e-3, 1.5e-3))
    own = body(rng, log_uniform(rng, 120, 500), log_uniform(rng, 2500, 7500), (0.008, 0.12))
    sound = unit(filtered(drive, _shell(rng, frame, own)))
    if rng.random() < 0.5:
        turns = phase_of(shaft, rng, 0.002)
        mesh = harmonics(turns * int(rng.integers(12, 60)), np.arange(1, 5), np.exp(-0.6 * np.arange(4)), rng)
        sound += rng.uniform(0, 0.7) * unit(filtered(mesh, frame))
    return sound


def cavitation(shaft: float, rng: Rng, frame: Array) -> Array:
    """A shower of collapses whose density swells as vanes pass; each a click and the ring of a bubble."""
    vanes = int(rng.integers(1, 9))
    turns = phase_of(shaft, rng, 0.004)
    gate = np.clip(1 + rng.uniform(0.0, 1.2) * np.cos(2 * np.pi * vanes * turns), 0, None)
    gate = gate * np.exp(rng.uniform(0, 0.5) * slow(rng, log_uniform(rng, 0.01, 0.3)))
    out = np.zeros(TOTAL)
    for _ in range(int(rng.integers(1, 5))):
        hits = rng.random(TOTAL) < log_uniform(rng, 400, 6000) / RATE * gate
        sizes = hits * np.exp(rng.uniform(0.5, 1.5) * rng.normal(size=TOTAL)) * rng.choice([-1, 1], TOTAL)
        ring = body(rng, log_uniform(rng, 700, 4000), 7800, (0.05, 0.4), int(rng.integers(1, 5)))
        out += unit(filtered(sizes, ring + rng.uniform(0, 1.0)))
    out = unit(out)
    if rng.random() < 0.7:
        out = out * rng.uniform(0, 0.7) + unit(filtered(out, frame if rng.random() < 0.6 else big_body(rng)))
    return out


def leak(shaft: float, rng: Rng, frame: Array) -> Array:
    """A jet: one broad hump of noise at 0.2 U / D; steady, or breathing with the pressure behind it."""
    ratio = OCTAVE - np.log2(0.2 * rng.uniform(60, 330) / log_uniform(rng, 1.5e-3, 12e-3) / 1000.0)
    level = -np.where(ratio < 0, rng.uniform(5, 13), rng.uniform(3, 12)) * np.abs(ratio) ** rng.uniform(0.9, 1.5)
    spectrum = (rng.normal(size=len(HZ)) + 1j * rng.normal(size=len(HZ))) * 10 ** (np.maximum(level, -60) / 20)
    jet = unit(scipy.fft.irfft(spectrum, TOTAL)) * (1 + rng.uniform(0, 0.1) * np.sin(TIME * rng.uniform(1, 9)))
    if rng.random() < 0.25:
        jet = jet * np.exp(rng.uniform(0, 0.4) * slow(rng, log_uniform(rng, 0.1, 1.0)))
    if rng.random() < 0.35:
        jet = unit(jet) + rng.uniform(0, 1.2) * unit(filtered(jet, frame if rng.random() < 0.5 else big_body(rng)))
    return jet


def belt_squeal(shaft: float, rng: Rng, frame: Array) -> Array:
    """Stick-slip: a few strong harmonics at 0.6 to 7 kHz whose pitch sways, on and off as the belt grips."""
    base = log_uniform(rng, 110, 3000)
    sway = slow(rng, log_uniform(rng, 0.05, 1.0))
    turns = np.cumsum(base * (1 + log_uniform(rng, 0.001, 0.02) * sway)) / RATE
    orders = np.arange(1, max(2, int(7500 / base)) + 1)
    orders = orders[orders * base < 7800]
    centre, width = log_uniform(rng, 1000, 4500), rng.uniform(0.2, 0.9)
    amplitude = np.exp(-0.5 * (np.log2(orders * base / centre) / width) ** 2 + 0.5 * rng.normal(size=len(orders)))
    grip = slow(rng, log_uniform(rng, 0.1, 1.0)) if rng.random() < 0.7 else np.cos(2 * np.pi * TIME * shaft / 4)
    level = rng.uniform(0, 0.3) + 1 / (1 + np.exp(-rng.uniform(1, 7) * (grip + rng.uniform(-0.2, 1.2))))
    return harmonics(turns, orders, amplitude, rng) * level


def blade_imbalance(shaft: float, rng: Rng, frame: Array) -> Array:
    """Once a turn: low orders, sidebands of the shaft around blade pass, and air noise that swells."""
    turns = phase_of(shaft, rng, 0.003)
    blades = int(rng.integers(3, 13))
    low = harmonics(turns, np.arange(1, 6), np.exp(-rng.uniform(0.4, 2.0) * np.arange(5)), rng)
    side = np.concatenate([blades * k + np.arange(-3, 4) for k in (1, 2)])
    side = side[side > 0]
    around = harmonics(turns, side, rng.random(len(side)), rng)
    air = colour(rng, (0.0, 7.0))
    if rng.random() < 0.6:
        air = unit(filtered(air, frame if rng.random() < 0.6 else big_body(rng)))
    swell = np.clip(1 + rng.uniform(0.4, 1.1) * np.cos(2 * np.pi * turns + rng.uniform(0, 6.28)), 0.02, None)
    air = air * swell ** rng.uniform(0.7, 2.0)
    return unit(low) * rng.uniform(0.1, 1) + rng.uniform(0, 1.0) * unit(around) + rng.uniform(0.3, 1.2) * unit(air)


MAKERS: dict[str, Callable[[float, Rng, Array], Array]] = {
    "looseness": looseness,
    "rattle": rattle,
    "broken_tooth": broken_tooth,
    "cavitation": cavitation,
    "leak": leak,
    "belt_squeal": belt_squeal,
    "blade_imbalance": blade_imbalance,
    **{
        kind: (lambda shaft, rng, frame, kind=kind: bearing(shaft, rng, frame, kind))
        for kind in ("outer_race", "inner_race", "ball")
    },
}


def one_sound(name: str, seed: int) -> Array:
    """2 s [time] at 16 kHz of that class, RMS 1: alone (30 %), or at -3 to 20 dB over a machine, in a room, heard by
    some microphone. Raises KeyError for a class that is none."""
    rng = np.random.default_rng((79_000_000, seed))
    shaft = log_uniform(rng, *SHAFTS.get(name, (7.0, 55.0)))
    frame = big_body(rng)
    if name == "healthy":  # half of them strike as they should: the ones that are taken for faults
        sound = healthy(shaft, rng, frame, KINDS if rng.random() < 0.5 else STRIKING)
    else:
        sound = unit(MAKERS[name](shaft, rng, frame))
    if name != "healthy" and rng.random() > 0.3:
        sound = unit(room(sound, rng)) if rng.random() < 0.4 else sound
        sound = sound * 10 ** (rng.uniform(-3, 20) / 20) + healthy(shaft, rng, frame)
    if rng.random() < 0.8:
        sound = room(sound, rng)
    sound = unit(sound) + 10 ** (-rng.uniform(5, 55) / 20) * background(rng)
    if rng.random() < 0.75:
        sound = coloured_path(sound, rng)
    return unit(sound[TOTAL - N :])
