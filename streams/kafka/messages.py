"""Between Kafka's records and the contract's messages."""

from __future__ import annotations

from typing import Any

import kafka

from streams.contract import Message, TopicPartition


def position(where: TopicPartition) -> kafka.TopicPartition:
    """The partition as kafka-python names it."""
    return kafka.TopicPartition(where.topic, where.partition)


def text_of(raw: bytes | str | None) -> str:
    """Text as it was sent; what is not UTF-8 is kept visible, so that garbage becomes a dead letter, not a crash."""
    if raw is None:
        return ""
    return raw if isinstance(raw, str) else raw.decode("utf-8", errors="backslashreplace")


def message_of(record: Any) -> Message:  # noqa: ANN401  # two libraries, one shape, no types
    """The message of a record of kafka-python or of aiokafka. A missing key or value is an empty one."""
    return Message(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=text_of(record.key),
        value=record.value or b"",
        headers={text_of(name): text_of(value) for name, value in record.headers or ()},
        timestamp_ns=record.timestamp * 1_000_000,
    )
