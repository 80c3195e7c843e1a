"""A second synthesis of the ten faults and of healthy machines, for the judge that reports. numpy and scipy alone.

It shares nothing with `sds_engine.physics` but the textbooks: bodies are banks of two-pole resonators drawn by band
instead of modes of plates and rings, rooms are decaying noise by octave, machines are a few harmonics, a coloured hiss
and pulses. Every number is drawn anew for every sound, since a judge that reports must not know one workshop only.

Sources: Randall & Antoni, MSSP 25 (2011), bearing rates; Harris, Rolling Bearing Analysis, load zone; Brennen,
Cavitation and Bubble Dynamics; Lighthill's jet noise; Polack's model of reverberation (1988).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import scipy.signal

RATE, SECONDS = 16_000, 2.0
N = int(RATE * SECONDS)
LEAD = RATE // 4  # sounds already ring when the window begins
TOTAL = N + LEAD
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
TIME = np.arange(TOTAL) / RATE
Rng = np.random.Generator
Array = np.ndarray


def log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def unit(sound: Array) -> Array:
    return sound / max(float(np.sqrt(np.mean(sound[LEAD:] ** 2))), 1e-9)


def ring(drive: Array, rng: Rng, count: int, low: float, high: float, loss: tuple[float, float]) -> Array:
    """A body: parallel two-pole resonators, log-spread over low..high Hz, loss factors drawn from `loss`."""
    out = np.zeros_like(drive)
    for hz in np.exp(rng.uniform(np.log(low), np.log(high), count)):
        eta = log_uniform(rng, *loss)
        r, w = np.exp(-np.pi * eta * hz / RATE), 2 * np.pi * hz / RATE
        # zeros at 0 and Nyquist: equal peak gain whatever the loss
        out += rng.normal() * scipy.signal.lfilter([(1 - r), 0, -(1 - r)], [1, -2 * r * np.cos(w), r * r], drive)
    return out


def taps(instants: Array, strengths: Array, width_s: float) -> Array:
    """Half-sine blows at fractional samples."""
    drive = np.zeros(TOTAL + 2)
    good = (instants >= 0) & (instants < SECONDS + LEAD / RATE)
    place = instants[good] * RATE
    whole = place.astype(int)
    np.add.at(drive, whole, strengths[good] * (1 - (place - whole)))
    np.add.at(drive, whole + 1, strengths[good] * (place - whole))
    length = max(1, round(width_s * RATE))
    pulse = np.sin(np.pi * (np.arange(length) + 0.5) / length)
    return np.convolve(drive, pulse / pulse.sum())[:TOTAL]


def colour(noise: Array, rng: Rng, slope_db: tuple[float, float]) -> Array:
    """Noise whose spectrum falls by a drawn number of dB an octave, with two gentle bumps."""
    spectrum = np.fft.rfft(noise)
    octave = np.log2(np.maximum(np.fft.rfftfreq(len(noise), 1 / RATE), 30.0) / 1000.0)
    level = -rng.uniform(*slope_db) * octave
    for _ in range(2):
        level += rng.normal(0, 5) * np.exp(-0.5 * ((octave - rng.uniform(-4, 3)) / rng.uniform(0.3, 1.0)) ** 2)
    return np.fft.irfft(spectrum * 10 ** (level / 20), len(noise))


def phase_of(hz: float, rng: Rng, wobble: float) -> Array:
    """Turns over time: constant speed with a slow wobble of that relative size."""
    drift = wobble * np.sin(2 * np.pi * rng.uniform(0.1, 1.0) * TIME + rng.uniform(0, 6.28))
    return np.cumsum(hz * (1 + drift)) / RATE + rng.random()


def harmonics(turns: Array, orders: Array, amplitudes: Array, rng: Rng) -> Array:
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    rows = (a * np.cos(2 * np.pi * k * turns + p) for k, a, p in zip(orders, amplitudes, phases, strict=True))
    return sum(rows, np.zeros(TOTAL))


# --- healthy machines --------------------------------------------------------------------------------------------


def healthy(shaft: float, rng: Rng) -> Array:
    """One machine: hum of shaft and mains, a hiss that breathes a little, and by its kind blades, teeth or strokes."""
    turns = phase_of(shaft, rng, rng.uniform(0, 0.006))
    orders = np.arange(1, rng.integers(4, 24))
    hum = unit(
        harmonics(turns, orders, orders ** -rng.uniform(0.5, 2.0) * np.exp(0.6 * rng.normal(size=len(orders))), rng)
    )
    mains = 2 * rng.choice([50.0, 60.0])
    hum += rng.uniform(0, 0.7) * unit(harmonics(mains * TIME, np.arange(1, 8), rng.random(7) ** 2, rng))
    hiss = unit(colour(rng.normal(size=TOTAL), rng, (1.0, 7.0)))
    sound = hum * 10 ** (rng.uniform(-12, 6) / 20) + hiss
    kind = rng.choice(["blades", "teeth", "strokes", "plain"])
    if kind == "blades":
        blades = int(rng.integers(3, 13))
        sound += rng.uniform(0.2, 1.0) * unit(harmonics(turns * blades, np.arange(1, 5), 0.5 ** np.arange(4), rng))
        sound *= 1 + 0.1 * rng.random() * np.cos(2 * np.pi * blades * turns)
    elif kind == "teeth":
        teeth = int(rng.integers(14, 45))
        mesh = harmonics(turns * teeth, np.arange(1, 5), np.exp(-0.6 * np.arange(4)), rng)
        sound += rng.uniform(0.3, 1.5) * unit(mesh * (1 + rng.uniform(0, 0.25) * np.cos(2 * np.pi * turns)))
    elif kind == "strokes":
        sound += rng.uniform(0.5, 2.0) * unit(strokes(rng))
    if rng.random() < 0.3:  # parts, chips or plates that knock together as they should, at no fixed rate
        hits = (rng.random(TOTAL) < log_uniform(rng, 0.5, 200.0) / RATE) * np.exp(0.7 * rng.normal(size=TOTAL))
        clatter = ring(hits, rng, int(rng.integers(4, 16)), 200, log_uniform(rng, 1500, 7000), (0.01, 0.1))
        sound = sound + rng.uniform(0.1, 0.8) * unit(clatter)
    return unit(sound)


def strokes(rng: Rng) -> Array:
    """A press or compressor that works as it should: thumps, harder blows and puffs at fixed places of a slow cycle."""
    cycle = log_uniform(rng, 0.8, 12.0)
    out = np.zeros(TOTAL)
    for _ in range(int(rng.integers(1, 5))):
        at = np.arange(-1, TOTAL / RATE * cycle + 1) / cycle + rng.random() / cycle
        at = at + 0.004 / cycle * rng.normal(size=len(at))
        if rng.random() < 0.5:
            drive = taps(at, np.exp(0.08 * rng.normal(size=len(at))), log_uniform(rng, 0.2e-3, 5e-3))
            out += unit(ring(drive, rng, 8, 60, log_uniform(rng, 800, 6000), (0.01, 0.2)))
        else:
            puff = scipy.signal.lfilter(
                [1], [1, -np.exp(-1 / (rng.uniform(0.01, 0.06) * RATE))], taps(at, at * 0 + 1, 0)
            )
            out += unit(puff * colour(rng.normal(size=TOTAL), rng, (-2.0, 4.0)))
    return out


# --- faults ------------------------------------------------------------------------------------------------------


def bearing(shaft: float, rng: Rng, kind: str) -> Array:
    """Blows at BPFO, BPFI or twice the ball spin; even, swelling with the shaft, or with the cage."""
    balls = int(rng.integers(6, 15))
    gamma = min(rng.uniform(0.12, 0.3), 2.0 / balls) * np.cos(rng.uniform(0, 0.45))
    rate, turn = {
        "outer_race": (balls / 2 * (1 - gamma), 0.0),
        "inner_race": (balls / 2 * (1 + gamma), 1.0),
        "ball": ((1 - gamma**2) / gamma, (1 - gamma) / 2),
    }[kind]
    rate, turn = rate * shaft, turn * shaft
    slip = rng.uniform(0.005, 0.02)
    gaps = (1 + slip * rng.normal(size=int(rate * TOTAL / RATE * 1.2) + 8)) / rate
    at = np.cumsum(gaps) - rng.random() / rate
    strength = np.exp(rng.uniform(0.05, 0.2) * rng.normal(size=len(at)))
    if turn:
        angle = 2 * np.pi * (turn * at + rng.random())
        reach = rng.uniform(0.35, 0.7)
        strength *= np.maximum(1 - (1 - np.cos(angle)) / (2 * reach), 0) ** rng.choice([1.1, 1.5])
    if kind == "ball":
        strength[1::2] *= rng.uniform(0.4, 1.0)
    drive = taps(at, strength, rng.uniform(0.06e-3, 0.3e-3))
    sound = unit(ring(drive, rng, int(rng.integers(3, 10)), 700, 7500, (0.01, 0.12)))
    return sound + rng.uniform(0, 0.5) * unit(ring(drive, rng, 6, 150, 2500, (0.02, 0.1)))


def bounced(throws: Array, speeds: Array, restitution: float, flight: float, most: int) -> tuple[Array, Array]:
    """A mass thrown up at these times: it lands, again and again, each flight e times as long."""
    at, strength = [], []
    for start, speed in zip(throws, speeds, strict=True):
        now, left = start, speed
        for _ in range(most):
            now += flight * left
            at.append(now)
            strength.append(left)
            left *= restitution
            if left < 0.03:
                break
    return np.array(at), np.array(strength)


def looseness(shaft: float, rng: Rng) -> Array:
    """A foot that lifts and falls once a cycle, into a heavy body."""
    cycle = shaft if rng.random() < 0.6 else log_uniform(rng, 0.8, 8.0)
    starts = (np.arange(-1, TOTAL / RATE * cycle + 1) + rng.random()) / cycle
    starts = starts + rng.uniform(0.005, 0.03) / cycle * rng.normal(size=len(starts))
    speeds = np.exp(rng.uniform(0.1, 0.35) * rng.normal(size=len(starts)))
    at, strength = bounced(starts, speeds, rng.uniform(0.3, 0.55), min(0.3 / cycle, 0.05), 5)
    drive = taps(at, strength, rng.uniform(0.6e-3, 2.5e-3))
    return ring(drive, rng, int(rng.integers(6, 14)), 50, log_uniform(rng, 700, 3000), (0.02, 0.12))


def rattle(shaft: float, rng: Rng) -> Array:
    """Something light that bounces many times, on most cycles; thin sheet."""
    cycle = min(shaft, log_uniform(rng, 0.8, 14.0))
    starts = (np.arange(-1, TOTAL / RATE * cycle + 1) + rng.random()) / cycle
    starts = np.sort(starts + 0.04 / cycle * rng.normal(size=len(starts)))
    starts = starts[rng.random(len(starts)) < rng.uniform(0.6, 1.0)]
    speeds = np.exp(rng.uniform(0.15, 0.45) * rng.normal(size=len(starts)))
    at, strength = bounced(starts, speeds, rng.uniform(0.68, 0.87), rng.uniform(0.012, 0.045), 16)
    drive = taps(at, strength, rng.uniform(0.08e-3, 0.4e-3))
    return ring(drive, rng, int(rng.integers(14, 36)), log_uniform(rng, 150, 500), 7600, (0.005, 0.04))


def broken_tooth(shaft: float, rng: Rng) -> Array:
    """One blow a turn, into a housing; the mesh limps a little in front of it."""
    at = (np.arange(-1, TOTAL / RATE * shaft + 1) + rng.random()) / shaft
    at = at + rng.uniform(0.001, 0.006) / shaft * rng.normal(size=len(at))
    strength = np.exp(rng.uniform(0.05, 0.2) * rng.normal(size=len(at)))
    drive = taps(at, strength, rng.uniform(0.25e-3, 0.8e-3))
    return ring(drive, rng, int(rng.integers(6, 14)), 250, log_uniform(rng, 3000, 6500), (0.01, 0.07))


def cavitation(shaft: float, rng: Rng) -> Array:
    """A shower of collapses whose density swells as vanes pass; each a click and the ring of a bubble."""
    vanes = int(rng.integers(3, 9))
    turns = phase_of(shaft, rng, 0.004)
    gate = np.clip(1 + rng.uniform(0.4, 1.2) * np.cos(2 * np.pi * vanes * turns), 0, None)
    out = np.zeros(TOTAL)
    for _ in range(int(rng.integers(2, 5))):
        density = log_uniform(rng, 400, 4000)
        hits = rng.random(TOTAL) < density / RATE * gate
        sizes = hits * np.exp(rng.uniform(0.6, 1.4) * rng.normal(size=TOTAL))
        out += unit(ring(sizes * rng.choice([-1, 1], TOTAL), rng, 1, 1500, 7800, (0.05, 0.2)) + 0.5 * sizes)
    return scipy.signal.lfilter([1, -rng.uniform(0.0, 0.9)], [1], out) + 0.3 * ring(out, rng, 5, 500, 4000, (0.02, 0.1))


def leak(shaft: float, rng: Rng) -> Array:
    """A jet: one broad hump of noise at 0.2 U / D, steady."""
    peak = 0.2 * rng.uniform(70, 260) / log_uniform(rng, 3e-3, 12e-3)
    spectrum = np.fft.rfft(rng.normal(size=TOTAL))
    ratio = np.maximum(np.fft.rfftfreq(TOTAL, 1 / RATE), 20.0) / peak
    level = -rng.uniform(6, 12) * np.abs(np.log2(ratio)) ** rng.uniform(1.0, 1.5)
    return np.fft.irfft(spectrum * 10 ** (np.maximum(level, -60) / 20), TOTAL) * (
        1 + 0.03 * np.sin(TIME * rng.uniform(1, 9))
    )


def belt_squeal(shaft: float, rng: Rng) -> Array:
    """Stick-slip: a few strong harmonics at 1 to 5 kHz whose pitch sways, on and off as the belt grips."""
    base = log_uniform(rng, 110, 1600)
    sway = np.cumsum(rng.normal(size=TOTAL // 400 + 2))
    sway = np.interp(np.arange(TOTAL), 400 * np.arange(len(sway)), sway - np.linspace(0, sway[-1], len(sway)))
    turns = np.cumsum(base * (1 + 0.004 * sway / max(np.std(sway), 1e-9))) / RATE
    orders = np.arange(1, max(2, int(7000 / base)) + 1)
    centre, width = log_uniform(rng, 1300, 3800), rng.uniform(0.25, 0.7)
    amplitude = np.exp(-0.5 * (np.log2(orders * base / centre) / width) ** 2) * np.exp(
        0.4 * rng.normal(size=len(orders))
    )
    grip = scipy.signal.lfilter([1], [1, -np.exp(-1 / (0.4 * RATE))], rng.normal(size=TOTAL))
    grip = (grip - grip.mean()) / grip.std()
    level = 0.1 + 0.9 / (1 + np.exp(-rng.uniform(2, 6) * (grip + rng.uniform(0.0, 0.8))))
    return harmonics(turns, orders, amplitude, rng) * level


def blade_imbalance(shaft: float, rng: Rng) -> Array:
    """Once a turn: low orders, sidebands of the shaft around blade pass, and air noise that swells."""
    turns = phase_of(shaft, rng, 0.003)
    blades = int(rng.integers(3, 13))
    low = harmonics(turns, np.arange(1, 6), np.exp(-rng.uniform(0.4, 1.0) * np.arange(5)), rng)
    side = np.concatenate([blades * k + np.arange(-3, 4) for k in (1, 2)])
    side = side[side > 0]
    around = harmonics(turns, side, rng.random(len(side)), rng)
    air = colour(rng.normal(size=TOTAL), rng, (2.0, 6.0)) * (1 + rng.uniform(0.5, 1.0) * np.cos(2 * np.pi * turns))
    return unit(low) + rng.uniform(0.3, 1.0) * unit(around) + rng.uniform(0.3, 1.0) * unit(air)


MAKERS: dict[str, Callable[[float, Rng], Array]] = {
    "looseness": looseness,
    "rattle": rattle,
    "broken_tooth": broken_tooth,
    "cavitation": cavitation,
    "leak": leak,
    "belt_squeal": belt_squeal,
    "blade_imbalance": blade_imbalance,
    **{
        kind: (lambda shaft, rng, kind=kind: bearing(shaft, rng, kind)) for kind in ("outer_race", "inner_race", "ball")
    },
}
# The turning rates in Hz at which the fault is usual.
SHAFTS = {"cavitation": (20.0, 55.0), "blade_imbalance": (14.0, 55.0), "broken_tooth": (9.0, 45.0)}


def room(sound: Array, rng: Rng) -> Array:
    """Direct sound, a few reflections, and a tail of noise that decays faster at high frequencies."""
    t60, wet = rng.uniform(0.15, 1.6), 10 ** (rng.uniform(-25, 3) / 20)
    taps_ = np.arange(int(min(t60, 0.9) * RATE))
    tail = np.zeros(len(taps_))
    for low, high, share in ((80, 500, 1.0), (500, 2000, 1.0), (2000, 7500, rng.uniform(0.35, 0.8))):
        sos = scipy.signal.butter(2, (low, high), "bandpass", fs=RATE, output="sos")
        decay = 10 ** (-3 * taps_ / RATE / (t60 * share))
        tail += scipy.signal.sosfilt(sos, rng.normal(size=len(taps_))) * decay
    tail[: rng.integers(20, 400)] = 0
    response = wet * tail / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    response[0] += 1
    for delay in rng.integers(30, 500, 4):
        response[delay] += 0.4 * wet * rng.normal()
    return scipy.signal.fftconvolve(sound, response)[:TOTAL]


def one_sound(name: str, seed: int) -> Array:
    """2 s [time] of that class, RMS 1: the fault alone, or over its machine by -6 to 20 dB; room, path, noise."""
    rng = np.random.default_rng((77_000_000, seed))
    low, high = SHAFTS.get(name, (9.0, 55.0))
    shaft = log_uniform(rng, low, high)
    sound = unit(healthy(shaft, rng)) if name == "healthy" else unit(MAKERS[name](shaft, rng))
    if name != "healthy" and rng.random() > 0.35:
        sound = unit(room(sound, rng)) if rng.random() < 0.5 else sound
        sound = sound * 10 ** (rng.uniform(-6, 20) / 20) + healthy(shaft, rng)
    if rng.random() < 0.8:
        sound = room(sound, rng)
    sound = unit(sound) + 10 ** (-rng.uniform(5, 50) / 20) * unit(colour(rng.normal(size=TOTAL), rng, (0.0, 6.0)))
    if rng.random() < 0.7:
        sound = coloured_path(sound, rng)
    return unit(sound)[LEAD:]


def coloured_path(sound: Array, rng: Rng) -> Array:
    """A microphone: tilt and a shelf."""
    spectrum = np.fft.rfft(sound)
    octave = np.log2(np.maximum(np.fft.rfftfreq(len(sound), 1 / RATE), 30.0) / 1000.0)
    level = rng.normal(0, 2.0) * octave + rng.normal(0, 5) / (1 + np.exp(-3 * (octave - rng.uniform(-3, 2))))
    return np.fft.irfft(spectrum * 10 ** (np.clip(level, -30, 20) / 20), len(sound))


def without_phase(sound: Array, rng: Rng) -> Array:
    """Rebuilt from its magnitudes by alternating projections; half of the time they are smoothed over bands first."""
    size, hop = (512, 128) if rng.random() < 0.7 else (1024, 256)
    kind = {"nperseg": size, "noverlap": size - hop, "boundary": "even", "padded": True}
    magnitude = np.abs(scipy.signal.stft(sound, RATE, **kind)[2])
    if rng.random() < 0.6:
        edges = np.unique(np.geomspace(4, len(magnitude), int(rng.integers(40, 90))).astype(int))
        edges = np.concatenate([np.arange(4), edges])
        for low, high in pairwise(edges):
            magnitude[low:high] = np.sqrt(np.mean(magnitude[low:high] ** 2, axis=0, keepdims=True))
    phase = np.exp(2j * np.pi * rng.random(magnitude.shape))
    for _ in range(int(rng.integers(0, 7))):
        again = scipy.signal.istft(magnitude * phase, RATE, nperseg=size, noverlap=size - hop)[1]
        back = scipy.signal.stft(again, RATE, **kind)[2][:, : magnitude.shape[1]]
        phase = np.exp(1j * np.angle(np.pad(back, ((0, 0), (0, magnitude.shape[1] - back.shape[1])))))
    out = scipy.signal.istft(magnitude * phase, RATE, nperseg=size, noverlap=size - hop)[1]
    return np.pad(out, (0, max(0, N - len(out))))[:N]
