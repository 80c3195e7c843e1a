"""A line of two producers and two workers whose processes are killed by plan, and the audit afterwards."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from streams.broker import Broker, TopicPartition
from streams.codec import decode_dead, decode_score
from streams.embedded.broker import EmbeddedBroker
from streams.records import TOPIC_DEAD, TOPIC_SCORES, TOPIC_WINDOWS

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("kill_child.py")
LIMIT_S = 120.0
LATE = 0.7  # of the windows: a death that has not come by then comes now, or there would be nothing left to kill
HURRY_S = 0.5

Ledger = set[tuple[str, str, int]]


@dataclass
class Child:
    """One process and the deaths that wait for it: "point:n", or "random:seconds"."""

    arguments: list[str]
    deaths: list[str]
    process: subprocess.Popen[bytes] | None = None
    armed: str = ""
    ends_at_s: float = float("inf")
    done: bool = False

    def start(self) -> None:
        self.armed = death = self.deaths.pop(0) if self.deaths else ""
        point, _, number = death.partition(":")
        self.ends_at_s = time.monotonic() + float(number) if point == "random" else float("inf")
        options = ["--kill-at", death] if death and point != "random" else []
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen([sys.executable, str(CHILD), *self.arguments, *options], env=environment)

    def hurry(self) -> None:
        """Let the death that it waits for come soon, wherever the process is then."""
        if self.armed and self.ends_at_s == float("inf"):
            self.ends_at_s = time.monotonic() + HURRY_S


@dataclass
class Outcome:
    """What the audit found."""

    kills: int
    acknowledged: Ledger
    scored: Counter[tuple[str, str, int]]
    dead: Counter[tuple[str, str, int]]
    unfinished: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def lost(self) -> Ledger:
        return self.acknowledged - self.scored.keys() - self.dead.keys()

    @property
    def repeated(self) -> int:
        return sum((self.scored + self.dead).values()) - len(self.scored.keys() | self.dead.keys())

    def audit(self, windows: int) -> None:
        """Every acknowledged window has a result, and the group has committed all there is."""
        assert len(self.acknowledged) == windows, f"the ledger has {len(self.acknowledged)} of {windows} windows"
        assert not self.lost, f"{len(self.lost)} accepted windows lost, such as {sorted(self.lost)[:3]}"
        assert not self.unfinished, f"committed is not the end: {self.unfinished}"
        assert not self.scored.keys() & self.dead.keys()


class KilledLine:
    """Runs the line in `folder`; the ledger lies beside the broker, not in it."""

    def __init__(self, folder: Path, windows: int, order: str) -> None:
        self.broker_folder = folder / "broker"
        self.ledgers = {name: folder / f"ledger-{name}" for name in ("p0", "p1")}
        count = windows // len(self.ledgers) // 4
        self.producers = [
            Child(
                ["produce", str(self.broker_folder), "--name", name, "--ledger", str(path), "--count", str(count)], []
            )
            for name, path in self.ledgers.items()
        ]
        self.workers = [Child(["work", str(self.broker_folder), "--order", order], []) for _ in range(2)]
        self.kills = 0
        self.windows = windows

    def run(self) -> Outcome:
        """Start all, restart what dies, stop when everything is committed."""
        end_s = time.monotonic() + LIMIT_S
        children = [*self.producers, *self.workers]
        try:
            for child in children:
                child.start()
            while not (all(child.done for child in self.producers) and self._finished()):
                assert time.monotonic() < end_s, "the line did not come to its end"
                late = self._acknowledged() >= LATE * self.windows
                for child in children:
                    if late:
                        child.hurry()
                    self._look_after(child)
                time.sleep(0.01)
            for child in self.workers:
                self._stop(child)
        finally:
            for child in children:
                if child.process and child.process.poll() is None:
                    child.process.kill()
                    child.process.wait()
        return self._outcome()

    def _look_after(self, child: Child) -> None:
        assert child.process is not None
        if time.monotonic() >= child.ends_at_s:
            child.process.kill()
            child.process.wait()
        code = child.process.poll()
        if code is None or child.done:
            return
        if code == 0:
            assert child in self.producers, "a worker ended by itself"
            child.done = True
            return
        assert code == -signal.SIGKILL, f"{child.arguments} ended with {code}"
        self.kills += 1
        child.start()

    def _stop(self, child: Child) -> None:
        assert child.process is not None
        child.process.terminate()
        assert child.process.wait(timeout=20) == 0, "an orderly stop ends with 0"

    def _acknowledged(self) -> int:
        return sum(path.read_bytes().count(b";") for path in self.ledgers.values() if path.exists())

    def _finished(self) -> bool:
        if any(child.deaths or child.armed for child in self.workers):
            return False
        broker = EmbeddedBroker(self.broker_folder)
        try:
            return not _unfinished(broker)
        finally:
            broker.close()

    def _outcome(self) -> Outcome:
        acknowledged: Ledger = set()
        for path in self.ledgers.values():
            for line in path.read_text().splitlines():
                if line.endswith(";"):
                    mic, session, sequence = line[:-1].split(" ")
                    acknowledged.add((mic, session, int(sequence)))
        broker = EmbeddedBroker(self.broker_folder)
        try:
            scores = Counter(tuple(decode_score(message).identity) for message in _all(broker, TOPIC_SCORES))
            letters = [decode_dead(message).headers for message in _all(broker, TOPIC_DEAD)]
            dead = Counter((head["mic"], head["session"], int(head["sequence"])) for head in letters)
            return Outcome(self.kills, acknowledged, scores, dead, _unfinished(broker))
        finally:
            broker.close()


def _unfinished(broker: Broker) -> dict[int, tuple[int, int]]:
    committed = broker.committed("workers", TOPIC_WINDOWS)
    ends = {partition: end for partition, (_, end) in broker.bounds(TOPIC_WINDOWS).items()}
    return {p: (committed.get(p, 0), end) for p, end in ends.items() if committed.get(p, 0) != end}


def _all(broker: Broker, topic: str) -> list:
    return [
        message
        for partition, (start, end) in broker.bounds(topic).items()
        for message in broker.read(TopicPartition(topic, partition), start, end - start)
    ]
