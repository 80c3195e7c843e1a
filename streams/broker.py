"""The contract that every broker keeps, so that nothing above it knows which one it talks to.

- A topic has partitions; a message's key decides its partition, so one key's messages keep their order.
- *Accepted* means durable: `Producer.flush` returns only when everything sent before survives `kill -9`.
- A group shares the partitions of a topic among its live consumers. A consumer that has lost a partition
  cannot commit it: `commit` raises `LeaseLost` and changes nothing.
- Offsets are the *next* message to read. What retention removed before it was read is counted as expired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

MAX_MESSAGE_BYTES = 4 * 1024 * 1024


class BrokerError(Exception):
    """The broker could not do what was asked; the text says what to do."""


class StorageFull(BrokerError):
    """Nothing more can be stored; nothing that was accepted before is lost. Try again when there is room."""


class LeaseLost(BrokerError):
    """Another consumer owns the partition now: what was processed will be processed again by its owner."""


class MessageTooLarge(BrokerError):
    """The message is over `MAX_MESSAGE_BYTES`."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic must be: `partitions` at least the most workers there will ever be."""

    name: str
    partitions: int = 8
    retention_s: float = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was stored."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    timestamp_ns: int = 0

    @property
    def source(self) -> TopicPartition:
        """Where the message lies."""
        return TopicPartition(self.topic, self.partition)


class Producer(Protocol):
    """Writes messages. Not shared between threads."""

    def send(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Take a message; it may wait in memory until `flush`. Raises MessageTooLarge before anything is taken."""

    def flush(self) -> None:
        """Return once all that was sent is durable.

        Raises StorageFull or BrokerError, and then keeps what it holds for another try.
        """

    def close(self) -> None:
        """Flush and let go."""


class Consumer(Protocol):
    """Reads the partitions that its group grants it. Not shared between threads."""

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """Up to `max_messages`, in order per partition; an empty list after `timeout_s`. Renews the leases."""

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Store the next offset per partition, all or none.

        Raises LeaseLost for a partition that is not ours any more.
        """

    def assignment(self) -> Mapping[TopicPartition, int]:
        """The partitions that we hold now, with the position of the next read."""

    def seek(self, where: TopicPartition, offset: int) -> None:
        """Read from `offset` on next."""

    def expired(self) -> int:
        """How many messages retention removed before this consumer could read them, since it was opened."""

    def close(self) -> None:
        """Give the partitions back at once."""


class Broker(Protocol):
    """One place where topics live."""

    url: str

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Create what is missing; raise BrokerError where an existing topic has fewer partitions than asked."""

    def producer(self) -> Producer:
        """A new producer."""

    def consumer(self, group: str, topics: Sequence[str]) -> Consumer:
        """A new member of `group`; a new group starts at the oldest message."""

    def read(self, where: TopicPartition, start: int, max_messages: int) -> list[Message]:
        """Messages from offset `start` on (or from the oldest kept one), outside any group."""

    def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Per partition: the oldest kept offset, and the offset that the next message will get."""

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Per partition: the group's next offset; a partition never committed is absent."""

    def close(self) -> None:
        """Close everything that this broker opened."""


def open_broker(url: str) -> Broker:
    """The broker at `url`: `embedded:DIR` or `kafka://host:port`. Raises ValueError for any other text."""
    scheme, _, rest = url.partition(":")
    if scheme == "embedded" and rest:
        from streams.embedded.broker import EmbeddedBroker

        return EmbeddedBroker(rest)
    if scheme == "kafka":
        raise BrokerError("kafka:// is not built yet: use embedded:DIR")
    raise ValueError(f"broker url is {url!r}, allowed is embedded:DIR or kafka://host:port")
