"""Do faults in training pay? Four sources of faults beside the healthy-only detectors, at equal counts and budget.

    python tests/benchmarks/bench_does_it_pay.py [--dev-set TOOL] [--seeds 5] [--keep DIR] [--only PART ...]

writes docs/does-it-pay.md and docs/benchmarks/does-it-pay.json. TOOL is the path of make_dev_set.py (real recordings,
not part of the project). What was measured is kept in DIR, so that a run that was cut short goes on where it ended.
Parts: `ablation`, `naming`, `levels` (see `pay_naming.py`, `pay_levels.py`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pay_levels import measure_levels
from pay_naming import measure_naming
from pay_page import page
from pay_worlds import FRONT_END, KINDS, WINDOW, World, sounds_of, worlds

from detectors.base import Evidence
from detectors.calibrate import calibrate
from detectors.exposure import ExposedQuickFusion, Head, Values
from detectors.exposure_mix import Doses, expose
from detectors.fusion import QuickFusion
from detectors.surroundings import kinds_of
from monitor.exposing import SOURCES
from monitor.site_sound import adapted_stage

DOCS = Path(__file__).parents[2] / "docs"
LEVELS = (0.0, -6.0, -12.0)
SOUNDS, DOSES = 16, 96  # fault sounds and contexts with faults, the same for every source
ALPHA = 0.1


def parts_of(world: World, chain: str) -> tuple[Any, ...]:
    """What hears the world: a function of evidence, the base fitted on it, and its statistics."""
    if chain == "raw":

        def hear(evidence: Evidence) -> Evidence:
            return evidence
    else:
        assert world.site is not None
        stage, _ = adapted_stage(world.site, steps=0, seed=world.seed)

        def hear(evidence: Evidence) -> Evidence:
            return stage(evidence)["separated"]

    train, normal, odd = (hear(one) for one in (world.train, world.normal, world.odd))
    base = QuickFusion()
    fold = base.cross_fit(train, world.groups)
    return hear, (train, normal, odd), (fold, base.score(normal), base.score(odd))


@torch.inference_mode()
def measure(world: World, chain: str, keep: Path) -> Iterator[dict[str, Any]]:
    """A row per source: the statistics of the test contexts, and the p-values of the healthy ones."""
    hear, (train, normal, odd), base = parts_of(world, chain)
    kinds = kinds_of(train)
    for source in SOURCES:
        began = time.process_time()
        fold, clear, faulty = base
        if source != "none":
            sounds = sounds_of(source, world, keep / "sds")
            doses = Doses(DOSES, seed=world.seed)
            exposed = expose(world.clips, world.chosen, sounds, FRONT_END, WINDOW, doses)
            head = Head(Values(Head.values(hear(exposed.evidence)), exposed.group), world.seed)
            joint = ExposedQuickFusion()  # its base is fitted once for all sources
            fold = joint.settle(fold, head.cross_fit(train, world.groups), kinds)
            clear, faulty = joint.join(clear, head.score(normal)), joint.join(faulty, head.score(odd))
        calibration = calibrate(fold, world.groups, kinds)
        yield {
            "world": world.name,
            "family": world.family,
            "snr_db": world.snr_db,
            "seed": world.seed,
            "chain": chain,
            "source": source,
            "normal": clear.tolist(),
            "odd": faulty.tolist(),
            "normal_recording": world.normal_recording.tolist(),
            "odd_recording": world.odd_recording.tolist(),
            "rare": world.rare.tolist(),
            "healthy_alarms": (calibration(clear).score >= -np.log10(ALPHA) - 1e-9).tolist(),
            "hits": (calibration(faulty).score >= -np.log10(ALPHA) - 1e-9).tolist(),
            "cpu_s": time.process_time() - began,
        }


def ablation(given: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows, those that are kept already read back; the separated chain on the real fan alone."""
    files = sorted(given.keep.glob("ablation-*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    if "ablation" not in given.only:
        return rows
    path = given.keep / f"ablation-{'-'.join(given.families)}.jsonl"
    levels = LEVELS if given.dev_set and "real" in given.families else ()
    kinds = KINDS if "simulated" in given.families else ()
    done = {(row["world"], row["family"], row["snr_db"], row["seed"], row["chain"]) for row in rows}
    with path.open("a") as file:
        for world in worlds(given.dev_set, range(given.seeds), levels, kinds, SOUNDS):
            for chain in ("raw", "separated") if world.family == "real" else ("raw",):
                if (world.name, world.family, world.snr_db, world.seed, chain) in done:
                    continue
                found = list(measure(world, chain, given.keep))
                file.writelines(json.dumps(row) + "\n" for row in found)
                file.flush()
                rows += found
                print(world.name, world.snr_db, world.seed, chain, [round(row["cpu_s"]) for row in found], flush=True)
    return rows


def measured(
    name: str, measure_rest: Callable[[Collection[str]], Iterator[tuple[str, list[Any]]]], given: argparse.Namespace
) -> list[Any]:
    """The rows of a further part of the page: those that are kept, and, where it is asked for, those still missing."""
    path = given.keep / f"{name}.jsonl"
    units = dict(json.loads(line) for line in path.read_text().splitlines()) if path.exists() else {}
    if name in given.only:
        for unit, rows in measure_rest(units.keys()):
            with path.open("a") as file:
                file.write(json.dumps([unit, rows]) + "\n")
            units[unit] = rows
            print(name, unit, flush=True)
    return [row for rows in units.values() for row in rows]


def main() -> None:
    """Measure, and write the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--dev-set", type=Path)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--keep", type=Path, default=Path("build/does-it-pay"))
    options.add_argument("--only", nargs="*", default=["ablation", "naming", "levels"])
    options.add_argument("--families", nargs="+", default=["real", "simulated"])
    given = options.parse_args()
    torch.set_num_threads(1)
    given.keep.mkdir(parents=True, exist_ok=True)
    rows = ablation(given)
    naming = measured("naming", lambda done: measure_naming(done), given)
    levels = measured("levels", lambda done: measure_levels(done), given)
    text, summary = page(rows, naming, levels, sounds=SOUNDS, doses=DOSES)
    (DOCS / "does-it-pay.md").write_text(text, encoding="utf-8")
    plain = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
    (DOCS / "benchmarks" / "does-it-pay.json").write_text(plain, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
