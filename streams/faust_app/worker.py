"""A worker on Kafka: the loop of `streams.worker`, fed by Faust."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from streams.contract import BrokerAbsent, Consumer, Message, Producer, TopicPartition, TopicSpec
from streams.faust_app.app import SESSION_S, Intake
from streams.faust_app.consumer import FaustConsumer
from streams.kafka.broker import KafkaBroker
from streams.records import TOPIC_DEAD
from streams.worker import BatchLimits, Processor, WorkerTotals, run_worker

ABSENT_S = 1.0  # how often a worker that found no Kafka tries again
_logger = logging.getLogger(__name__)


def run_faust_worker(
    broker: KafkaBroker,
    group: str,
    topics: Sequence[str],
    processor: Processor,
    *,
    limits: BatchLimits | None = None,
    stop: Callable[[], bool],
    probe: Callable[[str], None] = lambda _: None,
    on_state: Callable[[str], None] = lambda _: None,
    on_batch: Callable[[WorkerTotals], None] = lambda _: None,
    session_s: float = SESSION_S,
    lease_s: float = 120.0,
    stall_s: float = 12.0,
) -> WorkerTotals:
    """As `streams.worker.run_worker`, with Faust between Kafka and the loop; both hold the same promise.

    The processor runs in the calling thread, one device per worker; Faust runs in threads of its own, so that
    heart-beats go on whatever the device does. A worker that Kafka has not heard of for `session_s` is dead to its
    group; one that does not finish a batch within `lease_s`, or stands still for `stall_s`, leaves it and joins anew.
    Waits for a Kafka that is absent. Raises ConsumerStuck where only a new process helps.
    """
    limits = limits or BatchLimits()
    intake = Intake(group, tuple(topics), limits.max_messages, limits.max_wait_s, session_s)
    if not _await_kafka(broker, stop, on_state):
        return WorkerTotals()
    return run_worker(
        _FaustBroker(broker, intake, lease_s, stall_s),
        group,
        topics,
        processor,
        limits=BatchLimits(limits.max_messages, 0.0),  # Faust has gathered the batch already
        stop=stop,
        probe=probe,
        on_state=on_state,
        on_batch=on_batch,
    )


def _await_kafka(broker: KafkaBroker, stop: Callable[[], bool], on_state: Callable[[str], None]) -> bool:
    told = False
    while not stop():
        try:
            broker.bounds(TOPIC_DEAD)
        except BrokerAbsent as error:
            if not told:
                on_state("broker_error")
                _logger.warning("the worker waits: %s", error)
            told = True
            time.sleep(ABSENT_S)
        else:
            return True
    return False


class _FaustBroker:
    """Kafka, with consumers on Faust."""

    def __init__(self, broker: KafkaBroker, intake: Intake, lease_s: float, stall_s: float) -> None:
        self._broker = broker
        self._intake = intake
        self._lease_s = lease_s
        self._stall_s = stall_s
        self.url = broker.url

    def consumer(self, group: str, topics: Sequence[str]) -> Consumer:
        """A member of the group. Raises BrokerError where a topic is missing: Faust alone would wait for ever."""
        if (group, tuple(topics)) != (self._intake.group, self._intake.topics):
            raise ValueError(
                f"this worker reads {self._intake.topics} as {self._intake.group}, not {topics} as {group}"
            )
        for topic in topics:
            self._broker.bounds(topic)
        return FaustConsumer(self._broker, self._intake, lease_s=self._lease_s, stall_s=self._stall_s)

    def producer(self) -> Producer:
        """A new producer."""
        return self._broker.producer()

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """As the broker does."""
        self._broker.ensure_topics(specs)

    def read(self, where: TopicPartition, start: int, max_messages: int) -> list[Message]:
        """As the broker does."""
        return self._broker.read(where, start, max_messages)

    def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """As the broker does."""
        return self._broker.bounds(topic)

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """As the broker does."""
        return self._broker.committed(group, topic)

    def close(self) -> None:
        """As the broker does."""
        self._broker.close()
