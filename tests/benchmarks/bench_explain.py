"""How often the guesses of `detectors/explain.py` name the cause: procedural machines, faults whose cause is known.

python tests/benchmarks/bench_explain.py [--machines N]     writes docs/benchmarks/explain.md and explain.json

Machines and recordings are drawn by seed. A guess counts as first where the strongest band is named rightly, as any
where one of the three is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
RATE = 16_000
SECONDS = 10.0
HEALTHY = 12
LEVELS = (0.0, -6.0, -12.0)
# Fault -> the guesses that are right: (kind, part); an empty part where none is named.
RIGHT = {
    "outer_race": {("impacts", "BPFO")},
    "inner_race": {("impacts", "BPFI")},
    "ball": {("impacts", "2BSF")},
    "broken_tooth": {("impacts", "shaft"), ("tone", "shaft")},
    "blade_imbalance": {("tone", "shaft"), ("impacts", "shaft")},
    "leak": {("hiss", "")},
    "cavitation": {("strokes", ""), ("hiss", "")},
    "rattle": {("strokes", "")},
    "belt_squeal": {("tone", ""), ("tone", "mesh"), ("tone", "shaft")},
}
KINDS = ("fan", "pump", "gearbox", "conveyor", "compressor")
Tally = dict[tuple[str, float], list[tuple[bool, bool]]]


def explained_machine(kind: str, seed: int, tally: Tally) -> None:
    import numpy as np
    import torch

    from detectors.aggregate import clips_evidence
    from detectors.explain import explain
    from detectors.kinematics import Kinematics
    from detectors.model import Clip, fit_model
    from sds_engine.physics.faults import FAULTS, Fault, add_fault
    from sds_engine.physics.kinds import draw_machine
    from sds_engine.physics.machines import draw_take, render_take

    rng = np.random.default_rng([seed, KINDS.index(kind)])
    machine = draw_machine(kind, rng)
    teeth = getattr(machine, "teeth", None)
    kinematics = Kinematics(machine.shaft_hz, machine.bearing, teeth[0] if isinstance(teeth, tuple) else teeth)
    sounds = [torch.from_numpy(render_take(draw_take(machine, SECONDS, RATE, rng))) for _ in range(HEALTHY)]
    clips = [Clip(sound, str(number)) for number, sound in enumerate(sounds)]
    model = fit_model(clips, detector="neighbours", kinematics=kinematics)
    for fault in sorted(set(FAULTS[kind]) & set(RIGHT)):
        for level in LEVELS:
            sound = torch.from_numpy(add_fault(draw_take(machine, SECONDS, RATE, rng), Fault(fault, level), seed)[0])
            (context,) = clips_evidence([sound], model.front_end, 2 * RATE, 5)
            guesses = [(band.guess.kind, band.guess.part) for band in explain(model, context, sound).bands]
            right = [guess in RIGHT[fault] for guess in guesses]
            tally[fault, level].append((right[:1] == [True], any(right)))


def page(tally: Tally, machines: int) -> str:
    lines = [
        "# Do the guesses name the cause?",
        "",
        "Written by `python tests/benchmarks/bench_explain.py`. Procedural machines with known faults,",
        f"{machines} individuals each of {', '.join(KINDS)}; {HEALTHY} healthy recordings of 10 s to learn from.",
        "Level: the fault's own sound over the machine's. *First*: the strongest band is named rightly; *any*: one of",
        "three is. An inner race whose rate lies within 1% of a multiple of the shaft is said to strike once a turn.",
        "Real machines and rooms will do worse; this says that the rules do what they claim.",
        "",
        "| fault | right guess | " + " | ".join(f"{level:+.0f} dB: first / any" for level in LEVELS) + " |",
        "|---|---|" + "---|" * len(LEVELS),
    ]
    for fault, right in RIGHT.items():
        cells = []
        for level in LEVELS:
            found = tally[fault, level]
            cells.append(f"{sum(a for a, _ in found)} / {sum(b for _, b in found)} of {len(found)}")
        named = ", ".join(sorted({f"{kind} {part}".strip() for kind, part in right}))
        lines.append(f"| {fault.replace('_', ' ')} | {named} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--machines", type=int, default=4)
    chosen = parser.parse_args()
    tally: Tally = defaultdict(list)
    for kind in KINDS:
        for seed in range(100, 100 + chosen.machines):
            explained_machine(kind, seed, tally)
    folder = ROOT / "docs" / "benchmarks"
    text = page(tally, chosen.machines)
    (folder / "explain.md").write_text(text, encoding="utf-8")
    plain = {f"{fault} {level:+.0f} dB": found for (fault, level), found in sorted(tally.items())}
    (folder / "explain.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
