"""Healthy machines of many kinds, for the judge that reports: hums, flows and strokes through bodies of their own.

`healthy(shaft, rng, frame)` is one machine; `background(rng)` is the hall behind it. See `bodies` for what they share.
"""

from __future__ import annotations

import numpy as np
from reporting.bodies import (
    RATE,
    TIME,
    TOTAL,
    Array,
    Rng,
    big_body,
    body,
    colour,
    filtered,
    log_uniform,
    room,
    taps,
    unit,
)

KINDS = ("plain", "blades", "teeth", "strokes", "pulses", "rollers", "flow")
STRIKING = ("strokes", "pulses", "rollers")


def phase_of(hz: float, rng: Rng, wobble: float) -> Array:
    """Turns over time: constant speed with a slow wobble of that relative size."""
    drift = wobble * np.sin(2 * np.pi * rng.uniform(0.1, 1.0) * TIME + rng.uniform(0, 6.28))
    return np.cumsum(hz * (1 + drift)) / RATE + rng.random()


def harmonics(turns: Array, orders: Array, amplitudes: Array, rng: Rng) -> Array:
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    rows = (a * np.cos(2 * np.pi * k * turns + p) for k, a, p in zip(orders, amplitudes, phases, strict=True))
    return sum(rows, np.zeros(TOTAL))


