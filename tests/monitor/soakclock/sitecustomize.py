"""A clock that a soak hands to the processes of a line: with SOAK_CLOCK set, `time.time` reads it.

Python imports this before anything else where this folder stands in PYTHONPATH, so the processes are started by the
very command that `factory-ear run` uses. The file named by SOAK_CLOCK holds UTC in nanoseconds, eight bytes in the
machine's order. Monotonic clocks, and with them time-outs and leases, stay real.
"""

import mmap
import os
import time

if "SOAK_CLOCK" in os.environ:
    with open(os.environ["SOAK_CLOCK"], "rb") as _file:  # noqa: PTH123 - pathlib is not worth loading here
        _now = memoryview(mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)).cast("q")
    time.time_ns = lambda: _now[0]
    time.time = lambda: _now[0] / 1e9
