"""Do faults in training pay? Four sources of faults beside the healthy-only detectors, at equal counts and budget.

    python tests/benchmarks/bench_does_it_pay.py [--dev-set TOOL] [--seeds 5] [--keep DIR] [--only PART ...]

writes docs/does-it-pay.md and docs/benchmarks/does-it-pay.json. TOOL is the path of make_dev_set.py (real recordings,
not part of the project). What was measured is kept in DIR, so that a run that was cut short goes on where it ended;
what a reader should know of rows that are not of one day is written into DIR/note.txt, and onto the page.
Parts: `ablation`, `naming`, `levels` (see `pay_naming.py`, `pay_levels.py`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from pay_chains import CHAINS, DOSES, measure
from pay_levels import measure_levels
from pay_naming import measure_naming
from pay_page import page
from pay_worlds import KINDS, worlds

DOCS = Path(__file__).parents[2] / "docs"
LEVELS = (-6.0, -12.0, 0.0)
SOUNDS = 16  # the same for every source


def ablation(given: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows, those that are kept already read back; the chains that separate on the real fan alone."""
    files = sorted(given.keep.glob("ablation-*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    if "ablation" not in given.only:
        return rows
    path = given.keep / f"ablation-{'-'.join(given.families)}.jsonl"
    levels = given.levels if given.dev_set and "real" in given.families else ()
    kinds = KINDS if "simulated" in given.families else ()
    done = {(row["world"], row["family"], row["snr_db"], row["seed"], row["chain"]) for row in rows}
    with path.open("a") as file:
        for world in worlds(given.dev_set, range(given.seeds), levels, kinds, SOUNDS):
            asked = given.chains if world.family == "real" else ["raw"]
            own = (world.name, world.family, world.snr_db, world.seed)
            chains = [chain for chain in asked if (*own, chain) not in done]
            if not chains:
                continue
            found = list(measure(world, chains, given.keep))
            file.writelines(json.dumps(row) + "\n" for row in found)
            file.flush()
            rows += found
            print(*own, *chains, f"{sum(row['cpu_s'] for row in found):.0f} s of CPU", flush=True)
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
    options.add_argument("--chains", nargs="+", choices=list(CHAINS), default=list(CHAINS))
    options.add_argument("--levels", nargs="+", type=float, default=LEVELS)
    given = options.parse_args()
    torch.set_num_threads(1)
    given.keep.mkdir(parents=True, exist_ok=True)
    rows = ablation(given)
    naming = measured("naming", lambda done: measure_naming(done), given)
    levels = measured("levels", lambda done: measure_levels(done), given)
    note = given.keep / "note.txt"
    about = note.read_text(encoding="utf-8") if note.exists() else ""
    text, summary = page(rows, naming, levels, sounds=SOUNDS, doses=DOSES, note=about)
    (DOCS / "does-it-pay.md").write_text(text, encoding="utf-8")
    plain = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
    (DOCS / "benchmarks" / "does-it-pay.json").write_text(plain, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
