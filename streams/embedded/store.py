"""The folder of a broker as one process, or one part of it, sees it: its files, topics and housekeeping."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streams.contract import BrokerError, StorageFull, TopicSpec
from streams.embedded import leases, log, segments
from streams.embedded.clock import Clock, SystemClock
from streams.embedded.database import Database, build, sync_folder, told
from streams.embedded.leases import MAX_LEASE_NS

_NAME = "broker.sqlite"
_TOPICS = """CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, partitions INTEGER NOT NULL,
    retention_s REAL NOT NULL, segmented INTEGER NOT NULL)"""
MIN_FREE_BYTES = 100_000_000  # a disk that is full to the last byte cannot even forget: unlinking needs a few of them
_HOUSEKEEPING_S = 60.0
_BUILT_WITHIN_S = 3_600.0
_logger = logging.getLogger(__name__)


def _nothing(_: str) -> None:
    pass


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class Options:
    """How a folder is used; every process may choose its own.

    `lease_s`: how long a silent consumer keeps its partitions. `min_free_bytes`: below this much free disk, segmented
    topics take nothing. `segment_s`, `segment_bytes`: when a new segment begins. `clock`, `probe` (told the name of
    each point that a test may kill at) and `free_bytes` are for tests.
    """

    lease_s: float = 30.0
    min_free_bytes: int = MIN_FREE_BYTES
    segment_s: float = 3_600.0
    segment_bytes: int = 1 << 30
    clock: Clock = field(default_factory=SystemClock)
    probe: Callable[[str], None] = _nothing
    free_bytes: Callable[[Path], int] = _free_bytes

    def __post_init__(self) -> None:
        if not 0 < self.lease_s * 1e9 <= MAX_LEASE_NS:
            raise ValueError(f"lease_s is {self.lease_s!r}, allowed is above 0 and up to {MAX_LEASE_NS / 1e9:.0f}")


class Store:
    """Open files on a folder, not shared between threads unless its owner locks."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.options = options
        self.folder = folder
        self.database = _open(folder)
        self._topics: dict[str, log.Topic] = {}
        self._logs: dict[str, log.Log] = {}
        self._tidy_after_ns = 0

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Create what is missing and set the retention of what is there; all or nothing."""
        with self.database.write() as connection:
            for spec in specs:
                self._ensure(connection, spec)
        self._topics.clear()

    def _ensure(self, connection: sqlite3.Connection, spec: TopicSpec) -> None:
        row = connection.execute("SELECT partitions FROM topics WHERE name = ?", (spec.name,)).fetchone()
        if row is None:
            connection.execute(
                "INSERT INTO topics(name, partitions, retention_s, segmented) VALUES (?, ?, ?, ?)",
                (spec.name, spec.partitions, spec.retention_s, spec.in_segments),
            )
            (number,) = connection.execute("SELECT id FROM topics WHERE name = ?", (spec.name,)).fetchone()
            log.begin(connection, number, [0] * spec.partitions)
        elif row[0] < spec.partitions:
            raise BrokerError(
                f"topic {spec.name} in {self.folder} has {row[0]} partitions, asked for are {spec.partitions}:"
                " ask for fewer, or begin in a new folder (keys would change their partition)"
            )
        else:
            connection.execute("UPDATE topics SET retention_s = ? WHERE name = ?", (spec.retention_s, spec.name))

    def topic(self, name: str) -> log.Topic:
        """The topic of this name. Raises BrokerError if there is none."""
        if name not in self._topics:
            self._load_topics()
        if name not in self._topics:
            known = ", ".join(sorted(self._topics)) or "none"
            raise BrokerError(f"topic {name} does not exist in {self.folder} (there are: {known}): ensure_topics first")
        return self._topics[name]

    def _load_topics(self) -> None:
        with self.database.read() as connection:
            rows = connection.execute("SELECT id, name, partitions, retention_s, segmented FROM topics").fetchall()
        topics = [
            log.Topic(number, name, count, kept_s, bool(segmented)) for number, name, count, kept_s, segmented in rows
        ]
        self._topics = {topic.name: topic for topic in topics}

    def log_of(self, name: str) -> log.Log:
        """Where the messages of a topic are."""
        if name not in self._logs:
            topic = self.topic(name)
            self._logs[name] = self._segmented(topic) if topic.segmented else log.TableLog(self.database, topic)
        return self._logs[name]

    def _segmented(self, topic: log.Topic) -> segments.SegmentedLog:
        span_s = max(1.0, min(self.options.segment_s, topic.retention_s / 4))
        policy = segments.SegmentPolicy(span_s, self.options.segment_bytes)
        folder = self.folder / topic.name
        return segments.SegmentedLog(self.database, topic, folder, policy, self.options.clock, self.options.probe)

    def check_room(self, topic: str) -> None:
        """Raise StorageFull when the disk is so full that windows must stop, so that results can still be written."""
        least = self.options.min_free_bytes
        if least and self.topic(topic).segmented:
            with told(self.folder):
                free = self.options.free_bytes(self.folder)
            if free < least:
                raise StorageFull(
                    f"{self.folder}: {free / 1e6:.0f} MB free, windows need {least / 1e6:.0f} MB (broker.min_free_mb)."
                    " Nothing accepted is lost; free some space, intake then goes on"
                )

    def tidy(self, *, now: bool = False) -> None:
        """Let retention do its work, at most once in a while unless `now`. Failing to tidy stops nobody's work."""
        clock = self.options.clock
        if not now and clock.monotonic_ns() < self._tidy_after_ns:
            return
        self._load_topics()
        shortest = min([_HOUSEKEEPING_S, *(topic.retention_s / 10 for topic in self._topics.values())])
        self._tidy_after_ns = clock.monotonic_ns() + int(max(1.0, shortest) * 1e9)
        for topic in sorted(
            self._topics.values(), key=lambda topic: not topic.segmented
        ):  # what frees most comes first
            try:
                self.log_of(topic.name).expire(clock.utc_ns() - int(topic.retention_s * 1e9))
                self.database.trim()
            except BrokerError as error:
                if now:
                    raise
                _logger.warning("retention of %s: %s", topic.name, error)

    def close(self) -> None:
        """Let go of every file."""
        for one in self._logs.values():
            one.close()
        self._logs.clear()
        self.database.close()


def _open(folder: Path) -> Database:
    path = folder / _NAME
    with told(folder):
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
        if not path.exists():
            build(path, _create)
        for leftover in folder.glob(f".{_NAME}.*"):  # of a builder that was killed; a living one takes no hour
            with contextlib.suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime > _BUILT_WITHIN_S:
                    leftover.unlink()
    return Database(path)


def _create(connection: sqlite3.Connection) -> None:
    for statement in (_TOPICS, *leases.SCHEMA, *segments.SCHEMA):
        connection.execute(statement)
    log.create(connection)
