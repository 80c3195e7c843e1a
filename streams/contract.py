"""The contract that every broker keeps, so that nothing above it knows which one it talks to.

- A topic has partitions; a message's key decides its partition, so one key's messages keep their order.
- *Accepted* means durable: `Producer.flush` returns only when everything sent before survives `kill -9`.
- A group shares the partitions of a topic among its live consumers. A consumer that has lost a partition
  cannot commit it: `commit` raises `LeaseLost` and changes nothing.
- Offsets are the *next* message to read. What retention removed before it was read is counted as expired.

Callers import these names from `streams.broker`; brokers import them from here, so that no import runs in a circle.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_PARTITIONS = 4096
SHORT_RETENTION_S = 2 * 86_400.0

_TOPIC_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


class BrokerError(Exception):
    """The broker could not do what was asked; the text says what to do."""


class BrokerAbsent(BrokerError):
    """Nobody answers where the broker should be: wait, it may come."""


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
    """How a topic must be: `partitions` at least the most workers there will ever be.

    `segmented` says that its messages are large and short-lived, so that a broker with files of its own keeps them in
    files that retention unlinks whole; None decides by the retention: two days or less.
    Raises ValueError for a name, a number or a time that no broker can keep.
    """

    name: str
    partitions: int = 8
    retention_s: float = 7 * 86_400.0
    segmented: bool | None = None

    def __post_init__(self) -> None:
        if not _TOPIC_NAME.fullmatch(self.name):
            raise ValueError(
                f"topic is {self.name!r}, allowed are up to 200 of A-Z a-z 0-9 . _ - (no dot or dash first)"
            )
        if not 1 <= self.partitions <= MAX_PARTITIONS:
            raise ValueError(f"partitions of {self.name} is {self.partitions!r}, allowed is 1 to {MAX_PARTITIONS}")
        if not self.retention_s > 0:
            raise ValueError(
                f"retention_s of {self.name} is {self.retention_s!r}, allowed is a time in seconds above 0"
            )

    @property
    def in_segments(self) -> bool:
        """Whether its messages go to files that are unlinked whole."""
        return self.retention_s <= SHORT_RETENTION_S if self.segmented is None else self.segmented


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


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key: CRC-32 of its UTF-8 text, the same on every broker and in every run."""
    return zlib.crc32(key.encode()) % partitions


def check_message(key: str, value: bytes, headers: Mapping[str, str]) -> None:
    """Raise MessageTooLarge over the limit, ValueError for text that UTF-8 cannot carry."""
    try:
        size = len(key.encode()) + len(value) + sum(len(k.encode()) + len(v.encode()) for k, v in headers.items())
    except UnicodeEncodeError as error:
        raise ValueError(
            f"key or header of message {key!a} has {error.object[error.start]!a}: use valid Unicode"
        ) from error
    if size > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(
            f"message of key {key} has {size} bytes, allowed is {MAX_MESSAGE_BYTES}: send less at once"
        )


class Producer(Protocol):
    """Writes messages. Not shared between threads."""

    def send(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Take a message; it may wait in memory until `flush`.

        When too much waits, it flushes first. Whatever it raises (MessageTooLarge, StorageFull, BrokerError), this
        message was not taken, and those before it are kept.
        """

    def flush(self) -> None:
        """Return once all that was sent is durable.

        Raises StorageFull or BrokerError, and then keeps what it holds for another try.
        """

    def close(self) -> None:
        """Flush and let go."""


class Consumer(Protocol):
    """Reads the partitions that its group grants it. Not shared between threads."""

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """Up to `max_messages`, in order per partition; an empty list after `timeout_s`. Renews the leases.

        `max_messages` 0 only renews them: what a caller that cannot go on yet has to do now and then.
        """

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Store the next offset per partition, all or none.

        Raises LeaseLost for a partition that is not ours any more; then `assignment` does not list it any more.
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
