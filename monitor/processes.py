"""How the processes of a line start and stop: orderly on SIGTERM, on Ctrl-C and when their supervisor is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

import typer

from monitor.memory import keep_a_round
from monitor.settings import Line

Stop = Callable[[], bool]


def stopper(*, supervised: bool = False) -> Stop:
    """Arrange for an orderly stop and say, when asked, whether it is time.

    SIGTERM and SIGINT ask for it. A supervised process also stops when its standard input closes, so that nothing
    lives on alone after `kill -9` of its supervisor.
    """
    event = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        event.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN if supervised else ask)
    if supervised:
        threading.Thread(target=_until_closed, args=(event,), daemon=True, name="supervisor-watch").start()
    return event.is_set


def _until_closed(event: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    event.set()


def watch_line(line: Line, *, stop: Stop) -> int:
    """Run the monitor until `stop`; prints where its page is."""
    from monitor.watch import watch

    keep_a_round()
    watch(line, stop=stop, ready=lambda url: typer.echo(f"page {url}"))
    return 0
