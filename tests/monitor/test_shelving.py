"""A shelved machine is scored, shown and calls nobody; the shelf survives a restart, ends by itself, is on record."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_watch import Desk
from watchline import S, make_line

from monitor.action_store import ActionStore
from monitor.actions import By
from monitor.alarm_schema import open_db
from monitor.alarm_store import AlarmStore
from monitor.errors import WorkFailed

SATO = By("sato")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(make_line(tmp_path, machines={"press": ("press-a",)}, alarms={"webhook": "http://127.0.0.1:9/"}))
    yield made
    made.close()


@pytest.fixture
def actions(desk: Desk) -> Iterator[ActionStore]:
    with ActionStore(desk.store.path, ("press", "fan"), clock_ns=desk.clock.now_ns) as made:
        desk.store._clock_ns = desk.clock.now_ns
        yield made


def waiting(desk: Desk) -> list[tuple[str, bool]]:
    odd = [one.alert for one in desk.store.pending("webhook") if one.alert.level != "unknown"]
    return [(alert.machine, bool(alert.closed_ns)) for alert in odd]


def test_a_shelved_machine_calls_nobody_until_the_shelf_ends(desk: Desk, actions: ActionStore) -> None:
    """Its alarm opens, is stored and shown; nothing goes out before the end, then what is open does, once."""
    actions.shelve("press", desk.clock.ns + 100 * S, SATO)
    desk.hear("press-a", 0, 40, value=4.0)
    board = desk.rounds()
    assert next(one for one in board["machines"] if one["id"] == "press")["state"] == "alert"
    assert [one["machine"] for one in board["alerts"]] == ["press"]
    assert desk.value("alarm_level", machine="press") == 1
    assert desk.value("shelved", machine="press") == 1
    assert desk.told() == []
    desk.restart()
    assert desk.told() == []
    assert actions.standing([]).shelves["press"].who == "sato"
    desk.clock.forward(100.0)
    desk.rounds()
    assert len(desk.told()) == 1
    assert waiting(desk) == [("press", False)]
    assert desk.value("shelved", machine="press") == 0
    assert [(one.action, one.who) for one in actions.audit()] == [("shelf_ended", "factory-ear"), ("shelve", "sato")]
    desk.rounds()
    assert len(desk.told()) == 1


def test_what_was_announced_open_is_announced_closed(desk: Desk, actions: ActionStore) -> None:
    """Whoever was called before the shelf hears that it is over; what opens and closes on the shelf, nobody."""
    desk.hear("press-a", 0, 40, value=4.0)
    desk.rounds()
    before = len(desk.told())
    actions.shelve("press", desk.clock.ns + 10_000 * S, SATO)
    desk.hear("press-a", 40, 80)
    desk.rounds()
    assert [bool(one.closed_ns) for one in desk.told()[before:]] == [True]
    desk.hear("press-a", 80, 120, value=4.0)
    desk.hear("press-a", 120, 160)
    desk.rounds()
    assert len(desk.told()) == before + 1
    assert len(desk.store.alerts()) == 2
    actions.unshelve("press", SATO)
    desk.rounds()
    assert len(desk.told()) == before + 1


def test_the_acknowledgement_survives_a_restart(desk: Desk, actions: ActionStore) -> None:
    """Who has seen an alarm is known after the monitor was started anew."""
    desk.hear("press-a", 0, 40, value=4.0)
    desk.rounds()
    alert_id = desk.told()[0].alert_id
    actions.acknowledge(alert_id, SATO)
    desk.restart()
    desk.rounds()
    assert actions.standing([alert_id]).acknowledged[alert_id].who == "sato"


def test_a_file_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    """Alarms from before there were actions are kept and count as announced; a newer file is refused."""
    from monitor.alarm_schema import _ALARMS, _statements

    path = tmp_path / "alarms.sqlite"
    old = sqlite3.connect(path)
    for statement in _statements(_ALARMS):
        old.execute(statement)
    old.execute("INSERT INTO alerts VALUES ('a', 'press', 1, 0, '{}')")
    old.execute("PRAGMA user_version=1")
    old.commit()
    old.close()
    db = open_db(path)
    assert db.execute("SELECT alert_id, wanted, reached FROM alerts").fetchall() == [("a", 2, 2)]
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(WorkFailed, match=r"version 99.*allowed is 2"):
        AlarmStore(path)
