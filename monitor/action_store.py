"""What people did about alarms, on disk: acknowledgements, shelves, judgements, votes, and the audit log.

It implements `monitor.actions.Actions` in the file of the alarms (`alarm_schema`). Every write and its audit entry
are one transaction with `synchronous=FULL`: after `kill -9` at any point both are there or neither
(tests/monitor/test_action_store_kill.py). Shelves follow the clock on the wall, because people set their end by it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, get_args

from monitor import audit
from monitor.actions import (
    COMMENT_LONGEST,
    SHELVE_LONGEST_S,
    WHO_LONGEST,
    Acknowledgement,
    By,
    Choice,
    Entry,
    Flood,
    Judgement,
    Outcome,
    RebaselineRequest,
    RebaselineState,
    Refused,
    Shelf,
    Standing,
    Verdict,
    Vote,
)
from monitor.alarm_schema import open_db, transaction
from monitor.alarm_store import Point, floods_of, nothing
from monitor.refusals import WHY_LONGEST, Refusal, Refusals
from streams.broker import StorageFull

CHUNK = 500  # alert ids in one query
NAME_LONGEST = 200  # of a fault, a clip, a trial, a subject


class ActionStore:
    """The file at `path`; `machines` are those of the line. Every method may be called from any thread.

    `clock_ns` is UTC; `at` is called with the name of each point at which a crash matters.
    """

    def __init__(
        self,
        path: Path,
        machines: Collection[str],
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        at: Point = nothing,
    ) -> None:
        self.path = path
        self._machines = frozenset(machines)
        self.clock_ns, self._at = clock_ns, at
        self._lock = threading.Lock()
        self._refusals = Refusals()
        self._db = open_db(path, any_thread=True)

    def acknowledge(self, alert_id: str, by: By, comment: str = "") -> Acknowledgement:
        """Note that somebody has seen the alarm; a second time returns what stands, and a comment is kept."""
        with self._write("acknowledge", alert_id, by, comment=comment) as write:
            write.require_alert(alert_id)
            standing = self._acknowledged([alert_id]).get(alert_id)
            if standing is None:
                standing = Acknowledgement(alert_id, by.who, write.now_ns, comment)
                write.insert("acknowledgements", standing)
            elif not comment or (by.who, comment) == (standing.who, standing.comment):
                write.again = True
        return standing

    def shelve(self, machine: str, until_ns: int, by: By, comment: str = "") -> Shelf:
        """Silence a machine until then, in place of any shelf before."""
        with self._write("shelve", machine, by, comment=comment, detail=f"until_ns={until_ns}") as write:
            write.require_machine(machine)
            longest_ns = write.now_ns + round(SHELVE_LONGEST_S * 1e9)
            write.require(
                write.now_ns < until_ns <= longest_ns,
                "bad_until",
                f"until_ns is {until_ns}, allowed is after now ({write.now_ns}) and at most {longest_ns}",
            )
            before = self._shelves(write.now_ns).get(machine)
            shelf = Shelf(machine, by.who, write.now_ns, until_ns, comment)
            if before and (before.who, before.until_ns, before.comment) == (by.who, until_ns, comment):
                write.again, shelf = True, before
            else:
                since_ns = self._since_ns(machine) if before else write.now_ns
                write.insert("shelves", shelf, since_ns)
        return shelf

    def unshelve(self, machine: str, by: By, comment: str = "") -> None:
        """End the shelf of a machine now; what is open there is announced by the monitor."""
        with self._write("unshelve", machine, by, comment=comment) as write:
            write.require_machine(machine)
            there = machine in self._shelves(write.now_ns)
            write.require(there, "not_shelved", f"{machine} is not shelved: there is nothing to end")
            self._db.execute("DELETE FROM shelves WHERE machine = ?", (machine,))

    def judge(self, alert_id: str, verdict: Verdict, by: By, fault: str = "", comment: str = "") -> Judgement:
        """Confirm or reject an alarm as a fault; the newest judgement stands."""
        detail = f"{verdict}{f' fault={fault}' if fault else ''}"
        with self._write("judge", alert_id, by, comment=comment, detail=detail) as write:
            write.require_alert(alert_id)
            allowed = ", ".join(get_args(Verdict))
            write.require(verdict in get_args(Verdict), "bad_value", f"verdict is {verdict!r}, allowed is {allowed}")
            write.require_text("fault", fault, NAME_LONGEST)
            before = self._judged([alert_id]).get(alert_id)
            judgement = Judgement(alert_id, verdict, by.who, write.now_ns, fault, comment)
            if before and (before.verdict, before.who, before.fault, before.comment) == (
                verdict,
                by.who,
                fault,
                comment,
            ):
                write.again = True
                return before
            row = (alert_id, verdict, by.who, write.now_ns, fault, comment)
            self._db.execute("INSERT OR REPLACE INTO judgements VALUES (?, ?, ?, ?, ?, ?)", row)
        return judgement

    def ask_rebaseline(self, machine: str, by: By, why: str) -> RebaselineRequest:
        """Ask that this be the new normal; an open request of the machine is returned as it stands."""
        with self._write("ask_rebaseline", machine, by, comment=why) as write:
            write.require_machine(machine)
            write.require(bool(why.strip()), "bad_value", "why is empty: say what changed on the machine")
            standing = self._rebaselines().get(machine)
            if standing is not None:
                write.again = True
                return standing
            cursor = self._db.execute(
                "INSERT INTO rebaselines (machine, who, at_ns, why, state) VALUES (?, ?, ?, ?, 'asked')",
                (machine, by.who, write.now_ns, why),
            )
            return RebaselineRequest(int(cursor.lastrowid or 0), machine, by.who, write.now_ns, why)

    def end_rebaseline(self, number: int, state: RebaselineState, by: By, comment: str = "") -> None:
        """Note what became of a request: done or refused."""
        with self._write("end_rebaseline", str(number), by, comment=comment, detail=state) as write:
            query = "UPDATE rebaselines SET state = ? WHERE number = ? AND state = 'asked'"
            changed = self._db.execute(query, (state, number)).rowcount
            write.require(changed > 0, "bad_value", f"request {number} is not open: see which ones are")

    def vote(self, vote: Vote, by: By) -> Vote:
        """Keep one vote of the listening test; the same trial and person again replaces the vote."""
        with self._write("vote", vote.trial, by, detail=vote.choice) as write:
            write.require(vote.choice in get_args(Choice), "bad_value", f"choice is {vote.choice!r}: a, b or same")
            for name in ("trial", "clip", "a", "b"):
                write.require_text(name, getattr(vote, name), NAME_LONGEST)
            kept = Vote(vote.trial, vote.clip, vote.a, vote.b, vote.choice, by.who, write.now_ns)
            write.insert("votes", kept)
        return kept

    def note(self, action: str, subject: str, outcome: Outcome, by: By, comment: str = "") -> None:
        """Write an audit entry for what the page did or denied itself; many denials become one (`refusals`)."""
        cut = By(by.who[:WHO_LONGEST], by.role, by.address)  # a wrong name at log-in may be any text
        subject = subject[:NAME_LONGEST]
        one = Refusal(cut, action, subject, outcome, subject[:WHY_LONGEST], comment[:COMMENT_LONGEST])
        with self._lock:
            now_ns = self.clock_ns()
            self._log(now_ns, [one] if outcome == "done" else self._refusals.take(now_ns, one))

    def tell_counted(self, *, over: bool = False) -> None:
        """Write the entries of refusals that were counted and are due; with `over`, all of them."""
        with self._lock:
            now_ns = self.clock_ns()
            self._log(now_ns, self._refusals.due(now_ns, over=over))

    def _log(self, now_ns: int, found: Sequence[Refusal]) -> None:
        if found:
            with transaction(self._db, self.path):
                for one in found:
                    audit.append(self._db, now_ns, one.by, one.action, one.subject, one.outcome, one.comment)

    def standing(self, alert_ids: Collection[str]) -> Standing:
        """What holds now for these alerts, and for all machines."""
        with self._lock:
            return Standing(
                acknowledged=self._acknowledged(alert_ids),
                judged=self._judged(alert_ids),
                shelves=self._shelves(self.clock_ns()),
                rebaselines=self._rebaselines(),
                floods=[Flood(*row) for row in floods_of(self._db)],
            )

    def votes(self) -> list[Vote]:
        """All votes, oldest first."""
        query = "SELECT trial, clip, a, b, choice, who, at_ns FROM votes ORDER BY at_ns, trial"
        with self._lock:
            return [Vote(*row) for row in self._db.execute(query)]

    def audit(self, limit: int = 100, before: int | None = None) -> list[Entry]:
        """The newest entries first; `before` is an entry number, for the next page of the log."""
        with self._lock:
            return audit.entries(self._db, limit, before)

    def audit_faults(self) -> list[str]:
        """What is wrong with the chain of the audit log, in words; nothing where it is whole."""
        with self._lock:
            return audit.faults(self._db)

    def _acknowledged(self, alert_ids: Collection[str]) -> Mapping[str, Acknowledgement]:
        query = "SELECT alert_id, who, at_ns, comment FROM acknowledgements"
        return {row[0]: Acknowledgement(*row) for row in self._of(query, alert_ids)}

    def _judged(self, alert_ids: Collection[str]) -> Mapping[str, Judgement]:
        query = "SELECT alert_id, verdict, who, at_ns, fault, comment FROM judgements"
        return {row[0]: Judgement(*row) for row in self._of(query, alert_ids)}

    def _of(self, query: str, alert_ids: Collection[str]) -> Iterator[tuple[Any, ...]]:
        asked = sorted(set(alert_ids))
        for start in range(0, len(asked), CHUNK):
            chunk = asked[start : start + CHUNK]
            yield from self._db.execute(f"{query} WHERE alert_id IN ({','.join('?' * len(chunk))})", chunk)

    def _shelves(self, now_ns: int) -> Mapping[str, Shelf]:
        query = "SELECT machine, who, at_ns, until_ns, comment FROM shelves WHERE until_ns > ?"
        return {row[0]: Shelf(*row) for row in self._db.execute(query, (now_ns,))}

    def _since_ns(self, machine: str) -> int:
        row = self._db.execute("SELECT since_ns FROM shelves WHERE machine = ?", (machine,)).fetchone()
        return int(row[0])

    def _rebaselines(self) -> Mapping[str, RebaselineRequest]:
        query = "SELECT number, machine, who, at_ns, why, state FROM rebaselines WHERE state = 'asked' ORDER BY number"
        return {row[1]: RebaselineRequest(*row) for row in self._db.execute(query)}

    @contextmanager
    def _write(self, action: str, subject: str, by: By, *, comment: str = "", detail: str = "") -> Iterator[_Write]:
        """One transaction with its audit entry; a refusal leaves nothing but its entry."""
        with self._lock:
            write = _Write(self._db, self._machines, self.clock_ns())
            said = f"{detail} {comment}".strip()
            try:
                with transaction(self._db, self.path):
                    write.require_text("who", by.who, WHO_LONGEST, least=1)
                    write.require_text("comment", comment, COMMENT_LONGEST)
                    self._at(f"{action}.before")
                    yield write
                    if not write.again:
                        audit.append(self._db, write.now_ns, by, action, subject, "done", said)
                    self._at(f"{action}.inside")
            except Refused as error:
                who = By(by.who[:WHO_LONGEST], by.role, by.address)
                text = f"{error.why}: {said}"[: 2 * COMMENT_LONGEST]
                one = Refusal(who, action, subject[:NAME_LONGEST], "refused", f"{action} {error.why}", text)
                self._log(write.now_ns, self._refusals.take(write.now_ns, one))
                raise
            self._at(f"{action}.after")

    def close(self) -> None:
        """Write what was counted, and let go of the file."""
        with suppress(StorageFull):
            self.tell_counted(over=True)
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Write:
    """One wish being granted: what it may ask, and whether it only repeats what stands (`again`: no entry)."""

    def __init__(self, db: sqlite3.Connection, machines: frozenset[str], now_ns: int) -> None:
        self._db, self._machines, self.now_ns = db, machines, now_ns
        self.again = False

    def require(self, condition: object, why: str, text: str) -> None:
        if not condition:
            raise Refused(why, text)

    def require_text(self, name: str, value: str, longest: int, least: int = 0) -> None:
        plain = all(one.isprintable() or (one in "\r\n\t" and name == "comment") for one in value)
        self.require(
            least <= len(value.strip()) and len(value) <= longest and plain,
            "bad_value",
            f"{name} has {len(value)} characters, allowed are {least} to {longest} that can be printed",
        )

    def require_machine(self, machine: str) -> None:
        known = ", ".join(sorted(self._machines))
        self.require(machine in self._machines, "no_such_machine", f"{machine!r} is not of this line: it has {known}")

    def require_alert(self, alert_id: str) -> None:
        query = "SELECT 1 FROM alerts WHERE alert_id = ?"
        found = alert_id.isascii() and self._db.execute(query, (alert_id,)).fetchone()
        self.require(found, "no_such_alert", f"there is no alert {alert_id[:40]!r}")

    def insert(self, table: str, record: object, *more: int) -> None:
        """Put a record into the table whose columns have its fields' names and order."""
        values = [getattr(record, name) for name in record.__dataclass_fields__]  # type: ignore[attr-defined]  # it is one
        marks = ",".join("?" * (len(values) + len(more)))
        self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", (*values, *more))  # noqa: S608 - constants
