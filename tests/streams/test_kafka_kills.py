"""Kills and hangs of workers and of Kafka itself: nothing that was acknowledged is lost, work goes on within 30 s."""

import signal
import time

import pytest
from kafka_ledger import AGAIN_S, Ledger, Start, consuming_again, everything, note
from kafka_server import KafkaServer

from streams import codec
from streams.records import TOPIC_SCORES

pytestmark = pytest.mark.xdist_group("kafka-kills")

POINTS = ("polled", "processed", "written", "flushed", "committed")


def test_ten_kills_and_a_broker_kill_lose_nothing(own_kafka: KafkaServer, ledger: Ledger, start_worker: Start) -> None:
    """10,000 windows, 10 kills over two workers at every point between poll and commit, one kill of Kafka: 0 lost."""
    ledger.send_meanwhile(10_000, batch=100, pause_s=0.2)
    deaths = {"a": list(POINTS), "b": list(reversed(POINTS))}
    workers = {name: start_worker("--die", f"{points[0]}:3", "--batch", "32") for name, points in deaths.items()}
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
                workers[name] = start_worker("--batch", "32", *(("--die", f"{points[0]}:3") if points else ()))
                if killed == 5:
                    own_kafka.kill()
                    time.sleep(1.0)
                    own_kafka.start()
        time.sleep(0.05)
    ledger.sent()
    ledger.drained(60.0)
    for worker in workers.values():
        worker.stop()
    repeated = ledger.adds_up()
    assert killed == 10
    assert len(ledger.accepted) == 10_000
    note("ten kills", accepted=10_000, lost=0, repeated=repeated, kills=killed, broker_kills=1)


def test_the_ledger_would_notice(ledger: Ledger, start_worker: Start) -> None:
    """With the commit deliberately before the write, a kill between the two loses windows, and the ledger says so."""
    ledger.send(200)
    worker = start_worker("--order", "commit,write,flush", "--die", "committed:2", "--batch", "16")
    worker.process.wait(60)
    start_worker("--batch", "16")
    ledger.drained(60.0)
    with pytest.raises(AssertionError, match="accepted windows are lost"):
        ledger.adds_up()


def test_a_worker_that_slept_is_fenced_and_comes_back(ledger: Ledger, start_worker: Start) -> None:
    """SIGSTOP past the session timeout: the other takes over; SIGCONT: what it had in hand is repeated, not lost."""
    both = [start_worker("--batch", "16"), start_worker("--batch", "16")]
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


def test_what_was_heard_before_is_there_after_a_rebalance(ledger: Ledger, start_worker: Start) -> None:
    """A partition moves to another worker: each window still finds the one before it, read back from the topic."""
    doomed, heir = start_worker("--remember", "--batch", "16"), start_worker("--remember", "--batch", "16")
    ledger.send_meanwhile(1_200, batch=20, pause_s=0.15)
    for worker in (doomed, heir):
        worker.until("batch", 40.0)
    doomed.kill()
    ledger.sent()
    ledger.drained(60.0)
    heir.stop()
    ledger.adds_up()
    scores = [codec.decode_score(message) for message in everything(ledger.broker, TOPIC_SCORES)]
    ours = [score for score in scores if score.session == ledger.session]
    without = [score.identity for score in ours if not score.score]
    assert len(ours) >= 1_200
    assert without == []


def test_kafka_is_killed_and_comes_back(own_kafka: KafkaServer, ledger: Ledger, start_worker: Start) -> None:
    """kill -9 of Kafka under load: intake says why it waits, nothing acknowledged is lost, work goes on within 30 s."""
    worker = start_worker("--batch", "32")
    ledger.send_meanwhile(1_500, batch=20, pause_s=0.05)
    worker.until("batch", 40.0)
    own_kafka.kill()
    until_s = time.monotonic() + 40.0
    while not ledger.refusals:
        assert time.monotonic() < until_s, "intake did not notice"
        time.sleep(0.1)
    assert "not confirmed" in ledger.refusals[0]
    own_kafka.start()
    again_s = consuming_again(worker, time.monotonic())
    ledger.sent()
    ledger.drained(60.0)
    worker.stop()
    note("Kafka killed", again_s=round(again_s, 1), repeated=ledger.adds_up())


def test_kafka_is_absent_for_a_minute(own_kafka: KafkaServer, ledger: Ledger, start_worker: Start) -> None:
    """A worker that starts before Kafka, by a minute, waits, says so, and consumes within 30 s of its coming."""
    ledger.send(200)
    own_kafka.stop(remove=False)
    worker = start_worker()
    worker.until("state broker_error", 40.0)
    time.sleep(60.0)
    assert worker.process.poll() is None, worker.text()
    own_kafka.start()
    again_s = consuming_again(worker, time.monotonic())
    ledger.drained(30.0)
    worker.stop()
    note("Kafka absent for 60 s", again_s=round(again_s, 1), repeated=ledger.adds_up())
