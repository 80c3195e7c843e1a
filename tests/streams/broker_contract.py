"""What every broker keeps, written once: `test_embedded_contract.py` runs it here, other brokers run the same class.

A subclass gives the fixture `place`; tests never sleep by themselves, they ask the place to let time pass.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import pytest

from streams.broker import (
    MAX_MESSAGE_BYTES,
    Broker,
    BrokerError,
    Consumer,
    LeaseLost,
    Message,
    MessageTooLarge,
    TopicPartition,
    TopicSpec,
    partition_of,
)


class Place(Protocol):
    """Where a broker lives, and how its time passes."""

    lease_s: float

    def open(self) -> Broker:
        """One more view of the same broker, as another process would have it; closed by the place."""

    def name(self, name: str) -> str:
        """A topic or group name that no other test uses."""

    def now_s(self) -> float:
        """The time that `pass_time` and waiting polls move."""

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""

    def vanish(self, consumer: Consumer) -> None:
        """Let a consumer stop as `kill -9` would: it closes nothing."""

    def expire(self, broker: Broker, topic: str) -> None:
        """Let retention remove all that is in the topic now."""


def fill(broker: Broker, topic: str, texts: Iterable[str], keys: Sequence[str] = ("a", "b", "c", "d")) -> None:
    """One message per text, the keys in turn, all durable on return."""
    producer = broker.producer()
    for number, text in enumerate(texts):
        producer.send(topic, keys[number % len(keys)], text.encode(), {"n": str(number)})
    producer.close()


def after(messages: Iterable[Message]) -> dict[TopicPartition, int]:
    """The positions to commit once these messages are done."""
    return {message.source: message.offset + 1 for message in messages}


def texts(messages: Iterable[Message]) -> list[str]:
    return [message.value.decode() for message in messages]


def drain(consumer: Consumer, count: int, *, commit: bool = True, polls: int = 400) -> list[Message]:
    """Poll until `count` messages have come; fails when they do not."""
    found: list[Message] = []
    for _ in range(polls):
        messages = consumer.poll(100, 0.1)
        found += messages
        if commit and messages:
            consumer.commit(after(messages))
        if len(found) >= count:
            return found
    raise AssertionError(f"{len(found)} of {count} messages came")


def until(condition: Callable[[], bool], consumers: Sequence[Consumer], place: Place, limit_s: float) -> None:
    """Let the consumers poll in turn, committing all they get, until the condition holds."""
    end = place.now_s() + limit_s
    while not condition():
        assert place.now_s() < end, f"not within {limit_s} s"
        for consumer in consumers:
            messages = consumer.poll(100, 0.05)
            if messages:
                consumer.commit(after(messages))


def held(consumers: Iterable[Consumer]) -> list[TopicPartition]:
    return [where for consumer in consumers for where in consumer.assignment()]


class BrokerContract:
    """The suite."""

    @pytest.fixture
    def broker(self, place: Place) -> Broker:
        return place.open()

    @pytest.fixture
    def topic(self, place: Place, broker: Broker) -> str:
        name = place.name("sound")
        broker.ensure_topics([TopicSpec(name, 4, 86_400.0)])
        return name

    def test_accepted_is_there_for_everybody(self, place: Place, broker: Broker, topic: str) -> None:
        """What flush returned for is read by another view of the broker, value, key, headers and time as sent."""
        producer = broker.producer()
        producer.send(topic, "mic", b"\x00\xff", {"machine": "fan"})
        producer.flush()
        (message,) = drain(place.open().consumer(place.name("g"), [topic]), 1)
        assert (message.key, message.value, dict(message.headers)) == ("mic", b"\x00\xff", {"machine": "fan"})
        assert (message.topic, message.partition, message.offset) == (topic, partition_of("mic", 4), 0)
        assert message.timestamp_ns > 0

    def test_order_per_key(self, place: Place, broker: Broker, topic: str) -> None:
        """The messages of one key come in the order they were sent, and offsets have no gap."""
        fill(broker, topic, map(str, range(200)))
        by_key = defaultdict(list)
        offsets = defaultdict(list)
        for message in drain(broker.consumer(place.name("g"), [topic]), 200):
            by_key[message.key].append(int(message.value))
            offsets[message.partition].append(message.offset)
        assert by_key == {key: list(range(start, 200, 4)) for start, key in enumerate("abcd")}
        assert all(found == list(range(len(found))) for found in offsets.values())

    def test_unflushed_is_not_promised_and_flushed_is_once(self, place: Place, broker: Broker, topic: str) -> None:
        """A second flush sends nothing twice."""
        producer = broker.producer()
        producer.send(topic, "a", b"1")
        producer.flush()
        producer.flush()
        producer.close()
        assert sum(end - start for start, end in broker.bounds(topic).values()) == 1

    def test_empty_poll_returns_after_its_timeout(self, place: Place, broker: Broker, topic: str) -> None:
        """Nothing to read: an empty list, not before the timeout and not long after."""
        consumer = broker.consumer(place.name("g"), [topic])
        consumer.poll(10, 0.1)
        began = place.now_s()
        assert consumer.poll(10, 0.5) == []
        assert 0.4 <= place.now_s() - began < 3.0

    def test_poll_is_bounded(self, place: Place, broker: Broker, topic: str) -> None:
        """A poll never gives more than it was asked for, and 0 gives nothing and keeps the place."""
        fill(broker, topic, map(str, range(30)))
        consumer = broker.consumer(place.name("g"), [topic])
        drained: list[Message] = []
        while len(drained) < 30:
            assert consumer.poll(0, 0.0) == []
            messages = consumer.poll(7, 1.0)
            assert len(messages) <= 7
            drained += messages
        assert sorted(map(int, texts(drained))) == list(range(30))

    def test_a_new_group_replays_everything(self, place: Place, broker: Broker, topic: str) -> None:
        """What one group has committed is still there, from the oldest on, for a group that is new."""
        fill(broker, topic, map(str, range(40)))
        drain(broker.consumer(place.name("first"), [topic]), 40)
        assert len(drain(broker.consumer(place.name("second"), [topic]), 40)) == 40

    def test_a_group_goes_on_where_it_committed(self, place: Place, broker: Broker, topic: str) -> None:
        """Committed messages do not come again; those read and not committed do."""
        group = place.name("g")
        fill(broker, topic, map(str, range(20)), keys=["a"])
        first = place.open().consumer(group, [topic])
        where = TopicPartition(topic, partition_of("a", 4))
        drain(first, 20, commit=False)
        first.commit({where: 12})
        first.close()
        assert broker.committed(group, topic) == {where.partition: 12}
        again = drain(broker.consumer(group, [topic]), 8)
        assert texts(again) == [str(n) for n in range(12, 20)]

    def test_groups_are_independent(self, place: Place, broker: Broker, topic: str) -> None:
        """A group's members, leases and offsets are nothing to another group."""
        fill(broker, topic, map(str, range(8)))
        one, other = place.name("one"), place.name("other")
        first, second = broker.consumer(one, [topic]), broker.consumer(other, [topic])
        drain(first, 8)
        drain(second, 8, commit=False)
        assert len(first.assignment()) == len(second.assignment()) == 4
        assert broker.committed(other, topic) == {}
        assert sum(broker.committed(one, topic).values()) == 8

    def test_seek(self, place: Place, broker: Broker, topic: str) -> None:
        """After a seek the partition is read from there on, back or forth, and no other is touched."""
        fill(broker, topic, map(str, range(10)), keys=["a"])
        consumer = broker.consumer(place.name("g"), [topic])
        drain(consumer, 10)
        where = TopicPartition(topic, partition_of("a", 4))
        consumer.seek(where, 6)
        assert consumer.assignment()[where] == 6
        assert texts(drain(consumer, 4)) == ["6", "7", "8", "9"]

    def test_read_is_outside_of_groups(self, place: Place, broker: Broker, topic: str) -> None:
        """`read` gives what lies at an offset and changes no position."""
        group = place.name("g")
        fill(broker, topic, map(str, range(10)), keys=["a"])
        consumer = broker.consumer(group, [topic])
        drain(consumer, 10)
        where = TopicPartition(topic, partition_of("a", 4))
        assert texts(broker.read(where, 4, 3)) == ["4", "5", "6"]
        assert broker.read(where, 10, 3) == []
        assert broker.committed(group, topic) == {where.partition: 10}

    def test_bounds(self, broker: Broker, topic: str) -> None:
        """Every partition has its bounds, empty ones as well."""
        fill(broker, topic, ["x"] * 3, keys=["a"])
        expected = dict.fromkeys(range(4), (0, 0)) | {partition_of("a", 4): (0, 3)}
        assert broker.bounds(topic) == expected

    def test_partitions_are_shared_fairly(self, place: Place, broker: Broker, topic: str) -> None:
        """Three consumers come to hold each partition once, none more than one above another; then one leaves."""
        group = place.name("g")
        consumers = [place.open().consumer(group, [topic]) for _ in range(3)]

        def fair() -> bool:
            counts = [len(consumer.assignment()) for consumer in consumers]
            return len(held(consumers)) == len(set(held(consumers))) == 4 and max(counts) - min(counts) <= 1

        until(fair, consumers, place, 60.0)
        consumers.pop().close()
        until(fair, consumers, place, 60.0)

    def test_nothing_is_lost_or_doubled_by_rebalancing(self, place: Place, broker: Broker, topic: str) -> None:
        """Consumers come and go in good order while messages flow: all arrive, and once, since all commit in time."""
        group = place.name("g")
        consumers = [place.open().consumer(group, [topic])]
        seen: list[str] = []

        def turn() -> None:
            for consumer in consumers:
                messages = consumer.poll(3, 0.02)
                seen.extend(texts(messages))
                if messages:
                    consumer.commit(after(messages))

        for number in range(12):
            fill(broker, topic, [f"{number}-{one}" for one in range(12)])
            turn()
            if number in (2, 4):
                consumers.append(place.open().consumer(group, [topic]))
            if number == 8:
                consumers.pop(0).close()
        end = place.now_s() + 60.0
        while len(set(seen)) < 144 and place.now_s() < end:
            turn()
        assert sorted(seen) == sorted(f"{number}-{one}" for number in range(12) for one in range(12))

    def test_who_vanishes_is_replaced(self, place: Place, broker: Broker, topic: str) -> None:
        """A consumer that dies without a word loses its partitions, and what it had not committed is read again."""
        group = place.name("g")
        fill(broker, topic, map(str, range(40)))
        dying = place.open().consumer(group, [topic])
        done = drain(dying, 40, commit=False)[0]
        dying.commit({done.source: done.offset + 1})
        place.vanish(dying)
        place.pass_time(place.lease_s + 1.0)
        survivor = place.open().consumer(group, [topic])
        again = drain(survivor, 39)
        assert sorted([*texts(again), *texts([done])]) == sorted(map(str, range(40)))
        assert len(survivor.assignment()) == 4

    def test_a_stale_commit_is_refused_whole(self, place: Place, broker: Broker, topic: str) -> None:
        """Who lost its partitions to another gets LeaseLost, nothing of the commit is stored, and it knows."""
        group = place.name("g")
        fill(broker, topic, map(str, range(40)))
        slow = place.open().consumer(group, [topic])
        messages = drain(slow, 40, commit=False)
        place.pass_time(place.lease_s + 1.0)
        quick = place.open().consumer(group, [topic])
        until(lambda: len(quick.assignment()) == 4, [quick], place, 60.0)
        drained = broker.committed(group, topic)
        with pytest.raises(LeaseLost):
            slow.commit(dict.fromkeys(after(messages), 1))
        assert broker.committed(group, topic) == drained
        assert slow.assignment() == {}

    def test_large_messages(self, place: Place, broker: Broker, topic: str) -> None:
        """Nearly 4 MiB pass; more is refused before anything is taken, and what was sent before stays."""
        producer = broker.producer()
        value = bytes(range(256)) * 16_000  # 4,096,000 bytes
        producer.send(topic, "a", value)
        with pytest.raises(MessageTooLarge, match="allowed is"):
            producer.send(topic, "a", b"x" * (MAX_MESSAGE_BYTES + 1))
        producer.close()
        (message,) = drain(broker.consumer(place.name("g"), [topic]), 1)
        assert message.value == value

    def test_names_in_any_script(self, place: Place, broker: Broker, topic: str) -> None:
        """Keys and headers are text, not ASCII."""
        headers = {"machine": "送風機 №3", "机": "🔧", "empty": ""}
        producer = broker.producer()
        producer.send(topic, "マイク一", b"", headers)
        producer.close()
        (message,) = drain(broker.consumer(place.name("g"), [topic]), 1)
        assert (message.key, message.value, dict(message.headers)) == ("マイク一", b"", headers)

    def test_what_retention_took_is_counted(self, place: Place, broker: Broker, topic: str) -> None:
        """Messages removed before a group read them are counted, and reading goes on with the oldest that is left."""
        group = place.name("g")
        fill(broker, topic, map(str, range(5)), keys=["a"])
        consumer = broker.consumer(group, [topic])
        drain(consumer, 5)
        assert consumer.expired() == 0
        fill(broker, topic, map(str, range(7)), keys=["a"])
        place.expire(broker, topic)
        fill(broker, topic, ["new"], keys=["a"])
        assert texts(drain(consumer, 1)) == ["new"]
        assert consumer.expired() == 7
        assert broker.bounds(topic)[partition_of("a", 4)] == (12, 13)
        fresh = broker.consumer(place.name("other"), [topic])
        assert texts(drain(fresh, 1)) == ["new"]
        assert fresh.expired() == 0

    def test_topics(self, place: Place, broker: Broker, topic: str) -> None:
        """Asking again changes nothing; more partitions than there are is an error; an unknown topic is one too."""
        fill(broker, topic, ["x"])
        broker.ensure_topics([TopicSpec(topic, 4, 86_400.0), TopicSpec(topic, 2, 86_400.0)])
        assert len(broker.bounds(topic)) == 4
        with pytest.raises(BrokerError, match="partitions"):
            broker.ensure_topics([TopicSpec(topic, 5, 86_400.0)])
        missing = place.name("missing")
        with pytest.raises(BrokerError, match=missing):
            broker.producer().send(missing, "a", b"")
        with pytest.raises(BrokerError, match=missing):
            broker.consumer(place.name("g"), [missing]).poll(1, 0.0)
        with pytest.raises(BrokerError, match=missing):
            broker.bounds(missing)

    def test_several_topics_at_once(self, place: Place, broker: Broker, topic: str) -> None:
        """One consumer reads two topics, and one producer writes both in one flush."""
        other = place.name("scores")
        broker.ensure_topics([TopicSpec(other, 2, 30 * 86_400.0)])
        producer = broker.producer()
        producer.send(topic, "a", b"sound")
        producer.send(other, "a", b"score")
        producer.close()
        consumer = broker.consumer(place.name("g"), [topic, other])
        assert sorted(texts(drain(consumer, 2))) == ["score", "sound"]
        assert {where.topic for where in consumer.assignment()} == {topic, other}

    def test_commit_refuses_nonsense(self, place: Place, broker: Broker, topic: str) -> None:
        """A negative offset is a mistake of the caller; a partition never held is no lease of ours."""
        consumer = broker.consumer(place.name("g"), [topic])
        until(lambda: len(consumer.assignment()) == 4, [consumer], place, 60.0)
        with pytest.raises(ValueError, match="offset"):
            consumer.commit({TopicPartition(topic, 0): -1})
        with pytest.raises(LeaseLost):
            consumer.commit({TopicPartition(topic, 99): 1})
