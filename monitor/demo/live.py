"""The line at work, watched from outside: its processes, its progress, and what came out in the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from monitor.alarm_store import AlarmStore
from monitor.console import say
from monitor.errors import WorkFailed
from monitor.line_broker import messages, open_line_broker
from monitor.run import Supervisor, drained, judged
from monitor.settings import Line, load_line
from streams import codec
from streams.broker import Broker
from streams.records import TOPIC_DEAD, TOPIC_SCORES, TOPIC_WINDOWS, Alert

LOOK_S = 0.25
SAY_S = 2.0
SETTLE_S = 20.0  # how long the last evidence clips may take once everything is scored


@dataclass(frozen=True)
class Seen:
    """What came out: every alert, how the windows ended, and when the stream began."""

    alerts: tuple[Alert, ...]
    counts: dict[str, int]
    start_ns: int


class Live:
    """A running line of the demo; leave it and its processes stop in order."""

    def __init__(self, config: Path, log: Path) -> None:
        self.line: Line = load_line(config)
        self._log = log.open("w", encoding="utf-8")
        self._broker: Broker = open_line_broker(self.line)
        if any(end for _, end in self._broker.bounds(TOPIC_WINDOWS).values()):
            self._broker.close()
            raise WorkFailed(
                f"{self.line.broker.url} already holds sound, and the demo would count it: give it an empty broker "
                "(for Kafka: make kafka-stop kafka-clean kafka)"
            )
        self._supervisor = Supervisor(config, hear=self._hear)

    def _hear(self, name: str, text: str) -> None:
        if not self._log.closed:
            self._log.write(f"{name}: {text}\n")
            self._log.flush()

    @property
    def page(self) -> str:
        """Where its page is, once it is there."""
        return self._supervisor.page

    def wait(self, expected: int, patience_s: float, *, quiet: bool) -> None:
        """Until all sources are read and every window is scored and judged; says how far it is.

        Raises WorkFailed after `patience_s`, with what was missing.
        """
        started = told = time.monotonic()
        while True:
            now = time.monotonic()
            self._supervisor.tick(now)
            if self._supervisor.ingest_finished and drained(self._broker) and judged(self.line, self._broker):
                break
            if now - started > patience_s:
                raise WorkFailed(
                    f"the line did not end within {patience_s:.0f} s ({self._progress(expected)}); see {self._log.name}"
                )
            if now - told > SAY_S:
                told = now
                say(f"   {self._progress(expected)}", quiet=quiet)
            time.sleep(LOOK_S)
        self._until_clips_are_kept()

    def _progress(self, expected: int) -> str:
        done = sum(self._broker.committed("workers", TOPIC_WINDOWS).values())
        with self._store() as store:
            still = [f"{u.alert.machine} {u.alert.level}" for u in store.alerts() if not u.alert.closed_ns]
        return f"{done:5d} of {expected} windows scored; open alarms: {', '.join(sorted(still)) or 'none'}"

    def _until_clips_are_kept(self) -> None:
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            with self._store() as store:
                if not store.clip_requests():
                    return
            time.sleep(LOOK_S)

    def _store(self) -> AlarmStore:
        return AlarmStore(self.line.site.data / "alarms.sqlite")

    def seen(self, expected: int) -> Seen:
        """What came out, counted by identity from the broker's own topics."""
        scores = {}
        for message in messages(self._broker, TOPIC_SCORES):
            score = codec.decode_score(message)
            scores[score.identity] = score
        kinds = Counter("rejected" if score.status == "bad_input" else "scored" for score in scores.values())
        dead = sum(codec.decode_dead(message).topic == TOPIC_WINDOWS for message in messages(self._broker, TOPIC_DEAD))
        bounds = self._broker.bounds(TOPIC_WINDOWS).values()
        counts = {
            "sent": expected,
            "accepted": sum(end for _, end in bounds),
            "scored": kinds["scored"],
            "rejected": kinds["rejected"],
            "dead": dead,
            "expired": sum(start for start, _ in bounds),
        }
        with self._store() as store:
            alerts = tuple(update.alert for update in store.alerts(limit=10_000))
        return Seen(alerts, counts, min((score.start_ns for score in scores.values()), default=0))

    def raw_alone(self) -> tuple[Alert, ...] | None:
        """What the same sound would have raised without separation; None where nothing is separated."""
        if self.line.chain.stages == ("raw",):
            return None
        from monitor.demo.alone import raw_alone

        return raw_alone(self.line, self._broker)

    def serve(self) -> None:
        """Stay up until Ctrl-C."""
        try:
            while True:
                self._supervisor.tick(time.monotonic())
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            sys.stderr.write("\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._supervisor.stop()
        self._broker.close()
        self._log.close()
