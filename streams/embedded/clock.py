"""The times that the embedded broker reads: handed in, so that tests never sleep."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Leases live by `boot` and `monotonic_ns`, which no reboot and no setting of the clock can confuse.

    `utc_ns` is for people and for retention.
    """

    boot: str

    def monotonic_ns(self) -> int:
        """Nanoseconds since the machine started, time asleep included; one clock for all processes."""

    def utc_ns(self) -> int:
        """UTC in nanoseconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        try:
            self.boot = _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:  # not Linux: `leases.MAX_LEASE_NS` alone ends leases of an earlier boot
            self.boot = "unknown"
        self._id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def monotonic_ns(self) -> int:
        """Nanoseconds since the machine started; a laptop that slept has let its leases go."""
        return time.clock_gettime_ns(self._id)

    def utc_ns(self) -> int:
        """UTC in nanoseconds since 1970."""
        return time.time_ns()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
