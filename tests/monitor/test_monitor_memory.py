"""What a monitor may keep in memory beside its own objects is bounded, and small, from the first hour on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from watchline import Clock, make_line, open_line_broker, score, send, window

from monitor import rounds
from monitor.alarm_store import AlarmStore
from monitor.memory import give_back
from monitor.watch import watch

MICS = ("press-a", "press-b", "fan-a")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
TEXT: dict[str, Any] = {"text": True, "capture_output": True, "timeout": 120}
CACHES_MB = 10.0  # of pages, in all connections of the process together
PAGES = ("", "alarms", "mics", "listen", "system", "machines/press", "api/state", "metrics")


def held_mb() -> float:
    """Anonymous memory of this process that is in RAM."""
    with Path("/proc/self/status").open(encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1e3


def limit_bytes(db: sqlite3.Connection) -> int:
    """How many bytes of pages a connection may keep."""
    (size,), (page,) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("cache_size", "page_size"))
    return -size * 1024 if size < 0 else size * page


def test_all_page_caches_together_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that a monitor has open may hold 10 MB of pages in all; SQLite's default would fill 2 MB of each."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def noting(*args: Any, **options: Any) -> sqlite3.Connection:
        db = connect(*args, **{**options, "check_same_thread": False})
        opened.append(db)
        return db

    monkeypatch.setattr(sqlite3, "connect", noting)
    line = make_line(tmp_path, evidence={"keep_mb": 10}, broker={"windows_retention_s": 3600.0})
    broker = open_line_broker(line)
    send(broker, [window(mic, index) for index in range(20) for mic in MICS])
    send(broker, [score(mic, index, 5.0) for index in range(20) for mic in MICS])
    pages: list[str] = []
    limits: list[int] = []
    turns = iter(range(6))

    def look() -> bool:
        if next(turns) == 3:
            for path in PAGES:
                urllib.request.urlopen(pages[0] + path, timeout=60).close()
            for db in opened:
                try:
                    limits.append(limit_bytes(db))
                except sqlite3.ProgrammingError:  # closed meanwhile
                    continue
        return bool(limits)

    watch(line, stop=look, ready=pages.append, broker=broker)
    broker.close()
    assert len(limits) >= 10, "the files of broker, alarms, actions, history and log-ins"
    assert sum(limits) <= CACHES_MB * 1e6


ROUNDS = """
import resource, sys
from monitor.memory import keep_a_round
if not keep_a_round():
    sys.exit("no glibc")
faults = []
for _ in range(10):
    batch = [bytes(1) * 64_000 for _ in range(64)]
    del batch
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


def test_a_round_of_windows_uses_the_memory_of_the_last() -> None:
    """Nine further rounds of 4 MB fetch next to no page from the system; each would fetch a thousand."""
    command = [sys.executable, "-c", ROUNDS]
    done = subprocess.run(command, check=False, env=ENVIRONMENT, **TEXT)
    if "no glibc" in done.stderr:
        pytest.skip(done.stderr)
    assert int(done.stdout) < 500, done.stderr


def test_free_memory_goes_back_to_the_system() -> None:
    """What was freed between pieces that stay is given back: most of 80 MB here, where glibc is the C library."""
    pieces = [bytes(4000) for _ in range(20_000)]
    stays = pieces[::50]
    peak_mb = held_mb()
    pieces.clear()
    if not give_back():
        pytest.skip("the C library is not glibc, or it had nothing to give back")
    assert held_mb() < peak_mb - 40
    assert len(stays) == 400


def test_a_monitor_gives_memory_back_every_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In ten minutes of rounds, of which there are twenty a minute, it does so ten times."""
    calls: list[bool] = []
    monkeypatch.setattr(rounds, "give_back", lambda: calls.append(True))
    clock, line = Clock(), make_line(tmp_path)
    broker = open_line_broker(line)
    with AlarmStore(line.site.data / "alarms.sqlite") as store:
        monitor = rounds.Monitor(line, broker, store, clock_ns=clock.now_ns, steady_s=clock.steady_s)
        for _ in range(200):
            clock.forward(3.0)
            monitor.tick(0.0)
        monitor.finish()
    broker.close()
    assert len(calls) == 10
