"""A real Kafka keeps the same contract as the embedded broker, by the same suite."""

from collections.abc import Iterator

import pytest
from broker_contract import BrokerContract
from kafka_place import KafkaPlace
from kafka_server import KafkaServer

pytestmark = pytest.mark.xdist_group("kafka")


class TestKafka(BrokerContract):
    @pytest.fixture
    def place(self, kafka_server: KafkaServer) -> Iterator[KafkaPlace]:
        place = KafkaPlace(kafka_server.url)
        yield place
        place.close()
