"""Reading from Kafka as a member of a group."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import kafka
from kafka import errors
from kafka.structs import OffsetAndMetadata

from streams.contract import BrokerError, LeaseLost, Message, TopicPartition
from streams.kafka.clients import connected
from streams.kafka.connection import KAFKA_MESSAGE_BYTES, Connection, told
from streams.kafka.messages import message_of, position

SESSION_S = 10  # a member that Kafka has not heard of for so long is dead
COMMIT_S = 10
CLOSE_S = 5
LOOK_FOR_TOPIC_S = 5.0


class _Watcher(kafka.ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships no types
    """Hears from kafka-python, inside `poll`, which partitions are ours."""

    def __init__(self, owned: set[kafka.TopicPartition]) -> None:
        self._owned = owned

    def on_partitions_revoked(self, revoked: set[kafka.TopicPartition]) -> None:
        self._owned.difference_update(revoked)

    def on_partitions_assigned(self, assigned: set[kafka.TopicPartition]) -> None:
        self._owned.update(assigned)

    def on_partitions_lost(self, lost: set[kafka.TopicPartition]) -> None:
        self._owned.difference_update(lost)


class KafkaConsumer:
    """A `streams.contract.Consumer`. Not shared between threads.

    `lease_s` is how long it may go without a poll. Positions never reset by themselves: where there is none, or where
    retention was faster, it is set here, and what is missing is counted.
    """

    def __init__(
        self,
        connection: Connection,
        group: str,
        topics: Sequence[str],
        lease_s: float,
        on_close: Callable[[object], None],
    ) -> None:
        self._connection = connection
        self._topics = tuple(dict.fromkeys(topics))
        self._on_close = on_close
        self._owned: set[kafka.TopicPartition] = set()
        self._expired = 0
        self._closed = False
        self._looked_s = time.monotonic()
        session_s = min(SESSION_S, lease_s)
        with told(connection, f"cannot join group {group} of {', '.join(self._topics)}"):
            self._inner = connected(
                kafka.KafkaConsumer,
                **connection.options(),
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="none",
                allow_auto_create_topics=False,
                max_poll_interval_ms=round(lease_s * 1000),
                session_timeout_ms=round(session_s * 1000),
                heartbeat_interval_ms=round(session_s * 1000 / 5),
                max_partition_fetch_bytes=KAFKA_MESSAGE_BYTES,
                fetch_max_bytes=4 * KAFKA_MESSAGE_BYTES,
                fetch_max_wait_ms=100,
                metadata_max_age_ms=30_000,
                metrics_enabled=False,
            )
            # Known before joining: a leader without them would assign nothing, to anybody, and not look again.
            unknown = [topic for topic in self._topics if not self._inner.partitions_for_topic(topic)]
            if unknown:
                self._inner.close(autocommit=False)
                raise errors.UnknownTopicOrPartitionError(", ".join(unknown))
            self._inner.subscribe(topics=self._topics, listener=_Watcher(self._owned))

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """Up to `max_messages`, in order per partition; an empty list after `timeout_s`.

        Raises BrokerError where a topic is gone.
        """
        if self._closed:
            raise BrokerError("the consumer is closed: open another one")
        if max_messages <= 0:
            return self._renew(timeout_s)
        deadline_s = time.monotonic() + timeout_s
        with told(self._connection, f"cannot read {', '.join(self._topics)}"):
            while True:
                left_s = max(0.0, deadline_s - time.monotonic())
                records = self._poll_once(max_messages, left_s)
                if records:
                    return records
                if time.monotonic() >= deadline_s:
                    self._look_for_topics()
                    return []

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Store the next offsets, all or none. Raises LeaseLost if one of the partitions is not ours."""
        wrong = [offset for offset in positions.values() if offset < 0]
        if wrong:
            raise ValueError(f"offset is {wrong[0]}, allowed is 0 or more: commit the next offset to read")
        if not positions:
            return
        foreign = [where for where in positions if position(where) not in self._owned]
        if foreign:
            raise LeaseLost(f"{foreign[0].topic}/{foreign[0].partition} has gone to another member of the group")
        offsets = {position(where): OffsetAndMetadata(offset, "", -1) for where, offset in positions.items()}
        try:
            with told(self._connection, "cannot commit"):
                self._inner.commit(offsets, timeout_ms=COMMIT_S * 1000)
        except LeaseLost:
            self._owned.clear()  # the group goes on without us; the next poll joins it again
            raise

    def assignment(self) -> Mapping[TopicPartition, int]:
        """The partitions that we hold, with the position of the next read."""
        held = {}
        with told(self._connection, "cannot find the positions"):
            for where in sorted(self._owned & self._inner.assignment()):
                held[TopicPartition(*where)] = self._position(where)
        return held

    def seek(self, where: TopicPartition, offset: int) -> None:
        """Read from `offset` on next, or from the oldest message kept. Raises LeaseLost if it is not ours."""
        if position(where) not in self._owned:
            raise LeaseLost(f"{where.topic}/{where.partition} is not assigned to this consumer: poll first")
        with told(self._connection, f"cannot seek in {where.topic}"):
            oldest = self._inner.beginning_offsets([position(where)])[position(where)]
            self._inner.seek(position(where), max(offset, oldest))

    def expired(self) -> int:
        """How many messages retention removed before this consumer could read them."""
        return self._expired

    def close(self) -> None:
        """Give the partitions back at once."""
        if self._closed:
            return
        self._closed = True
        self._owned.clear()
        try:
            self._inner.close(autocommit=False, timeout_ms=CLOSE_S * 1000)
        except (errors.KafkaError, OSError):
            pass  # nobody answers: the session ends by itself
        finally:
            self._on_close(self)

    def _renew(self, timeout_s: float) -> list[Message]:
        """Tell the group that we live, and read nothing."""
        with told(self._connection, "cannot stay in the group"):
            before = self._inner.assignment()
            self._inner.pause(*before)
            try:
                messages = self._poll_once(1, timeout_s)
            finally:
                self._inner.resume(*(before & self._inner.assignment()))
            for message in reversed(messages):  # of a partition that came to us just now: read it again later
                self._inner.seek(position(message.source), message.offset)
        return []

    def _poll_once(self, max_messages: int, timeout_s: float) -> list[Message]:
        try:
            polled = self._inner.poll(timeout_ms=timeout_s * 1000, max_records=max_messages)
        except errors.NoOffsetForPartitionError as error:  # a group that never committed: from the oldest on
            self._to_oldest(dict.fromkeys(error.args[0]))
        except errors.OffsetOutOfRangeError as error:
            self._to_oldest(error.args[0])
        except errors.LogTruncationError as error:  # a replica with less took over: some is read twice
            for where, end in error.divergent_offsets.items():
                self._to_oldest({where: None}) if end is None else self._inner.seek(where, end.offset)
        else:
            return [message_of(record) for records in polled.values() for record in records]
        return []

    def _position(self, where: kafka.TopicPartition) -> int:
        try:
            found = self._inner.position(where, timeout_ms=COMMIT_S * 1000)
        except errors.NoOffsetForPartitionError as error:
            self._to_oldest(dict.fromkeys(error.args[0]))
            found = self._inner.position(where, timeout_ms=COMMIT_S * 1000)
        if found is None:
            raise errors.KafkaTimeoutError(f"no position of {where.topic}/{where.partition}")
        return int(found)

    def _to_oldest(self, missed: Mapping[kafka.TopicPartition, int | None]) -> None:
        """Set positions to the oldest message, and count what lay between."""
        oldest = self._inner.beginning_offsets(list(missed))
        for where, wanted in missed.items():
            if wanted is not None:
                self._expired += max(0, oldest[where] - wanted)
            self._inner.seek(where, oldest[where])

    def _look_for_topics(self) -> None:
        if time.monotonic() - self._looked_s < LOOK_FOR_TOPIC_S:
            return
        self._looked_s = time.monotonic()
        for topic in self._topics:
            if not self._inner.partitions_for_topic(topic):
                raise errors.UnknownTopicOrPartitionError(topic)
