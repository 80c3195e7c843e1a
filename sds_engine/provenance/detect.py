"""Finds the mark, and says how sure that is: a bound that holds for every sound, whatever its distribution.

The sound is whitened, in VIEWS (which bands and moments count), cut into segments, folded to one period and correlated
with the three sequences of signs at every half sample. For sound that was made without regard to the key, each
correlation T = sum_n c_n W_n has signs c that are fair and independent of the weights W, whatever W is (a hum, clicks,
silence with one blow). Hoeffding (JASA 58, 1963): P(T / |W| > t) <= exp(-t^2 / 2), without any assumption on the sound.
The joint statistic of the three sequences, (z0 + z1 + z2) / sqrt(3), is such a sum over 3 PERIOD signs. With M = views
x segments x half-sample offsets x 256^2 payloads, Bonferroni gives P(any above t) <= M exp(-t^2 / 2); a mark is claimed
where that is at most ALPHA = 1e-9 for the file. The probability is over keys: one key was drawn once, before any sound
was seen.

What to expect of a marked sound: z grows with the root of its seconds and with the mark-to-sound ratio; background of
equal power and spectrum takes a factor sqrt(2).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
import soxr
from numpy.typing import NDArray

from sds_engine.provenance import chips
from sds_engine.provenance.masking import F32, istft, masking_threshold, smoothed, stft

ALPHA = 1e-9  # the largest probability that a file that was never marked is called marked
_SEGMENTS_S = (2.0, 6.0)  # and all of it; a marked sound within a longer file is looked for
_CANDIDATES = 96  # offsets of the first sequence that are tried with every payload
_BLOCK_S = 30.0
# What counts: from and to Hz, and whether only what rises above its bin's usual level over time (blows in a hiss) does.
VIEWS = tuple(
    (low, high, rising)
    for rising in (False, True)
    for low, high in ((120.0, 7600.0), (120.0, 900.0), (600.0, 2500.0), (1800.0, 5000.0), (3500.0, 7600.0))
)


@dataclass(frozen=True, slots=True)
class Found:
    """The strongest trace of a mark in a sound.

    marked: whether `log10_p`, the logarithm of the bound on a false claim over all that was tried, is at most -9.
    payload: the 16 bits, where marked; z: the joint correlation in standard deviations; start_s, end_s: where.
    """

    marked: bool
    payload: int | None
    z: float
    log10_p: float
    start_s: float
    end_s: float


def find_mark(wave: NDArray[np.floating], rate: int, tries: int = 1, *, whole: bool = False) -> Found:
    """Look for the mark in sound [time] at any rate.

    `tries` is how many calls one file takes, for the bound; with `whole` only the sound as a whole is looked at, not
    its parts. Less than 0.25 s and silence are never called marked. Raises ValueError for another shape or NaN.
    """
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1 or not np.isfinite(wave).all():
        raise ValueError(f"sound is {wave.shape}, allowed is [time] without NaN or infinity")
    if rate != chips.RATE:
        wave = np.asarray(soxr.resample(wave, rate, chips.RATE, "VHQ"), dtype=np.float32)
    segments = _segments(len(wave))[: 1 if whole else None]
    tests = len(segments) * len(VIEWS) * tries * 2.0 * chips.PERIOD * 2.0**chips.PAYLOAD_BITS
    if not segments or not np.any(wave):
        return Found(marked=False, payload=None, z=0.0, log10_p=0.0, start_s=0.0, end_s=len(wave) / chips.RATE)
    white = whitened(wave)  # [view, time]
    found = ((*_decode(_folded(row, *one)), one) for row in white for one in segments)
    z, payload, (start, stop) = max(found)
    log10_p = min(0.0, math.log10(tests) - z * abs(z) / (2.0 * math.log(10.0)))
    marked = log10_p <= math.log10(ALPHA)
    return Found(marked, payload if marked else None, z, log10_p, start / chips.RATE, stop / chips.RATE)


def _segments(samples: int) -> list[tuple[int, int]]:
    """All of the sound, and stretches of 2 and 6 s, half overlapping."""
    if samples < chips.RATE // 4:
        return []
    found = [(0, samples)]
    for seconds in _SEGMENTS_S:
        size = int(seconds * chips.RATE)
        if samples > 1.25 * size:
            found += [(start, start + size) for start in range(0, samples - size + 1, size // 2)]
    return found


def whitened(wave: F32) -> F32:
    """Sound [time] at 16 kHz -> [view, time], every cell weighed as the mark is expected there.

    Longer sound is worked on in stretches of 30 s, so that memory stays bounded.
    """
    size = int(_BLOCK_S * chips.RATE)
    return np.concatenate([_whitened(wave[start : start + size]) for start in range(0, len(wave), size)], axis=1)


def _whitened(wave: F32) -> F32:
    """The weight is sqrt(threshold) / power: the matched filter for a mark that follows the masking threshold."""
    spectrum = stft(wave)
    power = np.abs(spectrum) ** 2
    local = smoothed(power, (3, 3))
    local += np.float32(1e-9) * local.max()
    weight = np.sqrt(masking_threshold(power)) / local
    above = np.clip(0.5 * local / np.median(local, axis=0) - 1.0, 0.0, 1.0)
    hz = np.arange(power.shape[1]) * chips.RATE / (2.0 * (power.shape[1] - 1))
    rows = []
    for low, high, rising in VIEWS:
        inside = weight * ((hz > low) & (hz < high))
        rows.append(istft((spectrum * (inside * above if rising else inside)).astype(np.complex64), len(wave)))
    return np.stack(rows)


def _folded(white: F32, start: int, stop: int) -> F32:
    """A stretch, folded to one period: its sample n falls on n modulo PERIOD."""
    part = white[start:stop]
    periods = np.pad(part, (0, (-len(part)) % chips.PERIOD)).reshape(-1, chips.PERIOD)
    return np.asarray(periods.sum(0))


@functools.lru_cache(maxsize=1)
def _references() -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """The conjugate spectra of the sequences [3, bin], and the half-sample delay [bin]."""
    spectra = np.conj(scipy.fft.rfft(chips.sequences(), axis=1))
    half = np.exp(1j * np.pi * np.arange(spectra.shape[1]) / chips.PERIOD)
    return spectra.astype(np.complex64), half.astype(np.complex64)


def _decode(folded: F32) -> tuple[float, int]:
    """The best joint z over half-sample offsets and payloads, and its payload."""
    norm = float(np.sqrt(np.sum(np.square(folded, dtype=np.float64))))
    if norm <= 0.0:
        return 0.0, 0
    references, half = _references()
    spectrum = scipy.fft.rfft(folded / np.float32(norm))
    best, payload = -np.inf, 0
    steps = chips.STEP * np.arange(1 << chips.SYMBOL_BITS)
    for moved in (spectrum, spectrum * half):
        z = scipy.fft.irfft(moved * references, chips.PERIOD, axis=1)  # [sequence, offset]
        offsets = np.argpartition(z[0], -_CANDIDATES)[-_CANDIDATES:]
        places = (offsets[:, None] + steps) % chips.PERIOD  # [candidate, symbol]
        first, second = z[1][places], z[2][places]
        joint = (z[0][offsets] + first.max(1) + second.max(1)) / math.sqrt(3.0)
        row = int(np.argmax(joint))
        if joint[row] > best:
            a, b = int(np.argmax(first[row])), int(np.argmax(second[row]))
            best, payload = float(joint[row]), (a << chips.SYMBOL_BITS) | b
    return best, payload
