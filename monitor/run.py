"""`factory-ear run`: one supervisor over three kinds of process, each of which may be killed at any time.

The capture, the workers and the monitor share nothing but the broker, so the death of one stops no other; the
supervisor starts it again, later each time up to half a minute while it keeps dying. A supervisor that is killed
itself closes the standard input of the others, and they stop in order.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer

from monitor.errors import WorkFailed
from monitor.line_broker import WORKERS, open_line_broker
from monitor.processes import Stop, stopper
from monitor.settings import Line, load_line
from streams.broker import Broker
from streams.records import TOPIC_SCORES, TOPIC_WINDOWS

BACK_OFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_S = 60.0  # a process that lived this long starts its back-off anew
STOP_S = 20.0  # how long an orderly stop may take


@dataclass
class Child:
    """One process of the line: what starts it, and how often it has died."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[str] | None = None
    started_s: float = 0.0
    due_s: float = 0.0
    deaths: int = 0
    finished: bool = False
    lines: list[str] = field(default_factory=list)

    def start(self, now_s: float, hear: Callable[[Child, str], None]) -> None:
        """Start it, and hear what it says line by line."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "monitor.cli", *self.arguments, "--supervised"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.started_s = now_s
        threading.Thread(target=self._listen, args=(self.process, hear), daemon=True).start()

    def _listen(self, process: subprocess.Popen[str], hear: Callable[[Child, str], None]) -> None:
        if process.stdout:
            with process.stdout as lines:
                for line in lines:
                    hear(self, line.rstrip())

    def look(self, now_s: float) -> int | None:
        """The exit code of a process that has just ended, else None."""
        if self.process is None:
            return None
        code = self.process.poll()
        if code is None:
            return None
        if self.process.stdin:
            self.process.stdin.close()
        self.process = None
        if now_s - self.started_s > STEADY_S:
            self.deaths = 0
        self.due_s = now_s + BACK_OFF_S[min(self.deaths, len(BACK_OFF_S) - 1)]
        self.deaths += 1
        return code

    def stop(self) -> None:
        """Ask for an orderly stop: closing its standard input is enough."""
        if self.process and self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()

    def wait(self, timeout_s: float) -> None:
        """Wait for the stop; kill what does not (its windows are processed again by whoever comes next)."""
        if self.process is None:
            return
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


class Supervisor:
    """Keeps the processes of a line alive until it is told to stop."""

    def __init__(self, config: Path, workers: int = 1, *, hear: Callable[[str, str], None] | None = None) -> None:
        where = ("-c", str(config))
        names = [("monitor", "monitor"), *((f"worker-{n}", "worker") for n in range(workers)), ("ingest", "ingest")]
        self.children = [Child(name, (command, *where)) for name, command in names]
        self.page = ""
        self._hear = hear or (lambda name, text: typer.echo(f"{name}: {text}"))

    def tick(self, now_s: float) -> None:
        """Start what is due, notice what has ended."""
        for child in self.children:
            code = child.look(now_s)
            if code == 0 and child.name == "ingest":
                child.finished = True  # every source was finite and is read
            elif code is not None:
                self._hear(child.name, f"ended with code {code}; it starts again in {child.due_s - now_s:.1f} s")
            if child.process is None and not child.finished and now_s >= child.due_s:
                child.start(now_s, self._listen)

    def _listen(self, child: Child, text: str) -> None:
        if child.name == "monitor" and text.startswith("page "):
            self.page = text.removeprefix("page ")
        self._hear(child.name, text)

    @property
    def ingest_finished(self) -> bool:
        """Whether the capture has read all there is to read."""
        return next(child.finished for child in self.children if child.name == "ingest")

    def stop(self) -> None:
        """Stop all in order: first what feeds the line, then what drains it."""
        deadline = time.monotonic() + STOP_S
        for child in reversed(self.children):
            child.stop()
        for child in reversed(self.children):
            child.wait(max(0.1, deadline - time.monotonic()))


def drained(broker: Broker) -> bool:
    """Whether every accepted window is through the workers."""
    done = broker.committed(WORKERS, TOPIC_WINDOWS)
    return all(end in (0, done.get(p, 0)) for p, (_, end) in broker.bounds(TOPIC_WINDOWS).items())


def check_models(line: Line) -> None:
    """Raise WorkFailed where a machine has no readable model: better now than in a worker that starts for ever."""
    from detectors.card import read_card

    for machine in line.machine:
        folder = line.models / machine.id
        if not folder.exists():
            raise WorkFailed(f"{folder}: machine {machine.id} has no model yet; run: factory-ear train -c line.toml")
        read_card(folder)


def run_line(config: Path, *, once: bool = False, workers: int = 1, stop: Stop | None = None) -> int:
    """Supervise until stopped, or with `once` until all finite sources are read, scored and judged."""
    line = load_line(config)
    check_models(line)
    stop = stop or stopper()
    supervisor = Supervisor(config, workers)
    broker = open_line_broker(line, stop=stop)
    try:
        while not stop():
            supervisor.tick(time.monotonic())
            if once and supervisor.ingest_finished and drained(broker) and judged(line, broker):
                break
            time.sleep(0.2)
    finally:
        broker.close()
        supervisor.stop()
    return 0


def judged(line: Line, broker: Broker) -> bool:
    """Whether the monitor has read every score."""
    from monitor.alarm_store import AlarmStore

    with AlarmStore(line.site.data / "alarms.sqlite") as store:
        offsets = store.offsets(TOPIC_SCORES)
    return all(end in (0, offsets.get(p, 0)) for p, (_, end) in broker.bounds(TOPIC_SCORES).items())
