"""What a process that runs for months does not hold on to: free memory of the C library's heap.

Rendered pages and stored states are thousands of pieces larger than Python's own allocator takes; they come and go
between pieces that stay (pages of SQLite, for one). glibc gives back to the system only what is free at the end of its
heap, so a monitor came to hold some 5 MB more within half a day without using them (docs/benchmarks/soak.md).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def give_back() -> bool:
    """Give whole free pages of the heap back, in milliseconds; False where there is none, or no glibc."""
    trim = _malloc_trim()
    return trim is not None and bool(trim(0))


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        found = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    found.argtypes, found.restype = [ctypes.c_size_t], ctypes.c_int
    trim: Callable[[int], int] = found
    return trim
