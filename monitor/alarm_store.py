"""What the monitor must not forget, in one SQLite file: alarms, alerts, what is to be sent, how far scores were read.

One transaction per batch of scores writes (1) the state of the alarms, (2) the alerts, (3) the outbox of updates to
announce, (4) the requests for evidence clips and (5) the next score offsets. After `kill -9` the batch happened
wholly or not at all: scores whose alarm was not stored are read again, scores whose alarm was stored are not. With
(5) stored before (1-4), a crash between them loses an alarm; `tests/monitor/test_alarm_store_kill.py` shows it.

Announcing comes afterwards: send, flush, then mark as sent. A crash between repeats an announcement under the
same alert_id, and never loses one.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, Self

from monitor.alarms import Update, pack_update, unpack_update
from monitor.errors import WorkFailed
from streams.broker import StorageFull, TopicPartition
from streams.records import Alert

VERSION = 1
SCHEMA = """
CREATE TABLE machines (machine TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE alerts (
    alert_id TEXT PRIMARY KEY, machine TEXT NOT NULL, opened_ns INTEGER NOT NULL, closed_ns INTEGER NOT NULL,
    body TEXT NOT NULL);
CREATE INDEX alerts_by_time ON alerts (closed_ns = 0 DESC, opened_ns DESC);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL,
    broker INTEGER NOT NULL DEFAULT 0, webhook INTEGER NOT NULL DEFAULT 0);
CREATE TABLE clips (
    clip_id TEXT PRIMARY KEY, alert_id TEXT NOT NULL, mic TEXT NOT NULL,
    from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL, outcome TEXT NOT NULL DEFAULT '');
CREATE TABLE offsets (topic TEXT, part INTEGER, next INTEGER NOT NULL, PRIMARY KEY (topic, part)) WITHOUT ROWID;
"""

Channel = Literal["broker", "webhook"]
Point = Callable[[str], None]


def _nothing(_point: str) -> None:
    """Where a test stops the process."""


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """The sound that is to be kept as evidence for an alert."""

    clip_id: str
    alert_id: str
    mic: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One update that waits to be announced."""

    number: int
    update: Update

    @property
    def alert(self) -> Alert:
        """The alert as it was at this update."""
        return self.update.alert


