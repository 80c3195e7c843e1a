"""What the monitor must not forget, in one SQLite file: alarms, alerts, what is to be sent, how far scores were read.

One transaction per batch of scores writes (1) the state of the alarms, (2) the alerts, (3) the outbox of updates to
announce, (4) the requests for evidence clips and (5) the next score offsets. After `kill -9` the batch happened
wholly or not at all: scores whose alarm was not stored are read again, scores whose alarm was stored are not. With
(5) stored before (1-4), a crash between them loses an alarm; `tests/monitor/test_alarm_store_kill.py` shows it.

Announcing comes afterwards: send, flush, then mark as sent. A crash between repeats an announcement under the
same alert_id, and never loses one.

How far an update is announced (`Update.reach`) is the alarm logic's; a shelf of its machine silences it for as long as
it lasts, and what is still open then is announced at its end.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, Self

from monitor import audit
from monitor.alarm_schema import open_db, transaction
from monitor.alarms import Update, pack_update, unpack_update
from monitor.errors import WorkFailed
from monitor.fault_names import Names, with_names
from monitor.langs import Lang
from monitor.settings import HALL
from streams.broker import TopicPartition
from streams.records import Alert

Channel = Literal["broker", "webhook"]
Point = Callable[[str], None]


SHOWN_FLOODS = 50
_REACHES = ("stored", "topic", "called")  # the numbers of `wanted` and `reached`


def nothing(_point: str) -> None:
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

    def __init__(self, path: Path, *, at: Point = nothing, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self.at = at
        self.lang: Lang = "en"  # of reasons; the monitor sets its site's
        self._clock_ns = clock_ns
        self._lock: IO[bytes] | None = None
        self._db = open_db(path)

    def own(self) -> None:
        """Make sure that this is the only monitor of the line. Raises WorkFailed where another one runs."""
        lock = self.path.with_suffix(".lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise WorkFailed(f"{self.path}: another monitor of this line is running; stop it first") from error
        self._lock = lock

    def _transaction(self) -> AbstractContextManager[None]:
        return transaction(self._db, self.path)

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
                self._keep(update, _REACHES.index(update.reach), webhook=webhook)
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

    def _keep(self, update: Update, wanted: int, *, webhook: bool) -> None:
        """Keep the alert, with the clip and the names that it may already have, and announce it as far as it may go.

        Nobody is called for a shelved machine; but what was announced open is announced closed.
        """
        alert = update.alert
        row = self._db.execute("SELECT body, reached FROM alerts WHERE alert_id = ?", (alert.alert_id,)).fetchone()
        known = _unpacked(row[0]) if row else None
        if known and known.alert.clip and not alert.clip:
            update = replace(update, alert=replace(alert, clip=known.alert.clip))
        if known and known.facts.named and not update.facts.named:
            update = with_names(update, known.facts.named, self.lang)
        reached = int(row[1]) if row else 0
        reach = 0 if self._is_shelved(alert.machine) else wanted
        if alert.closed_ns:
            reach = max(reach, reached)
        body = json.dumps(pack_update(update))
        kept = (alert.alert_id, alert.machine, alert.opened_ns, alert.closed_ns, body, wanted, max(reach, reached))
        self._db.execute("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?)", kept)
        self._send(body, reach, webhook=webhook)

    def _send(self, body: str, reach: int, *, webhook: bool) -> None:
        if reach:
            self._db.execute("INSERT INTO outbox (body, webhook) VALUES (?, ?)", (body, int(not webhook or reach < 2)))

    def _is_shelved(self, machine: str) -> bool:
        query = "SELECT 1 FROM shelves WHERE machine = ? AND until_ns > ?"
        return self._db.execute(query, (machine, self._clock_ns())).fetchone() is not None

    def shelves(self) -> dict[str, tuple[int, int]]:
        """Per shelved machine, since when it has been so without a break and until when; UTC nanoseconds."""
        query = "SELECT machine, since_ns, until_ns FROM shelves WHERE until_ns > ?"
        return {row[0]: (row[1], row[2]) for row in self._db.execute(query, (self._clock_ns(),))}

    def unshelved(self, *, webhook: bool = False) -> list[str]:
        """End the shelves that are due, and announce what is open and was kept silent; returns whose shelf ended.

        Also what a shelf kept silent that somebody has ended by hand.
        """
        now_ns = self._clock_ns()
        due = self._db.execute("SELECT machine, until_ns FROM shelves WHERE until_ns <= ?", (now_ns,)).fetchall()
        query = (
            "SELECT alert_id, body, wanted FROM alerts WHERE (closed_ns = 0) = 1 AND reached < wanted "
            "AND machine NOT IN (SELECT machine FROM shelves WHERE until_ns > ?)"
        )
        silent = self._db.execute(query, (now_ns,)).fetchall()
        if not due and not silent:
            return []
        self.at("unshelve.before")
        with self._transaction():
            for machine, until_ns in due:
                self._db.execute("DELETE FROM shelves WHERE machine = ? AND until_ns = ?", (machine, until_ns))
                audit.append(self._db, now_ns, audit.SYSTEM, "shelf_ended", machine, "done", f"until_ns={until_ns}")
            for alert_id, body, wanted in silent:
                self._db.execute("UPDATE alerts SET reached = ? WHERE alert_id = ?", (wanted, alert_id))
                self._send(body, wanted, webhook=webhook)
            self.at("unshelve.inside")
        self.at("unshelve.after")
        return [machine for machine, _ in due]

    def audit_entries(self) -> int:
        """How many entries the audit log has."""
        return audit.head(self._db).number

    def clip_done(self, clip: ClipRequest, outcome: Literal["written", "no_sound"], *, webhook: bool = False) -> None:
        """Note what became of a clip; a written one is announced with its alert."""
        with self._transaction():
            self._db.execute("UPDATE clips SET outcome = ? WHERE clip_id = ?", (outcome, clip.clip_id))
            known = self.alert(clip.alert_id)
            if known and outcome == "written":
                self._again(replace(known, alert=replace(known.alert, clip=clip.clip_id)), webhook=webhook)

    def named(self, alert_id: str, names: Names, *, webhook: bool = False) -> None:
        """Note what the sound of an alert resembles, likeliest first; it is announced, under the same id, once."""
        with self._transaction():
            known = self.alert(alert_id)
            if known and names and not known.facts.named:
                self._again(with_names(known, names, self.lang), webhook=webhook)

    def _again(self, update: Update, *, webhook: bool) -> None:
        """Keep and announce an alert of which more is known, as far as it was wanted before."""
        query = "SELECT wanted FROM alerts WHERE alert_id = ?"
        wanted = int(self._db.execute(query, (update.alert.alert_id,)).fetchone()[0])
        self._keep(update, wanted, webhook=webhook)

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


def floods_of(db: sqlite3.Connection) -> list[tuple[str, str, tuple[str, ...], int, int]]:
    """The newest alarms of whole halls: id, the alert that came first, all alerts in it, opened and closed."""
    query = "SELECT body FROM alerts WHERE machine = ? OR machine LIKE ? ORDER BY opened_ns DESC LIMIT ?"
    updates = [_unpacked(row[0]) for row in db.execute(query, (HALL, f"{HALL}:%", SHOWN_FLOODS))]
    return [
        (one.alert.alert_id, one.facts.alerts[0], one.facts.alerts, one.alert.opened_ns, one.alert.closed_ns)
        for one in updates
        if one.facts.alerts
    ]


def _unpacked(body: str) -> Update:
    update = unpack_update(json.loads(body))
    if update is None:
        raise ValueError("an alert without a body: alarms.sqlite is damaged; move it away to start anew")
    return update
