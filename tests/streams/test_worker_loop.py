"""The worker: poll, process, write, flush, commit, and what it does when one of them fails."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from broker_contract import fill
from embedded_place import EmbeddedPlace

from streams import codec, worker
from streams.broker import (
    MAX_MESSAGE_BYTES,
    Broker,
    BrokerError,
    LeaseLost,
    Message,
    StorageFull,
    TopicPartition,
    TopicSpec,
    partition_of,
)
from streams.dead import DeadLetter
from streams.records import TOPIC_DEAD
from streams.worker import BatchLimits, Outgoing, WorkerTotals, run_worker

SOUND, RESULT = "sound", "result"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[EmbeddedPlace]:
    place = EmbeddedPlace(tmp_path / "broker")
    place.open().ensure_topics([TopicSpec(SOUND, 4), TopicSpec(RESULT, 1), TopicSpec(TOPIC_DEAD, 1)])
    yield place
    place.close()


class Echo:
    """Answers each message with its own value; `trouble` may raise for a batch."""

    def __init__(self, trouble: Callable[[Sequence[Message]], None] = lambda _: None) -> None:
        self.trouble = trouble
        self.batches: list[list[str]] = []
        self.told: list[dict[TopicPartition, int]] = []

    def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self.told.append(dict(partitions))

    def process(self, messages: Sequence[Message]) -> list[Outgoing]:
        self.trouble(messages)
        self.batches.append([message.value.decode() for message in messages])
        return [Outgoing(RESULT, message.key, message.value) for message in messages]


def work(
    place: EmbeddedPlace,
    processor: Echo,
    *,
    broker: Broker | None = None,
    limits: BatchLimits | None = None,
    seconds: float = 20.0,
    **options: object,
) -> WorkerTotals:
    """Run a worker for some seconds of the place's time."""
    end_s = place.now_s() + seconds
    return run_worker(
        broker or place.open(),
        "g",
        [SOUND],
        processor,
        limits=limits or BatchLimits(16, 0.2),
        stop=lambda: place.now_s() >= end_s,
        sleep=place.pass_time,
        clock_s=place.now_s,
        clock_ns=place.clock.utc_ns,
        **options,  # type: ignore[arg-type]  # tests name real options
    )


def results(place: EmbeddedPlace) -> list[str]:
    return [m.value.decode() for m in place.open().read(TopicPartition(RESULT, 0), 0, 10_000)]


def letters(place: EmbeddedPlace) -> list[DeadLetter]:
    return [codec.decode_dead(m) for m in place.open().read(TopicPartition(TOPIC_DEAD, 0), 0, 100)]


def finished(place: EmbeddedPlace) -> bool:
    committed = place.open().committed("g", SOUND)
    return all(committed.get(p, 0) == end for p, (_, end) in place.open().bounds(SOUND).items())


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_every_message_has_its_result_and_is_committed(place: EmbeddedPlace) -> None:
    """100 messages: 100 results, each once, in order per key, in batches no larger than allowed, all committed."""
    fill(place.open(), SOUND, numbers(100))
    echo = Echo()
    totals = work(place, echo)
    assert sorted(map(int, results(place))) == list(range(100))
    assert max(map(len, echo.batches)) <= 16
    assert finished(place)
    assert (totals.messages, totals.results, totals.dead, totals.leases_lost) == (100, 100, 0, 0)
    assert totals.batches == len(echo.batches)


def test_the_steps_come_in_their_order(place: EmbeddedPlace) -> None:
    """Results are durable before the commit, and the commit is the last step of a batch."""
    fill(place.open(), SOUND, numbers(8))
    steps: list[tuple[str, int, bool]] = []
    work(place, Echo(), probe=lambda point: steps.append((point, len(results(place)), finished(place))))
    assert steps == [
        ("polled", 0, False),
        ("processed", 0, False),
        ("written", 0, False),
        ("flushed", 8, False),
        ("committed", 8, True),
    ]
    assert worker.ORDER == ("write", "flush", "commit")


def test_a_batch_is_bounded_by_time(place: EmbeddedPlace) -> None:
    """A batch that does not fill up is processed when its first message has waited long enough."""
    fill(place.open(), SOUND, numbers(3))
    began = place.now_s()
    at: list[float] = []
    echo = Echo(lambda _: at.append(place.now_s() - began))
    work(place, echo, limits=BatchLimits(1_000, 2.0))
    assert [len(batch) for batch in echo.batches] == [3]
    assert 1.9 <= at[0] <= 2.5


