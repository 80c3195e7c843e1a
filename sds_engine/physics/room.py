"""Rooms and colours: the response from a source to a microphone, and responses that shape noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from sds_engine.physics.wander import F32, F64

SPEED_OF_SOUND = 343.0  # m/s, dry air at 20 C
_BAND_HZ = np.array([63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16_000.0])
# How the reverberation time of a hall falls towards high frequencies (air, people) and low ones (roof sheets),
# relative to 500 Hz: ours, after the usual course in Kuttruff, Room Acoustics, chapter 9.
_BAND_DECAY = np.array([0.8, 0.9, 1.0, 1.0, 0.95, 0.85, 0.65, 0.4, 0.2])


@dataclass(frozen=True, slots=True)
class Room:
    """A hall of `volume` m^3 and `t60` s of reverberation at 500 Hz; `walls` return that share of sound pressure."""

    volume: float = 9000.0
    t60: float = 0.9
    walls: float = 0.7

    @property
    def critical_distance(self) -> float:
        """Where direct and reverberant sound are equally strong, in m: 0.057 sqrt(V / T60) (Kuttruff, chapter 5)."""
        return 0.057 * math.sqrt(self.volume / self.t60)


def shaped_noise_response(hz: F64, level_db: F64, rate: int, taps: int = 512) -> F32:
    """A response `[taps]` with this power density over frequency (straight lines over log f), energy 1.

    Zero-phase, moved to the middle and windowed: for noise the delay does not matter.
    """
    grid = scipy.fft.rfftfreq(taps, 1.0 / rate)
    magnitude = 10.0 ** (np.interp(np.log(np.maximum(grid, 1.0)), np.log(hz), level_db) / 20.0)
    magnitude[0] = 0.0
    response = np.roll(scipy.fft.irfft(magnitude, taps), taps // 2) * np.hanning(taps)
    return unit_energy(response)


def unit_energy(response: F64 | F32) -> F32:
    """The response scaled so that white noise of RMS 1 keeps its RMS."""
    return np.asarray(response / math.sqrt(float(np.sum(np.square(response, dtype=np.float64)))), dtype=np.float32)


def diffuse_tail(room: Room, rate: int, taps: int, rng: np.random.Generator) -> F64:
    """Reverberation `[taps]` of energy 1: noise that decays in each octave band by its own time.

    Moorer, "About this reverberation business", Computer Music J. 3:2 (1979): exponentially decaying noise; here
    band by band (Kuttruff, chapter 4). Bands cross over linearly in log f; the last tenth fades out.
    """
    spectrum = scipy.fft.rfft(rng.standard_normal(taps))
    octaves = np.log2(np.maximum(scipy.fft.rfftfreq(taps, 1.0 / rate), 1.0))
    centres = np.log2(_BAND_HZ)
    t = np.arange(taps) / rate
    tail = np.zeros(taps)
    for i, decay in enumerate(_BAND_DECAY):
        peak = np.zeros(len(centres))
        peak[i] = 1.0
        weight = np.interp(octaves, centres, peak)  # triangles: they sum to 1 between the outer centres
        t60 = room.t60 * decay
        # the power of a band's steady sound is proportional to its reverberation time
        tail += scipy.fft.irfft(spectrum * weight, taps) * np.exp(-6.908 / t60 * t)
    fade = min(taps, taps // 10 + 1)
    tail[-fade:] *= np.cos(np.linspace(0.0, np.pi / 2, fade)) ** 2
    return tail / math.sqrt(float(np.sum(tail**2)))


def room_response(room: Room, distance: float, rate: int, taps: int, rng: np.random.Generator) -> F32:
    """From a source (its sound at 1 m, free field) to a microphone `distance` m away, `[taps]`.

    Direct sound 1 / r after r / c (taken to the nearest sample); eight early reflections at random detours of 1 to
    14 m, each 1 / path times what the walls return; then the diffuse tail, whose energy is the same everywhere:
    1 / critical_distance^2 relative to the direct sound at 1 m (Kuttruff, chapter 5). What comes later is lost.
    """
    response = np.zeros(taps)
    paths = distance + np.concatenate([[0.0], np.sort(rng.uniform(1.0, 14.0, 8))])
    bounces = np.concatenate([[0], 1 + np.arange(8) // 3])
    delays = np.round(paths / SPEED_OF_SOUND * rate).astype(np.int64)
    signs = np.concatenate([[1.0], rng.choice(np.array([-1.0, 1.0]), 8)])
    kept = delays < taps
    np.add.at(response, delays[kept], (signs * room.walls**bounces / paths)[kept])
    start = int(delays[0]) + int(0.01 * rate)
    if start < taps - 64:
        response[start:] += diffuse_tail(room, rate, taps - start, rng) / room.critical_distance
    return response.astype(np.float32)
