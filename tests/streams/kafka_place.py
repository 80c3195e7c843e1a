"""A view of the session's Kafka for the contract suite: its time is real, its leases are short."""

import time
import uuid

import kafka

from streams.broker import Broker, Consumer
from streams.kafka.admin import admin
from streams.kafka.broker import KafkaBroker
from streams.kafka.consumer import KafkaConsumer

LEASE_S = 2.0


class KafkaPlace:
    """The `broker_contract.Place` of a real Kafka."""

    lease_s = LEASE_S

    def __init__(self, url: str) -> None:
        self.url = url
        self.opened: list[KafkaBroker] = []
        self._mark = uuid.uuid4().hex[:8]

    def open(self) -> KafkaBroker:
        broker = KafkaBroker(self.url, lease_s=LEASE_S)
        self.opened.append(broker)
        return broker

    def close(self) -> None:
        for broker in self.opened:
            broker.close()

    def name(self, name: str) -> str:
        return f"{name}-{self._mark}-{uuid.uuid4().hex[:4]}"

    def now_s(self) -> float:
        return time.monotonic()

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)

    def vanish(self, consumer: Consumer) -> None:
        """Cut its heart-beat and all else that it would say."""
        assert isinstance(consumer, KafkaConsumer)
        consumer._inner._net.stop()

    def expire(self, broker: Broker, topic: str) -> None:
        assert isinstance(broker, KafkaBroker)
        ends = {kafka.TopicPartition(topic, number): end for number, (_, end) in broker.bounds(topic).items()}
        with admin(broker.connection) as client:
            client.delete_records(ends)