def test_one_bad_message_goes_to_the_dead_and_the_rest_goes_on(place: EmbeddedPlace) -> None:
    """The letter has the message as it was, where it lay and why; its batch mates have their results."""

    def trouble(messages: Sequence[Message]) -> None:
        for message in messages:
            if message.value == b"3":
                raise ZeroDivisionError("silence")
            if message.value == b"5":
                raise codec.CodecError("rate", "x", "Hz", "ask")

    fill(place.open(), SOUND, numbers(10))
    totals = work(place, Echo(trouble))
    assert sorted(map(int, results(place))) == [0, 1, 2, 4, 6, 7, 8, 9]
    dead = {letter.value: letter for letter in letters(place)}
    assert {value: letter.reason for value, letter in dead.items()} == {b"3": "process_failed", b"5": "bad_message"}
    failed = dead[b"3"]
    assert (failed.topic, failed.key, dict(failed.headers)) == (SOUND, "d", {"n": "3"})
    assert (failed.partition, failed.offset, failed.detail) == (partition_of("d", 4), 0, "ZeroDivisionError: silence")
    assert totals.dead == 2
    assert finished(place)


def test_a_result_that_is_too_large(place: EmbeddedPlace) -> None:
    """It can never be written: its message is dead, not an endless loop."""

    class Bloated(Echo):
        def process(self, messages: Sequence[Message]) -> list[Outgoing]:
            big = MAX_MESSAGE_BYTES + 1
            return [Outgoing(RESULT, m.key, bytes(big) if m.value == b"1" else m.value) for m in messages]

    fill(place.open(), SOUND, numbers(4))
    work(place, Bloated())
    assert sorted(results(place)) == ["0", "2", "3"]
    assert [letter.reason for letter in letters(place)] == ["too_large"]
    assert finished(place)


class Troubled:
    """A broker whose producers fail to flush as often as told."""

    def __init__(self, broker: Broker, failures: list[BrokerError]) -> None:
        self._broker = broker
        self._failures = failures

    def __getattr__(self, name: str) -> object:
        return getattr(self._broker, name)

    def producer(self) -> object:
        producer, failures = self._broker.producer(), self._failures
        whole = producer.flush

        def flush() -> None:
            if failures:
                raise failures.pop()
            whole()

        producer.flush = flush  # type: ignore[method-assign]  # that is the trouble
        return producer


@pytest.mark.parametrize(
    ("error", "state"), [(StorageFull("full"), "storage_full"), (BrokerError("away"), "broker_error")]
)
def test_trouble_with_writing_is_waited_for(place: EmbeddedPlace, error: BrokerError, state: str) -> None:
    """Nothing is committed meanwhile, nothing is written twice, the leases live, and the state is told."""
    fill(place.open(), SOUND, numbers(8))
    states: list[str] = []
    broker = Troubled(place.open(), [error] * 8)
    committed: list[bool] = []

    def told(state: str) -> None:
        states.append(state)
        committed.append(finished(place))

    totals = work(place, Echo(), broker=broker, seconds=120.0, on_state=told)  # type: ignore[arg-type]  # duck
    assert states == ["running", state, "running", "stopped"]
    assert committed[:3] == [False, False, False]
    assert sorted(results(place)) == sorted(numbers(8))
    assert (totals.retries, totals.leases_lost) == (8, 0)
    assert finished(place)


def test_a_full_disk_is_waited_for_without_end_but_a_broken_broker_is_not(place: EmbeddedPlace) -> None:
    """After a minute of errors the worker says so and ends; of a full disk it never tires."""
    fill(place.open(), SOUND, numbers(8))
    broker = Troubled(place.open(), [StorageFull("full")] * 100)
    work(place, Echo(), broker=broker, seconds=300.0)  # type: ignore[arg-type]  # duck
    assert not finished(place)
    broker = Troubled(place.open(), [BrokerError("away")] * 100)
    with pytest.raises(BrokerError, match="away"):
        work(place, Echo(), broker=broker, seconds=300.0)  # type: ignore[arg-type]  # duck
    assert not finished(place)
    work(place, Echo())
    assert finished(place)


def test_a_stop_while_the_disk_is_full_ends_at_once(place: EmbeddedPlace) -> None:
    """What is in hand is not committed, and the next worker does it."""
    fill(place.open(), SOUND, numbers(8))
    states: list[str] = []
    broker = Troubled(place.open(), [StorageFull("full")] * 10_000)
    work(place, Echo(), broker=broker, seconds=5.0, on_state=states.append)  # type: ignore[arg-type]  # duck
    assert states == ["running", "storage_full", "stopped"]
    assert not finished(place)
    work(place, Echo())
    assert set(results(place)) == set(numbers(8))
    assert finished(place)


