"""Both judges on both syntheses: accuracy, calibration, confusion, and what Griffin-Lim takes away.

    python tests/benchmarks/bench_judges.py [--each 30] [--machines 36]

writes docs/benchmarks/judges.md and judges.json. Sounds: `reporting.sounds` with seeds that the reporting judge never
saw, as they are and rebuilt from magnitudes; `sds_engine.physics` with machines that the gate never saw.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting.bodies import without_phase
from reporting.judge import load_reporting
from reporting.sounds import CLASSES, one_sound
from train_reporting import measured

from sds_engine.judges.gate import load_gate
from sds_engine.judges.sounds import CLASSES as GATE_CLASSES
from sds_engine.judges.sounds import batch_of
from sds_engine.priors.shipped import load_prior

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
    plain = np.stack([one_sound(*job) for job in jobs])
    rebuilt = np.stack([without_phase(sound, np.random.default_rng((80_000_000, k))) for k, sound in enumerate(plain)])
    other, turned = (torch.from_numpy(sounds.astype(np.float32)) for sounds in (plain, rebuilt))
    truth = torch.tensor([CLASSES.index(name) for name, _ in jobs])
    sets = {
        "sds_engine.physics": (wave, label),
        "reporting.sounds": (other, truth),
        "reporting.sounds, rebuilt from magnitudes": (turned, truth),
        "reporting.sounds, as the prior would render them": (as_the_prior(other), truth),
        "sds_engine.physics, as the prior would render it": (as_the_prior(wave), label),
    }
    return {
        name: {
            "gate": measured(gate.probabilities(sound)[:, order], known),
            "reporting": measured(reporting.probabilities(sound), known),
        }
        for name, (sound, known) in sets.items()
    }


@torch.no_grad()
def as_the_prior(wave: torch.Tensor) -> torch.Tensor:
    """Sound through the prior's codec and Griffin-Lim: what a sampler without error would give."""
    codec, generator = load_prior().codec, torch.Generator().manual_seed(3)
    return torch.cat([codec.to_wave(codec.encode(rows), generator) for rows in wave.split(16)])


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["# The judges", "", "Written by `python tests/benchmarks/bench_judges.py`; do not edit.", ""]
    lines += [
        _ABOUT,
        "",
        "| sounds | judge | count | accuracy | of the faulty ones | calibration error | least sure class |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, judges in found.items():
        for judge, row in judges.items():
            worst = min(row["per_class"], key=row["per_class"].get)
            rates = f"{row['accuracy']:.3f} | {_faulty(row):.3f} | {row['calibration_error']:.3f}"
            lines.append(f"| {name} | {judge} | {row['rows']} | {rates} | {worst} {row['per_class'][worst]:.2f} |")
    for name, judges in found.items():
        for judge, row in judges.items():
            lines += ["", f"## {judge} on {name}", "", "Rows: the truth. Columns: what the judge said.", ""]
            lines += ["| | " + " | ".join(CLASSES) + " |", "|---|" + "---|" * len(CLASSES)]
            for truth, counts in zip(CLASSES, row["confusion"], strict=True):
                lines.append(f"| {truth} | " + " | ".join(str(count) for count in counts) + " |")
    return "\n".join([*lines, ""])


def _faulty(row: dict[str, Any]) -> float:
    """The accuracy over the sounds that have a fault."""
    counts = np.array(row["confusion"])[: CLASSES.index("healthy")]
    return float(np.trace(counts) / counts.sum())


_ABOUT = (
    "Two classifiers of 2 s into ten faults and healthy (chance 0.09). The gate's is shipped and learned from "
    "`sds_engine.physics`; the reporting one is not shipped and learned from a synthesis of its own. They share no "
    "code and no data. A third of the physics sounds went through Griffin-Lim. Not measured: real faults; both know "
    "simulations only.\n\n"
    "How independent the reporting judge is: its weights never met a sound of `sds_engine.physics`. But the width of "
    "its own synthesis was chosen with an eye on such sounds: 64 machines with seeds from 7,000,000 on, which are not "
    "the ones below, were rendered, looked at as spectrograms, and judged. A first version, narrower, recognised "
    "0.490 of them and called healthy machines loose or pitted. What was seen there and then drawn at random: machine "
    "noise that goes through a resonant body as blows do, blows into the machine's own frame, machines that strike "
    "when healthy, a ball that hits one race only. No sound of the prior or of SDS was looked at. So the first "
    "rows say how far it carries to another synthesis of the same faults, with machines fresh to both; they do not "
    "say what a synthesis unseen by its authors would give.\n\n"
    "Phase-less sound: among its training sounds is each once more after alternating projections from coarse, noisy "
    "magnitudes, and half of them a third time, rebuilt from 48 to 80 overlapping bands with 10 to 40 projections: "
    "code of its own, not the prior's, on its own sounds and seeds. The last two sets are the prior's own way from "
    "sound to picture and back: what a sampler of the prior that makes no error would reach."
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
