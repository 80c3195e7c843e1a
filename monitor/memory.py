"""Free memory of the C library's heap: how much of it a process that runs for months holds on to.

Windows of sound, rendered pages and stored states are larger than Python's own allocator takes. They come and go in
the heap between pieces that stay (pages of SQLite, for one), and glibc gives back what is free at the heap's end, and
only that. So the 4 MB of a round's windows went back and were fetched anew in every round, until some day a piece
that stays lay above them; from then on a monitor held 5 MB more (docs/operations.md, Memory).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

ROUND_BYTES = 8 * 1024 * 1024  # a round holds 64 windows of 64 kB, and some copies of one
_M_TRIM_THRESHOLD = -1  # of glibc's malloc.h


def keep_a_round(most: int = ROUND_BYTES) -> bool:
    """Keep up to `most` free bytes at the heap's end from now on, instead of fetching them anew in every round.

    For the whole process, once at its start. False where the C library is not glibc; then nothing changes. Windows
    outside the heap (a lower M_MMAP_THRESHOLD) hold no memory either, but took 0.3 ms of page faults per window.
    """
    found = _glibc("mallopt", ctypes.c_int, ctypes.c_int)
    return found is not None and bool(found(_M_TRIM_THRESHOLD, most))


def give_back() -> bool:
    """Give whole free pages of the heap back, in milliseconds; False where there is none, or no glibc."""
    found = _glibc("malloc_trim", ctypes.c_size_t)
    return found is not None and bool(found(0))


@cache
def _glibc(name: str, *arguments: type[ctypes._SimpleCData[int]]) -> Callable[..., int] | None:
    try:
        found = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    found.argtypes, found.restype = list(arguments), ctypes.c_int
    call: Callable[..., int] = found
    return call
