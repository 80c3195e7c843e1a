"""Both judges on both syntheses: accuracy, calibration, confusion, and what Griffin-Lim takes away.

    python tests/benchmarks/bench_judges.py [--each 30] [--machines 36]

writes docs/benchmarks/judges.md and judges.json. Sounds: `reporting.sounds` with seeds that the reporting judge never
saw, `sds_engine.physics` with machines that the gate never saw.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting.judge import load_reporting
from reporting.sounds import CLASSES, one_sound
from train_reporting import measured

from sds_engine.judges.gate import load_gate
from sds_engine.judges.sounds import CLASSES as GATE_CLASSES
from sds_engine.judges.sounds import batch_of

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks"
FRESH_MACHINES, FRESH_SOUNDS = 9_800_000, 2_000_000


def measure(each: int, machines: int) -> dict[str, Any]:
    """Both judges on both sets."""
    gate, reporting = load_gate(), load_reporting()
    wave, label = batch_of(range(FRESH_MACHINES, FRESH_MACHINES + machines))
    order = [gate.index(name) for name in CLASSES]
    label = torch.tensor([CLASSES.index(GATE_CLASSES[number]) for number in label.tolist()])
    jobs = [
        (name, FRESH_SOUNDS + number * len(CLASSES) + i) for number in range(each) for i, name in enumerate(CLASSES)
    ]
    other = torch.from_numpy(np.stack([one_sound(*job) for job in jobs]).astype(np.float32))
    truth = torch.tensor([CLASSES.index(name) for name, _ in jobs])
    sets = {"sds_engine.physics": (wave, label), "reporting.sounds": (other, truth)}
    return {
        name: {
            "gate": measured(gate.probabilities(sound)[:, order], known),
            "reporting": measured(reporting.probabilities(sound), known),
        }
        for name, (sound, known) in sets.items()
    }


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["# The judges", "", "Written by `python tests/benchmarks/bench_judges.py`; do not edit.", ""]
    lines += [
        _ABOUT,
        "",
        "| sounds | judge | count | accuracy | calibration error | least sure class |",
        "|---|---|---|---|---|---|",
    ]
    for name, judges in found.items():
        for judge, row in judges.items():
            worst = min(row["per_class"], key=row["per_class"].get)
            figures = f"{row['accuracy']:.3f} | {row['calibration_error']:.3f} | {worst} {row['per_class'][worst]:.2f}"
            lines.append(f"| {name} | {judge} | {row['rows']} | {figures} |")
    for name, judges in found.items():
        for judge, row in judges.items():
            lines += ["", f"## {judge} on {name}", "", "Rows: the truth. Columns: what the judge said.", ""]
            lines += ["| | " + " | ".join(CLASSES) + " |", "|---|" + "---|" * len(CLASSES)]
            for truth, counts in zip(CLASSES, row["confusion"], strict=True):
                lines.append(f"| {truth} | " + " | ".join(str(count) for count in counts) + " |")
    return "\n".join([*lines, ""])


_ABOUT = (
    "Two classifiers of 2 s into ten faults and healthy (chance 0.09). The gate's is shipped and learned from "
    "`sds_engine.physics`; the reporting one is not shipped and learned from a synthesis of its own. They share no "
    "code and no data. A third of the physics sounds went through Griffin-Lim. Not measured: real faults; both know "
    "simulations only."
)


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--each", type=int, default=30)
    args.add_argument("--machines", type=int, default=36)
    given = args.parse_args()
    torch.set_num_threads(1)
    found = measure(given.each, given.machines)
    (PAGE / "judges.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (PAGE / "judges.md").write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
