"""`factory-ear run` over an hour's worth of windows of eight microphones: memory of all its processes, and speed.

The line is the demo's simulated hall; an hour of sound per microphone is replayed as fast as the line takes it.
Memory is resident memory (RSS), summed over supervisor, monitor, worker and capture every half second.

    python tests/benchmarks/bench_run.py [--minutes 60] [--folder DIR] [--separated]

writes docs/benchmarks/run.md and run.json. The line hears raw sound; with `--separated` it separates every window, as
the demo does, and the files are run-separated.md and run-separated.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

from monitor.demo import hall
from monitor.line_broker import WORKERS, open_line_broker
from monitor.settings import load_line
from monitor.train import train_line
from sds_engine.physics.line import MICS, demo_line
from streams.records import TOPIC_WINDOWS

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks"
ROOT = Path(__file__).parents[2]
BUDGET_MB = 1200
LOOK_S = 0.5
SETTLED = 1 / 3  # growth is measured over what comes after this share of the windows


def prepare(folder: Path, minutes: float, *, separated: bool) -> Path:
    """A trained line whose live files are `minutes` long: two rendered minutes, repeated with another level each."""
    hall.render(folder, 0, 4.0, [])
    config = hall.write_config(folder, broker="", lang="en", port=0, separated=separated)
    config.write_text(
        config.read_text(encoding="utf-8").replace(f"speed = {hall.SPEED}", "speed = 0"), encoding="utf-8"
    )
    train_line(load_line(config), quiet=True)
    rng = np.random.default_rng(0)
    for mic in MICS:
        path = folder / "live" / f"{mic}.wav"
        sound, rate = soundfile.read(path, dtype="float32")
        with soundfile.SoundFile(path, "w", rate, 1, subtype="PCM_16") as file:
            for _ in range(round(minutes / 4.0)):
                file.write(sound * rng.uniform(0.95, 1.0))
    assert demo_line(0).rate == rate
    return config


def memory(process: psutil.Process) -> dict[str, float]:
    """RSS in MB of the supervisor and of each child, by command."""
    found = {"supervisor": process.memory_info().rss / 1e6}
    for child in process.children():
        try:
            name = next(word for word in child.cmdline() if word in {"ingest", "worker", "monitor"})
            found[name] = child.memory_info().rss / 1e6
        except (psutil.NoSuchProcess, StopIteration):
            continue
    return found


def measure(config: Path) -> dict[str, Any]:
    """Run the line to its end; samples of (windows done, memory) on the way."""
    line = load_line(config)
    process = subprocess.Popen([sys.executable, "-m", "monitor.cli", "run", "-c", str(config), "--once"], cwd=ROOT)
    watched = psutil.Process(process.pid)
    broker = open_line_broker(line)
    samples = []
    began = 0.0
    while process.poll() is None:
        done = sum(broker.committed(WORKERS, TOPIC_WINDOWS).values())
        began = began or (time.perf_counter() if done else 0.0)
        samples.append((time.perf_counter(), done, memory(watched)))
        time.sleep(LOOK_S)
    broker.close()
    if process.returncode:
        raise SystemExit(f"run ended with {process.returncode}")
    last = max(done for _, done, _ in samples)
    ended = next(at for at, done, _ in samples if done == last)
    return summary(samples, last, ended - began)


def summary(samples: list[tuple[float, int, dict[str, float]]], windows: int, seconds: float) -> dict[str, Any]:
    """Peak, and the slope of total memory over windows once it has settled."""
    alive = [(done, parts) for _, done, parts in samples if {"worker", "monitor"} <= parts.keys()]
    settled = [(done, parts) for done, parts in alive if SETTLED * windows <= done < windows]
    names = ("supervisor", "monitor", "worker", "ingest")
    done = [count for count, _ in settled]
    growth = {
        name: float(np.polyfit(done, [parts[name] for _, parts in settled], 1)[0]) * 10_000
        for name in ("worker", "monitor")
    }
    return {
        "windows": windows,
        "seconds": seconds,
        "windows_per_s": windows / seconds,
        "samples": len(alive),
        "peak_mb": max(sum(parts.values()) for _, parts in alive),
        "peak_by_process_mb": {name: max(parts.get(name, 0.0) for _, parts in alive) for name in names},
        "growth_mb_per_10000_windows": growth,
        "settled_mb": [[count, round(parts["worker"]), round(parts["monitor"])] for count, parts in settled[::8]],
    }


def page(found: dict[str, Any], minutes: float, *, separated: bool) -> str:
    heard, asked = (
        ("the full chain (separation on every window)", " --separated") if separated else ("the fused default", "")
    )
    parts, growth = found["peak_by_process_mb"], found["growth_mb_per_10000_windows"]
    rows = "\n".join(f"| {name} | {value:,.0f} |" for name, value in parts.items())
    return f"""# `factory-ear run`: memory and speed over an hour's worth of windows

Written by `python tests/benchmarks/bench_run.py --minutes {minutes:g}{asked}`; do not edit.

{found["machine"]}. Eight simulated microphones, {minutes:g} minutes of sound each
({found["windows"]:,} windows of 2 s), replayed as fast as one worker with {heard} takes them, through the
embedded broker, with alarms, evidence and the page running. Resident memory, sampled every {LOOK_S:g} s.

| process | peak RSS, MB |
|---|---:|
{rows}
| **all together, at the worst moment** | **{found["peak_mb"]:,.0f}** (budget {BUDGET_MB:,}) |

Growth in the last two thirds, MB per 10,000 windows: worker {growth["worker"]:+.1f}, monitor {growth["monitor"]:+.1f}.
{found["windows_per_s"]:,.0f} windows/s from the broker to stored scores while all processes share the two cores.
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument("--folder", type=Path)
    options.add_argument("--separated", action="store_true")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        found = measure(prepare(Path(folder), chosen.minutes, separated=chosen.separated))
    found["machine"] = f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}"
    PAGE.mkdir(parents=True, exist_ok=True)
    name = "run-separated" if chosen.separated else "run"
    text = page(found, chosen.minutes, separated=chosen.separated)
    (PAGE / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (PAGE / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
