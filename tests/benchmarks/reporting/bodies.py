"""What sound goes through on its way to a judge that reports: bodies, paths, rooms, microphones. numpy and scipy alone.

A body is a sum of damped modes in the frequency domain, drawn as a family (scattered, plate, bar, shell) of a drawn
size and material: machine noise goes through bodies as much as blows do, else a judge takes every resonance for a
fault. Everything wraps around TOTAL, so sounds already ring when the window begins.

Sources: Cremer, Heckl & Petersson, Structure-Borne Sound (modal density and loss factors); Polack's reverberation.
"""

from __future__ import annotations

import functools
from itertools import pairwise

import numpy as np
import scipy.fft
import scipy.signal

RATE, SECONDS = 16_000, 2.0
N = int(RATE * SECONDS)
TOTAL = N + RATE // 4
TIME = np.arange(TOTAL) / RATE
HZ = np.fft.rfftfreq(TOTAL, 1 / RATE)
OCTAVE = np.log2(np.maximum(HZ, 20.0) / 1000.0)
Rng = np.random.Generator
Array = np.ndarray


def log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def unit(sound: Array) -> Array:
    return sound / max(float(np.sqrt(np.mean(sound**2))), 1e-9)


def filtered(sound: Array, response: Array) -> Array:
    """The sound [time] through a response [bin], wrapped around."""
    return scipy.fft.irfft(scipy.fft.rfft(sound) * response, TOTAL)


def _mode_places(rng: Rng, count: int, low: float, high: float) -> Array:
    """Frequencies in Hz of one family of modes."""
    family = rng.choice(["scattered", "plate", "bar", "shell"], p=[0.5, 0.25, 0.1, 0.15])
    if family == "scattered":
        return np.exp(rng.uniform(np.log(low), np.log(high), count))
    if family == "bar":
        places = low * ((2 * np.arange(1, 16) + 1) / 3) ** 2
    elif family == "plate":
        m, n = np.meshgrid(np.arange(1, 12), np.arange(1, 12))
        places = low * np.sort((m**2 + log_uniform(rng, 0.3, 3) * n**2).ravel()) / 2
    else:
        places = low + np.cumsum(rng.exponential((high - low) / count, count))
    places = places[places < high][:count]
    return places * np.exp(0.02 * rng.normal(size=len(places))) if len(places) else np.array([low])


def body(rng: Rng, low: float, high: float, loss: tuple[float, float], count: int | None = None) -> Array:
    """Response [bin] of a body with modes over low..high Hz; loss factors scatter around one drawn from `loss`."""
    count = count if count is not None else round(log_uniform(rng, 4, 45))
    eta = log_uniform(rng, *loss)
    response = np.zeros(len(HZ), dtype=np.complex64)
    for hz in _mode_places(rng, count, low, min(high, 7800.0)):
        own = float(np.clip(eta * np.exp(0.5 * rng.normal()), 0.001, 0.5))
        width = own * hz + 0.5
        # peak gain of 1, both slopes 6 dB an octave
        mode = (1j * width * HZ) / (hz * hz - HZ * HZ + 1j * width * HZ + 1e-3)
        response += (rng.normal() * mode).astype(np.complex64)
    return response * 2.0 ** (-rng.uniform(-0.5, 1.0) * OCTAVE)


def big_body(rng: Rng) -> Array:
    """A housing, frame or casing: some modes and a smooth floor between them."""
    response = body(rng, log_uniform(rng, 40, 400), log_uniform(rng, 1500, 7800), (0.005, 0.15))
    smooth = 2.0 ** (-rng.uniform(-0.5, 1.2) * OCTAVE) * np.median(np.abs(response))
    return response + rng.uniform(0, 2.0) * smooth


