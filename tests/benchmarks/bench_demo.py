"""At which level the demo's coolant pump is missed by raw sound and found by the full chain: fixed on other halls.

    python tests/benchmarks/bench_demo.py [--seeds 210-229]

writes docs/benchmarks/demo.md and demo.json. A seed is a hall of its own: other machines, room, moments. None is the
demo's. Each has the demo's recordings, its fault's times, its detector, its stages and its alarm rule; the fault is
rendered once and added at every level. Seeds that demo.json has already are not done again: delete it to start anew.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detectors.aggregate import join
from detectors.base import Evidence
from detectors.model import Clip, Model, fit_model
from monitor.alarms import AlarmMachine, Plan, plan
from monitor.demo import hall
from monitor.settings import Alarms
from monitor.site_sound import SiteRecordings, adapted_stage
from monitor.stages import MaskStage
from sds_engine.physics.line import FaultEvent
from sds_engine.physics.wander import F32
from streams.records import WindowScore

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks"
MACHINE, MIC = "coolant", "coolant-1"
KINDS = ("outer_race",)
LEVELS_DB = (4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0)
NONE_DB = -120.0
RAW_BELOW, CHAIN_ABOVE = 0.2, 0.9
WINDOW = round(16_000 * hall.WINDOW_S)
Found = dict[str, list[list[bool]]]  # by kind: [level][raw, chain]


def event() -> tuple[float, float]:
    """When the fault of the demo's coolant pump begins and ends, in s."""
    return next((one.start_s, one.end_s) for one in hall.plan(hall.MINUTES) if one.machine == MACHINE)


def sounds(seed: int) -> tuple[Model, MaskStage, F32, dict[str, F32]]:
    """The model and the stage of a hall's coolant pump, its healthy stream, and each fault's own sound at 0 dB."""
    line = hall.the_line(seed)
    healthy = [torch.from_numpy(one) for one in line.training(MIC, hall.RECORDINGS, hall.RECORDING_S)]
    clean, background = (
        [torch.from_numpy(one[MIC]) for one in line.apart(MACHINE, hall.APART, hall.APART_S, runs=runs)]
        for runs in (True, False)
    )
    stage, _ = adapted_stage(SiteRecordings(clean, background, healthy), minutes=hall.ADAPT_MINUTES)
    clips = [Clip(sound, str(number)) for number, sound in enumerate(healthy)]
    model = fit_model(clips, detector=hall.DETECTOR, separation=stage)
    assert model.paths is not None
    begin_s, end_s = event()

    def stream(*faults: FaultEvent) -> F32:
        return np.concatenate([block[MIC] for block in line.blocks(end_s, faults, [MIC])])

    quiet = stream()
    faults = {kind: stream(FaultEvent(MACHINE, kind, begin_s, end_s, 0.0)) - quiet for kind in KINDS}
    return model, MaskStage.restore(model.paths.separator), quiet, faults


def looks(model: Model, sound: F32) -> Evidence:
    """The contexts of a stream that the alarm rule looks at: one after the other, none overlaps."""
    batch = torch.from_numpy(sound.reshape(-1, WINDOW))
    features = model.front_end(batch, waveform=model.needs_waveform)
    rows = [features.row(number) for number in range(len(batch))]
    size = model.context_windows
    return join([rows[start : start + size] for start in range(0, len(rows) - size + 1, size)])


def alarms(scores: Sequence[float], rule: Plan, context: int) -> bool:
    """Whether the alarm rule of `run` opens an alarm on these looks."""
    machine = AlarmMachine(MACHINE, {MIC: rule}, Alarms())
    for number, score in enumerate(scores, 1):
        end = number * context - 1
        window = WindowScore(MACHINE, MIC, "s", end, round(end * hall.WINDOW_S * 1e9), hall.WINDOW_S, "ok", score)
        if any(update.opened for update in machine.feed(window)):
            return True
    return False


