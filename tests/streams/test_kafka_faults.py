"""Faults against workers on a real Kafka: whatever happens, accepted = scored + dead, and work goes on within 30 s."""

import gc
import signal
import time
from collections.abc import Callable, Iterator

import kafka
import pytest
from kafka_ledger import AGAIN_S, Ledger, Worker, everything, make_topics, note, window
from kafka_server import KafkaServer

from streams import codec
from streams.broker import MAX_MESSAGE_BYTES, BrokerError, MessageTooLarge
from streams.kafka.admin import admin
from streams.records import TOPIC_DEAD, TOPIC_WINDOWS, Identity

pytestmark = [
    pytest.mark.xdist_group("kafka-faults"),
    # Where nobody answers, kafka-python leaves the socket to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*socket:pytest.PytestUnraisableExceptionWarning"),
]

POINTS = ("polled", "processed", "written", "flushed", "committed")
Start = Callable[..., Worker]


@pytest.fixture(scope="module")
def server(kafka_absent: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka of our own, since we kill it."""
    if kafka_absent:
        pytest.skip(kafka_absent)
    server = KafkaServer(tmp_path_factory.mktemp("kafka-faults")).start()
    yield server
    server.stop()


@pytest.fixture
def ledger(server: KafkaServer) -> Iterator[Ledger]:
    if not server.runs:
        server.start()  # a test before this one failed while it was down
    ledger = Ledger(server.url)
    try:
        ledger.begin()
        yield ledger
    finally:
        ledger.broker.close()
        gc.collect()


@pytest.fixture
def start(server: KafkaServer, ledger: Ledger) -> Iterator[Start]:
    """Start a worker of the ledger's group; all end with the test."""
    workers: list[Worker] = []

    def begin(*options: str) -> Worker:
        workers.append(Worker(server.url, ledger.group, *options))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.kill()


def consuming_again(worker: Worker, since_s: float) -> float:
    """Seconds from `since_s` until the worker finished a batch; fails after AGAIN_S."""
    worker.until("batch", AGAIN_S, since_s)
    return next(at for at, line in worker.said if at >= since_s and line.startswith("batch")) - since_s


def test_ten_kills_and_a_broker_kill_lose_nothing(server: KafkaServer, ledger: Ledger, start: Start) -> None:
    """10,000 windows, 10 kills over two workers at every point between poll and commit, one kill of Kafka: 0 lost."""
    ledger.send_meanwhile(10_000, batch=100, pause_s=0.2)
    deaths = {"a": list(POINTS), "b": list(reversed(POINTS))}
    workers = {name: start("--die", f"{points[0]}:3", "--batch", "32") for name, points in deaths.items()}
    killed = 0
    deadline_s = time.monotonic() + 200.0
    while any(deaths.values()):
        assert time.monotonic() < deadline_s, {name: worker.text()[-800:] for name, worker in workers.items()}
        for name, points in deaths.items():
            if points and workers[name].process.poll() is not None:
                workers[name].kill()  # it is dead already: hear its last words
                assert workers[name].process.returncode == -signal.SIGKILL, workers[name].text()
                assert f"killed {points.pop(0)}" in workers[name].text()
                killed += 1
                workers[name] = start("--batch", "32", *(("--die", f"{points[0]}:3") if points else ()))
                if killed == 5:
                    server.kill()
                    time.sleep(1.0)
                    server.start()
        time.sleep(0.05)
    ledger.sent()
    ledger.drained(60.0)
    for worker in workers.values():
        worker.stop()
    repeated = ledger.adds_up()
    assert killed == 10
    assert len(ledger.accepted) == 10_000
    note("ten kills", accepted=10_000, lost=0, repeated=repeated, kills=killed, broker_kills=1)


def test_a_worker_that_slept_is_fenced_and_comes_back(ledger: Ledger, start: Start) -> None:
    """SIGSTOP past the session timeout: the other takes over; SIGCONT: what it had in hand is repeated, not lost."""
    both = [start("--batch", "16"), start("--batch", "16")]
    ledger.send_meanwhile(1_500, batch=20, pause_s=0.15)
    for worker in both:
        worker.until("batch", 40.0)
    both[0].signal(signal.SIGSTOP)
    stopped_s = time.monotonic()
    time.sleep(7.0)  # the session is 4 s
    assert consuming_again(both[1], stopped_s + 5.0) < AGAIN_S
    both[0].signal(signal.SIGCONT)
    again_s = consuming_again(both[0], time.monotonic())
    ledger.sent()
    ledger.drained(60.0)
    for worker in both:
        worker.stop()
    note("SIGSTOP", again_s=round(again_s, 1), repeated=ledger.adds_up())


def test_kafka_is_killed_and_comes_back(server: KafkaServer, ledger: Ledger, start: Start) -> None:
    """kill -9 of Kafka under load: intake says why it waits, nothing acknowledged is lost, work goes on within 30 s."""
    worker = start("--batch", "32")
    ledger.send_meanwhile(1_500, batch=20, pause_s=0.05)
    worker.until("batch", 40.0)
    server.kill()
    until_s = time.monotonic() + 40.0
    while not ledger.refusals:
        assert time.monotonic() < until_s, "intake did not notice"
        time.sleep(0.1)
    assert "not confirmed" in ledger.refusals[0]
    server.start()
    again_s = consuming_again(worker, time.monotonic())
    ledger.sent()
    ledger.drained(60.0)
    worker.stop()
    note("Kafka killed", again_s=round(again_s, 1), repeated=ledger.adds_up())


def test_kafka_is_absent_for_a_minute(server: KafkaServer, ledger: Ledger, start: Start) -> None:
    """A worker that starts before Kafka, by a minute, waits, says so, and consumes within 30 s of its coming."""
    ledger.send(200)
    server.stop(remove=False)
    worker = start()
    worker.until("state broker_error", 40.0)
    time.sleep(60.0)
    assert worker.process.poll() is None, worker.text()
    server.start()
    again_s = consuming_again(worker, time.monotonic())
    ledger.drained(30.0)
    worker.stop()
    note("Kafka absent for 60 s", again_s=round(again_s, 1), repeated=ledger.adds_up())


def test_a_deleted_topic_is_a_clear_state(server: KafkaServer, ledger: Ledger, start: Start) -> None:
    """The topic goes: intake stops and names it, the worker says so; it comes back: both go on by themselves."""
    worker = start()
    ledger.send(200)
    ledger.drained(40.0)
    assert ledger.adds_up() == 0
    with admin(ledger.broker.connection) as client:
        client.delete_topics([TOPIC_WINDOWS])
    gone_s = time.monotonic()
    producer = ledger.broker.producer()
    with pytest.raises(BrokerError, match=f"{TOPIC_WINDOWS}.*topic is gone"):
        producer.send(TOPIC_WINDOWS, *codec.encode_window(window(ledger.session, "mic-0", 10_000)))
    worker.until("state broker_error", AGAIN_S, gone_s)
    make_topics(ledger.broker)
    back_s = time.monotonic()
    ledger.send(100)
    assert consuming_again(worker, back_s) < AGAIN_S
    ledger.drained(40.0)
    worker.stop()
    ledger.adds_up()


def test_a_rebalance_storm_loses_nothing(ledger: Ledger, start: Start) -> None:
    """One steady worker, others joining and leaving every 2 s: all arrives, and the steady one goes on."""
    steady = start("--batch", "16")
    ledger.send_meanwhile(2_000, batch=20, pause_s=0.15)
    steady.until("batch", 40.0)
    for number in range(6):
        guest = start("--batch", "16")
        time.sleep(2.0)
        if number % 2:
            guest.kill()
        else:
            guest.stop()
    calm_s = time.monotonic()
    ledger.sent()
    assert consuming_again(steady, calm_s) < AGAIN_S
    ledger.drained(60.0)
    steady.stop()
    note("rebalance storm", repeated=ledger.adds_up())


def test_bad_messages_end_among_the_dead(server: KafkaServer, ledger: Ledger, start: Start) -> None:
    """Garbage, missing and lying headers, a poison window, repetitions and disorder: counted one by one, none stops."""
    raw = kafka.KafkaProducer(bootstrap_servers=ledger.broker.connection.servers[0], acks="all")
    good = window(ledger.session, "mic-0", 0)
    wire = codec.encode_window(good)
    session = ledger.session.encode()
    headers = [(name, text.encode()) for name, text in wire.headers.items()]
    lying = [(name, b"-5" if name == "rate" else b"1" if name == "sequence" else value) for name, value in headers]
    raw.send(TOPIC_WINDOWS, key=b"\xff\xfe", value=b"\x00garbage\xff", headers=[("session", session), ("n", b"\xff")])
    raw.send(TOPIC_WINDOWS, key=None, value=wire.value, headers=[("session", session)])
    raw.send(TOPIC_WINDOWS, key=b"mic-0", value=None, headers=[("session", session)])
    raw.send(TOPIC_WINDOWS, key=b"mic-0", value=wire.value, headers=lying)
    raw.send(TOPIC_WINDOWS, key=b"mic-0", value=b"odd", headers=headers)
    raw.flush()
    raw.close()
    producer = ledger.broker.producer()
    for sequence in (3, 1, 2, 1, 1):  # disorder and repetitions
        producer.send(TOPIC_WINDOWS, *codec.encode_window(window(ledger.session, "mic-1", sequence)))
    producer.send(TOPIC_WINDOWS, *codec.encode_window(window(ledger.session, "poison", 0)))
    producer.close()
    ledger.send(100)
    worker = start("--poison", "poison", "--batch", "8")
    ledger.drained(40.0)
    worker.stop()
    letters = [codec.decode_dead(message) for message in everything(ledger.broker, TOPIC_DEAD)]
    ours = [letter for letter in letters if letter.headers.get("session") == ledger.session]
    assert sorted(letter.reason for letter in ours) == ["bad_message"] * 5 + ["process_failed"]
    assert all(letter.headers and letter.detail for letter in ours)
    poison = next(letter for letter in ours if letter.reason == "process_failed")
    assert (poison.key, poison.detail) == ("poison", "RuntimeError: this window crashes the stage")
    scored, _ = ledger.outcome()
    counts = [scored[Identity("mic-1", ledger.session, sequence)] for sequence in (1, 2, 3)]
    assert counts == [4, 2, 2]  # the ledger sent each of them once too
    assert ledger.accepted <= set(scored)


def test_ten_megabytes_are_refused_at_the_door(ledger: Ledger, start: Start) -> None:
    """A 10 MB message is refused by our producer and by Kafka itself; nearly 4 MiB pass; nothing stops."""
    producer = ledger.broker.producer()
    with pytest.raises(MessageTooLarge):
        producer.send(TOPIC_WINDOWS, "mic-0", bytes(10_000_000))
    raw = kafka.KafkaProducer(
        bootstrap_servers=ledger.broker.connection.servers[0], acks="all", max_request_size=20_000_000
    )
    with pytest.raises(kafka.errors.MessageSizeTooLargeError):
        raw.send(TOPIC_WINDOWS, key=b"mic-0", value=bytes(10_000_000)).get(20)
    raw.close()
    wire = codec.encode_window(window(ledger.session, "large", 0))
    value = bytes(MAX_MESSAGE_BYTES - 1_024)
    producer.send(TOPIC_WINDOWS, "large", value, wire.headers)
    producer.close()
    worker = start()
    ledger.send(50)
    ledger.drained(40.0)
    worker.stop()
    scored, _ = ledger.outcome()
    assert {identity.mic for identity in scored} >= {"large", "mic-0"}
    ledger.adds_up()


def test_what_retention_took_is_counted_by_the_worker(ledger: Ledger, start: Start) -> None:
    """Windows that retention removed before they were read are expired: counted, not waited for, not called lost."""
    ledger.send(400)
    ends = ledger.broker.bounds(TOPIC_WINDOWS).items()
    taken = {kafka.TopicPartition(TOPIC_WINDOWS, number): end for number, (_, end) in ends}
    with admin(ledger.broker.connection) as client:
        client.delete_records(taken)
    expired, ledger.accepted = len(ledger.accepted), set()
    ledger.send(100)
    worker = start()
    ledger.drained(40.0)
    worker.stop()
    assert f"expired={expired}" in worker.text()
    assert ledger.adds_up() == 0


def test_order_holds_per_microphone(ledger: Ledger, start: Start) -> None:
    """What one microphone sent is scored in that order."""
    worker = start("--batch", "16")
    ledger.send(400)
    ledger.drained(40.0)
    worker.stop()
    scores = [codec.decode_score(message) for message in everything(ledger.broker, "audio.scores")]
    by_mic: dict[str, list[int]] = {}
    for score in scores:
        if score.session == ledger.session:
            by_mic.setdefault(score.mic, []).append(score.sequence)
    assert len(by_mic) == 20
    assert all(found == list(range(20)) for found in by_mic.values())
