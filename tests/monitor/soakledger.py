"""A ledger outside the system: what the broker accepted, and what became of it by what lies on the topics."""

from __future__ import annotations

import json
import re
import urllib.request
from collections import Counter

import numpy as np
from soakline import Soak

from streams.broker import Broker, TopicPartition
from streams.records import TOPIC_DEAD, TOPIC_SCORES

OPEN, SCORED, REJECTED, DEAD = range(4)
ENDS = ("open", "scored", "rejected", "dead")
CHUNK = 2000
_SAMPLE = re.compile(r'factory_ear_windows_total\{machine="[^"]*",mic="([^"]*)",outcome="([^"]*)"\} (\S+)')


class Ledger:
    """One entry per window; what never ends must have expired."""

    def __init__(self, soak: Soak, broker: Broker) -> None:
        self._soak, self._broker = soak, broker
        self.ends = np.zeros((soak.mics, soak.windows), np.uint8)
        self.accepted = np.zeros((soak.mics, soak.windows), bool)
        self.contradictions = 0  # windows that ended in two ways
        self.repeated = 0  # results that came again: at least once is promised, not once
        self.delays_s: list[float] = []
        self._next: Counter[tuple[str, int]] = Counter()

    def accept(self, mic: int, number: int) -> None:
        """The broker has flushed this window."""
        self.accepted[mic, number] = True

    def read(self) -> int:
        """Read on; returns how many results there were."""
        count = 0
        for topic in (TOPIC_SCORES, TOPIC_DEAD):
            for partition in self._broker.bounds(topic):
                found = self._broker.read(TopicPartition(topic, partition), self._next[topic, partition], CHUNK)
                for message in found:
                    self.take(topic, json.loads(message.value))
                if found:
                    self._next[topic, partition] = found[-1].offset + 1
                count += len(found)
        return count

    def take(self, topic: str, plain: dict[str, object]) -> None:
        """One score or dead letter, as it stands on its topic."""
        name = plain if topic == TOPIC_SCORES else plain["headers"]
        assert isinstance(name, dict)
        mic = int(str(name["mic"])[1:])
        number = self._soak.number(str(name["session"]), int(name["sequence"]))
        end = DEAD if topic == TOPIC_DEAD else {"bad_input": REJECTED, "dead": DEAD}.get(str(plain["status"]), SCORED)
        before = self.ends[mic, number]
        if before:
            self.repeated += 1
            self.contradictions += int(before != end)
            return
        self.ends[mic, number] = end
        if topic == TOPIC_SCORES and not self._soak.simulated:
            ended_ns = int(str(plain["start_ns"])) + float(str(plain["duration_s"])) * 1e9
            self.delays_s.append((int(str(plain["scored_ns"])) - ended_ns) / 1e9)

    @property
    def never_accepted(self) -> int:
        """Results of windows that nobody sent."""
        return int(((self.ends != OPEN) & ~self.accepted).sum())

    def counts(self) -> dict[str, int]:
        """How many windows ended how; `expired` is what was accepted and never ended."""
        ended = {name: int((self.ends[self.accepted] == end).sum()) for end, name in enumerate(ENDS)}
        expired = ended.pop("open")
        return {"accepted": int(self.accepted.sum()), **ended, "expired": expired}

    def by_mic(self) -> dict[tuple[str, str], int]:
        """(microphone, outcome) -> windows, as /metrics has it."""
        return {
            (f"m{mic:03d}", ENDS[end]): int((self.ends[mic] == end).sum())
            for mic in range(self._soak.mics)
            for end in (SCORED, REJECTED, DEAD)
        }


def fetch(url: str) -> str:
    """A page of the line."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def counted(page: str) -> dict[tuple[str, str], int]:
    """`windows_total` as the line's own /metrics has it: (microphone, outcome) -> windows."""
    text = fetch(page.rstrip("/") + "/metrics")
    return {(mic, outcome): int(float(value)) for mic, outcome, value in _SAMPLE.findall(text)}
