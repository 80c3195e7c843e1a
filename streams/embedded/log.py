"""Messages in a table: the same two tables in `broker.sqlite` and in every segment.

Offsets are given out inside the transaction that stores the message, so that they have no gap and no double.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from streams.contract import Message
from streams.embedded.database import Database

SCHEMA = (
    """CREATE TABLE ends(topic INTEGER, partition INTEGER, first INTEGER NOT NULL, next INTEGER NOT NULL,
       PRIMARY KEY(topic, partition)) WITHOUT ROWID""",
    """CREATE TABLE messages(topic INTEGER, partition INTEGER, offset INTEGER, key TEXT NOT NULL,
       timestamp_ns INTEGER NOT NULL, headers TEXT NOT NULL, value BLOB NOT NULL,
       PRIMARY KEY(topic, partition, offset)) WITHOUT ROWID""",
)
READ_BYTES = 64 * 1024 * 1024  # a read ends here: a thousand messages of 4 MiB do not fit into memory
_DELETED_AT_ONCE = 2_000

Bounds = dict[int, tuple[int, int]]


class Topic(NamedTuple):
    """A topic as `broker.sqlite` knows it."""

    id: int
    name: str
    partitions: int
    retention_s: float
    segmented: bool


class Row(NamedTuple):
    """A message that has no offset yet; headers are JSON."""

    partition: int
    key: str
    timestamp_ns: int
    headers: str
    value: bytes


class Log(Protocol):
    """Where the messages of one topic are kept."""

    def append(self, rows: Sequence[Row]) -> None:
        """Store all rows durably, or none."""

    def read(self, partition: int, start: int, limit: int) -> list[Message]:
        """Up to `limit` messages from `start` on; they may begin later where retention was first."""

    def bounds(self) -> Bounds:
        """Per partition: the oldest kept offset and the next one to be given out."""

    def expire(self, before_ns: int) -> None:
        """Remove what was stored before this time (UTC)."""

    def close(self) -> None:
        """Let go of the files."""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables."""
    for statement in SCHEMA:
        connection.execute(statement)


def begin(connection: sqlite3.Connection, topic: int, starts: Iterable[int]) -> None:
    """Let the partitions of `topic` begin at these offsets; those that exist stay."""
    connection.executemany(
        "INSERT OR IGNORE INTO ends VALUES (?, ?, ?, ?)",
        [(topic, partition, start, start) for partition, start in enumerate(starts)],
    )


def ends(connection: sqlite3.Connection, topic: int) -> Bounds:
    """First and next offset per partition."""
    rows = connection.execute("SELECT partition, first, next FROM ends WHERE topic = ?", (topic,)).fetchall()
    return {partition: (first, following) for partition, first, following in rows}


def append(connection: sqlite3.Connection, topic: int, rows: Sequence[Row]) -> None:
    """Give offsets to the rows and store them, inside the caller's transaction."""
    following = {partition: end for partition, (_, end) in ends(connection, topic).items()}
    stored = []
    for row in rows:
        stored.append((topic, row.partition, following[row.partition], *row[1:]))
        following[row.partition] += 1
    connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", stored)
    connection.executemany(
        "UPDATE ends SET next = ? WHERE topic = ? AND partition = ?",
        [(end, topic, partition) for partition, end in following.items()],
    )


def read(connection: sqlite3.Connection, topic: Topic, partition: int, start: int, limit: int) -> list[Message]:
    """Up to `limit` messages and about `READ_BYTES`, from `start` on."""
    cursor = connection.execute(
        "SELECT offset, key, timestamp_ns, headers, value FROM messages"
        " WHERE topic = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT ?",
        (topic.id, partition, start, limit),
    )
    messages: list[Message] = []
    size = 0
    for offset, key, timestamp_ns, headers, value in cursor:
        messages.append(Message(topic.name, partition, offset, key, value, json.loads(headers), timestamp_ns))
        size += len(value)
        if size >= READ_BYTES:
            break
    cursor.close()
    return messages


class TableLog:
    """A small topic: its messages lie in `broker.sqlite` itself."""

    def __init__(self, database: Database, topic: Topic) -> None:
        self._database = database
        self._topic = topic

    def append(self, rows: Sequence[Row]) -> None:
        """Store all rows durably, or none."""
        with self._database.write() as connection:
            append(connection, self._topic.id, rows)

    def read(self, partition: int, start: int, limit: int) -> list[Message]:
        """Up to `limit` messages from `start` on."""
        with self._database.read() as connection:
            return read(connection, self._topic, partition, start, limit)

    def bounds(self) -> Bounds:
        """Per partition: the oldest kept offset and the next one to be given out."""
        with self._database.read() as connection:
            return ends(connection, self._topic.id)

    def expire(self, before_ns: int) -> None:
        """Remove old messages in small transactions, so that nobody waits long for the file."""
        for partition in range(self._topic.partitions):
            while self._expire_some(partition, before_ns) == _DELETED_AT_ONCE:
                pass

    def _expire_some(self, partition: int, before_ns: int) -> int:
        where = (self._topic.id, partition)
        query = "SELECT offset, timestamp_ns FROM messages WHERE topic = ? AND partition = ? ORDER BY offset LIMIT ?"
        with self._database.read() as connection:  # mostly there is nothing to do: do not become the writer for that
            oldest = connection.execute(query, (*where, _DELETED_AT_ONCE)).fetchall()
        old = 0
        while old < len(oldest) and oldest[old][1] < before_ns:
            old += 1
        if old:
            first = oldest[old - 1][0] + 1
            with self._database.write(durable=False) as connection:
                connection.execute(
                    "DELETE FROM messages WHERE topic = ? AND partition = ? AND offset < ?", (*where, first)
                )
                connection.execute(
                    "UPDATE ends SET first = max(first, ?) WHERE topic = ? AND partition = ?", (first, *where)
                )
        return old

    def close(self) -> None:
        """The file belongs to the store."""
