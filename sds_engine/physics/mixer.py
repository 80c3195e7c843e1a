"""From drives to microphones: fast convolution in blocks with continuous state.

Every drive of a block is transformed once, multiplied by its part's response, summed per source, multiplied by
the path to each microphone, and transformed back once per microphone (overlap-add; Oppenheim and Schafer,
Discrete-Time Signal Processing, section 8.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from sds_engine.physics.drives import Drive
from sds_engine.physics.wander import BLOCK_S, F32, block_length

C64 = NDArray[np.complex64]
PART_S = 0.24  # the longest response of a part
PATH_S = 0.75  # the longest response of a room: together under the second that a transform has to spare
_KNEE, _FULL = 0.7, 0.98


def transform_length(rate: int) -> int:
    """A block and one second for the responses' tails."""
    return (BLOCK_S + 1) * rate


@dataclass(frozen=True, eq=False)
class Response:
    """An impulse response `[taps]` that remembers its transform."""

    samples: F32
    rate: int

    def __post_init__(self) -> None:
        if len(self.samples) > self.rate:
            raise ValueError(f"the response has {len(self.samples)} taps, allowed is up to a second, {self.rate}")

    @cached_property
    def spectrum(self) -> C64:
        """Its transform at the length of a block and its tail, `[bin]`."""
        return np.asarray(scipy.fft.rfft(self.samples, transform_length(self.rate)), dtype=np.complex64)


@dataclass(frozen=True, eq=False)
class Part:
    """One way a source makes sound: what drives it, and the response that it is heard through.

    `share_db` is its level among the parts of a machine; `gain` is what calibration made of that.
    """

    drives: Sequence[Drive]
    response: Response
    share_db: float = 0.0
    gain: float = 1.0


class Mixer:
    """Sources through their paths to microphones, block by block in order; its only state is the last block's tail."""

    def __init__(self, sources: Sequence[Sequence[Part]], paths: C64, rate: int) -> None:
        """`sources` are lists of parts; `paths` [source, mic, bin] leads from each to each microphone."""
        if len(sources) != len(paths):
            raise ValueError(f"there are {len(sources)} sources and paths for {len(paths)}: give one row per source")
        self._sources, self._paths, self._rate = sources, paths, rate
        self._length, self._size = block_length(rate), transform_length(rate)
        self._tail = np.zeros((paths.shape[1], self._size - self._length), dtype=np.float32)

    def block(self, index: int) -> F32:
        """The sound of every microphone in block `index`, `[mic, time]`."""
        total = np.zeros(self._paths.shape[1:], dtype=np.complex64)
        for parts, paths in zip(self._sources, self._paths, strict=True):
            spectrum = source_spectrum(parts, index, self._size)
            if spectrum is not None:
                total += paths * spectrum
        sound: F32 = scipy.fft.irfft(total, self._size, axis=-1, overwrite_x=True)
        sound[:, : self._tail.shape[1]] += self._tail
        self._tail = sound[:, self._length :].copy()
        return sound[:, : self._length]


def source_spectrum(parts: Sequence[Part], index: int, size: int) -> C64 | None:
    """The transform `[bin]` of all that the parts sound in block `index`, or None where they are silent.

    Parts with the same response are summed before the transform, which is what costs.
    """
    driven: dict[int, tuple[Response, F32]] = {}
    for part in parts:
        for drive in part.drives:
            sound = drive.block(index)
            if sound is not None:
                sound = sound * np.float32(part.gain)
                before = driven.get(id(part.response))
                driven[id(part.response)] = (part.response, sound if before is None else before[1] + sound)
    total: C64 | None = None
    for response, sound in driven.values():
        spectrum = scipy.fft.rfft(sound, size)
        spectrum *= response.spectrum
        total = spectrum if total is None else total + spectrum
    return total


def dry(parts: Sequence[Part], blocks: range, rate: int) -> F32:
    """What the parts sound like at 1 m in the open, `[time]`; the block before the first is made to warm up."""
    mixer = Mixer([parts], np.ones((1, 1, transform_length(rate) // 2 + 1), dtype=np.complex64), rate)
    if blocks.start > 0:
        mixer.block(blocks.start - 1)
    return np.concatenate([mixer.block(index)[0] for index in blocks])


def overload(sound: F32) -> F32:
    """What a microphone does when it is too loud: straight up to 0.7, then bent so that it stays below 0.98."""
    peak = float(max(sound.max(initial=0.0), -sound.min(initial=0.0)))
    if peak <= _KNEE:
        return sound
    size = np.abs(sound)
    bent = _KNEE + (_FULL - _KNEE) * np.tanh((size - _KNEE) / (_FULL - _KNEE))
    return np.asarray(np.where(size > _KNEE, np.copysign(bent, sound), sound), dtype=np.float32)
