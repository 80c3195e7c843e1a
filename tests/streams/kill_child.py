"""A producer or a worker that kills itself at the n-th passage of a named point. `kill_line.py` starts it."""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from streams import worker
from streams.broker import Message, TopicPartition, TopicSpec
from streams.codec import decode_window, encode_score, encode_window
from streams.embedded.broker import EmbeddedBroker
from streams.embedded.store import Options
from streams.records import TOPIC_DEAD, TOPIC_SCORES, TOPIC_WINDOWS, AudioWindow, WindowScore

TOPICS = [TopicSpec(TOPIC_WINDOWS, 8, 86_400.0), TopicSpec(TOPIC_SCORES, 2, 1e7), TopicSpec(TOPIC_DEAD, 1, 1e7)]
RATE, SAMPLES = 16_000, 1_600  # 0.1 s
MICS = 4  # per producer
FLUSH = 8
PACE_S = 0.04  # so that kills fall among the windows, not after them


def killer(at: str) -> Callable[[str], None]:
    """A probe that ends this process as `kill -9` does, at point:n."""
    name, _, number = at.partition(":")
    left = [int(number or 0)]

    def probe(point: str) -> None:
        if point.replace(":", "-") == name:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return probe


def open_broker(folder: Path, probe: Callable[[str], None]) -> EmbeddedBroker:
    broker = EmbeddedBroker(folder, options=Options(lease_s=1.0, segment_bytes=400_000, probe=probe))
    broker.ensure_topics(TOPICS)
    return broker


def sound(sequence: int) -> np.ndarray:
    return np.full(SAMPLES, (sequence % 1000) / 1000, dtype=np.float32)


def produce(folder: Path, ledger: Path, name: str, count: int, probe: Callable[[str], None]) -> None:
    """Send `count` windows per microphone; what flush returned for goes into the ledger, which is synced."""
    done = ledger.read_text().splitlines() if ledger.exists() else []
    acknowledged = [line for line in done if line.endswith(";")]
    broker = open_broker(folder, probe)
    producer = broker.producer()
    with ledger.open("a") as book:
        if len(done) != len(acknowledged):
            book.write("\n")  # a line that was cut short acknowledges nothing
        for first in range(len(acknowledged), count * MICS, FLUSH):
            batch = range(first, min(first + FLUSH, count * MICS))
            for number in batch:
                mic, sequence = f"{name}-マイク{number % MICS}", number // MICS
                window = AudioWindow("machine", mic, name, sequence, sequence * 10**8, RATE, sound(sequence))
                producer.send(TOPIC_WINDOWS, *encode_window(window))
            producer.flush()
            book.writelines(f"{name}-マイク{number % MICS} {name} {number // MICS};\n" for number in batch)
            book.flush()
            os.fsync(book.fileno())
            time.sleep(PACE_S)
    broker.close()


class Toy:
    """Scores a window by its first sample, and cannot bear some windows."""

    def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        pass

    def process(self, messages: Sequence[Message]) -> list[worker.Outgoing]:
        results = []
        for message in messages:
            window = decode_window(message)
            if window.sequence % 101 == 7:
                raise ValueError("this one cannot be processed")
            score = WindowScore(
                *(window.machine, *window.identity, window.start_ns, window.duration_s),
                status="ok",
                score=float(window.samples[0]),
            )
            results.append(worker.Outgoing(TOPIC_SCORES, *encode_score(score)))
        return results


def work(folder: Path, probe: Callable[[str], None], order: Sequence[str]) -> None:
    """Score until SIGTERM."""
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    worker.ORDER = tuple(order)
    broker = open_broker(folder, probe)
    limits = worker.BatchLimits(8, 0.05)
    worker.run_worker(
        broker, "workers", [TOPIC_WINDOWS], Toy(), limits=limits, stop=lambda: bool(stopping), probe=probe
    )
    broker.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["produce", "work"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default="p")
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--kill-at", default="")
    parser.add_argument("--order", default=",".join(worker.ORDER))
    given = parser.parse_args()
    logging.disable(logging.ERROR)  # the poisoned windows are meant
    if given.role == "produce":
        produce(given.folder, given.ledger, given.name, given.count, killer(given.kill_at))
    else:
        work(given.folder, killer(given.kill_at), given.order.split(","))


if __name__ == "__main__":
    sys.exit(main())