def taps(instants: Array, strengths: Array, width_s: float) -> Array:
    """Half-sine blows at fractional samples; what falls outside is left out."""
    drive = np.zeros(TOTAL + 2)
    good = (instants >= 0) & (instants < TOTAL / RATE)
    place = instants[good] * RATE
    whole = place.astype(int)
    np.add.at(drive, whole, strengths[good] * (1 - (place - whole)))
    np.add.at(drive, whole + 1, strengths[good] * (place - whole))
    length = max(1, round(width_s * RATE))
    pulse = np.sin(np.pi * (np.arange(length) + 0.5) / length)
    return np.convolve(drive, pulse / pulse.sum())[:TOTAL]


def colour(rng: Rng, slope_db: tuple[float, float]) -> Array:
    """Noise [time] whose spectrum falls by a drawn number of dB an octave, with up to four bumps."""
    level = -rng.uniform(*slope_db) * OCTAVE
    for _ in range(int(rng.integers(0, 5))):
        level += rng.normal(0, 6) * np.exp(-0.5 * ((OCTAVE - rng.uniform(-4, 3)) / log_uniform(rng, 0.1, 1.0)) ** 2)
    spectrum = rng.normal(size=len(HZ)) + 1j * rng.normal(size=len(HZ))
    spectrum *= 10 ** (level / 20) * (HZ > 15)
    return unit(scipy.fft.irfft(spectrum, TOTAL))


@functools.cache
def _tail_bands() -> list[Array]:
    edges = ((80, 500), (500, 2000), (2000, 7500))
    return [scipy.signal.butter(2, edge, "bandpass", fs=RATE, output="sos") for edge in edges]


def room(sound: Array, rng: Rng) -> Array:
    """Direct sound, a few reflections, and a tail of noise that decays faster at high frequencies."""
    t60, wet = rng.uniform(0.15, 1.8), 10 ** (rng.uniform(-28, 6) / 20)
    after = np.arange(int(min(t60, 0.9) * RATE))
    tail = np.zeros(len(after))
    for sos, share in zip(_tail_bands(), (1.0, 1.0, rng.uniform(0.35, 0.8)), strict=True):
        tail += scipy.signal.sosfilt(sos, rng.normal(size=len(after))) * 10 ** (-3 * after / RATE / (t60 * share))
    tail[: rng.integers(20, 400)] = 0
    response = np.zeros(TOTAL)
    response[: len(tail)] = wet * tail / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    response[0] += 1.0
    for _ in range(int(rng.integers(1, 5))):
        response[int(rng.integers(8, 500))] += rng.uniform(-0.7, 0.7)
    return filtered(sound, scipy.fft.rfft(response))


def coloured_path(sound: Array, rng: Rng) -> Array:
    """A microphone [time, any length]: tilt, a shelf, ripple, and now and then a band limit."""
    spectrum = scipy.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    octave = np.log2(np.maximum(hz, 30.0) / 1000.0)
    level = rng.normal(0, 2.5) * octave + rng.normal(0, 5) / (1 + np.exp(-3 * (octave - rng.uniform(-3, 2))))
    level = level + np.interp(octave, np.linspace(-5, 3, 8), rng.uniform(0, 5) * rng.normal(size=8))
    gain = 10 ** (np.clip(level, -35, 25) / 20)
    if rng.random() < 0.25:
        gain = gain / (1 + (hz / log_uniform(rng, 2500, 7900)) ** (2 * int(rng.integers(1, 12))))
    if rng.random() < 0.25:
        gain = gain / (1 + (log_uniform(rng, 40, 300) / np.maximum(hz, 1)) ** (2 * int(rng.integers(1, 4))))
    return scipy.fft.irfft(spectrum * gain, len(sound))


