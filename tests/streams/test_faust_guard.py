"""The guard and the watchdog around Faust, without Kafka: holes, repetitions, refused commits, standing still."""

import asyncio
import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from streams.broker import LeaseLost, TopicPartition
from streams.faust_app import consumer as module
from streams.faust_app.app import Intake
from streams.faust_app.consumer import ConsumerStuck, FaustConsumer
from streams.faust_app.guard import Guard, Hole
from streams.faust_app.session import Batch

A = TopicPartition("t", 0)
INTAKE = Intake("g", ("t",), 4, 0.1)


def guard(committed: int | None = None, oldest: int = 0) -> Guard:
    return Guard(lambda _: committed, lambda _: oldest)


@pytest.mark.parametrize(
    ("committed", "oldest", "batches", "fresh"),
    [
        (None, 0, [[0, 1, 2]], [[0, 1, 2]]),  # a new group
        (7, 0, [[7, 8], [9]], [[7, 8], [9]]),  # goes on where it committed
        (7, 0, [[5, 6, 7]], [[5, 6, 7]]),  # a position that lags behind: a repetition, harmless
        (0, 0, [[0, 1], [1, 2]], [[0, 1], [2]]),  # what comes twice is passed on once
        (0, 0, [[0], [0]], [[0], None]),
    ],
)
def test_what_is_new_is_passed_on_once(
    committed: int | None, oldest: int, batches: list[list[int]], fresh: list[list[int] | None]
) -> None:
    """Offsets without a hole are passed on in order, each once."""
    watched = guard(committed, oldest)
    assert [watched.check({A: batch}).get(A) for batch in batches] == fresh
    assert watched.expired == 0


@pytest.mark.parametrize(
    ("committed", "batches"),
    [
        (5, [[6]]),  # the first one after the commit is missing: Faust would commit beyond it
        (None, [[1]]),
        (0, [[0, 2]]),
        (0, [[0, 1], [3]]),
    ],
)
def test_a_hole_is_refused(committed: int | None, batches: list[list[int]]) -> None:
    """A message that was passed over is noticed, at the start of a generation as well as in between."""
    watched = guard(committed)
    for batch in batches[:-1]:
        watched.check({A: batch})
    with pytest.raises(Hole, match="came where"):
        watched.check({A: batches[-1]})


def test_what_retention_took_is_no_hole() -> None:
    """Offsets below the oldest that is kept are expired, and counted."""
    watched = guard(5, oldest=12)
    assert watched.check({A: [12, 13]}) == {A: [12, 13]}
    assert watched.expired == 7


class FakeSession:
    """Faust as a list of batches; `commits` says how each commit ends."""

    made: ClassVar[list["FakeSession"]] = []
    stops = True

    def __init__(self, *_: Any) -> None:
        self.batches: list[Batch] = []
        self.commits: list[bool] = []
        self.assigned = frozenset({A})
        self.ended = threading.Event()
        self.why = ""
        self.dropped = 0
        FakeSession.made.append(self)

    def take(self, timeout_s: float) -> Batch | None:
        return self.batches.pop(0) if self.batches else None

    def acknowledge(self, batch: Batch, timeout_s: float) -> bool:
        return self.commits.pop(0) if self.commits else True

    def drop(self, batch: Batch) -> None:
        self.dropped += 1

    def stop(self) -> bool:
        return FakeSession.stops

    def give(self, *offsets: int, generation: int = 1, of: int | None = None) -> None:
        events = [
            SimpleNamespace(
                message=SimpleNamespace(
                    topic="t",
                    partition=0,
                    offset=offset,
                    key=b"k",
                    value=b"v",
                    headers=[("h", b"1")],
                    timestamp=1.5,
                    generation_id=generation if of is None else of,
                )
            )
            for offset in offsets
        ]
        self.batches.append(Batch(events, generation, asyncio.Event()))  # type: ignore[arg-type]  # what is read of them


