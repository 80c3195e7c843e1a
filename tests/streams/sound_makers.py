"""What the tests of capture share: sounds, hand-made headers, and a clock that only moves when it is told to."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterable
from itertools import takewhile
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from streams.capture import Event, Idle, Source
from streams.records import AudioWindow

RATE = 16_000
SECOND_NS = 1_000_000_000
NOW_NS = 1_800_000_000 * SECOND_NS


def noise(seconds: float, seed: int = 0, rate: int = RATE, level: float = 0.1) -> NDArray[np.float32]:
    """White noise at `level` RMS."""
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(seconds * rate))).astype(np.float32).clip(-0.99, 0.99)


def sound_file(path: Path, seconds: float = 4.0, seed: int = 0, rate: int = RATE, mtime_s: float | None = None) -> Path:
    """A 16 bit file of noise, with its modification time set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seconds, seed, rate), rate, subtype="PCM_16")
    if mtime_s is not None:
        os.utime(path, ns=(round(mtime_s * 1e9), round(mtime_s * 1e9)))
    return path


def raw_wav(path: Path, body: bytes, channels: int = 1, data_size: int | None = None, rate: int = RATE) -> Path:
    """A WAV whose header says what it is told to say."""
    size = len(body) if data_size is None else data_size
    header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", min(36 + size, 0xFFFF_FFFF), b"WAVE", b"fmt ", 16, 1, channels,
                         rate, rate * channels * 2, channels * 2 & 0xFFFF, 16)  # fmt: skip
    path.write_bytes(header + struct.pack("<4sI", b"data", size) + body)
    return path


class FakeClock:
    """Time that passes only in `sleep`; `on_sleep` is called after each."""

    def __init__(self, now_ns: int = NOW_NS) -> None:
        self.utc_ns = now_ns
        self.seconds = 100.0
        self.on_sleep: Callable[[], None] = lambda: None
        self.slept = 0

    def now_ns(self) -> int:
        return self.utc_ns

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float, stop: threading.Event) -> None:
        self.pass_(seconds)
        self.slept += 1
        self.on_sleep()

    def pass_(self, seconds: float) -> None:
        self.utc_ns += round(seconds * 1e9)
        self.seconds += seconds


def windows(events: Iterable[Event]) -> list[AudioWindow]:
    """The windows among the events."""
    return [event for event in events if isinstance(event, AudioWindow)]


def news(events: Iterable[Event]) -> list[Event]:
    """The events that are neither windows nor idle."""
    return [event for event in events if not isinstance(event, AudioWindow | Idle)]


def until(source: Source, enough: Callable[[list[Event]], bool], most: int = 10_000) -> list[Event]:
    """The events until they are enough; fails after `most`."""
    events: list[Event] = []
    for event in source:
        events.append(event)
        if enough(events):
            return events
        assert len(events) < most, f"not enough after {most} events: {news(events)}"
    return events


def until_quiet(source: Source, looks: int = 8) -> list[Event]:
    """The events until so many idle ones followed each other."""
    return until(source, lambda events: len(list(takewhile(lambda e: isinstance(e, Idle), reversed(events)))) >= looks)