def without_phase(sound: Array, rng: Rng) -> Array:
    """Rebuilt [N] from its magnitudes by alternating projections (Griffin & Lim, IEEE TASSP 32, 1984).

    Most are smoothed over bands first, with a floor, errors of some dB and a little blur, as a drawn picture has.
    """
    size, hop = (512, 128) if rng.random() < 0.85 else (1024, 256)
    kind = {"nperseg": size, "noverlap": size - hop}
    magnitude = np.abs(scipy.signal.stft(sound, RATE, **kind)[2])
    if rng.random() < 0.75:
        magnitude = _banded(magnitude, rng)
    floor = magnitude.max() * 10 ** (-rng.uniform(45, 90) / 20)
    level = np.maximum(magnitude, floor)
    if rng.random() < 0.4:
        level = level * np.exp(rng.uniform(0.0, 0.3) * rng.normal(size=level.shape))
    if rng.random() < 0.3:
        share = rng.uniform(0, 0.4)
        log = np.log(level)
        level = np.exp((1 - share) * log + share / 2 * (np.roll(log, 1, 1) + np.roll(log, -1, 1)))
    phase = np.exp(2j * np.pi * rng.random(level.shape))
    for _ in range(int(rng.choice([0, 2, 4, 8, 16], p=[0.2, 0.25, 0.25, 0.2, 0.1]))):
        again = scipy.signal.istft(level * phase, RATE, **kind)[1]
        back = scipy.signal.stft(again, RATE, **kind)[2][:, : level.shape[1]]
        back = np.pad(back, ((0, 0), (0, level.shape[1] - back.shape[1])))
        phase = back / np.maximum(np.abs(back), 1e-12)
    out = scipy.signal.istft(level * phase, RATE, **kind)[1]
    return np.pad(out, (0, max(0, N - len(out))))[:N]


def drawn(sound: Array, rng: Rng) -> Array:
    """Rebuilt [N] as a sound that was drawn as a picture is: 48 to 80 bands that overlap, 10 to 40 projections.

    Single precision and frames of its own, since this is done often; at the ends it is a little softer.
    """
    window = np.hanning(512 + 1)[:-1].astype(np.float32)
    padded = np.pad(np.asarray(sound, dtype=np.float32), 512)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 512)[::128]
    power = np.abs(scipy.fft.rfft(frames * window)) ** 2  # [frame, bin]
    place = np.log1p(np.linspace(0, RATE / 2, 257) / log_uniform(rng, 400, 1000))
    centres = np.linspace(0, place[-1], int(rng.integers(48, 81)))
    banks = np.maximum(0, 1 - np.abs(place - centres[:, None]) / np.maximum(centres[1], np.gradient(place)))
    banks = (banks / banks.sum(1, keepdims=True)).astype(np.float32)  # [band, bin], rows of sum 1
    level = np.sqrt((power @ banks.T) @ (banks / banks.sum(0).clip(1e-9)))
    spectrum = level * np.exp(2j * np.pi * rng.random(level.shape, dtype=np.float32)).astype(np.complex64)
    for _ in range(int(rng.integers(10, 41))):
        again = scipy.fft.rfft(np.lib.stride_tricks.sliding_window_view(_joined(spectrum, window), 512)[::128] * window)
        spectrum = level * again / np.maximum(np.abs(again), 1e-9)
    return _joined(spectrum, window)[512 : 512 + N]


def _joined(spectrum: Array, window: Array) -> Array:
    """Frames [frame, bin] every 128 samples, overlapped and added; four windows' squares add up to 1.5."""
    parts = scipy.fft.irfft(spectrum, 512) * window / np.float32(1.5)
    out = np.zeros((len(parts) + 3, 128), dtype=np.float32)
    for k in range(4):
        out[k : k + len(parts)] += parts[:, 128 * k : 128 * (k + 1)]
    return out.ravel()


def _banded(magnitude: Array, rng: Rng) -> Array:
    """Magnitudes [bin, frame] with one level per band of 48 to 90, spaced as hearing spaces them."""
    hz = np.linspace(0, RATE / 2, len(magnitude))
    place = np.log1p(hz / log_uniform(rng, 400, 1000))
    bands = np.unique(np.searchsorted(place, np.linspace(0, place[-1], int(rng.choice([48, 64, 64, 64, 80, 90])))))
    power, out = magnitude**2, magnitude.copy()
    for low, high in pairwise([*bands, len(magnitude)]):
        if high > low:
            out[low:high] = np.sqrt(power[low:high].mean(0, keepdims=True))
    return out
