"""The demo's sound as a trial for `factory-ear roi`: healthy recordings to learn from, its stream cut into looks.

    python tests/benchmarks/demo_trial.py DEMO_DIR OUT [--machines fan pump ...] [--minutes 8]

DEMO_DIR is what `factory-ear demo --dir DEMO_DIR` left behind. OUT gets `manifest.csv` and the pieces of the stream.
"""

from __future__ import annotations

import argparse
import csv
from datetime import datetime, timedelta
from pathlib import Path

import soundfile

from monitor.demo.hall import LISTENING, MACHINES, MINUTES, plan

PIECE_S = 40.0  # four looks
BEGIN = datetime.fromisoformat("2026-04-01T08:00+09:00")
HEADER = ("file", "machine", "mic", "split", "label", "recording", "prompt", "start", "event", "failed_at")


def trial(demo: Path, out: Path, machines: list[str], minutes: float) -> Path:
    """Write the pieces and the manifest; a piece is faulty where its machine's fault sounds in over half of it."""
    faults = {one.machine: one for one in plan(minutes) if one.kind != "no signal"}
    rows = []
    for mic, machine in LISTENING.items():
        if machine not in machines:
            continue
        base = {"machine": machine, "mic": mic, "prompt": machine}
        for path in sorted((demo / "healthy" / machine / mic).glob("*.wav")):
            own = {"file": path.resolve(), "split": "train", "label": "normal", "recording": path.stem}
            rows.append(base | own)
        sound, rate = soundfile.read(demo / "live" / f"{mic}.wav", dtype="float32")
        fault = faults.get(machine)
        for number in range(int(len(sound) / rate / PIECE_S)):
            first_s = number * PIECE_S
            both_s = min(first_s + PIECE_S, fault.end_s) - max(first_s, fault.start_s) if fault else 0.0
            path = out / f"{mic}-{number:02d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound[round(first_s * rate) : round((first_s + PIECE_S) * rate)], rate)
            start = BEGIN + timedelta(seconds=first_s)
            row = base | {"file": path.name, "split": "test", "label": "normal", "recording": f"live-{number:02d}"}
            if fault and both_s > PIECE_S / 2:
                failed = BEGIN + timedelta(seconds=fault.end_s)
                row |= {"label": "anomaly", "event": f"{machine}: {fault.kind}", "failed_at": failed.isoformat()}
            rows.append(row | {"start": start.isoformat()})
    with (out / "manifest.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, HEADER, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return out / "manifest.csv"


def main() -> None:
    """Write it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("demo", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--machines", nargs="+", default=list(MACHINES))
    options.add_argument("--minutes", type=float, default=MINUTES)
    given = options.parse_args()
    print(trial(given.demo, given.out, given.machines, given.minutes))


if __name__ == "__main__":
    main()
