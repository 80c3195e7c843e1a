"""The scores of weeks in little room: per microphone a point a minute for some days, a quarter of an hour beyond.

A SQLite file beside the alarms, written by the monitor's thread every few seconds and read by the page with a
connection of its own. It may be lost without harm to any alarm, so it is not synced at every write, and a full disk
only makes a hole in it. Schema:

    mics    number, mic
    points  step    seconds per point: 60 or 900        at      event time of the point's start, seconds UTC
            mic     the microphone's number             top     highest score, hundredths
            middle  mean of the medians that were added, weighted by windows, hundredths
            windows how many scores                     odd     how many at or above the threshold
            level   dBFS of the newest, tenths, or null

A point that comes twice (a monitor that was killed reads some scores again) counts its windows twice; `top` stays.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from streams.records import WindowScore

MINUTE, QUARTER = 60, 900
STEPS = (MINUTE, QUARTER)
MINUTES_KEPT_S = 3 * 86_400
MOST_OPEN = 50_000  # points that wait while the disk takes none
CACHE_KIB = 512  # pages in memory of the writer, and of the reader; with SQLite's own 2 MB memory grows for a day
VERSION = 1
SCHEMA = """
CREATE TABLE mics (number INTEGER PRIMARY KEY, mic TEXT NOT NULL UNIQUE);
CREATE TABLE points (
    step INTEGER, mic INTEGER, at INTEGER, top INTEGER NOT NULL, middle INTEGER NOT NULL, windows INTEGER NOT NULL,
    odd INTEGER NOT NULL, level INTEGER, PRIMARY KEY (step, mic, at)) WITHOUT ROWID;
"""
UPSERT = """
INSERT INTO points VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    top = max(top, excluded.top),
    middle = (middle * windows + excluded.middle * excluded.windows) / (windows + excluded.windows),
    windows = windows + excluded.windows, odd = odd + excluded.odd, level = coalesce(excluded.level, level)
"""

_log = logging.getLogger(__name__)


class Point(NamedTuple):
    """What one microphone's scores were from `at_s` (UTC) on, for `step` seconds; see the schema."""

    at_s: int
    top: float
    middle: float
    windows: int
    odd: int
    level_dbfs: float | None


@dataclass(slots=True)
class _Open:
    scores: list[float] = field(default_factory=list)
    odd: int = 0
    level: int | None = None


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute(f"PRAGMA cache_size={-CACHE_KIB:d}")
    if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        anew = f"DROP TABLE IF EXISTS points; DROP TABLE IF EXISTS mics; {SCHEMA} PRAGMA user_version={VERSION:d};"
        db.executescript(f"BEGIN IMMEDIATE; {anew} COMMIT;")
    return db


class History:
    """The writer: one per line. `keep_days` bounds what is kept; the file at `path` is made if it is not there."""

    def __init__(self, path: Path, mics: Iterable[str], keep_days: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = _connect(path)
        self._db.executemany("INSERT OR IGNORE INTO mics (mic) VALUES (?)", [(mic,) for mic in mics])
        self._numbers: dict[str, int] = dict(self._db.execute("SELECT mic, number FROM mics").fetchall())
        self._keep_s = keep_days * 86_400
        self._open: dict[tuple[int, int, int], _Open] = {}
        self.refused = 0

    def add(self, score: WindowScore, threshold: float) -> None:
        """Take one score; those that are not ok and those of other lines' microphones are left out."""
        number = self._numbers.get(score.mic)
        if score.status != "ok" or number is None:
            return
        at_s = score.start_ns // 1_000_000_000
        for step in STEPS:
            if len(self._open) >= MOST_OPEN:
                self.refused += 1
                return
            one = self._open.setdefault((step, number, at_s - at_s % step), _Open())
            one.scores.append(score.score)
            one.odd += score.score >= threshold
            if math.isfinite(score.level_dbfs):
                one.level = round(score.level_dbfs * 10)

    def flush(self) -> None:
        """Write what has come. A disk that takes nothing is no error here: it is tried again, within bounds."""
        if not self._open:
            return
        rows = [
            (*key, round(100 * max(one.scores)), round(100 * median(one.scores)), len(one.scores), one.odd, one.level)
            for key, one in self._open.items()
        ]
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(UPSERT, rows)
        except sqlite3.OperationalError as error:
            _log.warning("history: %s; it is tried again", error)
            return
        self._open.clear()

    def expire(self, now_s: float) -> int:
        """Remove what is older than it may be, counted back from `now_s` (UTC); returns how many points."""
        removed = 0
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                for step, keep_s in ((MINUTE, min(MINUTES_KEPT_S, self._keep_s)), (QUARTER, self._keep_s)):
                    query = "DELETE FROM points WHERE step = ? AND mic = ? AND at < ?"
                    for number in self._numbers.values():
                        removed += self._db.execute(query, (step, number, int(now_s - keep_s))).rowcount
        except sqlite3.OperationalError as error:
            _log.warning("history: %s; old points go later", error)
        return removed

    def close(self) -> None:
        """Write the rest and let go of the file."""
        self.flush()
        self._db.close()


class HistoryReader:
    """Reads a line's history; a file that is not there yet reads as empty. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def _rows(self, query: str, values: Sequence[object]) -> list[tuple[int, ...]]:
        try:
            if self._db is None:
                uri = f"{self._path.resolve().as_uri()}?mode=ro"
                self._db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0, check_same_thread=False)
                self._db.execute(f"PRAGMA cache_size={-CACHE_KIB:d}")
            return self._db.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            _log.info("history cannot be read: %s", error)
            return []

    def series(self, mic: str, from_s: int, to_s: int, step: int) -> list[Point]:
        """The points of one microphone that start in [from_s, to_s), by time. `step` is MINUTE or QUARTER."""
        query = (
            "SELECT at, top, middle, windows, odd, level FROM points WHERE step = ? AND at >= ? AND at < ? "
            "AND mic = (SELECT number FROM mics WHERE mic = ?) ORDER BY at"
        )
        return [_point(*row) for row in self._rows(query, (step, from_s, to_s, mic))]

    def newest_s(self, mics: Iterable[str]) -> int:
        """When the newest quarter of any of these microphones began; 0 where there is none."""
        query = "SELECT max(at) FROM points WHERE step = 900 AND mic = (SELECT number FROM mics WHERE mic = ?)"
        found = [row[0] for mic in mics for row in self._rows(query, (mic,))]
        return max((one for one in found if one is not None), default=0)

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
            self._db = None


def _point(at_s: int, top: int, middle: int, windows: int, odd: int, level: int | None) -> Point:
    return Point(at_s, top / 100, middle / 100, windows, odd, None if level is None else level / 10)
