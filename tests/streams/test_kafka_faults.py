"""Bad messages, deleted topics, storms of rebalances: every accepted window ends scored or dead, one by one."""

import time

import kafka
import pytest
from kafka_ledger import AGAIN_S, Ledger, Start, consuming_again, everything, make_topics, note, window
from kafka_server import KafkaServer

from streams import codec
from streams.broker import MAX_MESSAGE_BYTES, BrokerError, MessageTooLarge
from streams.kafka.admin import admin
from streams.records import TOPIC_DEAD, TOPIC_SCORES, TOPIC_WINDOWS, Identity

pytestmark = pytest.mark.xdist_group("kafka-faults")


def test_a_deleted_topic_is_a_clear_state(own_kafka: KafkaServer, ledger: Ledger, start_worker: Start) -> None:
    """The topic goes: intake stops and names it, the worker says so; it comes back: both go on by themselves."""
    worker = start_worker()
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


def test_a_rebalance_storm_loses_nothing(ledger: Ledger, start_worker: Start) -> None:
    """One steady worker, others joining and leaving every 2 s: all arrives, and the steady one goes on."""
    steady = start_worker("--batch", "16")
    ledger.send_meanwhile(2_000, batch=20, pause_s=0.15)
    steady.until("batch", 40.0)
    for number in range(6):
        guest = start_worker("--batch", "16")
        time.sleep(2.0)
        if number % 2:
            guest.kill()
        else:
            guest.stop()
    ledger.sent()
    calm_s = time.monotonic()
    ledger.send(200, batch=20)  # the storm may have left nothing to consume
    assert consuming_again(steady, calm_s) < AGAIN_S
    ledger.drained(60.0)
    steady.stop()
    note("rebalance storm", repeated=ledger.adds_up())


def test_bad_messages_end_among_the_dead(own_kafka: KafkaServer, ledger: Ledger, start_worker: Start) -> None:
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
    worker = start_worker("--poison", "poison", "--batch", "8")
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


def test_ten_megabytes_are_refused_at_the_door(ledger: Ledger, start_worker: Start) -> None:
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
    worker = start_worker()
    ledger.send(50)
    ledger.drained(40.0)
    worker.stop()
    scored, _ = ledger.outcome()
    assert {identity.mic for identity in scored} >= {"large", "mic-0"}
    ledger.adds_up()


def test_what_retention_took_is_counted_by_the_worker(ledger: Ledger, start_worker: Start) -> None:
    """Windows that retention removed before they were read are expired: counted, not waited for, not called lost."""
    ledger.send(400)
    ends = ledger.broker.bounds(TOPIC_WINDOWS).items()
    taken = {kafka.TopicPartition(TOPIC_WINDOWS, number): end for number, (_, end) in ends}
    with admin(ledger.broker.connection) as client:
        client.delete_records(taken)
    expired, ledger.accepted = len(ledger.accepted), set()
    ledger.send(100)
    worker = start_worker()
    ledger.drained(40.0)
    worker.stop()
    assert f"expired={expired}" in worker.text()
    assert ledger.adds_up() == 0


def test_order_holds_per_microphone(ledger: Ledger, start_worker: Start) -> None:
    """What one microphone sent is scored in that order."""
    worker = start_worker("--batch", "16")
    ledger.send(400)
    ledger.drained(40.0)
    worker.stop()
    scores = [codec.decode_score(message) for message in everything(ledger.broker, TOPIC_SCORES)]
    by_mic: dict[str, list[int]] = {}
    for score in scores:
        if score.session == ledger.session:
            by_mic.setdefault(score.mic, []).append(score.sequence)
    assert len(by_mic) == 20
    assert all(found == list(range(20)) for found in by_mic.values())
