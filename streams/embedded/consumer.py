"""Reads the partitions that the group grants.

Giving up a partition: a partition that is to go to another member is read no further, and given up in a later poll:
when all that was read of it is committed, or after a grace. So the caller has its chance to commit; if it comes too
late, its commit raises LeaseLost and the new owner reads the same messages again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from streams.contract import BrokerError, LeaseLost, Message, TopicPartition
from streams.embedded.leases import Membership
from streams.embedded.log import READ_BYTES, Bounds
from streams.embedded.store import Store

LOOK_S = 0.02  # how often a waiting poll looks for news
GRACE = 1 / 6  # of a lease, for committing what is to be given up


class EmbeddedConsumer:
    """The `streams.contract.Consumer` of the embedded broker."""

    def __init__(self, store: Store, group: str, topics: Sequence[str], on_close: Callable[[object], None]) -> None:
        self._store = store
        self._clock = store.options.clock
        self._on_close = on_close
        self._closed = False
        self._grace_ns = int(store.options.lease_s * GRACE * 1e9)
        wanted = [store.topic(name) for name in dict.fromkeys(topics)]
        self._membership = Membership(store.database, group, wanted, self._clock, store.options.lease_s)
        self._next: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}  # or where we began; kept when the lease is lost
        self._expired = 0
        self._turn = 0

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """Up to `max_messages`, in order per partition; an empty list after `timeout_s`."""
        if self._closed:
            raise BrokerError("the consumer is closed: open another one")
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        self._store.tidy()
        while True:
            self._renew()
            messages = self._fetch(max_messages) if max_messages > 0 else []
            left_s = (deadline_ns - self._clock.monotonic_ns()) / 1e9
            if messages or max_messages <= 0 or left_s <= 0:
                return messages
            self._clock.sleep(min(LOOK_S, left_s))

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Store the next offsets, all or none. Raises LeaseLost if one of the partitions is not ours."""
        wrong = [offset for offset in positions.values() if offset < 0]
        if wrong:
            raise ValueError(f"offset is {wrong[0]}, allowed is 0 or more: commit the next offset to read")
        if not positions:
            return
        try:
            self._membership.commit(positions)
        except LeaseLost:
            self._forget(self._next.keys() - self._membership.held.keys())
            raise
        self._committed.update(positions)

    def assignment(self) -> Mapping[TopicPartition, int]:
        """The partitions that we hold, with the position of the next read."""
        return dict(self._next)

    def seek(self, where: TopicPartition, offset: int) -> None:
        """Read from `offset` on next, or from the oldest message kept. Raises LeaseLost if it is not ours."""
        if where not in self._next:
            raise LeaseLost(f"{where.topic}/{where.partition} is not assigned to this consumer: poll first")
        oldest, _ = self._store.log_of(where.topic).bounds()[where.partition]
        self._next[where] = max(offset, oldest)

    def expired(self) -> int:
        """How many messages retention removed before this consumer could read them."""
        return self._expired

    def close(self) -> None:
        """Give the partitions back at once."""
        if self._closed:
            return
        self._closed = True
        try:
            with contextlib.suppress(BrokerError):  # a full disk: the leases then end by themselves
                self._membership.leave()
        finally:
            self._store.close()
            self._on_close(self)

    def _renew(self) -> None:
        renewal = self._membership.renew(self._may_release)
        self._forget(renewal.lost - renewal.gained.keys())
        for where, committed in renewal.gained.items():
            oldest, _ = self._store.log_of(where.topic).bounds()[where.partition]
            # not committed: a new group; or ours, that lost its lease before its first commit
            begin = self._committed.get(where, oldest) if committed is None else committed
            self._next[where] = self._committed[where] = begin

    def _may_release(self, where: TopicPartition) -> bool:
        waited_ns = self._clock.monotonic_ns() - self._membership.surplus[where]
        return self._next[where] <= self._committed[where] or waited_ns >= self._grace_ns

    def _forget(self, lost: set[TopicPartition] | frozenset[TopicPartition]) -> None:
        for where in lost:
            self._next.pop(where, None)

    def _fetch(self, max_messages: int) -> list[Message]:
        """Messages of all our partitions, an even part of each, beginning with another one every time."""
        ready = self._ready()
        self._turn += 1
        turn = self._turn % len(ready) if ready else 0
        found: list[Message] = []
        size = 0
        for number, where in enumerate(ready[turn:] + ready[:turn]):
            left = max_messages - len(found)
            if left <= 0 or size >= READ_BYTES:
                break
            share = -(-left // (len(ready) - number))
            try:
                messages = self._store.log_of(where.topic).read(where.partition, self._next[where], share)
            except BrokerError:
                if found:  # hand these out: their positions have moved; the next poll meets the error again
                    break
                raise
            if messages:
                self._pass_over(where, messages[0].offset)
                self._next[where] = messages[-1].offset + 1
                size += sum(len(message.value) for message in messages)
                found += messages
        return found

    def _ready(self) -> list[TopicPartition]:
        """Our partitions that hold something to read."""
        bounds: dict[str, Bounds] = {}
        ready = []
        for where in sorted(self._next):
            if where in self._membership.surplus:
                continue
            if where.topic not in bounds:
                bounds[where.topic] = self._store.log_of(where.topic).bounds()
            oldest, end = bounds[where.topic][where.partition]
            self._pass_over(where, oldest)
            if self._next[where] < end:
                ready.append(where)
        return ready

    def _pass_over(self, where: TopicPartition, oldest: int) -> None:
        """Count what retention removed before we read it."""
        if oldest > self._next[where]:
            self._expired += oldest - self._next[where]
            self._next[where] = oldest