class AlarmStore:
    """The file at `path`, made if it is not there. Not shared between threads; several may read, one `own`s it.

    `at` is called with the name of each point at which a crash matters. Raises StorageFull when there is no room;
    then nothing of the transaction is stored.
    """

    def __init__(self, path: Path, *, at: Point = _nothing) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.at = at
        self._lock: IO[bytes] | None = None
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        version = self._version()
        if version == 0:
            self._create()
        elif version != VERSION:
            self._db.close()
            raise WorkFailed(f"{path}: written by version {version}, allowed is {VERSION}: move it away to start anew")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _create(self) -> None:
        with self._transaction():
            if self._version() == 0:  # else another process was faster
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={VERSION:d}")

    def own(self) -> None:
        """Make sure that this is the only monitor of the line. Raises WorkFailed where another one runs."""
        lock = self.path.with_suffix(".lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise WorkFailed(f"{self.path}: another monitor of this line is running; stop it first") from error
        self._lock = lock

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and ("full" in str(error) or "disk" in str(error)):
                raise StorageFull(f"{self.path}: {error}; free some disk space, nothing was lost") from error
            raise

    def commit(
        self,
        *,
        states: Mapping[str, Mapping[str, Any]] | None = None,
        updates: Sequence[Update] = (),
        offsets: Mapping[TopicPartition, int] | None = None,
        clips: Iterable[ClipRequest] = (),
        webhook: bool = False,
    ) -> None:
        """Store what a batch of scores led to, and how far the scores are read: all or nothing, durably."""
        self.at("commit.before")
        with self._transaction():
            rows = [(machine, json.dumps(state, separators=(",", ":"))) for machine, state in (states or {}).items()]
            self._db.executemany("INSERT OR REPLACE INTO machines VALUES (?, ?)", rows)
            for update in updates:
                self._announce(update, webhook=webhook)
            self._db.executemany(
                "INSERT OR IGNORE INTO clips (clip_id, alert_id, mic, from_ns, to_ns) VALUES (?, ?, ?, ?, ?)",
                [(one.clip_id, one.alert_id, one.mic, one.from_ns, one.to_ns) for one in clips],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)",
                [(*where, following) for where, following in (offsets or {}).items()],
            )
            self.at("commit.inside")
        self.at("commit.after")

    def _announce(self, update: Update, *, webhook: bool) -> None:
        """Keep the alert, with the clip that it may already have, and put it into the outbox."""
        known = self.alert(update.alert.alert_id)
        if known and known.alert.clip and not update.alert.clip:
            update = replace(update, alert=replace(update.alert, clip=known.alert.clip))
        alert, body = update.alert, json.dumps(pack_update(update))
        row = (alert.alert_id, alert.machine, alert.opened_ns, alert.closed_ns, body)
        self._db.execute("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?)", row)
        self._db.execute("INSERT INTO outbox (body, webhook) VALUES (?, ?)", (body, int(not webhook)))

    def clip_done(self, clip: ClipRequest, outcome: Literal["written", "no_sound"], *, webhook: bool = False) -> None:
        """Note what became of a clip; a written one is announced with its alert."""
        with self._transaction():
            self._db.execute("UPDATE clips SET outcome = ? WHERE clip_id = ?", (outcome, clip.clip_id))
            known = self.alert(clip.alert_id)
            if known and outcome == "written":
                self._announce(replace(known, alert=replace(known.alert, clip=clip.clip_id)), webhook=webhook)

    def clip_requests(self) -> list[ClipRequest]:
        """The clips that are still to be written."""
        query = "SELECT clip_id, alert_id, mic, from_ns, to_ns FROM clips WHERE outcome = ''"
        return [ClipRequest(*row) for row in self._db.execute(query)]

    def offsets(self, topic: str) -> dict[int, int]:
        """Per partition, the next message of `topic` to read; a partition never read is absent."""
        return dict(self._db.execute("SELECT part, next FROM offsets WHERE topic = ?", (topic,)).fetchall())

    def states(self) -> dict[str, dict[str, Any]]:
        """Per machine, the alarm state."""
        return {machine: json.loads(text) for machine, text in self._db.execute("SELECT machine, state FROM machines")}

    def alert(self, alert_id: str) -> Update | None:
        """One alert as it is now."""
        row = self._db.execute("SELECT body FROM alerts WHERE alert_id = ?", (alert_id,)).fetchone()
        return unpack_update(json.loads(row[0])) if row else None

    def alerts(self, limit: int = 50, machine: str = "") -> list[Update]:
        """The newest alerts as they are now, open ones first; with `machine`, those of this machine."""
        query = "SELECT body FROM alerts ORDER BY closed_ns = 0 DESC, opened_ns DESC LIMIT ?"
        values: tuple[object, ...] = (limit,)
        if machine:
            query = "SELECT body FROM alerts WHERE machine = ? ORDER BY closed_ns = 0 DESC, opened_ns DESC LIMIT ?"
            values = (machine, limit)
        return [_unpacked(row[0]) for row in self._db.execute(query, values)]

    def pending(self, channel: Channel, limit: int = 100) -> list[Outgoing]:
        """What is still to be announced there, oldest first."""
        query = {
            "broker": "SELECT id, body FROM outbox WHERE NOT broker ORDER BY id LIMIT ?",
            "webhook": "SELECT id, body FROM outbox WHERE NOT webhook ORDER BY id LIMIT ?",
        }[channel]
        return [Outgoing(number, _unpacked(body)) for number, body in self._db.execute(query, (limit,))]

    def sent(self, channel: Channel, numbers: Iterable[int]) -> None:
        """Mark updates as announced there; what is announced everywhere leaves the outbox."""
        query = {
            "broker": "UPDATE outbox SET broker = 1 WHERE id = ?",
            "webhook": "UPDATE outbox SET webhook = 1 WHERE id = ?",
        }[channel]
        with self._transaction():
            self._db.executemany(query, [(number,) for number in numbers])
            self._db.execute("DELETE FROM outbox WHERE broker AND webhook")

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
        if self._lock:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unpacked(body: str) -> Update:
    update = unpack_update(json.loads(body))
    if update is None:
        raise ValueError("an alert without a body: alarms.sqlite is damaged; move it away to start anew")
    return update
