"""Scores in the order of their sound: the partitions of a topic merged by event time.

Machines are compared with each other (`hall_alarms`), so a backlog must not be read partition by partition. The order
within a partition is kept; between partitions the score whose sound ended first comes first, and nothing is handed
out while a partition that may hold an earlier one has not been read on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from streams import codec
from streams.broker import Broker, Message, TopicPartition
from streams.records import TOPIC_SCORES, WindowScore

LEAST = 16  # messages of a partition that are read at once


class Read(NamedTuple):
    """One message with its score, or with what is wrong with it."""

    message: Message
    where: TopicPartition
    score: WindowScore | None
    error: codec.CodecError | None

    @property
    def end_ns(self) -> int:
        """When its sound ended; what cannot be read waits for nobody."""
        return self.score.end_ns if self.score else 0


class ScoreReader:
    """Reads the topic of scores from `offsets` on (partition -> next offset)."""

    def __init__(self, broker: Broker, offsets: dict[int, int]) -> None:
        self._broker = broker
        self._next = dict(offsets)
        self._ahead: dict[int, deque[Read]] = {}
        self.all_read = False

    def pull(self, limit: int) -> Iterator[Read]:
        """Up to `limit` scores; afterwards `all_read` says whether there was no more. Raises BrokerError."""
        partitions = list(self._broker.bounds(TOPIC_SCORES))
        chunk = max(LEAST, limit // max(1, len(partitions)))
        dry = {partition for partition in partitions if not self._fill(partition, chunk)}
        for _ in range(limit):
            full = {partition: ahead for partition, ahead in self._ahead.items() if ahead}
            if not full:
                break
            first = min(full, key=lambda partition: (full[partition][0].end_ns, partition))
            yield full[first].popleft()
            if not full[first] and first not in dry and not self._fill(first, chunk):
                dry.add(first)
        self.all_read = not any(self._ahead.values())

    def _fill(self, partition: int, chunk: int) -> bool:
        """Read on where nothing of the partition is ahead; False where it has no more for now."""
        ahead = self._ahead.setdefault(partition, deque())
        if ahead:
            return True
        where = TopicPartition(TOPIC_SCORES, partition)
        messages = self._broker.read(where, self._next.get(partition, 0), chunk)
        for message in messages:
            self._next[partition] = message.offset + 1
            ahead.append(_read(message, where))
        return bool(messages)


def _read(message: Message, where: TopicPartition) -> Read:
    try:
        return Read(message, where, codec.decode_score(message), None)
    except codec.CodecError as error:
        return Read(message, where, None, error)
