"""The mark's sequences: fair signs from a published key, and how a payload shifts them.

Three sequences of PERIOD signs repeat for as long as the sound lasts. The first says where a period begins; the others
start STEP samples later for each unit of their half of the payload. The key is public, as the program is: the mark says
where a sound comes from, it is no secret and no lock (whoever wants it gone can remove it).
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
PERIOD = 30_375  # 3^5 5^3: 1.9 s, quick to transform, and no whole number of turns of mains or of usual shafts
STEP = 7  # samples between two symbols: further apart than a resampled peak is wide
SYMBOL_BITS = 8
PAYLOAD_BITS = 2 * SYMBOL_BITS
_KEY = b"factory-ear provenance mark, version 1"


@functools.lru_cache(maxsize=1)
def sequences() -> NDArray[np.float32]:
    """The signs [3, PERIOD]: bits of SHA-256 in counter mode, as fair as the hash is."""
    needed = 3 * PERIOD // 8 + 1
    blocks = (hashlib.sha256(_KEY + number.to_bytes(4, "big")).digest() for number in range(needed // 32 + 1))
    bits = np.unpackbits(np.frombuffer(b"".join(blocks), dtype=np.uint8))[: 3 * PERIOD]
    return (2.0 * bits.reshape(3, PERIOD).astype(np.float32)) - 1.0


def split(payload: int) -> tuple[int, int]:
    """A payload as its two symbols. Raises ValueError outside 0 .. 2^16 - 1."""
    if not 0 <= payload < 1 << PAYLOAD_BITS:
        raise ValueError(f"payload is {payload}, allowed is 0 to {(1 << PAYLOAD_BITS) - 1}")
    return payload >> SYMBOL_BITS, payload & ((1 << SYMBOL_BITS) - 1)


def pattern(payload: int, samples: int) -> NDArray[np.float32]:
    """The sum of the three sequences [time] as the payload shifts them, repeated, of mean square 1."""
    base = sequences()
    shifts = (0, *(STEP * symbol for symbol in split(payload)))
    one = sum(np.roll(row, shift) for row, shift in zip(base, shifts, strict=True)) / np.float32(np.sqrt(3.0))
    return np.asarray(np.resize(one, samples), dtype=np.float32)
