"""What people did is kept once, in order, with who and when; what may not be done leaves nothing but its entry."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.action_store import ActionStore
from monitor.actions import COMMENT_LONGEST, SHELVE_LONGEST_S, Actions, By, Refused, Vote
from monitor.alarm_store import AlarmStore
from monitor.alarms import Update
from monitor.words import Facts
from streams.records import Alert

S = 1_000_000_000
T0 = 1_800_000_000 * S
SATO, KIM = By("sato", "operate", "10.0.0.7"), By("kim", "operate")


class Clock:
    ns = T0

    def __call__(self) -> int:
        return self.ns


def alert(name: str, machine: str = "press", **more: object) -> Update:
    values = {"alert_id": name, "machine": machine, "level": "alert", "opened_ns": T0, "updated_ns": T0, **more}
    return Update(Alert(**values), Facts("odd", T0, ("press-a",)), opened=True)  # type: ignore[arg-type]  # shorthand


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[ActionStore]:
    path = tmp_path / "alarms.sqlite"
    with AlarmStore(path, clock_ns=clock) as alarms, ActionStore(path, ("press", "fan"), clock_ns=clock) as made:
        alarms.commit(updates=[alert("a1"), alert("f1", "fan")])
        yield made


def said(store: ActionStore) -> list[tuple[str, str, str]]:
    return [(entry.action, entry.subject, entry.outcome) for entry in reversed(store.audit())]


def test_it_keeps_the_contract(store: ActionStore) -> None:
    """The store is what the page asks for."""
    actions: Actions = store
    assert actions.standing([]).shelves == {}


def test_the_first_acknowledgement_stands(store: ActionStore, clock: Clock) -> None:
    """Whoever comes second sees who was first; a second comment is an entry, a double click is nothing."""
    first = store.acknowledge("a1", SATO, "on my way")
    clock.ns += S
    assert store.acknowledge("a1", SATO, "on my way") == first
    assert store.acknowledge("a1", KIM, "me too") == first
    assert store.standing(["a1", "f1"]).acknowledged == {"a1": first}
    assert said(store) == [("acknowledge", "a1", "done")] * 2
    assert store.audit()[0].comment == "me too"
    assert store.audit()[1].address == "10.0.0.7"


@pytest.mark.parametrize(
    ("why", "wish"),
    [
        ("no_such_alert", lambda s: s.acknowledge("nothing", SATO)),
        ("no_such_alert", lambda s: s.judge("\ud800", "confirmed", SATO)),
        ("no_such_machine", lambda s: s.shelve("lathe", T0 + S, SATO)),
        ("bad_until", lambda s: s.shelve("press", T0, SATO)),
        ("bad_until", lambda s: s.shelve("press", T0 + round((SHELVE_LONGEST_S + 1) * S), SATO)),
        ("not_shelved", lambda s: s.unshelve("press", SATO)),
        ("bad_value", lambda s: s.acknowledge("a1", SATO, "x" * (COMMENT_LONGEST + 1))),
        ("bad_value", lambda s: s.acknowledge("a1", By(" "))),
        ("bad_value", lambda s: s.acknowledge("a1", By("a\x00b"))),
        ("bad_value", lambda s: s.judge("a1", "perhaps", SATO)),
        ("bad_value", lambda s: s.judge("a1", "confirmed", SATO, fault="x" * 999)),
        ("bad_value", lambda s: s.ask_rebaseline("press", SATO, " ")),
        ("bad_value", lambda s: s.vote(Vote("t", "c", "raw", "separated", "c", "sato"), SATO)),
        ("bad_value", lambda s: s.end_rebaseline(7, "done", SATO)),
    ],
)
def test_what_is_refused_leaves_only_its_entry(
    store: ActionStore, why: str, wish: Callable[[ActionStore], object]
) -> None:
    """A wish that cannot be granted says why, changes nothing and stands in the log."""
    with pytest.raises(Refused) as caught:
        wish(store)
    assert caught.value.why == why
    standing = store.standing(["a1"])
    found = [standing.acknowledged, standing.judged, standing.shelves, standing.rebaselines, store.votes()]
    assert not any(found)
    assert [outcome for _, _, outcome in said(store)] == ["refused"]
    assert store.audit_faults() == []


def test_a_shelf_ends_by_itself(store: ActionStore, clock: Clock) -> None:
    """A shelf holds until its end and not a moment longer; a new one takes the place of the old."""
    store.shelve("press", T0 + 60 * S, SATO, "valve works")
    clock.ns += 30 * S
    shelf = store.shelve("press", T0 + 90 * S, KIM)
    assert store.shelve("press", T0 + 90 * S, KIM) == shelf
    clock.ns = T0 + 90 * S - 1
    assert store.standing([]).shelves == {"press": shelf}
    clock.ns += 1
    assert store.standing([]).shelves == {}
    with pytest.raises(Refused, match="not shelved"):
        store.unshelve("press", KIM)
    assert said(store)[:2] == [("shelve", "press", "done")] * 2


def test_unshelved_by_hand(store: ActionStore) -> None:
    """Whoever ends a shelf is in the log, and the machine is no longer shelved."""
    store.shelve("press", T0 + 60 * S, SATO)
    store.unshelve("press", KIM, "done early")
    assert store.standing([]).shelves == {}
    assert (store.audit()[0].who, store.audit()[0].comment) == ("kim", "done early")


def test_the_newest_judgement_stands(store: ActionStore, clock: Clock) -> None:
    """An alarm that was confirmed may turn out to be none; both stand in the log, the newer one counts."""
    store.judge("a1", "confirmed", SATO, fault="bearing")
    clock.ns += S
    newest = store.judge("a1", "rejected", KIM, comment="only the radio")
    assert store.judge("a1", "rejected", KIM, comment="only the radio") == newest
    assert store.standing(["a1"]).judged == {"a1": newest}
    assert len(store.audit()) == 2


def test_one_request_per_machine_is_open(store: ActionStore) -> None:
    """A second request for a new normal returns the first, until somebody has dealt with it."""
    first = store.ask_rebaseline("press", SATO, "new die")
    assert store.ask_rebaseline("press", KIM, "also new oil") == first
    assert store.standing([]).rebaselines == {"press": first}
    store.end_rebaseline(first.number, "done", KIM)
    assert store.standing([]).rebaselines == {}
    assert store.ask_rebaseline("press", KIM, "again").number != first.number


def test_a_vote_replaces_the_one_before(store: ActionStore) -> None:
    """One person has one vote in a trial, under the name of the log-in."""
    for choice in ("a", "b"):
        store.vote(Vote("t1", "c1", "raw", "separated", choice, "somebody else"), SATO)  # type: ignore[arg-type]
    store.vote(Vote("t1", "c1", "separated", "raw", "same", "kim"), KIM)
    assert [(vote.who, vote.preferred) for vote in sorted(store.votes(), key=lambda one: one.who)] == [
        ("kim", ""),
        ("sato", "separated"),
    ]


def test_many_threads_write_one_chain(store: ActionStore) -> None:
    """Entries of many threads, of any text, come one after the other and the chain holds."""

    def write(number: int) -> None:
        for turn in range(20):
            store.note("log-in", f"{number}-{turn}\ud800" * 50, "done", By("x" * 500, "none"), "警報 \x00")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.number for entry in store.audit(limit=1000)] == list(range(80, 0, -1))
    assert [entry.number for entry in store.audit(limit=3, before=11)] == [10, 9, 8]
    assert store.audit_faults() == []


def tamper(path: Path, *statements: str) -> None:
    db = sqlite3.connect(path)
    for statement in ("DROP TRIGGER audit_is_never_changed", "DROP TRIGGER audit_is_never_cut", *statements):
        db.execute(statement)
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit SET who = 'nobody' WHERE number = 2", "entry 2 or the one before it was changed"),
        ("DELETE FROM audit WHERE number = 2", "entries 2 to 2 are missing"),
        ("DELETE FROM audit WHERE number > 3", "entries 4 to 5 are missing at the end"),
        ("DELETE FROM audit_head", "the head names entry 0, the last one is 5"),
    ],
)
def test_tampering_shows(store: ActionStore, statement: str, fault: str) -> None:
    """Whatever is changed or lost in the log is named; the tables refuse it besides."""
    for number in range(5):
        store.note("log-in", str(number), "done", SATO)
    with pytest.raises(sqlite3.IntegrityError, match="only grows"):
        store._db.execute(statement if "audit_head" not in statement else "DELETE FROM audit")
    tamper(store.path, statement)
    assert fault in store.audit_faults()
