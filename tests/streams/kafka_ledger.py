"""A ledger outside the system: what Kafka said it has accepted, and what became of it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streams import codec
from streams.broker import BrokerError, TopicPartition, TopicSpec
from streams.kafka.broker import KafkaBroker
from streams.records import TOPIC_DEAD, TOPIC_SCORES, TOPIC_WINDOWS, AudioWindow, Identity

WORKER = Path(__file__).with_name("kafka_worker.py")
ROOT = Path(__file__).parent.parent.parent
PARTITIONS = 8
SAMPLES = (0.1 * np.sin(np.arange(400))).astype(np.float32)
AGAIN_S = 30.0  # a contract: within it a worker consumes again, whatever happened


def make_topics(broker: KafkaBroker) -> None:
    broker.ensure_topics([TopicSpec(name, PARTITIONS, 86_400.0) for name in (TOPIC_WINDOWS, TOPIC_SCORES, TOPIC_DEAD)])


def window(session: str, mic: str, sequence: int) -> AudioWindow:
    return AudioWindow("machine", mic, session, sequence, time.time_ns(), 16_000, SAMPLES)


class Ledger:
    """Sends windows and writes down what was acknowledged. `wait_for_room` keeps trying while Kafka is away."""

    def __init__(self, url: str, mics: int = 20) -> None:
        self.session = uuid.uuid4().hex[:12]
        self.group = f"workers-{self.session}"
        self.mics = [f"mic-{number}" for number in range(mics)]
        self.accepted: set[Identity] = set()
        self.refusals: list[str] = []
        self.broker = KafkaBroker(url)
        self._next = 0
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def begin(self) -> None:
        """Let the group begin where the topic ends now: other tests' windows are not ours."""
        make_topics(self.broker)
        consumer = self.broker.consumer(self.group, [TOPIC_WINDOWS])
        deadline_s = time.monotonic() + 20.0
        while len(consumer.assignment()) < PARTITIONS:
            assert time.monotonic() < deadline_s, "no assignment"
            consumer.poll(0, 0.2)
        consumer.commit(
            {TopicPartition(TOPIC_WINDOWS, n): end for n, (_, end) in self.broker.bounds(TOPIC_WINDOWS).items()}
        )
        consumer.close()

    def send(self, count: int, *, batch: int = 50, pause_s: float = 0.0) -> None:
        """Send and flush until all are acknowledged; a refusal is noted and tried again."""
        producer = self.broker.producer()
        for start in range(0, count, batch):
            identities = []
            for _ in range(min(batch, count - start)):
                mic, sequence = self.mics[self._next % len(self.mics)], self._next // len(self.mics)
                self._next += 1
                sent = window(self.session, mic, sequence)
                self._patiently(lambda sent=sent: producer.send(TOPIC_WINDOWS, *codec.encode_window(sent)))
                identities.append(sent.identity)
            self._patiently(producer.flush)
            self.accepted.update(identities)
            if pause_s:
                time.sleep(pause_s)
        producer.close()

    def _patiently(self, action: Callable[[], None]) -> None:
        deadline_s = time.monotonic() + 150.0
        while time.monotonic() < deadline_s:
            try:
                action()
            except BrokerError as error:
                self.refusals.append(str(error))
                time.sleep(0.2)
            else:
                return
        raise AssertionError(self.refusals[-1])

    def send_meanwhile(self, count: int, *, batch: int = 50, pause_s: float = 0.0) -> None:
        def run() -> None:
            try:
                self.send(count, batch=batch, pause_s=pause_s)
            except BaseException as error:  # noqa: BLE001  # told to the test, in its own thread
                self._failure = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def sent(self, timeout_s: float = 200.0) -> None:
        assert self._thread is not None
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the sender hangs"
        assert self._failure is None, self._failure

    def left(self) -> int:
        """How many messages the group has not committed."""
        done = self.broker.committed(self.group, TOPIC_WINDOWS)
        return sum(end - done.get(n, 0) for n, (_, end) in self.broker.bounds(TOPIC_WINDOWS).items())

    def drained(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            with contextlib.suppress(BrokerError):
                if self.left() == 0:
                    return
            time.sleep(0.2)
        raise AssertionError(f"{self.left()} messages are left")

    def outcome(self) -> tuple[Counter[Identity], Counter[Identity]]:
        """How often each window of this ledger was scored, and how often it is among the dead."""
        scored: Counter[Identity] = Counter()
        dead: Counter[Identity] = Counter()
        for message in everything(self.broker, TOPIC_SCORES):
            score = codec.decode_score(message)
            if score.session == self.session:
                scored[score.identity] += 1
        for message in everything(self.broker, TOPIC_DEAD):
            headers = codec.decode_dead(message).headers
            if headers.get("session") == self.session and headers.keys() >= {"mic", "sequence"}:
                dead[Identity(headers["mic"], self.session, int(headers["sequence"]))] += 1
        return scored, dead

    def adds_up(self) -> int:
        """Every accepted window is scored or dead, and nothing else is; how many repetitions there were."""
        scored, dead = self.outcome()
        lost = self.accepted - set(scored) - set(dead)
        assert not lost, f"{len(lost)} of {len(self.accepted)} accepted windows are lost, such as {sorted(lost)[:3]}"
        assert not set(scored) & set(dead)
        return sum(scored.values()) + sum(dead.values()) - len(scored) - len(dead)


def everything(broker: KafkaBroker, topic: str) -> list:  # type: ignore[type-arg]  # a test's own helper
    return [
        message
        for number, (oldest, end) in broker.bounds(topic).items()
        for message in broker.read(TopicPartition(topic, number), oldest, end - oldest)
    ]


class Worker:
    """A worker in a process of its own; what it says is kept with its time."""

    def __init__(self, url: str, group: str, *options: str) -> None:
        self.said: list[tuple[float, str]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(WORKER), url, group, *options],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.said.append((time.monotonic(), line.strip()))

    def kill(self) -> None:
        """kill -9, and hear its last words."""
        self.process.kill()
        self.process.wait()
        self._listener.join(10)

    def text(self) -> str:
        return "\n".join(line for _, line in self.said)

    def until(self, pattern: str, timeout_s: float, since_s: float = 0.0) -> float:
        """Wait until it says so; how long that took."""
        began_s = time.monotonic()
        while True:
            for at, line in list(self.said):
                if at >= since_s and re.match(pattern, line):
                    return max(0.0, at - began_s)
            assert time.monotonic() - began_s < timeout_s, (
                f"no {pattern!r} within {timeout_s} s:\n{self.text()[-2000:]}"
            )
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        """In order, as SIGTERM asks for; kill -9 where that takes too long."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(25)
            except subprocess.TimeoutExpired:
                self.kill()
                pytest.fail(f"the worker did not stop in order: {self.text()[-2000:]}")
        self._listener.join(10)


def note(name: str, **figures: object) -> None:
    """Keep a figure of a fault test where FACTORY_EAR_FIGURES says, for the page that quotes it."""
    path = os.environ.get("FACTORY_EAR_FIGURES")
    if path:
        with Path(path).open("a") as out:
            out.write(json.dumps({"test": name, **figures}) + "\n")


Start = Callable[..., Worker]


def consuming_again(worker: Worker, since_s: float) -> float:
    """Seconds from `since_s` until the worker finished a batch; fails after AGAIN_S."""
    worker.until("batch", AGAIN_S, since_s)
    return next(at for at, line in worker.said if at >= since_s and line.startswith("batch")) - since_s
