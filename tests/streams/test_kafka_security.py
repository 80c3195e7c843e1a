"""A Kafka that demands TLS and a name lets in whoever has both, and says clearly what a stranger lacks."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kafka_ledger import make_topics, window
from kafka_server import ROOT, KafkaServer
from kafka_worker import Identity

from streams import codec
from streams.broker import BrokerError, Message, Security
from streams.faust_app.worker import run_faust_worker
from streams.kafka.broker import KafkaBroker
from streams.records import TOPIC_SCORES, TOPIC_WINDOWS
from streams.worker import BatchLimits, WorkerTotals

pytestmark = pytest.mark.xdist_group("kafka")

PASSWORD = "open-sesame-7"
EXTRA = """
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location={store}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
 username="broker" password="inside" user_broker="inside" user_ear="{password}";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.truststore.type=PEM
ssl.truststore.location={ca}
"""


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and key and certificate in one file, as Kafka wants them."""
    certificate, key, store = folder / "ca.pem", folder / "key.pem", folder / "store.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject)
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    store.write_text(key.read_text() + certificate.read_text())
    return certificate, store


@pytest.fixture(scope="module")
def secured(kafka_absent: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaServer, Path]]:
    """A Kafka with one door: TLS, and PLAIN or SCRAM behind it."""
    if kafka_absent:
        pytest.skip(kafka_absent)
    folder = tmp_path_factory.mktemp("secured")
    certificate, store = make_certificate(folder)
    extra = folder / "extra.properties"
    extra.write_text(EXTRA.format(store=store, ca=certificate, password=PASSWORD))
    environment = {
        "KAFKA_PROTOCOL": "SASL_SSL",
        "KAFKA_EXTRA": str(extra),
        "KAFKA_SCRAM": f"name=ear,password={PASSWORD}",
    }
    server = KafkaServer(folder / "kafka", environment).start()
    yield server, certificate
    server.stop()


@pytest.fixture
def ear(secured: tuple[KafkaServer, Path]) -> Security:
    return Security("SASL_SSL", ca=secured[1], mechanism="SCRAM-SHA-512", username="ear", password=PASSWORD)


def there_and_back(url: str, security: Security) -> Message:
    """Write a window, read it again as a member of a group."""
    broker = KafkaBroker(url, security=security)
    try:
        make_topics(broker)
        producer = broker.producer()
        producer.send(TOPIC_WINDOWS, *codec.encode_window(window("secured", "mic", 0)))
        producer.close()
        consumer = broker.consumer(f"group-{security.mechanism}", [TOPIC_WINDOWS])
        deadline_s = time.monotonic() + 20.0
        while time.monotonic() < deadline_s:
            if messages := consumer.poll(1, 0.5):
                return messages[0]
        raise AssertionError("nothing came")
    finally:
        broker.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_whoever_has_both_is_let_in(secured: tuple[KafkaServer, Path], ear: Security, mechanism: str) -> None:
    """Producer, consumer and administration work over TLS with PLAIN and with SCRAM."""
    message = there_and_back(secured[0].url, replace(ear, mechanism=mechanism))
    assert codec.decode_window(message).mic == "mic"


def test_faust_is_let_in(secured: tuple[KafkaServer, Path], ear: Security) -> None:
    """The worker on Faust reads and commits over TLS with SCRAM."""
    there_and_back(secured[0].url, ear)
    broker = KafkaBroker(secured[0].url, security=ear)
    seen: list[WorkerTotals] = []
    deadline_s = time.monotonic() + 40.0
    totals = run_faust_worker(
        broker,
        "workers-secured",
        (TOPIC_WINDOWS,),
        Identity(),
        limits=BatchLimits(16, 0.05),
        stop=lambda: bool(seen) or time.monotonic() > deadline_s,
        on_batch=seen.append,
    )
    assert totals.results >= 1
    assert sum(end for _, end in broker.bounds(TOPIC_SCORES).values()) >= 1
    assert sum(broker.committed("workers-secured", TOPIC_WINDOWS).values()) >= 1
    broker.close()


STRANGER = """
import sys
from pathlib import Path
from streams.broker import BrokerError, Security
from streams.kafka import connection
from streams.kafka.broker import KafkaBroker

url, protocol, ca, mechanism, username, password, connect_s = sys.argv[1:]
connection.CONNECT_S = int(connect_s)
security = Security(
    protocol, ca=Path(ca) if ca else None, mechanism=mechanism, username=username, password=password
)
try:
    KafkaBroker(url, security=security).bounds("any")
except BrokerError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("change", "connect_s", "words"),
    [
        # Seconds that a broker on a busy machine may take to refuse.
        ({"password": "wrong"}, 30, "username and password"),
        ({"mechanism": "PLAIN", "password": "wrong"}, 30, "username and password"),
        ({"ca": ""}, 30, "certificate"),
        ({"protocol": "PLAINTEXT", "ca": "", "mechanism": "", "username": "", "password": ""}, 10, "TLS or SASL"),
    ],
)
def test_a_stranger_is_told_what_is_wrong(
    secured: tuple[KafkaServer, Path], change: dict[str, str], connect_s: int, words: str
) -> None:
    """A wrong password, an unknown certificate and no TLS at all: one line each, in time, without the password."""
    given = {
        "protocol": "SASL_SSL",
        "ca": str(secured[1]),
        "mechanism": "SCRAM-SHA-512",
        "username": "ear",
        "password": PASSWORD,
    }
    # A process of its own: pytest keeps the log's records, they keep exceptions, and those keep TLS sockets.
    told = [secured[0].url, *(given | change).values(), str(connect_s)]
    command = [sys.executable, "-W", "ignore", "-c", STRANGER, *told]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    (line,) = done.stdout.splitlines()
    assert words in line
    assert PASSWORD not in line
    assert "wrong" not in line
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"protocol": "TLS"}, "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ({"protocol": "SASL_SSL"}, "mechanism"),
        ({"protocol": "SASL_SSL", "mechanism": "PLAIN"}, "username and password"),
        ({"protocol": "SSL", "username": "ear"}, "sends no name"),
        ({"ca": Path("ca.pem")}, "uses no certificate"),
        ({"protocol": "SSL", "cert": Path("cert.pem")}, "cert and key"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, object], words: str) -> None:
    """What does not go together is an error before anything is connected."""
    with pytest.raises(ValueError, match=words):
        Security(**given)  # type: ignore[arg-type]  # wrong on purpose


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    """A file that is not there is named, with what to do."""
    broker = KafkaBroker("kafka://127.0.0.1:1", security=Security("SSL", ca=tmp_path / "none.pem"))
    with pytest.raises(BrokerError, match=r"none\.pem.*PEM"):
        broker.bounds("any")


def test_the_password_does_not_show() -> None:
    """Neither repr nor the broker's url carries the password."""
    security = Security("SASL_SSL", mechanism="PLAIN", username="ear", password="hush-hush")
    assert "hush-hush" not in repr(security)
    assert "hush-hush" not in KafkaBroker("kafka://127.0.0.1:1", security=security).url