@torch.inference_mode()
def measure(seed: int) -> dict[str, Any]:
    """What is found in one hall, by kind and level; at NONE_DB nothing is there to be found."""
    began = time.process_time()
    model, stage, quiet, faults = sounds(seed)
    rule = plan(model.effective_n, model.context_s, Alarms())
    found: Found = {}
    above = []
    for kind, fault in faults.items():
        for level in (NONE_DB, *LEVELS_DB):
            evidence = looks(model, quiet + np.float32(10.0 ** (level / 20.0)) * fault)
            both = (model.score(evidence).score, model.score_paths(stage(evidence)).score)
            found.setdefault(kind, []).append([alarms(one.tolist(), rule, model.context_windows) for one in both])
            if level == NONE_DB:
                above = [float((one >= rule.threshold).double().mean()) for one in both]
    return {"found": found, "healthy_above": above, "k": rule.k, "cpu_s": round(time.process_time() - began, 1)}


def shares(done: Mapping[str, Any]) -> Iterator[tuple[str, float, float, float]]:
    """Kind, level, and the shares of halls in which raw sound and the chain find it."""
    for kind in KINDS:
        for place, level in enumerate((NONE_DB, *LEVELS_DB)):
            raw, chain = np.mean([one["found"][kind][place] for one in done.values()], axis=0)
            yield kind, level, float(raw), float(chain)


def chosen(done: Mapping[str, Any]) -> tuple[str, float, float, float]:
    """The rule: where the chain finds most more than raw sound does, of what raw mostly misses and the chain finds.

    Where nothing keeps both limits, of all; of several that tie the middle one (of two, the louder).
    """
    rows = [row for row in shares(done) if row[1] != NONE_DB]
    kept = [row for row in rows if row[2] < RAW_BELOW and row[3] > CHAIN_ABOVE]
    most = max(row[3] - row[2] for row in kept or rows)
    tied = [row for row in kept or rows if row[3] - row[2] == most]
    return tied[(len(tied) - 1) // 2]


def page(done: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    kind, level, raw, chain = chosen(done)
    keeps = raw < RAW_BELOW and chain > CHAIN_ABOVE
    above = np.mean([one["healthy_above"] for one in done.values()], axis=0)
    rows = "\n".join(
        f"| {kind.replace('_', ' ')} | {'none' if level == NONE_DB else f'{level:+.0f} dB'} | {raw:.0%} | {chain:.0%} |"
        for kind, level, raw, chain in shares(done)
    )
    return f"""# The demo's hard place

Written by `python tests/benchmarks/bench_demo.py`; do not edit. {len(done)} halls, seeds {min(map(int, done))} to
{max(map(int, done))}; the demo's is 0. What the place is: [the demo](../demo.md).

The rule, settled on other halls than the demo's: of the kinds and levels that raw sound finds in fewer than
{RAW_BELOW:.0%} of the halls and the chain in more than {CHAIN_ABOVE:.0%}, that at which the chain finds most more than
raw sound; where none keeps both limits, of all; of several that tie, the middle one (of two, the louder).

**{kind.replace("_", " ")} at {level:+.0f} dB**: found by raw sound in {raw:.0%} of the halls, by the chain in
{chain:.0%}. It {"keeps" if keeps else "does not keep"} both limits.

| fault | level | raw sound | full chain |
|---|---:|---:|---:|
{rows}

Healthy looks at or above the threshold: {above[0]:.1%} of raw sound's, {above[1]:.1%} of the chain's. One hall takes
{np.mean([one["cpu_s"] for one in done.values()]):.0f} s of computing.
"""


def main() -> None:
    """Measure what is not measured yet, and write the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", default="210-229")
    options.add_argument("--out", type=Path, default=PAGE)
    given = options.parse_args()
    torch.set_num_threads(1)
    first, last = map(int, given.seeds.split("-"))
    kept = given.out / "demo.json"
    done: dict[str, Any] = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    for seed in range(first, last + 1):
        if str(seed) in done:
            continue
        done[str(seed)] = measure(seed)
        print(seed, done[str(seed)], flush=True)
        kept.write_text(json.dumps(done, indent=1) + "\n", "utf-8")
    (given.out / "demo.md").write_text(page(done), "utf-8")


if __name__ == "__main__":
    main()