class FakeBroker:
    connection = None

    def __init__(self) -> None:
        self.done: dict[int, int] = {0: 0}
        self.end = 100

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        return self.done

    def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        return {0: (0, self.end)}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that stands still until it is moved; pauses move it."""
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now.s)
    monkeypatch.setattr(module.time, "sleep", lambda s: setattr(now, "s", now.s + s))
    monkeypatch.setattr(module, "Session", FakeSession)
    FakeSession.made = []
    FakeSession.stops = True
    return now


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def consumer(clock: SimpleNamespace, broker: FakeBroker) -> FaustConsumer:
    return FaustConsumer(broker, INTAKE, stall_s=12.0)  # type: ignore[arg-type]  # what is asked of it


def offsets(consumer: FaustConsumer) -> list[int]:
    return [message.offset for message in consumer.poll(4, 0.0)]


def test_a_batch_becomes_messages(consumer: FaustConsumer) -> None:
    """Key, value, headers and time arrive; the assignment tells the next offset."""
    FakeSession.made[0].give(0, 1)
    (first, second) = consumer.poll(4, 0.0)
    assert (first.key, first.value, dict(first.headers), first.timestamp_ns) == ("k", b"v", {"h": "1"}, 1_500_000_000)
    assert second.offset == 1
    consumer.commit({A: 2})
    assert consumer.assignment() == {A: 2}


def test_a_refused_commit_is_a_lost_lease(consumer: FaustConsumer) -> None:
    """The group went on without us: LeaseLost, Faust may go on, and nothing can be committed twice."""
    session = FakeSession.made[0]
    session.give(0)
    session.commits = [False]
    assert offsets(consumer) == [0]
    with pytest.raises(LeaseLost):
        consumer.commit({A: 1})
    with pytest.raises(LeaseLost):
        consumer.commit({A: 1})
    assert session.dropped == 1


def test_events_of_an_earlier_generation_are_dropped(consumer: FaustConsumer) -> None:
    """What lay in Faust's buffers across a rebalance belongs to somebody else or comes again."""
    session = FakeSession.made[0]
    session.give(3, 4, generation=2, of=1)
    assert offsets(consumer) == []
    assert session.dropped == 1
    session.give(0, 1, generation=2)
    assert offsets(consumer) == [0, 1]


def test_a_hole_begins_a_new_session(consumer: FaustConsumer) -> None:
    """A batch with a hole is not worked on: another session reads from the last commit."""
    FakeSession.made[0].give(0, 2)
    assert offsets(consumer) == []
    assert len(FakeSession.made) == 2
    FakeSession.made[1].give(0, 1, 2)
    assert offsets(consumer) == [0, 1, 2]


def test_standing_still_begins_a_new_session(consumer: FaustConsumer, clock: SimpleNamespace) -> None:
    """Messages wait, nobody commits: after `stall_s` another session begins."""
    for _ in range(4):
        clock.s += 3.0
        assert offsets(consumer) == []
    assert len(FakeSession.made) == 1
    for _ in range(2):
        clock.s += 3.0
        assert offsets(consumer) == []
    assert len(FakeSession.made) == 2


@pytest.mark.parametrize("reason", ["all is done", "others work"])
def test_rest_is_no_standing_still(
    consumer: FaustConsumer, broker: FakeBroker, clock: SimpleNamespace, reason: str
) -> None:
    """Nothing waits, or the group moves: no session is ended."""
    for step in range(20):
        broker.done = {0: broker.end} if reason == "all is done" else {0: step}
        clock.s += 3.0
        assert offsets(consumer) == []
    assert len(FakeSession.made) == 1


def test_a_session_that_ended_is_followed_by_another(consumer: FaustConsumer) -> None:
    """Faust crashed: the next poll begins anew."""
    FakeSession.made[0].ended.set()
    FakeSession.made[0].why = "Faust crashed"
    offsets(consumer)
    assert consumer.restarts == 1


def test_who_does_not_end_ends_the_process(consumer: FaustConsumer) -> None:
    """A session that cannot be stopped would hold its partitions: only a new process helps."""
    FakeSession.made[0].ended.set()
    FakeSession.stops = False
    with pytest.raises(ConsumerStuck, match="start the worker again"):
        consumer.poll(4, 0.0)


def test_beginning_anew_without_end_is_given_up(consumer: FaustConsumer) -> None:
    """Session after session that gives nothing: an error in the end, with pauses that grow, not a loop that burns."""
    for _ in range(module.TRIES):
        FakeSession.made[-1].ended.set()
        assert consumer.poll(4, 0.0) == []
    FakeSession.made[-1].ended.set()
    with pytest.raises(ConsumerStuck):
        consumer.poll(4, 0.0)