def test_a_stop_finishes_the_batch_and_gives_the_partitions_back(place: EmbeddedPlace) -> None:
    """The batch in hand is committed; another worker gets the partitions without waiting for a lease to end."""
    fill(place.open(), SOUND, numbers(64))
    asked: list[bool] = []
    run_worker(
        place.open(),
        "g",
        [SOUND],
        Echo(lambda _: asked.append(True)),
        limits=BatchLimits(16, 0.0),
        stop=lambda: bool(asked),
        sleep=place.pass_time,
        clock_s=place.now_s,
    )
    assert sum(place.open().committed("g", SOUND).values()) == len(results(place)) == 16
    began = place.now_s()
    consumer = place.open().consumer("g", [SOUND])
    assert consumer.poll(1, 1.0)
    assert len(consumer.assignment()) == 4
    assert place.now_s() - began < 1.0


def test_a_lost_lease_is_done_again_by_its_owner(place: EmbeddedPlace) -> None:
    """A worker that slept through its lease drops the batch; nothing is committed by it, nothing is lost."""
    fill(place.open(), SOUND, numbers(20))
    slept: list[bool] = []
    other: list[Message] = []

    def sleep_once(_: Sequence[Message]) -> None:
        if not slept:
            slept.append(True)
            place.pass_time(place.lease_s + 1.0)
            thief = place.open().consumer("g", [SOUND])
            other.extend(thief.poll(4, 0.0))
            thief.close()

    states: list[str] = []
    echo = Echo(sleep_once)
    totals = work(place, echo, seconds=60.0, on_state=states.append)
    assert totals.leases_lost == 1
    assert states == ["running", "lease_lost", "running", "stopped"]
    assert len(other) == 4
    assert set(results(place)) == set(numbers(20))
    assert finished(place)
    assert len(echo.told) >= 2, "what the processor remembers was primed again"


class Refusing:
    """A broker whose consumers refuse their first commit although the leases live on."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> object:
        return getattr(self._broker, name)

    def consumer(self, group: str, topics: Sequence[str]) -> object:
        consumer = self._broker.consumer(group, topics)
        whole, refused = consumer.commit, []

        def commit(positions: Mapping[TopicPartition, int]) -> None:
            if not refused:
                refused.append(True)
                raise LeaseLost("one of them")
            whole(positions)

        consumer.commit = commit  # type: ignore[method-assign]  # that is the trouble
        return consumer


def test_what_is_still_ours_is_read_again(place: EmbeddedPlace) -> None:
    """A refused commit rewinds the partitions that are still held to the first message of the batch."""
    fill(place.open(), SOUND, numbers(20))
    echo = Echo()
    work(place, echo, broker=Refusing(place.open()), limits=BatchLimits(100, 0.0))  # type: ignore[arg-type]  # duck
    assert sorted(echo.batches[0]) == sorted(echo.batches[1]) == sorted(numbers(20))
    assert finished(place)


def test_the_processor_is_told_where_partitions_begin(place: EmbeddedPlace) -> None:
    """New partitions are told once, with the offset of the next message to process; a steady flow tells nothing."""
    fill(place.open(), SOUND, numbers(8), keys=["a"])
    work(place, Echo())
    fill(place.open(), SOUND, numbers(4), keys=["a"])
    echo = Echo()
    work(place, echo, limits=BatchLimits(2, 0.0))
    where = partition_of("a", 4)
    assert echo.told == [{TopicPartition(SOUND, p): 8 if p == where else 0 for p in range(4)}]
    assert len(echo.batches) == 2


def test_trouble_in_priming(place: EmbeddedPlace) -> None:
    """What lies before may be unreadable: the worker works on. Trouble of the broker is tried again."""
    fill(place.open(), SOUND, numbers(4))

    class Forgetful(Echo):
        def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
            super().assigned(partitions)
            raise [BrokerError("busy"), KeyError("odd")][min(len(self.told), 2) - 1]

    echo = Forgetful()
    totals = work(place, echo)
    assert len(echo.told) == 2
    assert totals.retries == 1
    assert finished(place)


def test_trouble_of_the_broker_in_process_kills_no_message(place: EmbeddedPlace) -> None:
    """A processor that reads from the broker may meet its troubles: that is tried again, not buried."""
    fill(place.open(), SOUND, numbers(4))
    failures = [True, True]

    def trouble(_: Sequence[Message]) -> None:
        if failures:
            failures.pop()
            raise BrokerError("busy")

    totals = work(place, Echo(trouble))
    assert (totals.dead, totals.retries) == (0, 2)
    assert finished(place)


def test_what_cannot_work_says_so_before_it_begins(place: EmbeddedPlace, tmp_path: Path) -> None:
    """Without a topic for dead letters no worker starts; limits have their limits."""
    empty = EmbeddedPlace(tmp_path / "empty")
    empty.open().ensure_topics([TopicSpec(SOUND, 1)])
    with pytest.raises(BrokerError, match=r"topic audio\.dead does not exist"):
        work(empty, Echo())
    empty.close()
    with pytest.raises(ValueError, match="max_messages is 0"):
        BatchLimits(0)
    with pytest.raises(ValueError, match="max_wait_s is -1"):
        BatchLimits(1, -1)
