"""Log-ins: a random cookie whose digest is kept in a small SQLite file, so that a restart logs nobody out.

A session ends after `hours`, with a log-out, and as soon as its token is not valid any more. The CSRF token of a form
is derived from the cookie, which no other site can read. Schema: sessions (id: digest of the cookie, who,
token: digest, ends: UTC seconds).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from monitor.web.access import Access, Role, digest

COOKIE = "factory_ear"
MOST = 10_000  # sessions; the oldest go first
CACHE_KIB = 128  # pages in memory
SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, who TEXT, token TEXT, ends REAL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Session:
    """Who asks, with which right; `csrf` is what a form of theirs must bring along, empty without a cookie."""

    who: str
    role: Role
    csrf: str = ""


class Sessions:
    """The log-ins of a line, in the file at `path` (mode 0600). `now_s` is UTC. For several threads."""

    def __init__(self, path: Path, access: Access, hours: float, now_s: Callable[[], float]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._access, self._length_s, self._now_s = access, hours * 3600, now_s
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA cache_size={-CACHE_KIB:d}")
        self._db.executescript(SCHEMA)

    def begin(self, who: str, token: str) -> tuple[str, Role] | None:
        """A new cookie and its role; None for a token that is not valid."""
        role = self._access.role(token)
        if role is None:
            return None
        cookie = secrets.token_urlsafe(32)
        row = (digest(cookie), who, digest(token), self._now_s() + self._length_s)
        with self._lock:
            self._db.execute("DELETE FROM sessions WHERE ends < ?", (self._now_s(),))
            self._db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", row)
            oldest = "SELECT id FROM sessions ORDER BY ends DESC LIMIT -1 OFFSET ?"
            self._db.execute(f"DELETE FROM sessions WHERE id IN ({oldest})", (MOST,))  # noqa: S608 - no value from outside
        return cookie, role

    def of(self, cookie: str) -> Session | None:
        """The session of a cookie, if it stands."""
        if not cookie:
            return None
        with self._lock:
            query = "SELECT who, token, ends FROM sessions WHERE id = ?"
            row = self._db.execute(query, (digest(cookie),)).fetchone()
        if row is None or row[2] < self._now_s():
            return None
        role = self._access.role_of(row[1])
        return Session(row[0], role, csrf_of(cookie)) if role else None

    def end(self, cookie: str) -> None:
        """Log out."""
        with self._lock:
            self._db.execute("DELETE FROM sessions WHERE id = ?", (digest(cookie),))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()


def csrf_of(cookie: str) -> str:
    """What a form must bring along to be taken as the cookie's bearer's own."""
    return hmac.new(cookie.encode("utf-8", "surrogatepass"), b"factory-ear form", hashlib.sha256).hexdigest()
