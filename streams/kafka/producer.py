"""Writing to Kafka: what was not confirmed is held, in order, until it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import kafka
from kafka import errors

from streams.contract import BrokerError, check_message, partition_of
from streams.kafka.admin import partition_counts
from streams.kafka.clients import connected
from streams.kafka.connection import KAFKA_MESSAGE_BYTES, Connection, in_words, told

FLUSH_S = 10  # how long a flush waits for Kafka before it says that it does not answer
WAITING_BYTES = 32 * 1024 * 1024  # more than this in memory, and `send` flushes first
_FOR_EVER_MS = 7 * 86_400_000


@dataclass(slots=True)
class Held:
    """One message that Kafka has not confirmed yet."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    at_ms: int
    future: Any = None

    @property
    def size(self) -> int:
        """Bytes, about."""
        return len(self.key) + len(self.value)


class KafkaProducer:
    """A `streams.contract.Producer`. Not shared between threads.

    The inner producer is idempotent and never gives up by itself, so that order holds through an outage. Where it
    fails for good, it is replaced and everything that was not confirmed is sent again, in order: a repeat is
    harmless, as every record carries its identity.
    """

    def __init__(self, connection: Connection, on_close: Callable[[object], None]) -> None:
        self._connection = connection
        self._on_close = on_close
        self._closed = False
        self._inner: kafka.KafkaProducer | None = None
        self._held: list[Held] = []
        self._bytes = 0
        self._counts: dict[str, int] = {}

    def send(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Take a message; it is durable after `flush`. If it raises, this message was not taken."""
        if self._closed:
            raise BrokerError("the producer is closed: open another one")
        headers = headers or {}
        check_message(key, value, headers)
        if self._bytes + len(value) > WAITING_BYTES:
            self.flush()
        with told(self._connection, f"cannot write to {topic}"):
            partition = partition_of(key, self._partitions(topic))
            packed = [(name, text.encode()) for name, text in headers.items()]
            held = Held(topic, partition, key.encode(), bytes(value), packed, time.time_ns() // 1_000_000)
            self._pass_on(self._producer(), held)
        self._held.append(held)
        self._bytes += held.size

    def flush(self) -> None:
        """Return once all is confirmed by Kafka. Raises BrokerError, and then holds the rest for another try."""
        if not self._held:
            return
        topics = ", ".join(sorted({held.topic for held in self._held}))
        with told(self._connection, f"{topics}: {len(self._held)} messages are not confirmed"):
            inner = self._producer()
            for held in self._held:
                if held.future is None:
                    self._pass_on(inner, held)
            try:
                inner.flush(timeout=FLUSH_S)
            except errors.KafkaTimeoutError as error:
                self._drop_confirmed()
                if self._held:
                    raise self._overdue(error) from error
        failure = self._drop_confirmed()
        if failure is not None:
            self._begin_anew()
            raise in_words(failure, self._connection, f"{topics}: {len(self._held)} messages were refused and are held")

    def close(self) -> None:
        """Flush and let go; what it lets go of it lets go of even if the flush raises."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
        finally:
            self._let_go()
            self._on_close(self)

    def _producer(self) -> kafka.KafkaProducer:
        if self._inner is None:
            self._inner = connected(
                kafka.KafkaProducer,
                **self._connection.options(),
                acks="all",
                enable_idempotence=True,
                delivery_timeout_ms=_FOR_EVER_MS,
                linger_ms=5,
                batch_size=512 * 1024,
                max_request_size=KAFKA_MESSAGE_BYTES,
                max_block_ms=FLUSH_S * 1000,
                allow_auto_create_topics=False,
                partitioner=None,
                metrics_enabled=False,
            )
        return self._inner

    def _partitions(self, topic: str) -> int:
        """How many the topic has: asked once, so that a key keeps its place while this producer lives."""
        if topic not in self._counts:
            self._counts |= partition_counts(self._connection, [topic])
            if topic not in self._counts:
                raise errors.UnknownTopicOrPartitionError(topic)
        return self._counts[topic]

    def _pass_on(self, inner: kafka.KafkaProducer, held: Held) -> None:
        held.future = inner.send(
            held.topic,
            value=held.value,
            key=held.key,
            headers=held.headers,
            partition=held.partition,
            timestamp_ms=held.at_ms,
        )

    def _drop_confirmed(self) -> Exception | None:
        """Forget what is confirmed; the first failure among the rest, if any."""
        failed = [held for held in self._held if held.future is not None and held.future.failed()]
        self._held = [held for held in self._held if held.future is None or not held.future.succeeded()]
        self._bytes = sum(held.size for held in self._held)
        return failed[0].future.exception if failed else None

    def _overdue(self, error: Exception) -> BrokerError:
        gone: list[str] = []
        with contextlib.suppress(errors.KafkaError, OSError):  # nobody answers: `error` says so
            written = {held.topic for held in self._held}
            gone = sorted(written - partition_counts(self._connection, written).keys())
        if gone:
            return BrokerError(
                f"{self._connection.url}: topic {', '.join(gone)} is gone; {len(self._held)} messages are held. "
                "Intake stops; restart the line, which creates its topics"
            )
        what = f"{len(self._held)} messages are not confirmed within {FLUSH_S} s and are held"
        return in_words(error, self._connection, what)

    def _begin_anew(self) -> None:
        self._let_go()
        for held in self._held:
            held.future = None

    def _let_go(self) -> None:
        inner, self._inner = self._inner, None
        if inner is None:
            return
        try:
            inner.close(timeout=1.0)
        except errors.KafkaTimeoutError:
            # Its close flushes first and leaves its thread running where that fails.
            inner._sender.force_close()  # noqa: SLF001  # there is no public way to stop that thread
