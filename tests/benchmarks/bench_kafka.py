"""End to end on Kafka and on the embedded broker, beside what the libraries alone read; writes its page.

Produce, consume, an identity stage, score out: windows of 64 kB, real processes, one machine for broker, producer and
workers. Kafka forces every message to disk before it confirms it, as the embedded broker does.

    python tests/benchmarks/bench_kafka.py [--windows 6000] [--seconds 30]

writes docs/benchmarks/kafka.md and kafka.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "streams")]

from kafka import TopicPartition  # noqa: E402  # found through the path above
from kafka_ledger import Worker, everything  # noqa: E402  # found through the path above
from kafka_server import VERSION, KafkaServer, why_absent  # noqa: E402  # found through the path above

from streams import codec  # noqa: E402  # found through the path above
from streams.broker import Broker, TopicSpec, open_broker  # noqa: E402  # found through the path above
from streams.kafka.admin import admin  # noqa: E402  # found through the path above
from streams.kafka.broker import KafkaBroker  # noqa: E402  # found through the path above
from streams.records import TOPIC_DEAD, TOPIC_SCORES, TOPIC_WINDOWS  # noqa: E402  # found through the path above

PAGE = ROOT / "docs" / "benchmarks"
FEED = Path(__file__).with_name("feed.py")
RAW = Path(__file__).with_name("raw_readers.py")
PARTITIONS = 8
MICS = 100
PATIENCE_S = 180.0
JOIN_S = 4.0  # a worker joins its group
PRODUCERS = 2
WARM_UP = 3_000  # windows that Java sees before anything is measured


def script(path: Path, *arguments: object) -> str:
    command = [sys.executable, "-W", "ignore", str(path), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300).stdout


def background(path: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(path), *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)


def fresh(url: str) -> Broker:
    """The topics, empty."""
    broker = open_broker(url)
    broker.ensure_topics([TopicSpec(name, PARTITIONS, 86_400.0) for name in (TOPIC_WINDOWS, TOPIC_SCORES, TOPIC_DEAD)])
    return broker


def warm_up(url: str) -> None:
    """Let a new server see some windows, and forget them."""
    broker = KafkaBroker(url)
    fresh(url).close()
    script(FEED, url, WARM_UP)
    ends = {TopicPartition(TOPIC_WINDOWS, number): end for number, (_, end) in broker.bounds(TOPIC_WINDOWS).items()}
    with admin(broker.connection) as client:
        client.delete_records(ends)
    broker.close()


def batches(workers: Sequence[Worker]) -> list[tuple[float, int]]:
    """When each batch was done, and how many messages all workers had done by then."""
    steps = []
    for worker in workers:
        before = 0
        for at_s, line in list(worker.said):
            if line.startswith("batch "):
                total = int(line.split()[1])
                steps.append((at_s, total - before))
                before = total
    done, found = 0, []
    for at_s, count in sorted(steps):
        done += count
        found.append((at_s, done))
    return found


def work(url: str, group: str, count: int, options: Sequence[str], workers: int, feed: int = 0) -> float:
    """Windows a second: of a backlog, once every worker is at it; with `feed`, from its begin to the last score."""
    crew = [Worker(url, group, *options) for _ in range(workers)]
    try:
        began_s = 0.0
        if feed:
            for worker in crew:
                worker.until("state running", 40.0)
            time.sleep(JOIN_S)
            began_s = time.monotonic()
            feeders = [background(FEED, url, feed // PRODUCERS) for _ in range(PRODUCERS)]
            for feeder in feeders:
                feeder.communicate(timeout=PATIENCE_S)
        deadline_s = time.monotonic() + PATIENCE_S
        while not (steps := batches(crew)) or steps[-1][1] < count:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{steps[-1:]} of {count}: {crew[0].text()[-500:]}")
            time.sleep(0.1)
        if feed:
            return count / (steps[-1][0] - began_s)
        at_it_s = max(batches([worker])[0][0] for worker in crew if batches([worker]))
        before = max(done for at_s, done in steps if at_s <= at_it_s)
        return (steps[-1][1] - before) / (steps[-1][0] - at_it_s)
    finally:
        for worker in crew:
            worker.stop()


def latency(url: str, group: str, options: Sequence[str], seconds: float) -> tuple[float, float]:
    """p50 and p99 in seconds from sending a window to its score in the topic: 100 microphones, one window a second."""
    broker = fresh(url)
    worker = Worker(url, group, *options)
    worker.until("state running", 40.0)
    time.sleep(JOIN_S)
    script(FEED, url, round(MICS * seconds), "--mics", MICS, "--rate", MICS)
    time.sleep(2.0)
    worker.stop()
    took = sorted(
        (message.timestamp_ns - score.start_ns) / 1e9
        for message in everything(broker, TOPIC_SCORES)
        for score in [codec.decode_score(message)]
    )
    broker.close()
    took = took[: round(MICS * seconds)]
    return statistics.median(took), took[int(0.99 * len(took))]


def on_broker(
    name: str, place: Callable[[], str], variants: Mapping[str, Sequence[str]], count: int, seconds: float
) -> dict[str, float]:
    """All rows of one broker. `place` gives a broker that is empty."""
    found: dict[str, float] = {}
    url = place()
    fresh(url).close()
    acknowledged, took = map(float, script(FEED, url, count).split())
    found[f"{name}: produce alone, flushed in groups of 32"] = acknowledged / took
    for variant, options in variants.items():
        for workers in (1, 2):
            crew = "one worker" if workers == 1 else "two workers"
            group = f"{variant}-{workers}".replace(" ", "-").replace(",", "")
            found[f"{name}: drain, {variant}, {crew}"] = work(url, group, count, options, workers)
    for variant, options in variants.items():
        url = place()
        fresh(url).close()
        found[f"{name}: with producers running, {variant}"] = work(url, "live", count, options, 1, feed=count)
    for variant, options in variants.items():
        url = place()
        p50, p99 = latency(url, "latency", options, seconds)
        found[f"{name}: p50 s, {variant}"], found[f"{name}: p99 s, {variant}"] = p50, p99
    return found


def page(found: dict[str, float], count: int, seconds: float, load: float) -> str:
    how = " ".join(
        (
            f"Apache Kafka {VERSION} (KRaft, one node, 512 MB heap, warmed up, every message forced to disk),",
            f"{os.cpu_count()} cores that carry broker, producers and workers, load {load:.1f} before it began;",
            f"{count:,} windows of 64 kB, {PARTITIONS} partitions.",
            "*Drain*: a backlog, from when every worker is at it to the last score.",
            f"*With producers running*: from the start of {PRODUCERS} producers at full speed to the last score.",
            f"Latency: {MICS} microphones, one window a second each, for {seconds:.0f} s, from sending a window to its",
            "score in its topic. aiokafka and Faust alone read and commit: they decode nothing, write nothing and are",
            "not guarded.",
        )
    )
    lines = ["# Kafka: end to end, beside the embedded broker and the bare libraries", ""]
    lines += ["Written by `python tests/benchmarks/bench_kafka.py`; do not edit.", "", how, ""]
    lines += ["| | windows/s |", "|---|---:|"]
    lines += [f"| {name} | {value:,.0f} |" for name, value in found.items() if " s, " not in name]
    lines += ["", "| latency | seconds |", "|---|---:|"]
    lines += [f"| {name.replace(' s, ', ', ')} | {value:.3f} |" for name, value in found.items() if " s, " in name]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=6_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    if reason := why_absent():
        sys.exit(reason)
    load = os.getloadavg()[0]
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-kafka-", ignore_cleanup_errors=True) as folder:
        servers: list[KafkaServer] = []

        def kafka() -> str:
            """A new one each time: a topic that is deleted and made anew takes its time."""
            stop()
            environment = {"KAFKA_HEAP": "512m", "KAFKA_JAVA": ""}
            servers.append(KafkaServer(Path(folder) / f"kafka-{len(servers)}", environment).start())
            warm_up(servers[-1].url)
            return servers[-1].url

        def stop() -> None:
            if servers and servers[-1].runs:
                servers[-1].stop()

        places = iter(range(100))
        try:
            variants = {
                "Faust worker, batches of 64": ("--batch", "64"),
                "Faust worker, batches of 256": ("--batch", "256"),
                "kafka-python worker, batches of 64": ("--batch", "64", "--plain"),
            }
            found |= on_broker("Kafka", kafka, variants, given.windows, given.seconds)
            url = kafka()
            fresh(url).close()
            script(FEED, url, given.windows)
            for library in ("aiokafka", "faust"):
                server = servers[-1].url.removeprefix("kafka://")
                found[f"Kafka: {library} alone"] = float(script(RAW, library, server, f"raw-{library}", given.windows))
        finally:
            stop()
        found |= on_broker(
            "embedded",
            lambda: f"embedded:{folder}/embedded-{next(places)}",
            {"batches of 64": ("--batch", "64")},
            given.windows,
            given.seconds,
        )
    PAGE.mkdir(parents=True, exist_ok=True)
    (PAGE / "kafka.json").write_text(json.dumps(found, indent=1) + "\n")
    text = page(found, given.windows, given.seconds, load)
    (PAGE / "kafka.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
