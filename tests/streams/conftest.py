"""What the fault tests on Kafka share: a Kafka that they may kill, a ledger outside the system, workers that end."""

from collections.abc import Iterator

import pytest
from kafka_ledger import Ledger, Start, Worker
from kafka_server import KafkaServer


@pytest.fixture(scope="module")
def own_kafka(kafka_absent: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka of the module's own, since its tests kill it."""
    if kafka_absent:
        pytest.skip(kafka_absent)
    server = KafkaServer(tmp_path_factory.mktemp("own-kafka")).start()
    yield server
    server.stop()


@pytest.fixture
def ledger(own_kafka: KafkaServer) -> Iterator[Ledger]:
    if not own_kafka.runs:
        own_kafka.start()  # a test before this one failed while it was down
    ledger = Ledger(own_kafka.url)
    try:
        ledger.begin()
        yield ledger
    finally:
        ledger.broker.close()


@pytest.fixture
def start_worker(own_kafka: KafkaServer, ledger: Ledger) -> Iterator[Start]:
    """Start a worker of the ledger's group; all end with the test."""
    workers: list[Worker] = []

    def begin(*options: str) -> Worker:
        workers.append(Worker(own_kafka.url, ledger.group, *options))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.kill()
