"""What a process that runs for months does not hold on to: free memory of the C library's heap.

Windows of sound, rendered pages and stored states are larger than Python's own allocator takes. They come and go in
the heap between pieces that stay (pages of SQLite, for one), and glibc gives back only what is free at the heap's end:
a monitor came to hold 5 MB more within half a day than it used (docs/operations.md, Memory).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

APART_BYTES = 32 * 1024  # half a window of 2 s at 16 kHz, twice a page of the broker's files
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def keep_large_apart(least: int = APART_BYTES) -> bool:
    """Keep pieces from `least` bytes on out of the heap from now on: they go back as soon as they are free.

    For the whole process, once at its start. False where the C library is not glibc; then nothing changes.
    """
    found = _glibc("mallopt", ctypes.c_int, ctypes.c_int)
    return found is not None and bool(found(_M_MMAP_THRESHOLD, least))


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
