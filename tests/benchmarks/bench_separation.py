"""Separation on the development set: gain in SI-SDR, whether that finds faults, what is kept of them, what it costs.

The set comes from `make_dev_set.py` (real fan, real background; not part of the project). Separators are adapted on
training rows alone; nothing here chooses anything. Parts may run apart; each keeps its figures:

    python tests/benchmarks/bench_separation.py TOOL [--levels 0 -6 -12] [--only sdr|chain|retention|speed]
        [--limit 40] [--seeds 3] [--minutes 8] [--steps 900] [--detectors neighbours,quick-fusion] [--work DIR]

TOOL is the path of make_dev_set.py; `retention` and `speed` do without it. `--work` keeps the chains' scores, so that a
run that was stopped goes on. Writes docs/separation.md and docs/benchmarks/separation.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monitor.evaluate_separation import evaluate_separation

DOCS = Path(__file__).parents[2] / "docs"
KEPT = DOCS / "benchmarks" / "separation.json"


def interval(pair: Sequence[float] | None) -> str:
    return "" if pair is None else f" [{pair[0]:+.2f}, {pair[1]:+.2f}]"


def sdr_table(found: dict[str, Any]) -> str:
    """Gains in dB: a row for each method, a column for each level."""
    names = [*found[next(iter(found))]["methods"], "ideal_ratio_mask"]
    lines = [
        "| | NFE | RTF | " + " | ".join(f"{level} dB" for level in found) + " |",
        "|---|---:|---:|" + "---:|" * len(found),
    ]
    for name in names:
        rows = [(report["methods"] | report["oracle"]).get(name) for report in found.values()]
        known = next(row for row in rows if row)
        cells = ["–" if row is None else f"{row['si_sdri']:+.2f}{interval(row['si_sdri_ci'])}" for row in rows]
        lines.append(f"| {name} | {known['nfe']} | {known['rtf']:.4f} | " + " | ".join(cells) + " |")
    for key in ("swapped_prompt", "swapped_enrolment"):
        cells = []
        for report in found.values():
            one = report[key].get("extractor")
            cells.append("–" if one is None else f"{-one['lost_db']:+.2f} dB")
        lines.append(f"| extractor, {key.replace('_', ' ')}: less than asked rightly | | | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(kept: dict[str, Any]) -> str:
    import separation_chain
    import separation_retention
    import separation_speed

    sdr = sdr_table(kept["sdr"]) if kept.get("sdr") else "Not measured yet."
    parts = [
        section(kept[name]) if kept.get(name) else f"## {name.capitalize()}\n\nNot measured yet.\n"
        for name, section in (
            ("chain", separation_chain.section),
            ("retention", separation_retention.section),
            ("speed", separation_speed.section),
        )
    ]
    joined = "\n".join(parts)
    return f"""# Separation: one machine out of a noisy hall

Written by `python tests/benchmarks/bench_separation.py TOOL`; do not edit. One industrial fan (MIMII id_00), levelled,
in real background; test split. Separators know the training rows alone.

## What each method gains

SI-SDR improvement in dB, mean over test files of seed 0 with 95% intervals over recordings; enrolment and background
are the training rows labelled clean and background. `ideal_ratio_mask` is the oracle, with the power ratio as mask. RTF
is seconds of computing per second of sound, on a busy machine.

{sdr}

{joined}"""


def make_set(tool: Path, level: float, folder: str, seed: int = 0) -> Path:
    command = [sys.executable, str(tool), f"{folder}/set", "--snr", str(level), "--seed", str(seed)]
    subprocess.run(command, check=True, capture_output=True)
    return Path(folder) / "set" / "manifest.csv"


def sdr(options: argparse.Namespace, kept: dict[str, Any]) -> None:
    """SI-SDR, level by level."""
    for level in options.levels:
        with tempfile.TemporaryDirectory() as folder:
            manifest = make_set(options.tool, level, folder)
            report = evaluate_separation(manifest, Path(folder) / "report", limit=options.limit)
            kept.setdefault("sdr", {})[f"{level:g}"] = report
        write(kept)


def chain(options: argparse.Namespace, kept: dict[str, Any]) -> None:
    """The deciding table, as far as its sets are measured."""
    import separation_chain

    kept["chain"] = separation_chain.table_of(options, make_set)


def retention(_: argparse.Namespace, kept: dict[str, Any]) -> None:
    """What of each kind of fault is left."""
    import separation_retention

    kept["retention"] = separation_retention.measure()


def speed(_: argparse.Namespace, kept: dict[str, Any]) -> None:
    """Windows a second."""
    import separation_speed

    kept["speed"] = separation_speed.measure()


def write(kept: dict[str, Any]) -> None:
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (DOCS / "separation.md").write_text(page(kept), encoding="utf-8")


PARTS = {"sdr": sdr, "chain": chain, "retention": retention, "speed": speed}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tool", type=Path)
    options.add_argument("--levels", type=float, nargs="+", default=[0.0, -6.0, -12.0])
    options.add_argument("--limit", type=int, default=40, help="test files for SI-SDR")
    options.add_argument("--seeds", type=int, default=3, help="sets for the chains")
    options.add_argument("--minutes", type=float, default=8.0, help="of adaptation at most")
    options.add_argument("--steps", type=int, default=900, help="of adaptation at most")
    options.add_argument("--detectors", default="neighbours,quick-fusion")
    options.add_argument("--work", type=Path, help="keeps the chains' scores")
    options.add_argument("--only", choices=sorted(PARTS))
    chosen = options.parse_args()
    for name, part in PARTS.items():
        if chosen.only in (None, name):
            kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}  # another part may have been written
            part(chosen, kept)
            write(kept)


if __name__ == "__main__":
    main()
