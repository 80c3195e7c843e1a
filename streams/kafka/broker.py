"""Apache Kafka behind the contract of `streams.contract`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

import kafka
from kafka import errors
from kafka.structs import OffsetAndMetadata

from streams.contract import BrokerError, Message, TopicPartition, TopicSpec
from streams.kafka import topics
from streams.kafka.admin import admin
from streams.kafka.clients import connected
from streams.kafka.connection import KAFKA_MESSAGE_BYTES, REQUEST_S, Connection, told
from streams.kafka.consumer import KafkaConsumer
from streams.kafka.messages import message_of, position
from streams.kafka.producer import KafkaProducer
from streams.security import Security

_NO_COORDINATOR = (
    errors.CoordinatorNotAvailableError,
    errors.CoordinatorLoadInProgressError,
    errors.NotCoordinatorError,
)
Child = TypeVar("Child", KafkaProducer, KafkaConsumer)


class KafkaBroker:
    """Kafka at `kafka://host:port[,host:port...]`. Its own methods may be called from several threads.

    Nothing is connected before it is needed. Raises ValueError for another url, BrokerError where Kafka does not
    answer or refuses.
    """

    def __init__(self, url: str, *, lease_s: float = 30.0, security: Security | None = None) -> None:
        self.connection = Connection.parse(url, security)
        self.url = self.connection.url
        self._lease_s = lease_s
        self._lock = threading.RLock()
        self._reader: kafka.KafkaConsumer | None = None
        self._admin: kafka.KafkaAdminClient | None = None
        self._children: list[KafkaProducer | KafkaConsumer] = []

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Create what is missing; raise BrokerError, naming the setting, where an existing topic does not fit."""
        with told(self.connection, "cannot make the topics ready"), admin(self.connection) as client:
            topics.ensure(client, specs)

    def producer(self) -> KafkaProducer:
        """A new producer."""
        return self._adopt(KafkaProducer(self.connection, self._forget))

    def consumer(self, group: str, topics: Sequence[str]) -> KafkaConsumer:
        """A new member of `group`; a new group starts at the oldest message."""
        return self._adopt(KafkaConsumer(self.connection, group, topics, self._lease_s, self._forget))

    def read(self, where: TopicPartition, start: int, max_messages: int) -> list[Message]:
        """Messages from offset `start` on (or from the oldest kept one), outside any group."""
        place = position(where)
        with self._lock, told(self.connection, f"cannot read {where.topic}/{where.partition}"):
            reader = self._connected()
            self._check(reader, where)
            oldest, end = reader.beginning_offsets([place])[place], reader.end_offsets([place])[place]
            at, last = max(start, oldest), min(end, max(start, oldest) + max_messages)
            found: list[Message] = []
            reader.assign([place])
            reader.seek(place, at)
            while at < last:
                records = reader.poll(timeout_ms=REQUEST_S * 1000, max_records=last - at).get(place, [])
                if not records:
                    raise errors.KafkaTimeoutError(f"{at} to {last} did not arrive")
                found += [message_of(record) for record in records]
                at = found[-1].offset + 1
            return found

    def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Per partition: the oldest kept offset, and the offset that the next message will get."""
        with self._lock, told(self.connection, f"cannot look into {topic}"):
            reader = self._connected()
            places = [kafka.TopicPartition(topic, number) for number in sorted(self._partitions(reader, topic))]
            oldest, ends = reader.beginning_offsets(places), reader.end_offsets(places)
            return {place.partition: (oldest[place], ends[place]) for place in places}

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Per partition: the group's next offset; a partition never committed is absent."""
        with self._lock, told(self.connection, f"cannot look into group {group}"):
            found = self._group_offsets(group)
        return {where.partition: at.offset for where, at in found.items() if where.topic == topic and at.offset >= 0}

    def close(self) -> None:
        """Close everything that this broker opened."""
        failed: BrokerError | None = None
        for child in list(self._children):
            try:
                child.close()
            except BrokerError as error:
                failed = failed or error
        with self._lock:
            self._close_admin()
            reader, self._reader = self._reader, None
            if reader is not None:
                with contextlib.suppress(errors.KafkaError, OSError):
                    reader.close(autocommit=False)
        if failed:
            raise failed

    def _group_offsets(self, group: str) -> Mapping[kafka.TopicPartition, OffsetAndMetadata]:
        deadline_s = time.monotonic() + REQUEST_S
        while True:
            try:
                if self._admin is None:
                    self._admin = connected(kafka.KafkaAdminClient, **self.connection.options())
                return dict(self._admin.list_group_offsets(group)[group])
            except _NO_COORDINATOR:  # a new Kafka makes its topic of offsets when it is first asked
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.1)
            except errors.KafkaError:
                self._close_admin()  # the next call connects anew
                raise

    def _close_admin(self) -> None:
        client, self._admin = self._admin, None
        if client is not None:
            with contextlib.suppress(errors.KafkaError, OSError):
                client.close()

    def _connected(self) -> kafka.KafkaConsumer:
        if self._reader is None:
            self._reader = connected(
                kafka.KafkaConsumer,
                **self.connection.options(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                max_partition_fetch_bytes=KAFKA_MESSAGE_BYTES,
                fetch_max_wait_ms=100,
                metrics_enabled=False,
            )
        return self._reader

    def _partitions(self, reader: kafka.KafkaConsumer, topic: str) -> set[int]:
        found: set[int] = reader.partitions_for_topic(topic)
        if not found:
            raise BrokerError(f"{self.url}: there is no topic {topic}: make it with ensure_topics")
        return found

    def _check(self, reader: kafka.KafkaConsumer, where: TopicPartition) -> None:
        partitions = self._partitions(reader, where.topic)
        if where.partition not in partitions:
            raise BrokerError(f"topic {where.topic} has partitions 0 to {len(partitions) - 1}, not {where.partition}")

    def _adopt(self, child: Child) -> Child:
        with self._lock:
            self._children.append(child)
        return child

    def _forget(self, child: object) -> None:
        with self._lock:
            self._children = [one for one in self._children if one is not child]
