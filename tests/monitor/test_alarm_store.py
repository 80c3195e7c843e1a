"""What is stored is stored together, and what is announced is announced at least once under one id."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from monitor.alarm_store import AlarmStore, ClipRequest
from monitor.alarms import Update
from monitor.announce import Publisher, Webhook
from monitor.errors import WorkFailed
from monitor.words import Facts
from streams.broker import BrokerError, StorageFull, TopicPartition
from streams.records import Alert

ZERO = TopicPartition("audio.scores", 0)


def update(number: int = 1, *, closed_ns: int = 0) -> Update:
    name = f"{number:016x}"
    return Update(
        Alert(name, "press", "alert", number * 100, number * 100 + 1, closed_ns, 2.5, ("a",), "odd"),
        Facts("odd", number * 100, ("a",), mic="a", band_hz=(100.0, 200.0), band_db=3.0, odd=3, looks=4),
    )


CLIP = ClipRequest(f"{1:016x}-00000000", f"{1:016x}", "a", 0, 100)


@pytest.fixture
def store(tmp_path: Path):  # noqa: ANN201 - a fixture that closes what it made
    with AlarmStore(tmp_path / "alarms.sqlite") as made:
        yield made


class Broken(Exception):
    pass


def test_everything_comes_back(tmp_path: Path, store: AlarmStore) -> None:
    """State, alerts, offsets and requests are there after the file is opened again."""
    store.commit(states={"press": {"v": 1}}, updates=[update()], offsets={ZERO: 7}, clips=[CLIP])
    store.close()
    with AlarmStore(tmp_path / "alarms.sqlite") as again:
        assert again.states() == {"press": {"v": 1}}
        assert again.offsets("audio.scores") == {0: 7}
        assert again.alerts() == [update()]
        assert again.clip_requests() == [CLIP]
        assert [one.update for one in again.pending("broker")] == [update()]


def test_a_batch_is_stored_wholly_or_not_at_all(tmp_path: Path) -> None:
    """A crash inside the transaction leaves nothing of it behind."""

    def at(point: str) -> None:
        if point == "commit.inside":
            raise Broken

    with AlarmStore(tmp_path / "alarms.sqlite", at=at) as store, pytest.raises(Broken):
        store.commit(states={"press": {"v": 1}}, updates=[update()], offsets={ZERO: 7}, clips=[CLIP])
    with AlarmStore(tmp_path / "alarms.sqlite") as again:
        assert (again.states(), again.offsets("audio.scores"), again.alerts(), again.clip_requests()) == (
            {},
            {},
            [],
            [],
        )


def test_it_is_durable_before_it_returns(store: AlarmStore) -> None:
    """The file is written ahead and synced in full: a commit survives the loss of power."""
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_open_alerts_come_first(store: AlarmStore) -> None:
    """The history shows what is open, then the newest."""
    store.commit(updates=[update(1), update(2, closed_ns=9), update(3, closed_ns=9)])
    assert [one.alert.opened_ns for one in store.alerts()] == [100, 300, 200]
    store.commit(updates=[update(1, closed_ns=9)])
    assert [one.alert.opened_ns for one in store.alerts(2)] == [300, 200]


def test_a_written_clip_is_announced_and_kept_by_later_updates(store: AlarmStore) -> None:
    """The alert gets its clip in an update of its own, and an update from before does not take it away."""
    store.commit(updates=[update()], clips=[CLIP])
    store.clip_done(CLIP, "written")
    store.commit(updates=[update(closed_ns=9)])
    assert [one.alert.clip for one in store.pending("broker")] == ["", CLIP.clip_id, CLIP.clip_id]
    assert store.clip_requests() == []
    assert store.alerts()[0].alert.clip == CLIP.clip_id


def test_a_clip_without_sound_changes_no_alert(store: AlarmStore) -> None:
    """Where the ring had nothing, the request is settled and nothing is announced."""
    store.commit(updates=[update()], clips=[CLIP])
    store.clip_done(CLIP, "no_sound")
    assert store.clip_requests() == []
    assert len(store.pending("broker")) == 1


def test_only_one_monitor_owns_the_store(tmp_path: Path, store: AlarmStore) -> None:
    """A second monitor of the same line is refused; readers are not."""
    store.own()
    with AlarmStore(tmp_path / "alarms.sqlite") as other:
        assert other.offsets("audio.scores") == {}
        with pytest.raises(WorkFailed, match="another monitor"):
            other.own()
    store.close()
    with AlarmStore(tmp_path / "alarms.sqlite") as other:
        other.own()


def test_another_version_is_refused(tmp_path: Path, store: AlarmStore) -> None:
    """A file that another version wrote is left alone, with a word on what to do."""
    store.close()
    raw = sqlite3.connect(tmp_path / "alarms.sqlite")
    raw.execute("PRAGMA user_version=99")
    raw.close()
    with pytest.raises(WorkFailed, match="version 99"):
        AlarmStore(tmp_path / "alarms.sqlite")


def test_a_full_disk_is_said_and_loses_nothing(store: AlarmStore) -> None:
    """When the file cannot grow, StorageFull is raised, nothing is stored, and it works again with room."""
    store._db.execute("PRAGMA max_page_count=20")
    with pytest.raises(StorageFull, match="free some disk space"):
        store.commit(states={"press": {"v": "x" * 1_000_000}}, offsets={ZERO: 7})
    assert store.offsets("audio.scores") == {}
    store._db.execute("PRAGMA max_page_count=100000")
    store.commit(states={"press": {"v": "x" * 1_000_000}}, offsets={ZERO: 7})
    assert store.offsets("audio.scores") == {0: 7}


class FakeProducer:
    """A producer that keeps what it cannot flush, as the contract has it."""

    def __init__(self) -> None:
        self.held: list[bytes] = []
        self.flushed: list[bytes] = []
        self.full = False

    def send(self, topic: str, key: str, value: bytes, headers: object = None) -> None:
        assert (topic, key) == ("audio.alerts", "press")
        self.held.append(value)

    def flush(self) -> None:
        if self.full:
            raise StorageFull("full")
        self.flushed += self.held
        self.held.clear()

    def close(self) -> None:
        self.flush()


def test_publishing_marks_only_what_was_flushed(store: AlarmStore) -> None:
    """While the broker is full the outbox waits, and afterwards each update is sent once."""
    producer = FakeProducer()
    publisher = Publisher(store, producer)
    store.commit(updates=[update(1), update(2)])
    producer.full = True
    for _ in range(3):
        with pytest.raises(BrokerError):
            publisher.publish()
    assert len(store.pending("broker")) == 2
    producer.full = False
    assert publisher.publish() == 2
    assert publisher.publish() == 0
    assert [json.loads(value)["alert_id"] for value in producer.flushed] == [f"{1:016x}", f"{2:016x}"]


def test_the_webhook_tries_again_with_the_same_id(store: AlarmStore) -> None:
    """A receiver that is down is asked again later and later, and gets each update with its id."""
    store.commit(updates=[update(1), update(2)], webhook=True)
    answers, bodies, times = [OSError("refused"), 503, 200, 200], [], []

    def post(body: bytes) -> int:
        bodies.append(json.loads(body)["alert_id"])
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    webhook = Webhook(store, post)
    for second in range(10):
        before = len(bodies)
        webhook.send(float(second))
        times += [second] * (len(bodies) - before)
    assert bodies == [f"{1:016x}", f"{1:016x}", f"{1:016x}", f"{2:016x}"]
    assert times == [0, 1, 6, 6]
    assert webhook.failures == 2
    assert store.pending("webhook") == []
    assert len(store.pending("broker")) == 2


def test_a_refused_update_does_not_hold_up_the_others(store: AlarmStore) -> None:
    """A receiver that dislikes one update still gets the next."""
    store.commit(updates=[update(1), update(2)], webhook=True)
    got = []

    def post(body: bytes) -> int:
        name = json.loads(body)["alert_id"]
        got.append(name)
        return 400 if name == f"{1:016x}" else 200

    Webhook(store, post).send(0.0)
    assert got == [f"{1:016x}", f"{2:016x}"]
    assert [one.alert.alert_id for one in store.pending("webhook")] == [f"{1:016x}"]


def test_the_outbox_empties(store: AlarmStore) -> None:
    """What was announced everywhere leaves the outbox; without a webhook the broker is everywhere."""
    store.commit(updates=[update(1)], webhook=True)
    store.commit(updates=[update(2)])
    store.sent("broker", [one.number for one in store.pending("broker")])
    assert [one.alert.opened_ns for one in store.pending("webhook")] == [100]
    store.sent("webhook", [one.number for one in store.pending("webhook")])
    assert store._db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
