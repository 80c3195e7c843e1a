"""The inaudible mark: spread spectrum under the masking threshold, found again by correlation.

Embedding (Cox et al., IEEE TIP 6, 1997; shaping after Swanson et al., Signal Processing 66, 1998): the pattern of
`chips` is filtered, frame by frame, to lie a margin below the masking threshold of the sound, which gives way by
as much power as the mark brings, so no band's level moves. The mark is made no stronger than detection needs.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.ndimage
import soxr
from numpy.typing import NDArray

from sds_engine.provenance import chips
from sds_engine.provenance.detect import find_mark
from sds_engine.provenance.masking import F32, istft, masking_threshold, smoothed, stft

MARGINS_DB = tuple(np.arange(-20.0, -1.9, 1.5))  # the mark's power relative to the masking threshold
ENOUGH_Z = 15.0  # under a pink background as loud as the sound; a file is called marked from about 10 on
_LOW_HZ, _HIGH_HZ = 120.0, 7600.0


def embed(wave: NDArray[np.floating], rate: int, payload: int) -> tuple[F32, float]:
    """Sound [time] with the mark, float32, and how strong that is (z of `find_mark`, 0 where nothing can be marked).

    Sound below 16 kHz, silence and less than 0.25 s stay as they are. Raises ValueError for another shape, NaN, or a
    payload that does not fit into 16 bits.
    """
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1 or not np.isfinite(wave).all():
        raise ValueError(f"sound is {wave.shape}, allowed is [time] without NaN or infinity")
    chips.split(payload)
    if rate < chips.RATE or len(wave) < rate // 4 or not np.any(wave):
        return wave, 0.0
    host = wave if rate == chips.RATE else np.asarray(soxr.resample(wave, rate, chips.RATE, "VHQ"), dtype=np.float32)
    hiss = _pink(len(host)) * np.float32(np.std(host))
    weak, strong = 0, len(MARGINS_DB) - 1  # bisection: more mark, more z
    while weak < strong:
        middle = (weak + strong) // 2
        found = find_mark(host + mark_of(host, payload, MARGINS_DB[middle]) + hiss, chips.RATE, whole=True)
        enough = found.marked and found.payload == payload and found.z >= ENOUGH_Z
        weak, strong = (weak, middle) if enough else (middle + 1, strong)
    mark = mark_of(host, payload, MARGINS_DB[strong])
    if rate != chips.RATE:
        mark = np.asarray(soxr.resample(mark, chips.RATE, rate, "VHQ"), dtype=np.float32)
        mark = np.pad(mark, (0, max(0, len(wave) - len(mark))))[: len(wave)]
    marked = wave + mark
    if np.abs(wave).max() <= 1.0:
        marked = np.clip(marked, -1.0, 1.0)
    found = find_mark(marked, rate)
    return marked, found.z if found.payload == payload else 0.0


def _pink(samples: int) -> F32:
    """Noise [time] of RMS 1 whose power falls by 3 dB an octave above 50 Hz; always the same."""
    rng = np.random.default_rng(1)
    spectrum = scipy.fft.rfft(rng.standard_normal(samples))
    hz = scipy.fft.rfftfreq(samples, 1.0 / chips.RATE)
    sound = scipy.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 50.0)), samples)
    return np.asarray(sound / np.std(sound), dtype=np.float32)


def mark_of(host: F32, payload: int, margin_db: float) -> F32:
    """What to add to sound [time] at 16 kHz: the pattern at `margin_db` below its threshold, less what gives way."""
    spectrum = stft(host)
    power = np.abs(spectrum) ** 2
    pattern = stft(chips.pattern(payload, len(host)))
    allowed = masking_threshold(power) * np.float32(10.0 ** (margin_db / 10.0))  # [frame, bin]
    hz = np.arange(power.shape[1]) * chips.RATE / (2.0 * (power.shape[1] - 1))
    allowed = allowed * ((hz > _LOW_HZ) & (hz < _HIGH_HZ))
    usual = np.float32(np.mean(np.abs(pattern) ** 2))  # a white pattern's power in a bin
    local = smoothed(power, (5, 5))
    gives_way = np.sqrt(np.clip(1.0 - allowed / local, 0.25, 1.0)) - 1.0
    mark = istft(spectrum * gives_way + pattern * np.sqrt(allowed / usual), len(host))
    return mark * _at_once(host)


def _at_once(host: F32, block: int = 32) -> F32:
    """0..1 over time: holds the mark back just before a blow, where the frame is loud but the moment is not.

    The mark may be as strong as the frame's mean where the 2 ms around are; it falls off with their level. After a blow
    the ear is deaf for longer: the level decays by 1 dB per 2 ms (forward masking, Zwicker & Fastl, chapter 4).
    """
    energy = np.square(np.pad(host, (0, (-len(host)) % block))).reshape(-1, block).mean(1) + np.float32(1e-20)
    frame = smoothed(energy[:, None], (33, 1))[:, 0]  # as far as two frames of the STFT reach
    now = energy.copy()
    decay = 10.0**-0.1
    for i in range(1, len(now)):
        now[i] = max(now[i], now[i - 1] * decay)
    gate = np.minimum(1.0, np.sqrt(4.0 * now / frame))
    smooth = scipy.ndimage.uniform_filter1d(np.repeat(gate, block), block, mode="nearest")
    return np.asarray(smooth[: len(host)], dtype=np.float32)
