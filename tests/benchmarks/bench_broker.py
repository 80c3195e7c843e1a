"""The embedded broker beside a bare SQLite table on the same disk, in one run; writes the page it is quoted from.

The peer is what one would write first: one table, WAL, synchronous=FULL, one transaction per batch; no partitions, no
groups, no retention. Windows are 2 s at 16 kHz in int16: 64 kB of noise. Each figure is the median of the rounds.

    python tests/benchmarks/bench_broker.py [--windows 1600] [--rounds 3] [--folder DIR]

writes docs/benchmarks/broker.md and broker.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from streams.broker import TopicSpec
from streams.codec import decode_window, encode_window
from streams.embedded.broker import EmbeddedBroker
from streams.records import TOPIC_SCORES, TOPIC_WINDOWS, AudioWindow

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks"
BATCHES = (1, 8, 64)
MICS = 16


def windows(count: int) -> list[AudioWindow]:
    rng = np.random.default_rng(1)
    sound = rng.uniform(-0.5, 0.5, 32_000).astype(np.float32)
    return [AudioWindow("machine", f"mic {n % MICS}", "s", n // MICS, n, 16_000, sound) for n in range(count)]


def rate(count: int, work: Callable[[], None]) -> float:
    """Items a second."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def bare_table(folder: Path, taken: list[AudioWindow], batch: int) -> float:
    values = [encode_window(window) for window in taken]
    connection = sqlite3.connect(folder / f"bare-{batch}.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE windows(id INTEGER PRIMARY KEY, key TEXT, headers TEXT, value BLOB)")

    def write() -> None:
        for first in range(0, len(values), batch):
            connection.execute("BEGIN IMMEDIATE")
            for key, value, headers in values[first : first + batch]:
                connection.execute(
                    "INSERT INTO windows(key, headers, value) VALUES (?, ?, ?)", (key, json.dumps(headers), value)
                )
            connection.execute("COMMIT")

    found = rate(len(values), write)
    connection.close()
    return found


def one_round(folder: Path, taken: list[AudioWindow]) -> dict[str, float]:
    """All figures, per second, in a fresh folder."""
    broker = EmbeddedBroker(folder / "broker")
    broker.ensure_topics([TopicSpec(TOPIC_WINDOWS, 8, 86_400.0), TopicSpec(TOPIC_SCORES, 8, 1e7)])
    producer, found = broker.producer(), {}

    def append(batch: int) -> None:
        for number, window in enumerate(taken, 1):
            producer.send(TOPIC_WINDOWS, *encode_window(window))
            if number % batch == 0:
                producer.flush()
        producer.flush()

    for batch in BATCHES:
        found[f"bare table, batches of {batch}"] = bare_table(folder, taken, batch)
        found[f"append, batches of {batch}"] = rate(len(taken), lambda batch=batch: append(batch))
    total = len(BATCHES) * len(taken)
    consumer = broker.consumer("bench", [TOPIC_WINDOWS])

    def read() -> None:
        while messages := consumer.poll(64, 0.0):
            for message in messages:
                decode_window(message)
            consumer.commit({message.source: message.offset + 1 for message in messages})

    found["read, decode and commit, batches of 64"] = rate(total, read)

    def scores() -> None:
        for number in range(10_000):
            producer.send(TOPIC_SCORES, f"machine {number % 8}", b"x" * 500)
            if number % 64 == 63:
                producer.flush()
        producer.flush()

    found["append scores of 500 bytes, batches of 64"] = rate(10_000, scores)
    broker.close()
    return found


def page(found: dict[str, float], count: int, rounds: int) -> str:
    lines = ["# The embedded broker: speed beside a bare table", ""]
    lines += ["Written by `python tests/benchmarks/bench_broker.py`; do not edit.", ""]
    how = (
        f"SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores, medians of {rounds} rounds of {count} windows of "
        "64 kB with encoding; every flush is on the disk (synchronous=FULL) before the next begins."
    )
    lines += [how, "", "| | per second |", "|---|---:|"]
    return "\n".join([*lines, *[f"| {name} | {value:,.0f} |" for name, value in found.items()]]) + "\n"


def main() -> None:
    """Measure, and write the page."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--windows", type=int, default=1_600)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--folder", type=Path, help="on the disk to be measured; else the system's temporary folder")
    given = args.parse_args()
    taken = windows(given.windows)
    rounds = []
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            rounds.append(one_round(Path(folder), taken))
    found = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    PAGE.mkdir(parents=True, exist_ok=True)
    (PAGE / "broker.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (PAGE / "broker.md").write_text(page(found, given.windows, given.rounds), encoding="utf-8")
    print(page(found, given.windows, given.rounds))


if __name__ == "__main__":
    main()
