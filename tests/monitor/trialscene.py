"""A simulated trial with times: machines that hum, recorded daily, and faults that grow until the machine fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streams import soundfiles

RATE = 16_000
BEGIN = datetime.fromisoformat("2026-04-01T08:00+09:00")
HEADER = "file,machine,mic,split,label,recording,start,event,failed_at"


@dataclass(frozen=True)
class Fault:
    """A fault of machine number `machine` that is heard on `days` before it fails on the day after the last."""

    name: str
    machine: int
    days: tuple[int, ...]
    strength: float = 0.05


def hum(seconds: float, tone_hz: float, seed: int, fault: float = 0.0) -> NDArray[np.float32]:
    """Harmonics and noise, levelled within 1 dB; `fault` adds a hiss of that RMS around 5 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * tone_hz * k * time + rng.uniform(0, 6)) / k for k in range(1, 6))
    hiss = np.convolve(rng.standard_normal(len(time)), np.full(32, 32**-0.5), "same") * 2**0.5
    sound = 0.02 * tones + 0.01 * rng.standard_normal(len(time)) + fault * hiss * np.sin(2 * np.pi * 5000 * time)
    return np.asarray(np.clip(sound * 10 ** rng.uniform(-0.05, 0.05), -1.0, 1.0), dtype=np.float32)


def write_trial(
    folder: Path,
    *,
    machines: int = 2,
    train: int = 8,
    days: int = 10,
    faults: Sequence[Fault] = (),
    seconds: float = 4.0,
    timed: bool = True,
) -> Path:
    """Sound files and their manifest: every machine once a day, healthy unless a fault says otherwise."""
    rows = [HEADER]
    seed = 0
    for number in range(machines):
        name, tone_hz = f"machine-{number + 1}", 110.0 + 45 * number
        on = {day: fault for fault in faults if fault.machine == number for day in fault.days}
        for place in [*range(-train, 0), *range(days)]:
            seed += 1
            fault = on.get(place)
            strength = min(0.1, fault.strength * (1 + fault.days.index(place))) if fault else 0.0
            file = folder / f"{name}-{place + train:03d}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfiles.write_wav(file, hum(seconds, tone_hz, seed, strength), RATE)
            start = BEGIN + timedelta(days=place)
            failed = BEGIN + timedelta(days=fault.days[-1] + 1) if fault else None
            times = [start.isoformat(), fault.name if fault else "", failed.isoformat() if failed else ""]
            rows.append(
                ",".join(
                    [
                        file.name,
                        name,
                        f"{name}-a",
                        "train" if place < 0 else "test",
                        "anomaly" if fault else "normal",
                        f"day{place}",
                        *(times if timed else ["", times[1], ""]),
                    ]
                )
            )
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return manifest
