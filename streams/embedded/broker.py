"""The embedded broker: the contract of `streams.contract` in one folder."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from streams.contract import BrokerError, Message, TopicPartition, TopicSpec
from streams.embedded import leases
from streams.embedded.consumer import EmbeddedConsumer
from streams.embedded.producer import EmbeddedProducer
from streams.embedded.store import MIN_FREE_BYTES, Options, Store

Child = TypeVar("Child", EmbeddedProducer, EmbeddedConsumer)


class EmbeddedBroker:
    """A broker in a folder, for any number of processes on one machine.

    Its own methods may be called from several threads. Open it after a fork, not before. Raises BrokerError for a
    folder that cannot be used and for a damaged or foreign file, and names it.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        lease_s: float = 30.0,
        min_free_bytes: int = MIN_FREE_BYTES,
        options: Options | None = None,
    ) -> None:
        self._options = options or Options(lease_s=lease_s, min_free_bytes=min_free_bytes)
        self._folder = Path(folder).absolute()
        self.url = f"embedded:{folder}"
        self._store = Store(self._folder, self._options)
        self._lock = threading.RLock()
        self._children: list[EmbeddedProducer | EmbeddedConsumer] = []

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Create what is missing; raise BrokerError where an existing topic has fewer partitions than asked."""
        with self._lock:
            self._store.ensure_topics(specs)

    def producer(self) -> EmbeddedProducer:
        """A new producer."""
        return self._adopt(EmbeddedProducer(Store(self._folder, self._options), self._forget))

    def consumer(self, group: str, topics: Sequence[str]) -> EmbeddedConsumer:
        """A new member of `group`; a new group starts at the oldest message."""
        store = Store(self._folder, self._options)
        try:
            return self._adopt(EmbeddedConsumer(store, group, topics, self._forget))
        except BaseException:
            store.close()
            raise

    def read(self, where: TopicPartition, start: int, max_messages: int) -> list[Message]:
        """Messages from offset `start` on (or from the oldest kept one), outside any group."""
        with self._lock:
            partitions = self._store.topic(where.topic).partitions
            if not 0 <= where.partition < partitions:
                raise BrokerError(f"topic {where.topic} has partitions 0 to {partitions - 1}, not {where.partition}")
            return self._store.log_of(where.topic).read(where.partition, start, max_messages)

    def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Per partition: the oldest kept offset, and the offset that the next message will get."""
        with self._lock:
            return self._store.log_of(topic).bounds()

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Per partition: the group's next offset; a partition never committed is absent."""
        with self._lock, self._store.database.read() as connection:
            return leases.committed(connection, group, topic)

    def expire(self) -> None:
        """Let retention do its work now; appending and polling do so by themselves every minute or so."""
        with self._lock:
            self._store.tidy(now=True)

    def close(self) -> None:
        """Close everything that this broker opened."""
        failed: BrokerError | None = None
        for child in list(self._children):
            try:
                child.close()
            except BrokerError as error:
                failed = failed or error
        with self._lock:
            self._store.close()
        if failed:
            raise failed

    def _adopt(self, child: Child) -> Child:
        with self._lock:
            self._children.append(child)
        return child

    def _forget(self, child: object) -> None:
        with self._lock:
            self._children = [one for one in self._children if one is not child]