def slow(rng: Rng, seconds: float) -> Array:
    """A random walk that forgets after `seconds`, mean 0 and deviation 1, wrapped around."""
    shape = 1 / (1 + (2 * np.pi * seconds * np.arange(TOTAL // 2 + 1) * RATE / TOTAL))
    spectrum = shape * (rng.normal(size=len(shape)) + 1j * rng.normal(size=len(shape)))
    spectrum[0], spectrum[400:] = 0, 0
    walk = np.fft.irfft(spectrum, TOTAL)
    return walk / max(float(np.std(walk)), 1e-12)


def flows(rng: Rng, frame: Array, turns: Array) -> Array:
    """Air, liquid and rubbing: one to three noises, each through the frame, a body of its own or none; they breathe."""
    out = np.zeros(TOTAL)
    for _ in range(int(rng.integers(1, 4))):
        noise = colour(rng, (-1.0, 7.0))
        way = rng.random()
        if way < 0.45:
            noise = filtered(noise, frame)
        elif way < 0.75:
            noise = filtered(noise, big_body(rng))
        if rng.random() < 0.5:
            noise = unit(noise) * np.exp(rng.uniform(0, 0.25) * slow(rng, log_uniform(rng, 0.02, 1.0)))
        if rng.random() < 0.3:
            order = float(rng.choice([1, 1, 2, int(rng.integers(3, 13))]))
            noise = noise * (1 + rng.uniform(0, 0.35) * np.cos(2 * np.pi * order * turns + rng.uniform(0, 6.28)))
        out += unit(noise) * 10 ** (rng.uniform(-18, 0) / 20)
    return unit(out)


def hums(rng: Rng, frame: Array, turns: Array) -> Array:
    """Orders of the shaft and of the mains, through the frame or not."""
    orders = np.arange(1, rng.integers(4, 30))
    fall = orders ** -rng.uniform(0.3, 2.0) * np.exp(0.7 * rng.normal(size=len(orders)))
    hum = unit(harmonics(turns, orders, fall, rng))
    if rng.random() < 0.6:
        hum = unit(filtered(hum, frame))
    mains = rng.choice([1.0, 2.0, 2.0]) * rng.choice([50.0, 60.0]) * TIME
    hum += rng.uniform(0, 1.0) * unit(harmonics(mains, np.arange(1, 9), rng.random(8) ** 2, rng))
    if rng.random() < 0.2:  # an inverter or a coil whines
        whine = harmonics(log_uniform(rng, 800, 7000) * TIME, np.ones(1), np.ones(1), rng)
        hum += rng.uniform(0, 0.5) * whine
    return unit(hum)


def strokes(rng: Rng, frame: Array, cycle: float) -> Array:
    """A press, pump or compressor that works as it should: thumps, blows, slides and puffs at places of its cycle."""
    out = np.zeros(TOTAL)
    for _ in range(int(rng.integers(1, 6))):
        at = np.arange(-1, TOTAL / RATE * cycle + 1) / cycle + rng.random() / cycle
        at = at + rng.uniform(0.0005, 0.006) / cycle * rng.normal(size=len(at))
        sort = rng.random()
        if sort < 0.5:
            drive = taps(at, np.exp(0.08 * rng.normal(size=len(at))), log_uniform(rng, 0.2e-3, 8e-3))
            own = frame if rng.random() < 0.6 else body(rng, 60, log_uniform(rng, 800, 7000), (0.01, 0.2))
            part = filtered(drive, own)
        else:
            length = log_uniform(rng, 0.008, 0.3 / min(cycle, 5))
            grow = taps(at, at * 0 + 1, 0)
            swell = filtered(grow, 1 / (1 + 2j * np.pi * length * np.fft.rfftfreq(TOTAL, 1 / RATE)) ** 2)
            part = np.clip(swell, 0, None) * colour(rng, (-2.0, 5.0))
            part = filtered(part, frame) if rng.random() < 0.5 else part
        out += unit(part) * 10 ** (rng.uniform(-12, 0) / 20)
    return unit(out)


def clatter(rng: Rng, frame: Array) -> Array:
    """Chips, rollers, plates that knock as they should, at no fixed rate."""
    hits = (rng.random(TOTAL) < log_uniform(rng, 0.5, 300.0) / RATE) * np.exp(0.7 * rng.normal(size=TOTAL))
    own = frame if rng.random() < 0.4 else body(rng, 200, log_uniform(rng, 1500, 7500), (0.01, 0.1))
    return unit(filtered(taps(TIME[hits > 0], hits[hits > 0], log_uniform(rng, 0.1e-3, 2e-3)), own))


def healthy(shaft: float, rng: Rng, frame: Array, kinds: tuple[str, ...] = KINDS) -> Array:
    """One machine [TOTAL] of RMS 1 that turns at `shaft` Hz in a frame [bin]."""
    turns = phase_of(shaft, rng, rng.uniform(0, 0.008))
    kind = str(rng.choice(kinds))
    sound = flows(rng, frame, turns) + hums(rng, frame, turns) * 10 ** (rng.uniform(-20, 6) / 20)
    special = np.zeros(TOTAL)
    if kind == "blades":
        blades = int(rng.integers(3, 13))
        special = harmonics(turns * blades, np.arange(1, 6), np.exp(-rng.uniform(0.2, 1.0) * np.arange(5)), rng)
    elif kind == "teeth":
        teeth = int(rng.integers(12, 60))
        mesh = harmonics(turns * teeth, np.arange(1, 6), np.exp(-rng.uniform(0.2, 1.0) * np.arange(5)), rng)
        special = mesh * (1 + rng.uniform(0, 0.3) * np.cos(2 * np.pi * turns))
        special = filtered(special, frame) if rng.random() < 0.6 else special
    elif kind == "strokes":
        special = strokes(rng, frame, log_uniform(rng, 0.6, 12.0))
    elif kind == "pulses":  # pistons or lobes, too soft and too regular for a fault
        special = strokes(rng, frame, float(shaft * rng.choice([0.5, 1, 2])))
        sound = sound * 10 ** (rng.uniform(0, 12) / 20)
    elif kind == "rollers":
        special = clatter(rng, frame)
    if kind not in ("plain", "flow"):
        sound = sound + unit(special) * 10 ** (rng.uniform(-14, 5) / 20)
    if rng.random() < 0.15:
        sound = sound + clatter(rng, frame) * 10 ** (rng.uniform(-18, -4) / 20)
    return unit(sound)


def background(rng: Rng) -> Array:
    """The hall: hiss, and half of the time another machine behind some distance."""
    sound = colour(rng, (0.0, 6.0))
    if rng.random() < 0.5:
        far = room(healthy(log_uniform(rng, 5, 60), rng, big_body(rng)), rng)
        sound = sound + unit(far) * 10 ** (rng.uniform(-10, 8) / 20)
    return unit(sound)
