"""The audit log: entries that only grow, each chained to the one before by a hash.

hash(n) = SHA-256 of hash(n - 1), a newline and the entry as JSON (`_line`); hash(0) is 64 zeros. Whoever changes, drops
or slips in an entry breaks the chain there; whoever cuts the end leaves a head that points beyond it. Somebody with
the file and this code can make a new chain: keep the head that /metrics exports (`factory_ear_audit_entries`) or a
copy of `head` elsewhere where that matters. The tables refuse UPDATE and DELETE besides.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from monitor.actions import By, Entry, Outcome

START = "0" * 64
SYSTEM = By(who="factory-ear", role="system")
_COLUMNS = "number, at_ns, who, role, action, subject, outcome, comment, address"


class Head(NamedTuple):
    """How many entries there are, and the hash of the last."""

    number: int
    hash: str


def append(
    db: sqlite3.Connection, at_ns: int, by: By, action: str, subject: str, outcome: Outcome, comment: str = ""
) -> Entry:
    """Add an entry, within the caller's transaction."""
    before = head(db)
    who, role, action, subject = (_clean(text) for text in (by.who, by.role, action, subject))
    entry = Entry(before.number + 1, at_ns, who, role, action, subject, outcome, _clean(comment), _clean(by.address))
    digest = _hash(before.hash, entry)
    db.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*_values(entry), digest))
    db.execute("INSERT OR REPLACE INTO audit_head VALUES (1, ?, ?)", (entry.number, digest))
    return entry


def head(db: sqlite3.Connection) -> Head:
    """The end of the chain."""
    row = db.execute("SELECT number, hash FROM audit_head").fetchone()
    return Head(*row) if row else Head(0, START)


def entries(db: sqlite3.Connection, limit: int, before: int | None) -> list[Entry]:
    """The newest first; `before` is an entry's number."""
    query = f"SELECT {_COLUMNS} FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?"  # noqa: S608 - a constant
    return [Entry(*row) for row in db.execute(query, (2**62 if before is None else before, limit))]


def faults(db: sqlite3.Connection) -> list[str]:
    """What is wrong with the chain, in words; nothing where it is whole. Reads every entry."""
    digest, last, found = START, 0, []
    for *values, kept in db.execute(f"SELECT {_COLUMNS}, hash FROM audit ORDER BY number"):  # noqa: S608 - a constant
        entry = Entry(*values)
        if entry.number != last + 1:
            found.append(f"entries {last + 1} to {entry.number - 1} are missing")
        if _hash(digest, entry) != kept:
            found.append(f"entry {entry.number} or the one before it was changed")
        digest, last = kept, entry.number
    end = head(db)
    if end.number > last:
        found.append(f"entries {last + 1} to {end.number} are missing at the end")
    elif end != Head(last, digest):
        found.append(f"the head names entry {end.number}, the last one is {last}")
    return found


def _clean(text: str) -> str:
    """What is no valid Unicode is kept as escapes: an entry is never refused for its text."""
    return text.encode("utf-8", "backslashreplace").decode()


def _values(entry: Entry) -> Sequence[int | str]:
    return tuple(getattr(entry, name) for name in Entry.__dataclass_fields__)


def _hash(before: str, entry: Entry) -> str:
    line = json.dumps(_values(entry), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(f"{before}\n{line}".encode()).hexdigest()
