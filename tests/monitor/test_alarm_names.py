"""The name of a fault is in its alert: on the topic, on the board and in the reason, in both languages, for good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchline import Clock, make_line, open_line_broker, score, send, window

from monitor.alarm_store import AlarmStore
from monitor.alarms import Update
from monitor.announce import webhook_body
from monitor.fault_names import read_names
from monitor.rounds import Monitor
from monitor.settings import Line
from monitor.words import Facts, reason, resembling
from streams import codec
from streams.broker import Message, TopicPartition
from streams.records import TOPIC_ALERTS, Alert

NAMES = (("outer_race", 0.62), ("leak", 0.2))
TOLD = "; resembles: outer race of a bearing 62%, leak 20%"
TOLD_JA = "。似ている故障：軸受外輪の傷 62%、空気・流体の漏れ 20%"
ID = f"{1:016x}"


def update(*, closed_ns: int = 0, peak: float = 2.5) -> Update:
    alert = Alert(ID, "press", "alert", 100, 101, closed_ns, peak, ("a",), "odd" if not closed_ns else "odd; over")
    return Update(alert, Facts("odd", 100, ("a",), mic="a", closed_ns=closed_ns))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AlarmStore]:
    with AlarmStore(tmp_path / "alarms.sqlite") as made:
        yield made


def test_a_named_alert_is_told_once_under_its_id(store: AlarmStore) -> None:
    """The record gains the names and their shares, the reason says them; a second naming changes nothing."""
    store.commit(updates=[update()])
    store.named(ID, NAMES)
    store.named(ID, (("ball", 0.9),))
    first, second = (one.alert for one in store.pending("broker"))
    assert (first.faults, first.reason) == ({}, "odd")
    assert (second.alert_id, second.faults, second.reason) == (ID, dict(NAMES), "odd" + TOLD)
    store.named("f" * 16, NAMES)
    assert len(store.pending("broker")) == 2


def test_later_updates_keep_the_names(store: AlarmStore) -> None:
    """The alarm logic does not know them: worse, or closed, the alert goes on saying what it resembles."""
    store.lang = "ja"
    store.commit(updates=[update()])
    store.named(ID, NAMES)
    store.commit(updates=[update(peak=9.0)])
    store.commit(updates=[update(closed_ns=500)])
    kept = store.alert(ID)
    assert kept is not None
    assert (kept.alert.faults, kept.alert.closed_ns) == (dict(NAMES), 500)
    assert kept.alert.reason == "odd; over" + TOLD_JA
    assert kept.facts.named == NAMES
    assert [one.alert.faults for one in store.pending("broker")][1:] == [dict(NAMES)] * 3


def test_the_wire_is_extended_and_not_broken(store: AlarmStore) -> None:
    """Names travel to the topic and the webhook; an alert of before, without the field, is still read."""
    store.commit(updates=[update()])
    store.named(ID, NAMES)
    alert = store.pending("broker")[-1].alert
    body = webhook_body(alert)
    assert json.loads(body)["faults"] == dict(NAMES)
    message = Message(TOPIC_ALERTS, 0, 0, "press", body, {})
    assert codec.decode_alert(message) == alert
    old = {key: value for key, value in json.loads(body).items() if key != "faults"}
    before = codec.decode_alert(Message(TOPIC_ALERTS, 0, 0, "press", json.dumps(old).encode(), {}))
    assert before.faults == {}


def test_both_languages_say_it() -> None:
    """Likeliest first with its share; unclear where none is likely; names of staff as they wrote them."""
    assert resembling(NAMES, "en") == TOLD
    assert resembling(NAMES, "ja") == TOLD_JA
    assert resembling((), "en") == ""
    assert "unclear" in resembling((("ball", 0.3), ("leak", 0.25)), "en")
    assert "Bolt M12 55%" in resembling((("Bolt M12", 0.55),), "ja")
    facts = Facts("odd", 100, ("a",), mic="a", named=NAMES)
    assert reason(facts, "Press", "en", "UTC").endswith(TOLD)
    assert Facts.of(json.loads(json.dumps(facts.plain()))) == facts


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"guesses": 3}', '{"guesses": [["ball", NaN]]}', '{"guesses": [["ball", 7]]}']
)
def test_nonsense_names_nothing(tmp_path: Path, text: str) -> None:
    """A file that is half written, or damaged, is no name."""
    (tmp_path / "naming.json").write_text(text, encoding="utf-8")
    assert read_names(tmp_path) == ()
    assert read_names(tmp_path / "nowhere") == ()


def told(line: Line) -> list[Alert]:
    broker = open_line_broker(line)
    try:
        parts = broker.bounds(TOPIC_ALERTS)
        messages = [one for part in parts for one in broker.read(TopicPartition(TOPIC_ALERTS, part), 0, 999)]
    finally:
        broker.close()
    return [codec.decode_alert(message) for message in messages]


def test_the_monitor_takes_the_name_from_the_clip(tmp_path: Path) -> None:
    """Once the clip was looked into, the running alarm says what it resembles: on the topic and on the board."""
    line, clock = make_line(tmp_path), Clock()
    broker = open_line_broker(line)
    with AlarmStore(line.site.data / "alarms.sqlite") as store:
        monitor = Monitor(line, broker, store, clock_ns=clock.now_ns, steady_s=clock.steady_s)
        monitor.tick(0.0)
        send(broker, [window("press-a", index) for index in range(40)])
        send(broker, [score("press-a", index, 4.0) for index in range(40)])
        for _ in range(3):
            clock.forward(3.0)
            monitor.tick(0.0)
        (open_,) = [one for one in monitor.board["alerts"] if one["level"] == "alert"]
        assert (open_["faults"], bool(open_["clip"])) == ({}, True)
        folder = monitor.evidence.shown / open_["clip"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "naming.json").write_text(json.dumps({"departure": [], "guesses": NAMES}), encoding="utf-8")
        for _ in range(3):
            clock.forward(3.0)
            monitor.tick(0.0)
        (named,) = [one for one in monitor.board["alerts"] if one["level"] == "alert"]
        assert named["faults"] == dict(NAMES)
        assert named["facts"]["named"] == NAMES
        assert named["reason"].endswith(resembling(NAMES, line.site.lang))
        monitor.finish()
    broker.close()
    last = [alert for alert in told(line) if alert.level == "alert"][-1]
    assert (last.alert_id, last.faults) == (named["alert_id"], dict(NAMES))
