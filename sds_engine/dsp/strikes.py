"""Where a hammer struck: onsets of sharp blows in a recording, and the free ringing after each. numpy, float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.typing import NDArray

F64 = NDArray[np.float64]

FRAME_S = 0.002
HUM_HZ = 200.0  # mains hum and rumble lie below
RISE = 10.0  # a blow's power over the greatest of the 25 ms before it
OVER_FLOOR = 30.0  # and over the median of the recording
UNDER_PEAK = 1e-3  # and over the strongest blow: 30 dB below is no strike of the same hand
LOOK_BACK_S = 0.025
APART_S = 0.01
CONTACT_S = 0.003  # hammer and part touch for less; the ringing is free afterwards
RING_S = 0.5  # of free ringing is looked at
LEAST_RING_S = 0.08  # a blow that is followed by another sooner was a bounce
CLIPPED = 0.999


@dataclass(frozen=True, slots=True)
class Strikes:
    """start_s [strike]: when each usable blow fell; ringing: the free sound after each [time]; dropped: why others."""

    start_s: tuple[float, ...]
    ringing: tuple[F64, ...]
    dropped: tuple[str, ...]


def find_onsets(samples: F64, rate: int) -> list[int]:
    """The samples at which blows begin: a sharp rise of power in frames of 2 ms, above 200 Hz or of the sound's slope.

    Noise hides the slope's rise sooner; a bounce on a part that still rings shows in the slope alone. A blow at the
    very beginning counts: silence is assumed before.
    """
    size = max(1, round(FRAME_S * rate))
    if len(samples) < 2 * size:
        return []
    high_pass = scipy.signal.butter(2, HUM_HZ, "highpass", fs=rate, output="sos")
    settled = scipy.signal.sosfilt_zi(high_pass) * samples[0]
    sharp = scipy.signal.sosfilt(high_pass, samples, zi=settled)[0]
    jumps = _jumps(sharp, size) | _jumps(np.diff(samples, prepend=samples[:1]), size)
    onsets: list[int] = []
    apart = round(APART_S / FRAME_S)
    last = -apart
    for frame in np.flatnonzero(jumps):
        if frame - last >= apart:
            onsets.append(int(frame) * size)
        last = int(frame)
    return onsets


def _jumps(sound: F64, size: int) -> NDArray[np.bool_]:
    """The frames [frame] whose power stands far above the floor and above all of the 25 ms before."""
    count = len(sound) // size
    power = np.square(sound[: count * size]).reshape(count, size).mean(1)
    back, near = round(LOOK_BACK_S / FRAME_S), 2
    floor = max(float(np.median(power)) * OVER_FLOOR, float(power.max()) * UNDER_PEAK, 1e-14)
    padded = np.concatenate([np.zeros(back), power])
    before = np.lib.stride_tricks.sliding_window_view(padded, back - near)[:count].max(1)  # up to `near` frames ago
    return np.asarray((power > floor) & (power > RISE * before))


def find_strikes(samples: F64, rate: int) -> Strikes:
    """Blows and the free ringing after each, up to half a second or to the next blow.

    A blow that is followed by another within 80 ms is a bounce and is dropped (the last of them is used), and so is
    ringing that clips, or that the recording cuts short.
    """
    samples = np.asarray(samples, dtype=np.float64)
    onsets = find_onsets(samples, rate)
    start_s, ringing, dropped = [], [], []
    for place, onset in enumerate(onsets):
        begin = onset + round((CONTACT_S + FRAME_S) * rate)
        following = onsets[place + 1] - round(FRAME_S * rate) if place + 1 < len(onsets) else len(samples)
        ring = samples[begin : min(following, begin + round(RING_S * rate))]
        if len(ring) < LEAST_RING_S * rate:
            why = "bounced" if place + 1 < len(onsets) else "cut short by the end of the recording"
            dropped.append(f"{onset / rate:.2f} s: {why}")
        elif np.abs(ring).max() >= CLIPPED:
            dropped.append(f"{onset / rate:.2f} s: clipped; strike softer or lower the gain")
        else:
            start_s.append(onset / rate)
            ringing.append(ring - ring.mean())
    return Strikes(tuple(start_s), tuple(ringing), tuple(dropped))
