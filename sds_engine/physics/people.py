"""Sound of people: speech-like, by source and filter, without words.

Fant, Acoustic Theory of Speech Production, 1960: glottal pulses, filtered by formants that glide from vowel to vowel
in the rhythm of syllables. Harmonics are summed with the gain that the formants give them, at 100 points a second.
"""

from __future__ import annotations

import numpy as np

from sds_engine.physics.wander import F32, F64, ornstein_uhlenbeck

# Formants F1 to F3 in Hz of the vowels of adult men after Peterson and Barney, J. Acoust. Soc. Am. 24 (1952) 175.
VOWELS = np.array(
    [[270, 2290, 3010], [530, 1840, 2480], [730, 1090, 2440], [570, 840, 2410], [300, 870, 2240], [490, 1350, 1690]],
    dtype=np.float64,
)
_BANDWIDTHS = np.array([80.0, 100.0, 140.0])
_POINTS_HZ = 100


def phrase(seconds: float, rate: int, rng: np.random.Generator) -> F32:
    """A phrase of speech-like sound `[time]` of RMS 1: three to six syllables a second, pauses, falling pitch."""
    points = int(seconds * _POINTS_HZ) + 2
    scale, pitch = rng.uniform(1.0, 1.18), rng.uniform(95.0, 210.0)  # a shorter vocal tract: women, lighter voices
    loud, formants, fricative = _syllables(points, scale, rng)
    f0 = pitch * (1.15 - 0.3 * np.arange(points) / points)
    f0 *= np.exp(ornstein_uhlenbeck(points, 1 / _POINTS_HZ, 0.15, 0.08, rng))
    voice = _voiced(f0, loud, formants, seconds, rate)
    time = np.arange(len(voice)) * (_POINTS_HZ / rate)
    hiss = np.diff(rng.standard_normal(len(voice) + 1)) * np.interp(time, np.arange(points), fricative)
    sound = voice / np.sqrt(np.mean(voice**2)) + 0.25 * hiss
    fade = int(0.02 * rate)
    sound[:fade] *= np.linspace(0.0, 1.0, fade)
    sound[-fade:] *= np.linspace(1.0, 0.0, fade)
    return np.asarray(sound / np.sqrt(np.mean(sound**2)), dtype=np.float32)


def _syllables(points: int, scale: float, rng: np.random.Generator) -> tuple[F64, F64, F64]:
    """Loudness [point], formants in Hz [point, 3] and hiss [point]: one syllable after another, some pauses."""
    loud, hiss = np.zeros(points), np.zeros(points)
    centres, targets = [0.0], [VOWELS[int(rng.integers(len(VOWELS)))]]
    at = 0
    while at < points:
        length = int(rng.uniform(0.16, 0.32) * _POINTS_HZ)
        if rng.random() > 0.15:  # else a pause
            here = slice(at, min(at + length, points))
            loud[here] = (np.sin(np.pi * np.arange(length) / length) ** 0.7 * rng.uniform(0.4, 1.0))[: here.stop - at]
            if rng.random() < 0.4:
                hiss[here.start : min(here.start + 7, points)] = rng.uniform(0.3, 1.0)
        centres.append(at + length / 2.0)
        targets.append(VOWELS[int(rng.integers(len(VOWELS)))])
        at += length
    along = np.arange(points)
    formants = np.stack([np.interp(along, centres, np.array(targets)[:, i]) for i in range(3)], axis=1)
    return loud, formants * scale, hiss


def _voiced(f0: F64, loud: F64, formants: F64, seconds: float, rate: int) -> F64:
    """The harmonics of the glottal pulses (12 dB an octave down), each with the gain of three resonances.

    Radiation from the lips gives 6 dB an octave back (Fant 1960): together 1 / n.
    """
    samples = int(seconds * rate)
    time = np.arange(samples) * (_POINTS_HZ / rate)
    along = np.arange(len(f0))
    phase = 2.0 * np.pi * np.cumsum(np.interp(time, along, f0)) / rate
    sound = np.zeros(samples)
    for n in range(1, int(min(5000.0, 0.45 * rate) / f0.max()) + 1):
        hz = (n * f0)[:, None]
        resonance = formants**2 / np.sqrt((formants**2 - hz**2) ** 2 + (hz * _BANDWIDTHS) ** 2)
        gain = loud / n * np.prod(resonance, axis=1)
        sound += np.interp(time, along, gain) * np.sin(n * phase)
    return sound
