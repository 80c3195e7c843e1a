"""First guesses for an FM voice from a sound's peaks and envelope, and jumps that no gradient would find. numpy.

Frequencies are where FM's loss is hopeless for gradients: a partial that misses by more than a bin feels nothing. Peaks
give carriers, the spacing of peaks gives modulators (Chowning 1973: sidebands lie at f + k g).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sds_engine.makers.base import Bound
from sds_engine.makers.fm import OPERATORS

F64 = NDArray[np.float64]
RATIOS = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.41, 2.76, 3.5])
_OCTAVES = np.array([0.25, 1 / 3, 0.5, 2 / 3, 1.5, 2.0, 3.0])


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What a sound says before any search: peaks and their spacings in Hz (strongest first), and its envelope."""

    peaks_hz: F64
    spacings_hz: F64
    attack_s: float
    decay_s: float
    sustain: float


def hear(wave: F64, rate: int) -> Heard:
    """The peaks, spacings and envelope of a sound `[time]`. Silence has one peak at 200 Hz: there must be a start."""
    size = 2 ** math.ceil(math.log2(len(wave)))
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 2 * size))
    peaks = _peaks(power, rate / (2 * size))
    ordered = np.sort(peaks[:12])
    gaps = np.diff(ordered)
    gaps = gaps[gaps > 15.0]
    spacings = np.concatenate([gaps, ordered[2:] - ordered[:-2]])
    return Heard(peaks[:16], spacings if len(spacings) else peaks[:1], *_envelope(wave, rate))


def _peaks(magnitude: F64, step: float) -> F64:
    """The frequencies of local maxima over 25 Hz, strongest first, none within 12 Hz of a stronger one."""
    inner = magnitude[1:-1]
    top = np.flatnonzero((inner > magnitude[:-2]) & (inner >= magnitude[2:]) & (inner > 0.02 * magnitude.max())) + 1
    top = top[top * step > 25.0]
    found: list[float] = []
    for k in top[np.argsort(-magnitude[top], kind="stable")]:
        left, middle, right = magnitude[k - 1 : k + 2]
        hz = (k + 0.5 * (left - right) / (left - 2.0 * middle + right - 1e-30)) * step  # parabola through three bins
        if all(abs(hz - other) > 12.0 for other in found):
            found.append(float(hz))
        if len(found) == 16:
            break
    return np.array(found or [200.0])


def _envelope(wave: F64, rate: int) -> tuple[float, float, float]:
    """Attack to the peak, the time in which the sound falls to 1/e of the way to its end, and its level there."""
    hop = max(1, rate // 200)
    frames = wave[: len(wave) // hop * hop].reshape(-1, hop)
    level = np.sqrt(np.mean(frames**2, axis=1) + 1e-18)
    level = np.convolve(np.pad(level, 2, mode="edge"), np.ones(5) / 5, "valid")
    top = int(np.argmax(level > 0.8 * level.max()))
    sustain = float(np.mean(level[-max(1, len(level) // 8) :]) / level.max())
    after = level[top:] / level.max() - sustain
    fallen = np.flatnonzero(after < 0.37 * (1.0 - sustain))
    decay = (int(fallen[0]) if len(fallen) else len(after)) * hop / rate
    return max(top * hop / rate / 2.0, 1e-3), max(decay, 0.01), min(max(sustain, 0.02), 0.98)


def guess(heard: Heard, rng: np.random.Generator) -> dict[str, F64]:
    """Physical values of one first guess, `[size]` each."""
    n = OPERATORS
    f0 = float(_pick(heard.spacings_hz if rng.random() < 0.5 else heard.peaks_hz, rng))
    f0 *= float(rng.choice([1.0, 1.0, 1.0, 0.5]))
    ratio = np.array([_ratio(heard, f0, rng) for _ in range(n)])
    index = np.where(rng.random(n * n) < 0.3, rng.exponential(1.2, n * n), 0.02)
    return {
        "f0_hz": np.array([f0]),
        "ratio": ratio,
        "index": index,
        "amplitude_db": np.minimum(rng.uniform(-30.0, 0.0, n), 0.0),
        "attack_s": heard.attack_s * np.exp(0.7 * rng.standard_normal(n)),
        "decay_s": heard.decay_s * np.exp(0.7 * rng.standard_normal(n)),
        "sustain": np.clip(heard.sustain + 0.15 * rng.standard_normal(n), 0.02, 0.98),
    }


def _pick(values: F64, rng: np.random.Generator) -> np.float64:
    """One of them, the first ones more often."""
    return np.float64(values[min(int(rng.exponential(len(values) / 3.0)), len(values) - 1)])


def _ratio(heard: Heard, f0: float, rng: np.random.Generator) -> float:
    kind = rng.random()
    if kind < 0.45:
        return float(_pick(heard.peaks_hz, rng) / f0)
    if kind < 0.65:
        return float(_pick(heard.spacings_hz, rng) / f0)
    return float(rng.choice(RATIOS))


def jump(values: Mapping[str, F64], heard: Heard, rng: np.random.Generator) -> dict[str, F64]:
    """A changed copy: one to three jumps of pitch, ratios, indices, levels or envelopes."""
    new = {name: np.array(value, dtype=np.float64) for name, value in values.items()}
    for _ in range(int(rng.integers(1, 4))):
        i = int(rng.integers(OPERATORS))
        kind = rng.random()
        if kind < 0.10:  # another fundamental under the same operators, or the same ratios elsewhere
            factor = float(rng.choice(_OCTAVES))
            new["f0_hz"] *= factor
            if rng.random() < 0.5:
                new["ratio"] /= factor
        elif kind < 0.40:
            new["ratio"][i] = _ratio(heard, float(new["f0_hz"][0]), rng)
        elif kind < 0.65:
            j = int(rng.integers(OPERATORS**2))
            new["index"][j] = 0.02 if rng.random() < 0.3 else rng.exponential(1.2)
        elif kind < 0.82:
            new["amplitude_db"][i] = rng.uniform(-45.0, 0.0)
        else:
            name = str(rng.choice(["attack_s", "decay_s"]))
            new[name][i] *= math.exp(rng.standard_normal())
            new["sustain"][i] = np.clip(new["sustain"][i] + 0.2 * rng.standard_normal(), 0.02, 0.98)
    return new


def free_rows(rows: list[dict[str, F64]], bounds: Mapping[str, Bound]) -> dict[str, F64]:
    """Rows of physical values -> unconstrained `[row, size]`, each moved inside its bounds."""
    return {name: np.stack([bounds[name].free(row[name]) for row in rows]) for name in rows[0]}
