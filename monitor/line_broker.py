"""The broker of a line, with its topics as the design has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from monitor.console import warn
from monitor.settings import Line
from streams.broker import Broker, BrokerAbsent, Message, TopicPartition, TopicSpec, open_broker
from streams.records import TOPIC_ALERTS, TOPIC_DEAD, TOPIC_SCORES, TOPIC_WINDOWS

WORKERS = "workers"  # the group that scores windows
LOOK_S = 1.0  # how often a process that waits for Kafka looks again


def topics(line: Line) -> tuple[TopicSpec, ...]:
    """The four topics: sound is kept briefly, results long."""
    partitions, long = line.broker.partitions, line.broker.results_retention_s
    return (
        TopicSpec(TOPIC_WINDOWS, partitions, line.broker.windows_retention_s, segmented=True),
        TopicSpec(TOPIC_SCORES, partitions, long, segmented=False),
        TopicSpec(TOPIC_ALERTS, partitions, long, segmented=False),
        TopicSpec(TOPIC_DEAD, partitions, long, segmented=False),
    )


def open_line_broker(line: Line, *, stop: Callable[[], bool] | None = None) -> Broker:
    """Open the line's broker and make sure that its topics exist. Raises BrokerError.

    With `stop`, a Kafka that is not there yet is waited for until then.
    """
    broker = open_broker(
        line.broker.url,
        min_free_bytes=line.broker.min_free_mb * 1_000_000,
        security=line.broker.security.contract(),
    )
    told = False
    while True:
        try:
            broker.ensure_topics(topics(line))
        except BrokerAbsent as error:
            if stop is None or stop():
                raise
            if not told:
                warn(f"waiting: {error}")
                told = True
            time.sleep(LOOK_S)
        else:
            return broker


def messages(broker: Broker, topic: str, chunk: int = 500) -> Iterator[Message]:
    """Every message that a topic holds now, partition by partition, `chunk` in memory at a time."""
    for partition, (start, end) in broker.bounds(topic).items():
        position = start
        while position < end:
            found = broker.read(TopicPartition(topic, partition), position, chunk)
            if not found:
                break
            yield from found
            position = found[-1].offset + 1
