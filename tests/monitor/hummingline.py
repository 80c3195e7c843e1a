"""A tiny real line for tests: two machines that hum, their recordings, and models that take a second to train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monitor.settings import Line, load_line
from monitor.train import train_line
from streams import soundfiles

RATE = 16_000
MACHINES = {"fan": (120.0, ("fan-a", "fan-b")), "pump": (310.0, ("pump-a",))}


def hum(seconds: float, tone_hz: float, seed: int, fault: float = 0.0) -> NDArray[np.float32]:
    """A machine: harmonics, noise, a slow load; `fault` adds a hiss around 5 kHz of that RMS."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    load = 1.0 + 0.1 * np.sin(2 * np.pi * time / 7.0 + rng.uniform(0, 6))
    tones = sum(np.sin(2 * np.pi * tone_hz * k * time + rng.uniform(0, 6)) / k for k in range(1, 6))
    noise = rng.standard_normal(len(time))
    slow = np.convolve(rng.standard_normal(len(time)), np.full(32, 32**-0.5), "same")  # below 500 Hz, RMS 1
    hiss = slow * np.sin(2 * np.pi * 5000 * time) * 2**0.5
    return (0.02 * load * tones + 0.01 * noise + fault * hiss).astype(np.float32)


def write_line(folder: Path, *, live_s: float = 60.0, fault: float = 0.0, extra: str = "", speed: float = 0.0) -> Path:
    """line.toml with healthy recordings and a live file per microphone; the fault is in the second half of `fan-a`."""
    parts = [
        '[site]\ntime_zone = "Asia/Tokyo"\n[broker]\nmin_free_mb = 0\n[web]\nport = 0\n',
        "[alarms]\nfalse_alarms_per_week = 100\n",
        extra,
    ]
    seed = 0
    for machine, (tone_hz, mics) in MACHINES.items():
        parts.append(f'[[machine]]\nid = "{machine}"\nhealthy = "healthy/{machine}"\n')
        for number in range(8):
            seed += 1
            target = folder / "healthy" / machine / f"{number}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfiles.write_wav(target, hum(12.0, tone_hz, seed), RATE)
        for mic in mics:
            seed += 1
            parts.append(f'[[machine.mic]]\nid = "{mic}"\nsource = "file:live/{mic}.wav"\nspeed = {speed}\n')
            sound = hum(live_s, tone_hz, seed)
            if fault and mic == "fan-a":
                half = len(sound) // 2
                sound[half:] = hum(live_s, tone_hz, seed, fault)[half:]
            target = folder / "live" / f"{mic}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfiles.write_wav(target, sound, RATE)
    path = folder / "line.toml"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def trained(path: Path, detector: str = "neighbours") -> Line:
    """The line with its models."""
    line = load_line(path)
    train_line(line, detector=detector, quiet=True)
    return line
