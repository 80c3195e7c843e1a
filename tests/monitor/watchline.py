"""A small line for the monitor's tests: settings, model cards, windows and scores, without any model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from detectors.card import Card, MicCard
from monitor.line_broker import open_line_broker
from monitor.settings import Line
from streams import codec
from streams.broker import Broker
from streams.records import TOPIC_SCORES, TOPIC_WINDOWS, AudioWindow, Flag, WindowScore

S = 1_000_000_000
T0 = 1_800_000_000 * S


class Clock:
    """A clock that is handed in; both UTC and steady."""

    def __init__(self, ns: int = T0) -> None:
        self.ns = ns

    def now_ns(self) -> int:
        return self.ns

    def steady_s(self) -> float:
        return self.ns / S

    def forward(self, seconds: float) -> None:
        self.ns += round(seconds * S)


def make_line(folder: Path, *, machines: dict[str, Sequence[str]] | None = None, **parts: dict[str, object]) -> Line:
    """A line with trained machines; `parts` overrides sections of the settings."""
    machines = {"press": ("press-a", "press-b"), "fan": ("fan-a",)} if machines is None else machines
    site = {"data": folder / "data", "rate": 8000, **parts.pop("site", {})}
    broker = {"url": f"embedded:{folder / 'broker'}", "partitions": 4, "min_free_mb": 0, **parts.pop("broker", {})}
    alarms = {"looks": 4, "off_delay_s": 20.0, "settle_s": 0.0, **parts.pop("alarms", {})}
    listed = [
        {
            "id": name,
            "name_ja": f"{name} 号機",
            "healthy": folder / "healthy",
            "mic": [{"id": mic, "source": f"mic:{mic}"} for mic in mics],
        }
        for name, mics in machines.items()
    ]
    web = {"port": 0, **parts.pop("web", {})}
    line = Line.model_validate(
        {"site": site, "broker": broker, "alarms": alarms, "web": web, "machine": listed, **parts}
    )
    for name in machines:
        write_card(line, name)
    return line


def write_card(line: Line, machine: str, effective_n: int = 120, context_s: float = 10.0) -> None:
    """A model card without a model: all that the monitor reads."""
    mic = MicCard(
        file="all.safetensors",
        model="m1",
        detector="fusion",
        rate=line.site.rate,
        n_fft=1024,
        hop=512,
        mels=128,
        front_end=1,
        window_s=2.0,
        context_windows=5,
        context_s=context_s,
        effective_n=effective_n,
        level_dbfs=-30.0,
    )
    card = Card(machine, "2026-11-21T00:00:00+00:00", "test", {"*": mic}, {"all.safetensors": "0" * 64})
    folder = line.models / machine
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_text(card.text())


def window(mic: str, index: int, *, session: str = "s", flags: Iterable[Flag] = (), level: float = 0.1) -> AudioWindow:
    """Two seconds of a tone; the machine is the microphone's name before the dash."""
    t = np.arange(16_000) / 8000
    samples = (level * np.sin(2 * math.pi * (300 + 10 * (index % 7)) * t)).astype(np.float32)
    start_ns = T0 + index * 2 * S
    return AudioWindow(mic.split("-", maxsplit=1)[0], mic, session, index, start_ns, 8000, samples, frozenset(flags))


def score(mic: str, index: int, value: float = 0.2, *, session: str = "s", **more: object) -> WindowScore:
    """The score of `window(mic, index)`."""
    start_ns = T0 + index * 2 * S
    values: dict[str, object] = {
        "machine": mic.split("-", maxsplit=1)[0],
        "mic": mic,
        "session": session,
        "sequence": index,
        "start_ns": start_ns,
        "duration_s": 2.0,
        "status": "ok",
        "score": value,
        "detector": "fusion",
        "band_hz": (2100.0, 2600.0),
        "band_db": 9.0,
        "stage_seconds": {"decode": 0.0001, "front_end": 0.001, "score": 0.002},
        "scored_ns": start_ns + 3 * S,
    }
    return WindowScore(**{**values, **more})  # type: ignore[arg-type]  # a test's shorthand


def send(broker: Broker, records: Iterable[AudioWindow | WindowScore]) -> None:
    """Put windows and scores on their topics, durably."""
    producer = broker.producer()
    for record in records:
        if isinstance(record, AudioWindow):
            producer.send(TOPIC_WINDOWS, *codec.encode_window(record))
        else:
            producer.send(TOPIC_SCORES, *codec.encode_score(record))
    producer.close()


__all__ = ["T0", "Clock", "S", "make_line", "open_line_broker", "score", "send", "window", "write_card"]
