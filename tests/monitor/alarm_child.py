"""The monitor in a process of its own, killed at a named point: python alarm_child.py FOLDER STORE POINT NTH."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from watchline import make_line

from monitor import rounds
from monitor.alarm_store import AlarmStore
from monitor.line_broker import open_line_broker
from monitor.rounds import Monitor


class OffsetsFirst(AlarmStore):
    """Wrong on purpose: the offsets are stored before what they led to, in a transaction of their own."""

    def commit(self, *, offsets=None, **rest) -> None:  # type: ignore[no-untyped-def,override]  # noqa: ANN001, ANN003
        super().commit(offsets=offsets)
        self.at("split")
        super().commit(**rest)


def main() -> None:
    folder, kind, point, nth = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    passed = 0

    def at(name: str) -> None:
        nonlocal passed
        passed += name == point
        if name == point and passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    rounds.SCORES = 30
    line = make_line(folder, machines={"press": ("press-a",)})
    broker = open_line_broker(line)
    make = OffsetsFirst if kind == "offsets-first" else AlarmStore
    with make(line.site.data / "alarms.sqlite", at=at) as store:
        store.own()
        Monitor(line, broker, store).finish()
    broker.close()


main()
