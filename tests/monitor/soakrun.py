"""One soak: feed a line, keep the ledger, look at its processes and files, and let its worker stop, die and come back.

The processes are those of `factory-ear run`, started by its supervisor with its own commands; capture alone is
replaced, since no microphone records one window in a hundred seconds. Meanwhile somebody reads the pages, acknowledges
alarms and shelves machines.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
from soakledger import Ledger, counted, fetch
from soakline import TOKEN, Clock, FileClock, S, Soak, WallClock, sounds

from monitor.line_broker import WORKERS, topics
from monitor.rounds import GROUP
from monitor.run import Supervisor, drained, judged
from monitor.settings import load_line
from streams.codec import encode_window
from streams.embedded.broker import EmbeddedBroker
from streams.embedded.store import Options
from streams.records import TOPIC_WINDOWS

CLOCK_FOLDER = Path(__file__).with_name("soakclock")
BACKLOG_SHARE = 0.25  # of what retention keeps may wait before the feeder does
PAGES = ("", "alarms", "mics", "system", "listen", "machines/machine-000", "metrics", "api/state")
WAIT_S = 600.0

Say = Callable[[str], None]


@dataclass
class Found:
    """What a soak gave: samples over time, and the two accounts of the windows."""

    samples: list[dict[str, Any]] = field(default_factory=list)
    restarts: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    contradictions: int = 0
    repeated: int = 0
    never_accepted: int = 0
    seconds: float = 0.0
    waited_s: float = 0.0  # of them, for the line: more of its windows waited than may
    event_h: float = 0.0
    delays_s: list[float] = field(default_factory=list)
    tables: dict[str, int] = field(default_factory=dict)
    visits: int = 0


@contextlib.contextmanager
def simulated_time(path: Path) -> Iterator[None]:
    """The line's processes, if started now, take the time from this file."""
    before = {name: os.environ.get(name) for name in ("SOAK_CLOCK", "PYTHONPATH")}
    os.environ["SOAK_CLOCK"] = str(path)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CLOCK_FOLDER), before["PYTHONPATH"]]))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class Soaking:
    """A soak of the line at `config`; `every_s` is how often (wall) it is looked at.

    Feeding ends after `longest_s` (wall), finished or not; `Found.event_h` says how far it came.
    """

    def __init__(
        self,
        config: Path,
        soak: Soak,
        *,
        every_s: float = 5.0,
        longest_s: float = float("inf"),
        say: Say = lambda _: None,
    ) -> None:
        self._longest_s = longest_s
        self.soak, self.line, self._config, self._every_s, self._say = soak, load_line(config), config, every_s, say
        self._folder = config.parent
        self._begin_ns = time.time_ns() - round((soak.hours + 1) * 3600 * S) if soak.simulated else 0
        self._clock_path = self._folder / "clock"
        self.clock: Clock = FileClock(self._clock_path, self._begin_ns) if soak.simulated else WallClock()
        self.broker = EmbeddedBroker(
            self._folder / "data" / "broker", options=Options(min_free_bytes=0, clock=self.clock)
        )
        self.broker.ensure_topics(topics(self.line))
        self._producer = self.broker.producer()
        self.ledger = Ledger(soak, self.broker)
        self.found = Found()
        self._sounds = sounds()
        self._values: dict[str, list[bytes]] = {
            kind: [encode_window(one).value for one in windows] for kind, windows in self._sounds.items()
        }
        self._visitor = Visitor(config.parent, 2 * every_s)
        self._due = {"look": 0.0, "read": 0.0, "expire": 0.0}
        self._said: deque[str] = deque(maxlen=30)

    def run(self) -> Found:
        """All of it. Raises RuntimeError, with what the processes said, where the line does not keep up."""
        began = time.perf_counter()
        time_of = simulated_time(self._clock_path) if self.soak.simulated else contextlib.nullcontext()
        with time_of:
            self.supervisor = Supervisor(self._config, hear=lambda name, text: self._said.append(f"{name}: {text}"))
            self.supervisor.children = [one for one in self.supervisor.children if one.name != "ingest"]
            try:
                self._until(lambda: bool(self.supervisor.page), "the page")
                if not self.soak.simulated:
                    self._until(self._worker_waits, "the worker")
                    self._begin_ns = time.time_ns()
                self._visitor.start(self.supervisor.page)
                self._feed()
                self._visitor.stop()
                self._until(lambda: drained(self.broker) and judged(self.line, self.broker), "the rest")
                while self.ledger.read():
                    pass
                self.found.seconds = time.perf_counter() - began
                self._settle()
                self._look()
            finally:
                self._visitor.stop(quietly=True)
                self._producer.close()
                self.supervisor.stop()
                self.broker.close()
        return self.found

    def _worker_waits(self) -> bool:
        with contextlib.closing(sqlite3.connect(self._folder / "data" / "broker" / "broker.sqlite")) as db:
            return bool(db.execute("SELECT count(*) FROM members WHERE grp = ?", (WORKERS,)).fetchone()[0])

    # -- feeding

    def _feed(self) -> None:
        soak = self.soak
        stopped = killed = False
        ends_s = time.monotonic() + self._longest_s
        for number in range(soak.windows):
            at_s = number * soak.period_s
            outage = soak.outage and soak.outage_s[0] <= at_s < soak.outage_s[1]
            if outage and not stopped:
                stopped = self._stop_worker(at_s)
            if soak.kill and not killed and at_s >= soak.kill_s:
                killed = self._kill_worker(at_s)
            for first in range(0, soak.mics, soak.chunk):
                self._send(number, range(first, min(first + soak.chunk, soak.mics)))
                self._housekeeping(at_s, tick=not outage)
            self.found.event_h = (number + 1) * soak.period_s / 3600
            if not outage and soak.simulated:
                began = time.perf_counter()
                self._until(self._kept_up, "the backlog")
                self.found.waited_s += time.perf_counter() - began
                if time.monotonic() > ends_s:
                    return

    def _send(self, number: int, mics: range) -> None:
        soak = self.soak
        last_ns = 0
        for mic in mics:
            start_ns = self._begin_ns + round((number + mic / soak.mics) * soak.period_s * S)
            last_ns = start_ns + 2 * S
            kind, name = soak.kind(mic, number), soak.identity(mic, number)
            pick = (number * 31 + mic * 17) % len(self._sounds[kind])
            window = replace(
                self._sounds[kind][pick],
                samples=self._sounds[kind][pick].samples[:0],
                machine=soak.machine(mic),
                mic=name.mic,
                session=name.session,
                sequence=name.sequence,
                start_ns=start_ns,
                flags=frozenset({"silent"} if kind == "silent" else ()),
            )
            value = self._values[kind][pick]
            wire = encode_window(window)
            if not soak.simulated:
                self.clock.reach(last_ns)
            self._producer.send(TOPIC_WINDOWS, wire.key, value[:-1] if kind == "torn" else value, wire.headers)
        self.clock.reach(last_ns)
        self._producer.flush()
        for mic in mics:
            self.ledger.accept(mic, number)

    def _kept_up(self) -> bool:
        most = max(1, int(BACKLOG_SHARE * self.soak.retention_s / self.soak.period_s)) * self.soak.mics
        waits = 0
        for group, factor in ((WORKERS, 1), (GROUP, 2)):
            done = self.broker.committed(group, TOPIC_WINDOWS)
            bounds = self.broker.bounds(TOPIC_WINDOWS)
            behind = sum(max(0, end - max(start, done.get(part, 0))) for part, (start, end) in bounds.items())
            waits += behind > factor * most
        return not waits

    def _stop_worker(self, at_s: float) -> bool:
        """An orderly stop: all that it has done is committed, so that every window can be told from the others."""
        child = next(one for one in self.supervisor.children if one.name == "worker-0")
        child.stop()
        if child.process:
            child.process.wait(60)
        self.found.restarts.append({"event_h": at_s / 3600, "what": "worker stopped until retention overtook it"})
        return True

    def _kill_worker(self, at_s: float) -> bool:
        child = next(one for one in self.supervisor.children if one.name == "worker-0")
        if child.process:
            os.kill(child.process.pid, signal.SIGKILL)
        self.found.restarts.append({"event_h": at_s / 3600, "what": "worker killed with -9"})
        return True

    def _until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not true():
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {WAIT_S:g} s for {what}:\n" + "\n".join(self._said))
            self._housekeeping(None)
            time.sleep(0.02)

    # -- looking

    def _is_due(self, what: str, every_s: float) -> bool:
        now_s = time.monotonic()
        if now_s < self._due[what]:
            return False
        self._due[what] = now_s + every_s
        return True

    def _housekeeping(self, at_s: float | None, *, tick: bool = True) -> None:
        if tick:
            self.supervisor.tick(time.monotonic())
        if self._is_due("read", 0.5):
            self.ledger.read()
        if self.soak.simulated and self._is_due("expire", 1.0):
            self.broker.expire()  # its own minute would be hours here
        if at_s is not None and self._is_due("look", self._every_s):
            self._look(at_s)

    def _look(self, at_s: float | None = None) -> None:
        at_s = self.found.event_h * 3600 if at_s is None else at_s
        sample: dict[str, Any] = {
            "wall_s": time.perf_counter(),
            "event_h": at_s / 3600,
            "accepted": int(self.ledger.accepted.sum()),
        }
        for child in self.supervisor.children:
            if child.process is not None:
                with contextlib.suppress(psutil.Error):
                    sample[child.name.removesuffix("-0")] = _process(child.process.pid)
        sample["disk_mb"] = {name: _used(path) / 1e6 for name, path in self._places().items()}
        self.found.samples.append(sample)
        self._say(str(sample))

    def _places(self) -> Mapping[str, Path]:
        data = self._folder / "data"
        return {
            "windows": data / "broker" / "audio.windows",
            "results": data / "broker" / "broker.sqlite",
            "history": data / "history.sqlite",
            "alarms": data / "alarms.sqlite",
            "rings": data / "evidence" / "rings",
            "clips": data / "evidence" / "clips",
            "shown": data / "evidence" / "shown",
            "healthy": data / "evidence" / "healthy",
        }

    # -- the two accounts

    def _settle(self) -> None:
        """Compare the ledger with /metrics, once the monitor has had time to count and to announce all."""
        deadline = time.monotonic() + 30
        found = self.found
        while True:
            found.counts = self.ledger.counts()
            said = counted(self.supervisor.page)
            found.metrics = {
                end: sum(count for (_, outcome), count in said.items() if outcome == end)
                for end in ("scored", "rejected", "dead", "expired")
            }
            found.differences = [
                f"{mic} {outcome}: ledger {count}, /metrics {said.get((mic, outcome))}"
                for (mic, outcome), count in self.ledger.by_mic().items()
                if said.get((mic, outcome)) != count
            ]
            if found.metrics["expired"] != found.counts["expired"]:
                found.differences.append(
                    f"expired: ledger {found.counts['expired']}, /metrics {found.metrics['expired']}"
                )
            found.tables = self._tables()
            if not (found.differences or found.tables["outbox"]) or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        found.contradictions, found.repeated = self.ledger.contradictions, self.ledger.repeated
        found.never_accepted, found.delays_s = self.ledger.never_accepted, self.ledger.delays_s
        found.visits = self._visitor.visits

    def _tables(self) -> dict[str, int]:
        rows = {}
        asked = (
            ("alarms.sqlite", ("alerts", "outbox", "clips", "audit", "acknowledgements")),
            ("history.sqlite", ("points",)),
        )
        for name, tables in asked:
            with contextlib.closing(sqlite3.connect(self._folder / "data" / name)) as db:
                for table in tables:
                    rows[table] = int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        return rows


