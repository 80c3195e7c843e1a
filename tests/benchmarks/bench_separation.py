"""Separation on the development set: what each method gains in SI-SDR, and whether that helps detectors.

The set comes from `make_dev_set.py` (real fan, real background; not part of the project). Separators are adapted on
training rows alone; nothing here chooses anything. Two parts, which may run apart; each keeps its figures:

    python tests/benchmarks/bench_separation.py TOOL [--levels 0 -6 -12] [--limit 40] [--minutes 8] [--only sdr|chain]

TOOL is the path of make_dev_set.py. Writes docs/separation.md and docs/benchmarks/separation.json.
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

from monitor.evaluate import evaluate
from monitor.evaluate_separation import evaluate_separation

DOCS = Path(__file__).parents[2] / "docs"
KEPT = DOCS / "benchmarks" / "separation.json"
DETECTORS = "neighbours,mahalanobis"


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


def chain_table(found: dict[str, Any]) -> str:
    """Official scores: a row for each detector and chain."""
    names = list(found[next(iter(found))])
    lines = ["| | " + " | ".join(f"{level} dB" for level in found) + " |", "|---|" + "---:|" * len(found)]
    for name in names:
        cells = []
        for results in found.values():
            one = results[name]
            low, high = one["official_ci"] or (float("nan"),) * 2
            delta = one.get("delta_raw_ci")
            paired = "" if delta is None else f", paired {delta[0]:+.2f}..{delta[1]:+.2f}"
            cells.append(f"{one['official']:.3f} [{low:.2f}, {high:.2f}]{paired}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(kept: dict[str, Any]) -> str:
    sdr = sdr_table(kept["sdr"]) if kept.get("sdr") else "Not measured yet."
    chain = chain_table(kept["chain"]) if kept.get("chain") else "Not measured yet."
    notes = "\n".join(f"- {note}" for note in kept.get("notes", []))
    return f"""# Separation: one machine out of a noisy hall

Written by `python tests/benchmarks/bench_separation.py TOOL`; do not edit. One industrial fan (MIMII id_00), levelled,
in real background; test split, seed 0. Separators know the training rows alone.

## What each method gains

SI-SDR improvement in dB, mean over test files with 95% intervals over recordings; enrolment and background are the
training rows labelled clean and background. `ideal_ratio_mask` is the oracle, with the power ratio as mask. RTF is
seconds of computing per second of sound, on a busy machine.

{sdr}

## Does it help to find faults?

Official score of DCASE Task 2 (harmonic mean of AUC source, AUC target and pAUC) with 95% intervals, the same files;
`paired` is the 95% interval of the difference to the same detector on raw sound. `+separated` hears the masked sound
weighted by the squared mask, `+full` is the worst of raw, separated and residual.
Ex-Diff is not trained yet: no `enhanced` row.

{chain}

{notes}
"""


def make_set(tool: Path, level: float, folder: str) -> Path:
    command = [sys.executable, str(tool), f"{folder}/set", "--snr", str(level), "--seed", "0"]
    subprocess.run(command, check=True, capture_output=True)
    return Path(folder) / "set" / "manifest.csv"


def measure(tool: Path, level: float, options: argparse.Namespace, kept: dict[str, Any]) -> None:
    """One level's figures into `kept`."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_set(tool, level, folder)
        out = Path(folder) / "report"
        if options.only != "chain":
            kept.setdefault("sdr", {})[f"{level:g}"] = evaluate_separation(manifest, out, limit=options.limit)
        if options.only != "sdr":
            report = evaluate(manifest, out, chain="all", detectors=DETECTORS, adapt_minutes=options.minutes)
            kept.setdefault("chain", {})[f"{level:g}"] = report["results"]
            kept["notes"] = [note for note in report["protocol"]["notes"] if "separator" in note or "chain" in note]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tool", type=Path)
    options.add_argument("--levels", type=float, nargs="+", default=[0.0, -6.0, -12.0])
    options.add_argument("--limit", type=int, default=40, help="test files for SI-SDR")
    options.add_argument("--minutes", type=float, default=8.0, help="of adaptation")
    options.add_argument("--only", choices=("sdr", "chain"))
    chosen = options.parse_args()
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    for level in chosen.levels:
        measure(chosen.tool, level, chosen, kept)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        (DOCS / "separation.md").write_text(page(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
