"""A real Kafka keeps the same contract as the embedded broker, by the same suite."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_contract import BrokerContract
from kafka.admin import ConfigResource, ConfigResourceType
from kafka_place import KafkaPlace
from kafka_server import ROOT, KafkaServer, free_port

from streams.broker import BrokerError, TopicSpec
from streams.kafka.admin import admin
from streams.kafka.broker import KafkaBroker
from streams.kafka.topics import wanted

pytestmark = pytest.mark.xdist_group("kafka")


class TestKafka(BrokerContract):
    @pytest.fixture
    def place(self, kafka_server: KafkaServer) -> Iterator[KafkaPlace]:
        place = KafkaPlace(kafka_server.url)
        yield place
        place.close()


def open_handles() -> tuple[int, int]:
    """Open descriptors and threads of this process."""
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


def test_nothing_is_left_open(kafka_server: KafkaServer) -> None:
    """Opened and closed 20 times, with a producer, a consumer and a reader, it leaves no descriptor and no thread."""
    place = KafkaPlace(kafka_server.url)
    name = place.name("leak")

    def once() -> None:
        broker = KafkaBroker(kafka_server.url)
        broker.ensure_topics([TopicSpec(name, 2, 86_400.0)])
        producer = broker.producer()
        producer.send(name, "a", b"x")
        producer.flush()
        broker.consumer(place.name("g"), [name]).poll(1, 0.0)
        broker.committed("none", name)
        assert broker.bounds(name)
        broker.close()

    once()
    before = open_handles()
    for _ in range(20):
        once()
    after = open_handles()
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + 2


LEAK = """
import gc, sys, threading
from pathlib import Path
from streams.broker import BrokerAbsent
from streams.kafka import connection
from streams.kafka.broker import KafkaBroker

def handles():
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

connection.CONNECT_S = 1
before = handles()
for _ in range(3):
    broker = KafkaBroker(sys.argv[1])
    for attempt in (
        lambda: broker.bounds("any"),
        lambda: broker.producer().send("any", "a", b"x"),
        lambda: broker.consumer("g", ["any"]),
    ):
        try:
            attempt()
        except BrokerAbsent as error:
            assert sys.argv[1] in str(error)
        else:
            raise SystemExit("it answered")
    broker.close()
assert handles() == before, (before, handles())
"""


def test_nothing_is_left_where_nobody_answers() -> None:
    """Each attempt to reach an absent Kafka ends in BrokerAbsent with the address, and leaves nothing open."""
    # A process of its own: pytest keeps the log's records, they keep exceptions, and those keep sockets.
    command = [sys.executable, "-W", "ignore", "-c", LEAK, f"kafka://127.0.0.1:{free_port()}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("max.message.bytes", "1048588", "max.message.bytes=1048588, allowed is at least"),
        ("retention.ms", "1000", "retention.ms=1000, allowed is at least"),
        ("cleanup.policy", "compact", "cleanup.policy=compact, allowed is delete"),
    ],
)
def test_a_topic_that_does_not_fit_is_refused(kafka_server: KafkaServer, setting: str, value: str, words: str) -> None:
    """A topic that somebody made otherwise is refused, with the setting and the command that mends it."""
    place = KafkaPlace(kafka_server.url)
    broker = place.open()
    name = place.name("made-by-hand")
    fitting = wanted(TopicSpec(name, 2, 86_400.0)) | {setting: value}
    with admin(broker.connection) as client:
        client.create_topics({name: {"num_partitions": 2, "replication_factor": 1, "configs": fitting}})
        client.wait_for_topics([name])
    with pytest.raises(BrokerError, match=words) as caught:
        broker.ensure_topics([TopicSpec(name, 2, 86_400.0)])
    assert f"--entity-name {name} --add-config {setting}=" in str(caught.value)
    place.close()


@pytest.mark.parametrize("url", ["kafka://", "kafka://host", "kafka://:9092", "kafka://a:1,b", "http://a:1"])
def test_a_wrong_address_is_an_error_at_once(url: str) -> None:
    """An address without host or port never becomes a connection."""
    with pytest.raises(ValueError, match="allowed is"):
        KafkaBroker(url)


def test_several_servers_are_one_address() -> None:
    """A list of servers is kept as it was given."""
    assert KafkaBroker("kafka://a:1,b:2").connection.servers == ("a:1", "b:2")


def test_one_node_forces_every_message_to_disk(kafka_server: KafkaServer) -> None:
    """Accepted means durable: without a second node each message is on the disk before it is confirmed."""
    place = KafkaPlace(kafka_server.url)
    broker = place.open()
    name = place.name("durable")
    broker.ensure_topics([TopicSpec(name, 2, 86_400.0)])
    with admin(broker.connection) as client:
        answer = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)], config_filter="all")
    assert answer["topic"][name]["flush.messages"]["value"] == "1"
    place.close()
