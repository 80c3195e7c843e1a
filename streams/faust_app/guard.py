"""Whether what was delivered has a hole.

Faust takes an offset that it did not see for one that never was, acknowledges it and commits beyond it. On our topics
offsets have no holes but those that retention makes, so every other one is a message that must be read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streams.contract import TopicPartition

Bounds = Callable[[TopicPartition], int]  # the oldest offset that is kept
Start = Callable[[TopicPartition], int | None]  # what the group has committed


class Hole(Exception):
    """Messages were passed over: begin again at what is committed."""


@dataclass
class Guard:
    """The next offset of each partition, for one generation of the group."""

    committed: Start
    oldest: Bounds
    next: dict[TopicPartition, int] = field(default_factory=dict)
    expired: int = 0

    def forget(self) -> None:
        """A new generation: positions are what the group has committed."""
        self.next.clear()

    def check(self, offsets: Mapping[TopicPartition, list[int]]) -> dict[TopicPartition, list[int]]:
        """The offsets that are new, without repetitions. Raises Hole."""
        fresh: dict[TopicPartition, list[int]] = {}
        for where, found in offsets.items():
            expected = self.next.get(where)
            if expected is None:
                committed = self.committed(where)
                expected = self.oldest(where) if committed is None else committed
                expected = min(expected, found[0])
            for offset in found:
                if offset > expected:
                    self._gone(where, expected, offset)
                    expected = offset
                if offset == expected:
                    fresh.setdefault(where, []).append(offset)
                    expected += 1
            self.next[where] = expected
        return fresh

    def _gone(self, where: TopicPartition, expected: int, offset: int) -> None:
        """Count what retention took before it was read; anything else is a hole."""
        if self.oldest(where) < offset:
            raise Hole(f"{where.topic}/{where.partition}: {offset} came where {expected} was to come")
        self.expired += offset - expected
