"""How much may be added to a sound before it is heard: masking thresholds after Johnston (IEEE JSAC 6, 1988).

The power of each Bark band is spread over its neighbours (Schroeder, Atal & Hall, JASA 66, 1979); noise hides what is
5.5 dB below it, a tone what is 14.5 dB + 1 dB per Bark below it, 24 dB at most (noise under a tone is heard from 21 to
28 dB below it on: Painter & Spanias, Proc. IEEE 88, 2000, section II). How tonal a band is comes from the flatness of
its own bins, averaged over 80 ms. The threshold in quiet is left out: nobody knows how loud the sound will be played.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

F32 = NDArray[np.float32]
C64 = NDArray[np.complex64]
N_FFT = 512
HOP = 128
_RATE = 16_000
_MOST_OFFSET_DB = 24.0
_TONAL_FLATNESS_DB = -12.0  # a band as flat as that is a tone


@functools.lru_cache(maxsize=1)
def window() -> F32:
    """The square root of Hann, periodic: analysis times synthesis adds up to a constant."""
    return np.sqrt(0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)


def stft(wave: F32) -> C64:
    """The spectrum [frame, bin] of sound [time] at 16 kHz; frames reach over both ends."""
    padded = np.pad(wave, (N_FFT, N_FFT + (-len(wave)) % HOP))
    framed = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    return np.asarray(scipy.fft.rfft(framed * window(), axis=1), dtype=np.complex64)


def istft(spectrum: C64, samples: int) -> F32:
    """Sound [time] from `stft`'s spectrum: exact where nothing was changed."""
    frames = scipy.fft.irfft(spectrum, N_FFT, axis=1) * (window() * np.float32(2.0 * HOP / N_FFT))
    count = len(frames)
    out = np.zeros((count + N_FFT // HOP - 1, HOP), dtype=np.float32)
    for part in range(N_FFT // HOP):
        out[part : part + count] += frames[:, part * HOP : (part + 1) * HOP]
    return out.reshape(-1)[N_FFT : N_FFT + samples]


@functools.lru_cache(maxsize=1)
def bands() -> tuple[NDArray[np.int64], F32]:
    """Each bin's Bark band [bin] (Zwicker & Terhardt, 1980), and the spreading [band, band], rows of sum 1."""
    hz = np.arange(N_FFT // 2 + 1) * _RATE / N_FFT
    bark = 13.0 * np.arctan(0.00076 * hz) + 3.5 * np.arctan((hz / 7500.0) ** 2)
    number = np.minimum(bark.astype(np.int64), int(bark[-2]))
    count = int(number.max()) + 1
    away = np.arange(count)[:, None] - np.arange(count)[None, :] + 0.474
    spread = 10.0 ** ((15.81 + 7.5 * away - 17.5 * np.sqrt(1.0 + away**2)) / 10.0)
    return number, (spread / spread.sum(1, keepdims=True)).astype(np.float32)


def smoothed(power: F32, size: tuple[int, int]) -> F32:
    """The mean over so many cells around each, above 0: running sums lose what is 70 dB below its neighbours."""
    mean = scipy.ndimage.uniform_filter(power, size, mode="nearest")
    return np.asarray(np.maximum(mean, power / np.float32(size[0] * size[1])) + np.float32(1e-20))


def masking_threshold(power: F32) -> F32:
    """Power [frame, bin] of a sound -> the power [frame, bin] that may be added unheard."""
    number, spread = bands()
    count = len(spread)
    member = np.zeros((len(number), count), dtype=np.float32)
    member[np.arange(len(number)), number] = 1.0
    size = member.sum(0)
    energy = power @ member  # [frame, band]
    steady = smoothed(power, (11, 1))
    flatness_db = 10.0 / np.log(10.0) * (np.log(steady) @ member / size) - 10.0 * np.log10(steady @ member / size)
    tonal = np.clip(flatness_db / _TONAL_FLATNESS_DB, 0.0, 1.0)
    offset_db = tonal * np.minimum(14.5 + np.arange(count), _MOST_OFFSET_DB) + (1.0 - tonal) * 5.5
    # Spread power hides at the masker's offset; never more than the band's own power could, so that gaps stay clean.
    level = np.minimum(energy @ spread.T, energy) * 10.0 ** (-offset_db / 10.0) / size
    return np.asarray(level[:, number], dtype=np.float32)


def noise_to_mask_db(wave: F32, added: F32) -> tuple[float, float]:
    """How far what was added lies above the threshold of the sound: mean and 99th percentile over loud cells, dB.

    Below 0 it is masked. Counted are the cells (frame, band) of the sound within 60 dB of its loudest.
    """
    number, spread = bands()
    member = np.eye(len(spread), dtype=np.float32)[number]
    power = np.abs(stft(wave)) ** 2
    threshold = masking_threshold(power) @ member
    noise = (np.abs(stft(added)) ** 2) @ member
    energy = power @ member
    heard = energy > 1e-6 * energy.max()
    if not heard.any():
        return -np.inf, -np.inf
    ratio = 10.0 * np.log10((noise[heard] + 1e-20) / (threshold[heard] + 1e-20))
    return float(10.0 * np.log10(np.mean(10.0 ** (ratio / 10.0)))), float(np.percentile(ratio, 99))
