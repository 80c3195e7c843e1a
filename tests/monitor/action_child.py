"""Somebody at work in a process of their own, killed at a named point: python action_child.py FILE POINT NTH."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from monitor.action_store import ActionStore
from monitor.actions import By

TURNS = 4
S = 1_000_000_000


def main() -> None:
    path, point, nth = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    passed = 0

    def at(name: str) -> None:
        nonlocal passed
        passed += name == point
        if name == point and passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    with ActionStore(path, ("press",), at=at) as store:
        start = len(store.audit(limit=10_000))
        for turn in range(start, start + TURNS):
            by = By(f"worker {turn}")
            store.acknowledge(f"a{turn % 8}", by, f"turn {turn}")
            print(f"acknowledge {turn}", flush=True)  # told only when it is kept
            store.shelve("press", store.clock_ns() + (60 + turn) * S, by)
            print(f"shelve {turn}", flush=True)


main()