class Visitor:
    """Somebody at the page, in a thread: every `every_s` reads all of it, acknowledges what is new, shelves."""

    def __init__(self, folder: Path, every_s: float) -> None:
        self._alarms, self._every_s = folder / "data" / "alarms.sqlite", every_s
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._page = ""
        self._error: Exception | None = None
        self.visits = 0

    def start(self, page: str) -> None:
        """Begin to visit."""
        self._page = page
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self, *, quietly: bool = False) -> None:
        """End; raises what went wrong on a visit."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(60)
        if self._error and not quietly:
            raise self._error

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            try:
                self._visit()
                self.visits += 1
            except Exception as error:  # noqa: BLE001  # told by `stop`
                self._error = error
                return

    def _visit(self) -> None:
        for path in PAGES:
            fetch(self._page + path)
        with urllib.request.urlopen(self._page + "events", timeout=60) as events:
            events.readline()
        with contextlib.closing(sqlite3.connect(self._alarms, timeout=30)) as db:
            query = "SELECT alert_id, machine FROM alerts WHERE alert_id NOT IN (SELECT alert_id FROM acknowledgements)"
            new = db.execute(f"{query} LIMIT 2").fetchall()
        for alert, machine in new:
            self._post("acknowledge", alarm=alert, comment="seen")
            self._post("shelve", machine=machine, hours="1", comment="known")

    def _post(self, path: str, **fields: str) -> None:
        request = urllib.request.Request(
            self._page + path, urllib.parse.urlencode(fields).encode(), {"Authorization": f"Bearer {TOKEN}"}
        )
        with contextlib.suppress(urllib.error.HTTPError):  # 429 where it comes too fast: it is only a reader
            urllib.request.urlopen(request, timeout=60).close()


def _process(pid: int) -> dict[str, float]:
    """Anonymous memory is the process's own; the rest is files (code, logs of SQLite), which the system may drop."""
    one = psutil.Process(pid)
    with one.oneshot():
        memory = one.memory_info()
        return {
            "anon_mb": (memory.rss - memory.shared) / 1e6,
            "file_mb": memory.shared / 1e6,
            "fds": one.num_fds(),
            "threads": one.num_threads(),
            "pid": pid,
        }


def _used(path: Path) -> int:
    """Bytes on disk, with what SQLite keeps beside a file; what goes away meanwhile is left out."""
    found = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
    total = 0
    for one in found:
        with contextlib.suppress(FileNotFoundError):
            total += one.stat().st_blocks * 512
    return total
