"""A topic of windows in a row of files: the newest takes messages, the oldest are unlinked whole.

Who may append is decided inside a segment, by its seal; which segments there are is decided in `broker.sqlite`,
whose write lock is the mutex of rolling and of unlinking. Rolling, and what a `kill -9` after each step leaves:

1. under the mutex, seal the newest segment     -> nobody can append; whoever tries finds the seal and goes on at 2
2. build its successor beside it, link its name -> an unregistered file, swept away by the next roll or expiry
3. register the successor                       -> done
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from streams.contract import BrokerError, Message
from streams.embedded import log
from streams.embedded.clock import Clock
from streams.embedded.database import Database, build, sync_folder, told, unlink

SCHEMA = (
    """CREATE TABLE segments(topic INTEGER, number INTEGER, name TEXT NOT NULL, starts TEXT NOT NULL,
       begun_ns INTEGER NOT NULL, sealed_ns INTEGER, PRIMARY KEY(topic, number)) WITHOUT ROWID""",
)
_SEAL = "CREATE TABLE segment(topic TEXT NOT NULL, number INTEGER NOT NULL, sealed INTEGER NOT NULL)"
_OURS = re.compile(r"\.?\d{8,}-\d{8}T\d\d\.sqlite")
_OPEN_FILES = 4  # segments that one process keeps open: the newest and where its readers are


class Segment(NamedTuple):
    """One registered file; `starts` is the first offset per partition."""

    number: int
    name: str
    starts: tuple[int, ...]
    begun_ns: int
    sealed_ns: int | None


class SegmentPolicy(NamedTuple):
    """When a new file begins: at every full `span_s` of UTC, or over `max_bytes`."""

    span_s: float
    max_bytes: int

    def due(self, segment: Segment, database: Database, now_ns: int) -> bool:
        """Whether the segment has had its time or its size."""
        span_ns = int(self.span_s * 1e9)
        return now_ns // span_ns != segment.begun_ns // span_ns or database.size_bytes() >= self.max_bytes


class SegmentedLog:
    """The `log.Log` of one segmented topic, as one process sees it."""

    def __init__(
        self,
        database: Database,
        topic: log.Topic,
        folder: Path,
        policy: SegmentPolicy,
        clock: Clock,
        probe: Callable[[str], None],
    ) -> None:
        self._database = database
        self._topic = topic
        self._folder = folder
        self._policy = policy
        self._clock = clock
        self._probe = probe
        self._known: tuple[Segment, ...] = ()
        self._open: OrderedDict[str, Database] = OrderedDict()

    def append(self, rows: Sequence[log.Row]) -> None:
        """Store all rows durably in the newest segment, or none."""
        fresh = False
        while True:
            newest, database = self._newest()
            if fresh or not self._policy.due(newest, database, self._clock.utc_ns()):
                with database.write() as connection:
                    if not _sealed(connection):
                        log.append(connection, self._topic.id, rows)
                        self._probe("append")
                        return
            self._roll(newest.number)
            fresh = True  # even where the policy finds an empty file too large: a message has to go somewhere

    def read(self, partition: int, start: int, limit: int) -> list[Message]:
        """Up to `limit` messages from `start` on, over the borders of files; a file that is gone is passed over."""
        segments = self._segments()
        found: list[Message] = []
        for segment, following in zip(segments, (*segments[1:], None), strict=True):
            if following is not None and following.starts[partition] <= start:
                continue
            with contextlib.suppress(FileNotFoundError), self._existing(segment).read() as connection:
                found += log.read(connection, self._topic, partition, start, limit - len(found))
            if len(found) >= limit or sum(len(message.value) for message in found) >= log.READ_BYTES:
                break
        return found

    def bounds(self) -> log.Bounds:
        """Per partition: the oldest kept offset and the next one to be given out."""
        if not self._segments():
            return dict.fromkeys(range(self._topic.partitions), (0, 0))
        with self._newest()[1].read() as connection:
            newest = log.ends(connection, self._topic.id)
        oldest = self._known[0].starts
        return {partition: (oldest[partition], end) for partition, (_, end) in newest.items()}

    def expire(self, before_ns: int) -> None:
        """Unlink the segments that were sealed before this time (UTC), then seal the newest when it is due.

        In this order: on a full disk nothing can be sealed before something has been unlinked.
        """
        segments = self._segments()
        if not segments:
            return
        old = [one for one in segments[:-1] if one.sealed_ns is not None and one.sealed_ns < before_ns]
        if old or len(self._names()) > len(segments):
            with self._database.write() as connection:
                self._unlink(connection, old)
        newest, database = self._newest()
        if self._policy.due(newest, database, self._clock.utc_ns()) and self._holds_something(database):
            self._roll(newest.number)
        self._newest()[1].trim()

    def close(self) -> None:
        """Let go of the files."""
        while self._open:
            self._open.popitem()[1].close()

    # -- which files there are

    def _segments(self) -> tuple[Segment, ...]:
        with self._database.read() as connection:
            known = connection.execute(
                "SELECT min(number), max(number) FROM segments WHERE topic = ?", (self._topic.id,)
            ).fetchone()
            mine = (self._known[0].number, self._known[-1].number) if self._known else (None, None)
            if known != mine:
                self._known = self._registered(connection)
                for name in self._open.keys() - {segment.name for segment in self._known}:
                    self._open.pop(name).close()  # unlinked: its space becomes free when the last process lets go
        return self._known

    def _registered(self, connection: sqlite3.Connection) -> tuple[Segment, ...]:
        rows = connection.execute(
            "SELECT number, name, starts, begun_ns, sealed_ns FROM segments WHERE topic = ? ORDER BY number",
            (self._topic.id,),
        ).fetchall()
        return tuple(Segment(number, name, tuple(json.loads(text)), *times) for number, name, text, *times in rows)

    def _newest(self) -> tuple[Segment, Database]:
        """The newest segment and its file, made if there is none yet."""
        while True:
            while not (segments := self._segments()):
                self._roll(None)
            try:
                return segments[-1], self._existing(segments[-1])
            except FileNotFoundError as error:
                if self._segments()[-1] == segments[-1]:  # else it was sealed and unlinked since we looked
                    raise BrokerError(
                        f"{error}: the newest file of {self._topic.name} is gone. Put it back, or begin in a new folder"
                    ) from error

    def _names(self) -> set[str]:
        """The segments in the folder, registered or not, and what a killed builder left; nothing that is not ours."""
        with told(self._folder):
            names = {path.name for path in self._folder.iterdir()} if self._folder.exists() else set()
        return {name.removesuffix("-wal").removesuffix("-shm") for name in names if _OURS.match(name)}

    # -- open files

    def _existing(self, segment: Segment) -> Database:
        """The segment, opened. Raises FileNotFoundError where retention, or a person, has removed it."""
        database = self._open.pop(segment.name, None)
        if database is None:
            path = self._folder / segment.name
            try:
                database = Database(path)
            except BrokerError:
                if path.exists():
                    raise
                raise FileNotFoundError(str(path)) from None
        self._open[segment.name] = database  # last: used most recently
        while len(self._open) > _OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        return database

    def _holds_something(self, database: Database) -> bool:
        with database.read() as connection:
            return any(end > first for first, end in log.ends(connection, self._topic.id).values())

    # -- rolling and unlinking

    def _roll(self, number: int | None) -> None:
        """Seal segment `number` and register its successor, unless another process has done so."""
        with self._database.write() as connection:
            segments = self._registered(connection)
            newest = segments[-1] if segments else None
            if (newest.number if newest else None) != number:
                return
            starts = self._seal(newest) if newest else (0,) * self._topic.partitions
            self._probe("roll:sealed")
            self._unlink(connection, ())  # a successor that was built and never registered
            successor = self._build(0 if number is None else number + 1, starts)
            self._probe("roll:built")
            connection.execute(
                "UPDATE segments SET sealed_ns = ? WHERE topic = ? AND number = ?",
                (successor.begun_ns, self._topic.id, number),
            )
            connection.execute(
                "INSERT INTO segments VALUES (?, ?, ?, ?, ?, NULL)",
                (self._topic.id, successor.number, successor.name, json.dumps(starts), successor.begun_ns),
            )
        self._probe("roll:registered")

    def _seal(self, segment: Segment) -> tuple[int, ...]:
        with self._existing(segment).write() as connection:
            connection.execute("UPDATE segment SET sealed = 1")
            bounds = log.ends(connection, self._topic.id)
        return tuple(bounds[partition][1] for partition in range(self._topic.partitions))

    def _build(self, number: int, starts: tuple[int, ...]) -> Segment:
        now_ns = self._clock.utc_ns()
        hour = datetime.fromtimestamp(now_ns / 1e9, tz=UTC).strftime("%Y%m%dT%H")
        segment = Segment(number, f"{number:08d}-{hour}.sqlite", starts, now_ns, None)

        def fill(connection: sqlite3.Connection) -> None:
            log.create(connection)
            connection.execute(_SEAL)
            connection.execute("INSERT INTO segment VALUES (?, ?, 0)", (self._topic.name, number))
            log.begin(connection, self._topic.id, starts)

        with told(self._folder):
            self._folder.mkdir(exist_ok=True)
            sync_folder(self._folder.parent)
        build(self._folder / segment.name, fill)
        return segment

    def _unlink(self, connection: sqlite3.Connection, old: Sequence[Segment]) -> None:
        """Remove these segments, and files that no row names. The mutex is held, so nobody is building.

        Files go first, rows after them: a full disk has to become free before anything can be written.
        """
        gone = {segment.name for segment in old}
        kept = {segment.name for segment in self._registered(connection)} - gone
        for name in self._names() - kept:
            unlink(self._folder / name)
        connection.executemany(
            "DELETE FROM segments WHERE topic = ? AND number = ?", [(self._topic.id, one.number) for one in old]
        )


def _sealed(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT sealed FROM segment").fetchone()[0])
