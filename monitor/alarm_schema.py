"""The tables of `alarms.sqlite`: what the monitor and the people at its page must not forget, in one file.

One file, so that one transaction holds what belongs together: alarm state, alerts, outbox and score offsets
(`alarm_store`), and what people did about them with its audit entry (`action_store`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monitor.errors import WorkFailed
from streams.broker import StorageFull

VERSION = 2
CACHE_KIB = 512  # pages in memory per connection; a monitor has four, and SQLite's own 2 MB of each fill in hours
_ALARMS = """
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
# wanted: how far the newest update of an alert should be told, reached: how far any was (0 stored, 1 on the topic,
# 2 webhook too). An alert from before version 2 was told everywhere.
_ACTIONS = """
ALTER TABLE alerts ADD COLUMN wanted INTEGER NOT NULL DEFAULT 2;
ALTER TABLE alerts ADD COLUMN reached INTEGER NOT NULL DEFAULT 2;
CREATE TABLE acknowledgements (
    alert_id TEXT PRIMARY KEY, who TEXT NOT NULL, at_ns INTEGER NOT NULL, comment TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE shelves (
    machine TEXT PRIMARY KEY, who TEXT NOT NULL, at_ns INTEGER NOT NULL, until_ns INTEGER NOT NULL,
    comment TEXT NOT NULL, since_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE judgements (
    alert_id TEXT PRIMARY KEY, verdict TEXT NOT NULL, who TEXT NOT NULL, at_ns INTEGER NOT NULL,
    fault TEXT NOT NULL, comment TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rebaselines (
    number INTEGER PRIMARY KEY AUTOINCREMENT, machine TEXT NOT NULL, who TEXT NOT NULL, at_ns INTEGER NOT NULL,
    why TEXT NOT NULL, state TEXT NOT NULL);
CREATE TABLE votes (
    trial TEXT NOT NULL, clip TEXT NOT NULL, a TEXT NOT NULL, b TEXT NOT NULL, choice TEXT NOT NULL,
    who TEXT NOT NULL, at_ns INTEGER NOT NULL, PRIMARY KEY (trial, who)) WITHOUT ROWID;
CREATE TABLE audit (
    number INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, who TEXT NOT NULL, role TEXT NOT NULL, action TEXT NOT NULL,
    subject TEXT NOT NULL, outcome TEXT NOT NULL, comment TEXT NOT NULL, address TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TABLE audit_head (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, hash TEXT NOT NULL);
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER audit_is_never_cut BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END
"""
_STEPS = (_ALARMS, _ACTIONS)  # each brings the file to the next version


def open_db(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    """The file at `path`, made or brought up to date where that is needed. Raises WorkFailed for a newer one.

    With `any_thread` whoever asks must see to it that only one thread uses it at a time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, isolation_level=None, timeout=10.0, check_same_thread=not any_thread)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA cache_size={-CACHE_KIB:d}")
        version = _version(db)
        if version > VERSION:
            raise WorkFailed(f"{path}: written by version {version}, allowed is {VERSION}: move it away to start anew")
        if version < VERSION:
            _upgrade(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _upgrade(db: sqlite3.Connection, path: Path) -> None:
    with transaction(db, path):
        for step in _STEPS[_version(db) :]:  # read again: another process may have been faster
            for statement in _statements(step):
                db.execute(statement)
        db.execute(f"PRAGMA user_version={VERSION:d}")


def _statements(script: str) -> Iterator[str]:
    """Its statements; a trigger has semicolons inside."""
    part = ""
    for piece in script.split(";"):
        part += f"{piece};"
        if sqlite3.complete_statement(part):
            yield part
            part = ""


@contextmanager
def transaction(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All or nothing, durably. Raises StorageFull where there is no room; then nothing of it is stored."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except BaseException as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError) and ("full" in str(error) or "disk" in str(error)):
            raise StorageFull(f"{path}: {error}; free some disk space, nothing was lost") from error
        raise
