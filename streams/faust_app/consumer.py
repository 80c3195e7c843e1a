"""The contract's consumer on top of Faust, and the watchdog that begins anew when one session stands still."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from streams.contract import BrokerError, LeaseLost, Message, TopicPartition
from streams.faust_app.app import Intake
from streams.faust_app.guard import Guard, Hole
from streams.faust_app.session import Batch, Session
from streams.kafka.broker import KafkaBroker
from streams.kafka.messages import text_of

COMMIT_S = 10.0
BACK_OFF_S = (0.0, 1.0, 2.0, 5.0, 10.0)  # before a new session, while none of them gives anything
TRIES = 20  # that many sessions in a row without a message, about three minutes: only a new process helps
LOOK_S = 2.0  # how often an idle worker asks Kafka whether it is right to be idle
_logger = logging.getLogger(__name__)


class ConsumerStuck(RuntimeError):
    """Faust neither works nor ends: only a new process helps."""


class FaustConsumer:
    """A `streams.contract.Consumer` for one worker. `poll` gives whole batches as Faust gathered them.

    `lease_s`: a batch that is not committed within it is given up, and the partitions with it. `stall_s`: a session
    that delivers nothing for so long, while messages wait and nobody commits, is ended and another one begun.
    """

    def __init__(self, broker: KafkaBroker, intake: Intake, *, lease_s: float = 120.0, stall_s: float = 12.0) -> None:
        self._broker = broker
        self._intake = intake
        self._lease_s = lease_s
        self._stall_s = stall_s
        self._batch: Batch | None = None
        self._generation = -1
        self._committed: dict[TopicPartition, int] | None = None
        self._oldest: dict[str, Mapping[int, tuple[int, int]]] = {}
        self._guard = Guard(self._start_of, self._oldest_of)
        self._waited: dict[TopicPartition, int] = {}
        self._moved_s = self._looked_s = time.monotonic()
        self.restarts = 0
        self._fruitless = 0
        self._session = self._begin()

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """The next batch; an empty list after `timeout_s`. Raises BrokerError where Kafka or a topic is gone."""
        if max_messages <= 0:
            return []  # Faust keeps its place in the group by itself
        self._settle()
        if self._session.ended.is_set():
            self._begin_anew(self._session.why or "Faust ended")
        batch = self._session.take(timeout_s)
        if batch is None:
            self._watch()
            return []
        return self._checked(batch)

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Commit the batch in hand. Raises LeaseLost where the group has gone on without us."""
        batch = self._batch
        if batch is None:
            raise LeaseLost("the batch is not in hand any more: it comes again")
        self._batch = None
        if not self._session.acknowledge(batch, COMMIT_S):
            self._session.drop(batch)
            raise LeaseLost(f"the group refused the commit of {dict(positions)}: the batch comes again")
        self._moved_s = time.monotonic()

    def assignment(self) -> Mapping[TopicPartition, int]:
        """The partitions that have given messages since the last rebalance, with the next offset of each."""
        return dict(self._guard.next)

    def seek(self, where: TopicPartition, offset: int) -> None:
        """Nothing: what is not committed comes again by itself, from the last commit on."""

    def expired(self) -> int:
        """How many messages retention removed before this worker could read them."""
        return self._guard.expired

    def close(self) -> None:
        """Leave the group at once."""
        self._settle()
        self._session.stop()

    # -- what came

    def _checked(self, batch: Batch) -> list[Message]:
        if batch.generation != self._generation:
            self._generation = batch.generation
            self._guard.forget()
            self._committed = None
        current = [event for event in batch.events if event.message.generation_id == batch.generation]
        offsets: dict[TopicPartition, list[int]] = {}
        for event in current:
            where = TopicPartition(event.message.topic, event.message.partition)
            offsets.setdefault(where, []).append(event.message.offset)
        self._oldest = {}
        try:
            fresh = {where: set(found) for where, found in self._guard.check(offsets).items()}
        except Hole as hole:
            self._begin_anew(f"Faust passed over messages: {hole}")
            return []
        except BrokerError:
            self._begin_anew("Kafka did not say what is committed")
            raise
        self._fruitless = 0
        batch.events = current
        self._batch = batch
        messages = []
        for event in current:
            message = _message_of(event.message)
            if message.offset in fresh.get(message.source, ()):
                fresh[message.source].discard(message.offset)
                messages.append(message)
        if not messages:
            self._settle()  # stale or repeated throughout
        return messages

    def _start_of(self, where: TopicPartition) -> int | None:
        if self._committed is None:
            self._committed = {
                TopicPartition(topic, number): offset
                for topic in self._intake.topics
                for number, offset in self._broker.committed(self._intake.group, topic).items()
            }
        return self._committed.get(where)

    def _oldest_of(self, where: TopicPartition) -> int:
        if where.topic not in self._oldest:
            self._oldest[where.topic] = self._broker.bounds(where.topic)
        return self._oldest[where.topic][where.partition][0]

    def _settle(self) -> None:
        """Let Faust go on where a batch was given up without a commit."""
        batch, self._batch = self._batch, None
        if batch is not None:
            self._session.drop(batch)

    # -- the watchdog

    def _watch(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        waiting = self._waiting()
        if waiting != self._waited or not waiting:
            self._waited, self._moved_s = waiting, now_s
        elif now_s - self._moved_s > self._stall_s:
            self._begin_anew(f"nothing came for {self._stall_s:.0f} s while messages wait in {sorted(waiting)}")

    def _waiting(self) -> dict[TopicPartition, int]:
        """What is committed of the partitions in which more waits; of ours, or of all if we have none."""
        ours = {TopicPartition(where.topic, where.partition) for where in self._session.assigned}
        found: dict[TopicPartition, int] = {}
        for topic in self._intake.topics:
            done = self._broker.committed(self._intake.group, topic)
            for number, (oldest, end) in self._broker.bounds(topic).items():
                where, reached = TopicPartition(topic, number), max(oldest, done.get(number, 0))
                if reached < end and (where in ours or not ours):
                    found[where] = reached
        return found

    def _begin(self) -> Session:
        self._generation = -1
        self._moved_s = time.monotonic()
        return Session(self._broker.connection, self._intake, self._lease_s)

    def _begin_anew(self, why: str) -> None:
        _logger.warning("the consumer begins anew: %s", why)
        self.restarts += 1
        self._fruitless += 1
        self._batch = None
        if not self._session.stop() or self._fruitless > TRIES:
            raise ConsumerStuck(f"{why}; beginning anew does not help: start the worker again")
        time.sleep(BACK_OFF_S[min(self._fruitless, len(BACK_OFF_S)) - 1])
        self._session = self._begin()


def _message_of(message: Any) -> Message:  # noqa: ANN401  # Faust's message has no type that says what it holds
    headers = message.headers or ()
    return Message(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=text_of(message.key),
        value=message.value or b"",
        headers={text_of(name): text_of(value) for name, value in (dict(headers).items())},
        timestamp_ns=round(message.timestamp * 1000) * 1_000_000,
    )
