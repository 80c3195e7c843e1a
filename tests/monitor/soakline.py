"""A line for soaks: many microphones that share one tiny model, what is sent to them, and whose time it is.

Event time is simulated: a file holds the time, the feeder moves it on as fast as the line keeps up, and all processes
read it (`soakclock`). So retention, history, shelves and liveness see whole days, and nothing is skipped.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from hummingline import RATE, hum

from monitor.settings import load_line
from monitor.train import train_line
from streams import soundfiles
from streams.embedded.clock import SystemClock
from streams.records import AudioWindow, Identity

S = 1_000_000_000
WINDOW_S = 2.0
TONE_HZ = 120.0
PER_MACHINE = 5
POOL = 64  # different windows of each kind
TOKEN = "soak-operator"  # of a line that lives for minutes
FAULT_S = 1800.0
SILENT_S = 600.0


@dataclass(frozen=True)
class Soak:
    """How much is soaked. `period_s`: one window per microphone so often; `simulated`: event time, not real time."""

    mics: int = 200
    windows: int = 864
    period_s: float = 100.0
    simulated: bool = True
    retention_s: float = 3600.0
    results_s: float = 4 * 3600.0
    history_days: float = 0.25
    clips_mb: int = 8
    outage: bool = True
    kill: bool = True
    chunk: int = 50

    @property
    def hours(self) -> float:
        """Event time."""
        return self.windows * self.period_s / 3600.0

    @property
    def per_session(self) -> int:
        """Windows until a microphone's capture starts anew: a quarter of the soak."""
        return max(1, self.windows // 4)

    @property
    def outage_s(self) -> tuple[float, float]:
        """From when to when no worker runs: long enough that retention overtakes it."""
        begins = max(self.hours * 3600.0 / 48, 5 * self.period_s)
        return begins, begins + 1.5 * self.retention_s + 2 * self.period_s

    @property
    def kill_s(self) -> float:
        """When the worker is killed."""
        return self.outage_s[1] + self.hours * 3600.0 / 48

    def machine(self, mic: int) -> str:
        """The machine that a microphone listens to."""
        return f"machine-{mic // PER_MACHINE:03d}"

    def identity(self, mic: int, number: int) -> Identity:
        """Of window `number` of a microphone."""
        return Identity(f"m{mic:03d}", f"s{number // self.per_session}", number % self.per_session)

    def number(self, session: str, sequence: int) -> int:
        """The way back from an identity."""
        return int(session[1:]) * self.per_session + sequence

    def kind(self, mic: int, number: int) -> str:
        """What a window is: healthy, faulty, silent or torn. Faults and silence go from machine to machine."""
        seconds, machine = number * self.period_s, mic // PER_MACHINE
        machines = -(-self.mics // PER_MACHINE)
        share = self.hours * 3600.0 / 24  # one machine is faulty in each 24th of the soak, another is silent
        turn, within = divmod(seconds, share)
        if (mic * 7919 + number * 104_729) % 1009 == 0:
            return "torn"
        if machine == (3 * int(turn) + 1) % machines and within < min(FAULT_S, share / 2):
            return "faulty"
        if machine == (5 * int(turn) + 2) % machines and mic % PER_MACHINE == 0 and within < min(SILENT_S, share / 2):
            return "silent"
        return "healthy"


class Clock(Protocol):
    """The broker's clock, and one that the feeder waits for."""

    boot: str

    def monotonic_ns(self) -> int: ...
    def utc_ns(self) -> int: ...
    def sleep(self, seconds: float) -> None: ...
    def reach(self, at_ns: int) -> None:
        """Return when it is `at_ns`."""


class FileClock(SystemClock):
    """A time that stands in a file and goes on only when it is told to."""

    def __init__(self, path: Path, at_ns: int) -> None:
        super().__init__()
        path.write_bytes(struct.pack("q", at_ns))
        with path.open("r+b") as file:
            self._now = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")

    def utc_ns(self) -> int:
        return self._now[0]

    def reach(self, at_ns: int) -> None:
        self._now[0] = max(self._now[0], at_ns)


class WallClock(SystemClock):
    """The machine's own time."""

    def reach(self, at_ns: int) -> None:
        time.sleep(max(0.0, (at_ns - time.time_ns()) / 1e9))


def build(folder: Path, soak: Soak) -> Path:
    """line.toml, and the models of its machines: one is trained, the others are its copies."""
    for number in range(8):
        path = folder / "healthy" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfiles.write_wav(path, hum(12.0, TONE_HZ, number), RATE)
    one = _settings(soak, machines=1)
    first = folder / "one.toml"
    first.write_text(one, encoding="utf-8")
    line = load_line(first)
    train_line(line, detector="neighbours", quiet=True)
    path = folder / "line.toml"
    path.write_text(_settings(soak, machines=-(-soak.mics // PER_MACHINE)), encoding="utf-8")
    for machine in load_line(path).machine[1:]:
        target = line.models / machine.id
        shutil.copytree(line.models / "machine-000", target)
        card = target / "card.json"
        card.write_text(card.read_text(encoding="utf-8").replace('"machine-000"', f'"{machine.id}"'), encoding="utf-8")
    return path


def _settings(soak: Soak, machines: int) -> str:
    head = f"""[broker]
min_free_mb = 0
windows_retention_s = {soak.retention_s}
results_retention_s = {soak.results_s}
[web]
port = 0
[[web.tokens]]
role = "operate"
token = "{TOKEN}"
[history]
keep_days = {soak.history_days}
[evidence]
keep_mb = {soak.clips_mb}
[chain]
max_batch = 256
[alarms]
false_alarms_per_week = 100
unknown_after_s = {max(30.0, 3 * soak.period_s)}
"""
    parts = [head]
    for machine in range(machines):
        parts.append(f'[[machine]]\nid = "machine-{machine:03d}"\nhealthy = "healthy"\n')
        for mic in range(machine * PER_MACHINE, min(soak.mics, (machine + 1) * PER_MACHINE)):
            keeps = str(mic % PER_MACHINE == 0).lower()
            parts.append(f'[[machine.mic]]\nid = "m{mic:03d}"\nsource = "mic:{mic}"\nevidence = {keeps}\n')
    return "\n".join(parts)


def sounds() -> dict[str, list[AudioWindow]]:
    """Windows of each kind; their identities are to be replaced."""
    length = round(WINDOW_S * RATE)
    made = {}
    for kind, fault in (("healthy", 0.0), ("faulty", 0.05)):
        long = hum(WINDOW_S * POOL, TONE_HZ, 99, fault)
        made[kind] = [_window(long[at * length : (at + 1) * length]) for at in range(POOL)]
    made["silent"] = [_window(np.zeros(length, np.float32))]
    made["torn"] = made["healthy"]
    return made


def _window(samples: np.ndarray) -> AudioWindow:
    return AudioWindow("m", "m", "s", 0, 0, RATE, samples)
