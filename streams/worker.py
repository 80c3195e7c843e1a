"""The loop of a worker: poll, process, write, flush, commit. At least once, from end to end.

Why the order is what it is, and what each step prevents:

1. poll      renews the leases. Without it another worker takes the partitions while this one still works.
2. process   may be repeated for the same messages: after a crash, a lost lease, or a failure of a batch mate.
3. write     hands the results to the producer before anything is committed.
4. flush     makes them durable. A commit before this loses the results of a crash between the two, for ever.
5. commit    last: whatever dies before it is only done again. Readers drop the repetition by its identity.

A processor may keep state, such as the seconds before a window. It has to bear seeing the same messages again, and
partitions that jump: `assigned` is called whenever the next message is not the one after the last, before `process`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from streams import codec
from streams.broker import (
    Broker,
    BrokerError,
    Consumer,
    LeaseLost,
    Message,
    MessageTooLarge,
    Producer,
    StorageFull,
    TopicPartition,
)
from streams.contract import check_message
from streams.dead import BAD_MESSAGE, PROCESS_FAILED, TOO_LARGE, dead_letter
from streams.records import TOPIC_DEAD

ORDER = ("write", "flush", "commit")  # steps 3 to 5; a test turns them round to show that it would notice
IDLE_S = 0.25  # how long one poll waits for the first message, and so how soon a stop is seen
BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
TRIES = 12  # for an error of the broker other than a full disk: about 40 s, then the worker gives up
_logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Outgoing:
    """One result to be written."""

    topic: str
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Processor(Protocol):
    """What a worker does with messages. Both verbs must bear repetition: the same messages give the same results.

    A BrokerError raised by either is taken as temporary and tried again; anything else that `process` raises for a
    message alone sends that message to `audio.dead`.
    """

    def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        """Partitions that now go on from this offset: prime what is remembered by `Broker.read` of what lies before."""

    def process(self, messages: Sequence[Message]) -> list[Outgoing]:
        """The results of the messages, which are in order per partition."""


@dataclass(frozen=True)
class BatchLimits:
    """A batch is full at `max_messages`, or `max_wait_s` after its first message came."""

    max_messages: int = 64
    max_wait_s: float = 0.2

    def __post_init__(self) -> None:
        if self.max_messages < 1:
            raise ValueError(f"max_messages is {self.max_messages}, allowed is 1 or more")
        if not 0.0 <= self.max_wait_s <= 60.0:
            raise ValueError(f"max_wait_s is {self.max_wait_s}, allowed is 0 to 60 seconds")


@dataclass
class WorkerTotals:
    """What a worker did since it began. `messages` counts what was polled, repetitions included."""

    messages: int = 0
    results: int = 0
    dead: int = 0
    batches: int = 0
    retries: int = 0
    leases_lost: int = 0
    expired: int = 0


class _Stopped(Exception):
    """A stop was asked for while the broker could not be written to: what is in hand will be done again."""


def run_worker(
    broker: Broker,
    group: str,
    topics: Sequence[str],
    processor: Processor,
    *,
    limits: BatchLimits | None = None,
    stop: Callable[[], bool],
    probe: Callable[[str], None] = lambda _: None,
    on_state: Callable[[str], None] = lambda _: None,
    on_batch: Callable[[WorkerTotals], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
    clock_s: Callable[[], float] = time.monotonic,
    clock_ns: Callable[[], int] = time.time_ns,
) -> WorkerTotals:
    """Work until `stop` says so; then finish the batch in hand, commit it and give the partitions back.

    `on_state` is told "running", "storage_full", "broker_error", "lease_lost", "stopped" when that changes, `on_batch`
    the totals after every batch. `probe` is told "polled", "processed", "written", "flushed", "committed": tests
    kill the process there. Raises BrokerError when the broker fails for longer than `TRIES`; a full disk is waited
    for without end, since nothing is lost by waiting.
    """
    broker.bounds(TOPIC_DEAD)  # raises now, not when the first dead letter has nowhere to go
    consumer = broker.consumer(group, topics)
    producer = broker.producer()
    try:
        return _Worker(
            consumer=consumer,
            producer=producer,
            processor=processor,
            limits=limits or BatchLimits(),
            stop=stop,
            probe=probe,
            on_state=on_state,
            on_batch=on_batch,
            sleep=sleep,
            clock_s=clock_s,
            clock_ns=clock_ns,
        ).run()
    finally:
        consumer.close()
        with contextlib.suppress(BrokerError):  # whatever it still holds was never committed
            producer.close()


@dataclass
class _Worker:
    consumer: Consumer
    producer: Producer
    processor: Processor
    limits: BatchLimits
    stop: Callable[[], bool]
    probe: Callable[[str], None]
    on_state: Callable[[str], None]
    on_batch: Callable[[WorkerTotals], None]
    sleep: Callable[[float], None]
    clock_s: Callable[[], float]
    clock_ns: Callable[[], int]
    totals: WorkerTotals = field(default_factory=WorkerTotals)
    state: str = ""
    expected: dict[TopicPartition, int] = field(default_factory=dict)  # the next offset, as the processor knows it
    batch: list[Message] = field(default_factory=list)
    results: list[Outgoing] = field(default_factory=list)

    def run(self) -> WorkerTotals:
        self._tell("running")
        try:
            while not self.stop():
                self._one_batch()
        except _Stopped:
            _logger.warning("stopped while the broker could not be written to; the batch in hand will be done again")
        self.totals.expired = self.consumer.expired()
        self._tell("stopped")
        return self.totals

    def _one_batch(self) -> None:
        self.batch = self._patiently(self._poll)  # 1
        if not self.batch:
            return
        self.probe("polled")
        self._patiently(self._tell_assigned)
        self.results = self._process(self.batch)  # 2
        self.probe("processed")
        try:
            for step in ORDER:  # 3, 4, 5
                getattr(self, f"_{step}")()
        except LeaseLost as error:
            _logger.warning("%s", error)
            self.totals.leases_lost += 1
            self._rewind()
            self._tell("lease_lost")
            return
        self.totals.batches += 1
        self.totals.expired = self.consumer.expired()
        self._tell("running")
        self.on_batch(self.totals)

    # -- 1: poll

    def _poll(self) -> list[Message]:
        limit = self.limits.max_messages
        batch = self.consumer.poll(limit, IDLE_S)
        deadline_s = self.clock_s() + self.limits.max_wait_s
        while batch and len(batch) < limit and (left_s := deadline_s - self.clock_s()) > 0:
            try:
                batch += self.consumer.poll(limit - len(batch), left_s)
            except BrokerError:  # the next poll says it again; what is in hand must not be dropped
                break
        self.totals.messages += len(batch)
        return batch

    def _tell_assigned(self) -> None:
        """Let the processor prime partitions that are new here or do not go on where they were."""
        now = dict(self.consumer.assignment())
        for message in reversed(self.batch):
            now[message.source] = message.offset
        jumped = {where: offset for where, offset in now.items() if self.expected.get(where) != offset}
        if jumped:
            self._prime(jumped)
        self.expected = now | {message.source: message.offset + 1 for message in self.batch}

    def _prime(self, partitions: Mapping[TopicPartition, int]) -> None:
        try:
            self.processor.assigned(partitions)
        except BrokerError:
            raise
        except Exception:  # without its context a window is still scored or says that it warms up
            _logger.exception("the processor could not read what lies before %s", dict(partitions))

    # -- 2: process

    def _process(self, messages: Sequence[Message]) -> list[Outgoing]:
        """The results of a batch; if it fails, of each message by itself, and a dead letter where that fails too."""
        try:
            return self._patiently(lambda: self._checked(messages))
        except Exception as error:
            if isinstance(error, (_Stopped, BrokerError)) and not isinstance(error, MessageTooLarge):
                raise  # not the messages' fault
            if len(messages) == 1:
                return [self._dead(messages[0], error)]
            _logger.warning("a batch of %d failed, each message is tried alone: %r", len(messages), error)
        return [result for message in messages for result in self._process([message])]

    def _checked(self, messages: Sequence[Message]) -> list[Outgoing]:
        results = self.processor.process(messages)
        for result in results:
            check_message(result.key, result.value, result.headers)
        return results

    def _dead(self, message: Message, error: Exception) -> Outgoing:
        reason = PROCESS_FAILED
        if isinstance(error, codec.CodecError):
            reason = BAD_MESSAGE
        elif isinstance(error, MessageTooLarge):
            reason = TOO_LARGE
        else:
            _logger.error("%s/%d offset %d", message.topic, message.partition, message.offset, exc_info=error)
        self.totals.dead += 1
        detail = str(error) if reason == BAD_MESSAGE else f"{type(error).__name__}: {error}"
        key, value = codec.encode_dead(dead_letter(message, reason, detail, self.clock_ns()))
        return Outgoing(TOPIC_DEAD, key, value)

    # -- 3, 4, 5: write, flush, commit

    def _write(self) -> None:
        for result in self.results:
            self._patiently(partial(self.producer.send, result.topic, result.key, result.value, result.headers))
        self.totals.results += len(self.results)
        self.probe("written")

    def _flush(self) -> None:
        self._patiently(self.producer.flush)
        self.probe("flushed")

    def _commit(self) -> None:
        positions: dict[TopicPartition, int] = {}
        for message in self.batch:
            positions[message.source] = max(message.offset + 1, positions.get(message.source, 0))
        self._patiently(lambda: self.consumer.commit(positions))
        self.probe("committed")

    def _rewind(self) -> None:
        """Drop the batch: what is still ours is read again from its first message, the rest is its owner's."""
        first = {message.source: message.offset for message in reversed(self.batch)}
        for where in first.keys() & self.consumer.assignment().keys():
            self._patiently(partial(self.consumer.seek, where, first[where]))
        self.expected = {}

    # -- patience

    def _patiently(self, action: Callable[[], T]) -> T:
        """Try until it works, as long as it is the broker's trouble; keep the leases meanwhile."""
        tries = 0
        while True:
            try:
                done = action()
            except (LeaseLost, MessageTooLarge):
                raise
            except BrokerError as error:
                tries += 1
                full = isinstance(error, StorageFull)
                if tries >= TRIES and not full:
                    raise
                self._tell("storage_full" if full else "broker_error")
                if tries == 1:
                    _logger.warning("the worker waits: %s", error)
            else:
                if tries:
                    self._tell("running")
                return done
            if self.stop():
                raise _Stopped
            self.totals.retries += 1
            self.sleep(BACK_OFF_S[min(tries, len(BACK_OFF_S)) - 1])
            with contextlib.suppress(BrokerError):
                self.consumer.poll(0, 0.0)

    def _tell(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.on_state(state)
