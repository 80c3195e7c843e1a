"""A random walk of producers and consumers that come, go, sleep and vanish, against a plain model."""

import random
from pathlib import Path

from broker_contract import after, until
from embedded_place import EmbeddedPlace

from streams.broker import Consumer, LeaseLost, Message, TopicSpec

TOPIC = "audio.windows"
HOUR_S = 3_600.0


class Walk:
    """`in_hand` is what each consumer was given and has not committed, `done` what a commit was accepted for."""

    def __init__(self, place: EmbeddedPlace, seed: int) -> None:
        self.place = place
        self.random = random.Random(seed)
        self.broker = place.open()
        self.broker.ensure_topics([TopicSpec(TOPIC, 3, 20 * HOUR_S)])
        self.producer = self.broker.producer()
        self.consumers: list[Consumer] = []
        self.in_hand: dict[int, list[Message]] = {}
        self.sent = 0
        self.done: set[tuple[int, int]] = set()
        self.removed: set[tuple[int, int]] = set()
        self.lost_leases = 0

    def step(self) -> None:
        steps = {
            "send": 6,
            "poll": 10,
            "commit": 8,
            "wait": 3,
            "hour": 2,
            "join": 1,
            "leave": 1,
            "vanish": 1,
            "sleep": 1,
        }
        name = self.random.choices(list(steps), list(steps.values()))[0]
        getattr(self, name)()
        self.note_removed()

    def send(self) -> None:
        for _ in range(self.random.randint(1, 8)):
            self.producer.send(TOPIC, f"key {self.random.randint(0, 9)}", str(self.sent).encode())
            self.sent += 1
        self.producer.flush()

    def poll(self) -> None:
        if self.consumers:
            consumer = self.random.choice(self.consumers)
            self.in_hand.setdefault(id(consumer), []).extend(consumer.poll(self.random.randint(0, 9), 0.0))

    def commit(self) -> None:
        if self.consumers:
            consumer = self.random.choice(self.consumers)
            messages = self.in_hand.pop(id(consumer), [])
            positions = after(messages)
            before = self.broker.committed("g", TOPIC)
            try:
                consumer.commit(positions)
            except LeaseLost:
                self.lost_leases += 1
                assert self.broker.committed("g", TOPIC) == before
                for where in positions.keys() & consumer.assignment().keys():
                    consumer.seek(where, before.get(where.partition, 0))
            else:
                self.done |= {(m.partition, m.offset) for m in messages}

    def wait(self) -> None:
        self.place.pass_time(self.random.uniform(0.0, 10.0))

    def sleep(self) -> None:
        self.place.pass_time(40.0)

    def hour(self) -> None:
        self.place.pass_time(self.random.uniform(0.2, 2.0) * HOUR_S)

    def join(self) -> None:
        if len(self.consumers) < 4:
            self.consumers.append(self.place.open().consumer("g", [TOPIC]))

    def leave(self) -> None:
        if self.consumers:
            consumer = self.consumers.pop(self.random.randrange(len(self.consumers)))
            self.in_hand.pop(id(consumer), None)
            consumer.close()

    def vanish(self) -> None:
        if self.consumers:
            self.in_hand.pop(id(self.consumers.pop(self.random.randrange(len(self.consumers)))), None)

    def note_removed(self) -> None:
        """The law: below a committed offset, each message was done by who committed it, or retention took it."""
        for partition, (oldest, _) in self.broker.bounds(TOPIC).items():
            self.removed |= {(partition, offset) for offset in range(oldest)}
        for partition, following in self.broker.committed("g", TOPIC).items():
            skipped = {(partition, offset) for offset in range(following)} - self.done - self.removed
            assert not skipped, f"passed over: {sorted(skipped)}"

    def finish(self) -> None:
        """In the end one reader reads all that is left, and no other lease is in its way."""
        for consumer in self.consumers:
            consumer.close()
        last = self.place.open().consumer("g", [TOPIC])

        def done() -> bool:
            committed = self.broker.committed("g", TOPIC)
            return all(
                committed.get(p, 0) == end or start == end for p, (start, end) in self.broker.bounds(TOPIC).items()
            )

        until(done, [last], self.place, 300.0)
        assert sum(end for _, end in self.broker.bounds(TOPIC).values()) == self.sent


def test_nothing_is_passed_over(tmp_path: Path) -> None:
    """Whatever happens, a committed offset never lies beyond a message that nobody did and retention did not remove."""
    lost_leases = 0
    for seed in range(6):
        place = EmbeddedPlace(tmp_path / str(seed), segment_bytes=400_000)
        walk = Walk(place, seed)
        for _ in range(400):
            walk.step()
        walk.finish()
        assert walk.sent > 100
        lost_leases += walk.lost_leases
        place.close()
    assert lost_leases > 5, "the walk must meet what it is about"
