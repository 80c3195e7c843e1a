"""Every detector, control and peer on the development set, from the same files in the same run.

The set comes from `make_dev_set.py` (real fan, real background; not part of the project); a seed draws another split of
the recordings and another background. Peers are other people's recipes (`peers`, `peer_autoencoder`). Intervals: one
bootstrap over test recordings that all rows share, so the difference to the default is paired. Nothing is chosen here.

    python tests/benchmarks/bench_peers.py TOOL [--seeds 5] [--levels 0 -6 -12] [--detectors all] [--epochs 100]

TOOL is the path of make_dev_set.py. Writes docs/benchmarks/peers.md and peers.json. The baseline's 100 epochs take
some minutes a set; give them a quiet machine.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kept_fits import Kept, KeptPeers
from peer_autoencoder import EPOCHS, fit_baseline
from peers import Fit, fit_clip_vectors, run_peers

from monitor.contenders import contenders
from monitor.evaluate import Machine, evaluate_machine, make_report
from monitor.evaluate_machine import share
from monitor.manifest import Manifest, read_manifest

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks"
NOMINAL = "0.1"
Reports = dict[str, list[dict[str, Any]]]  # level -> a report per seed


def joined(
    manifest_path: Path,
    seed: int,
    detectors: str = "all",
    epochs: int = EPOCHS,
    *,
    peers: bool = True,
    work: Path | None = None,
) -> dict[str, Any]:
    """The report of `evaluate` with the peers as further rows, `"kind": "peer"`; fits are kept in `work`.

    No epochs: without the baseline autoencoder.
    """
    manifest = read_manifest(manifest_path)
    rows = contenders(detectors)
    kinds = {row.name: row.kind for row in rows}
    machines = []
    fits: tuple[tuple[Fit, str], ...] = ((fit_clip_vectors, "vectors"),)
    if epochs:
        fits = ((functools.partial(fit_baseline, epochs=epochs), f"baseline-{epochs}"), *fits)
    sharing = functools.partial(Kept, folder=work) if work else share
    for name in manifest.machines():
        machine = evaluate_machine(manifest, name, seed, rows, sharing=sharing)
        if machine.heard is not None and peers:
            for fit, key in fits:
                others = KeptPeers(work, machine.heard, f"{key}-{seed}")
                if not others.found:
                    others.put(run_peers(manifest, name, machine.heard, (fit,), seed))
                machine.outcomes.update(others.found)
                kinds |= dict.fromkeys(others.found, "peer")
        machines.append(machine)
    report = make_report(manifest, machines, kinds, "raw", seed)
    report["protocol"]["epochs"] = epochs
    report["files"] = [
        file for machine in machines for file in _files(manifest, machine, report["protocol"]["default"])
    ]
    return report


def _files(manifest: Manifest, machine: Machine, default: str) -> list[dict[str, Any]]:
    """The machine's test files, and the p-value that the default gives each."""
    tested = [row for row in manifest.rows if (row.machine, row.split) == (machine.name, "test")]
    rows = [row for row in tested if row.label in ("normal", "anomaly")]
    p = machine.outcomes[default].p if default in machine.outcomes else [None] * len(rows)
    return [
        {"name": row.file.stem, "recording": row.recording, "domain": row.domain, "label": row.label, "p": float(value)}
        for row, value in zip(rows, p, strict=True)
        if value is not None
    ]


def measure(tool: Path, level: float, seed: int, detectors: str, epochs: int) -> dict[str, Any]:
    """One joined report of the set with this level and seed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(tool), f"{folder}/set", "--snr", str(level), "--seed", str(seed)]
        subprocess.run(command, check=True, capture_output=True)
        return joined(Path(folder) / "set" / "manifest.csv", seed, detectors, epochs)


def table(found: Reports) -> str:
    """Mean official score per row and level, with the lowest and highest seed."""
    levels = list(found)
    first = found[levels[0]][0]
    lines = ["| | kind | " + " | ".join(f"{level} dB" for level in levels) + " |"]
    lines.append("|---|---|" + "---:|" * len(levels))
    for name, row in first["results"].items():
        cells = []
        for level in levels:
            values = [report["results"][name]["official"] for report in found[level]]
            cells.append(f"{statistics.mean(values):.3f} ({min(values):.2f}..{max(values):.2f})")
        default = " (default)" if name == first["protocol"]["default"] else ""
        lines.append(f"| {name}{default} | {row['kind']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def peers_table(found: Reports) -> str:
    """Per peer: the default's lead in every report, and what its own threshold at a nominal tenth does."""
    lines = ["| peer | level | less the default, 95% interval per seed | false alarms at nominal 0.1 | faults found |"]
    lines.append("|---|---|---|---:|---:|")
    names = [name for name, row in next(iter(found.values()))[0]["results"].items() if row["kind"] == "peer"]
    for name in names:
        for level, reports in found.items():
            rows = [report["results"][name] for report in reports]
            deltas = "; ".join(
                "–" if row["delta_ci"] is None else f"{row['delta_ci'][0]:+.2f}..{row['delta_ci'][1]:+.2f}"
                for row in rows
            )
            rates = [statistics.mean(row[key][NOMINAL] for row in rows) for key in ("fpr_at", "tpr_at")]
            lines.append(f"| {name} | {level} dB | {deltas} | {rates[0]:.3f} | {rates[1]:.3f} |")
    return "\n".join(lines)


def page(found: Reports, seeds: int, epochs: int) -> str:
    """The figures as Markdown."""
    return f"""# Detectors and peers on real recordings in real noise

Written by `python tests/benchmarks/bench_peers.py TOOL --seeds {seeds} --epochs {epochs}`; do not edit. One industrial
fan (MIMII, id_00), levelled, in real background at three levels; official score of DCASE Task 2 (harmonic mean of AUC
source, AUC target and pAUC), mean over {seeds} seeds (lowest..highest). All rows score the same test files in one run.

{table(found)}

The peers beside the default (bootstrap over test recordings, paired), and their own thresholds:

{peers_table(found)}
"""


def main() -> None:
    """Measure, and write the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tool", type=Path)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--levels", type=float, nargs="+", default=[0.0, -6.0, -12.0])
    options.add_argument("--detectors", default="all")
    options.add_argument("--epochs", type=int, default=EPOCHS)
    chosen = options.parse_args()
    found: Reports = {}
    for level in chosen.levels:
        reports = found.setdefault(f"{level:g}", [])
        for seed in range(chosen.seeds):
            reports.append(measure(chosen.tool, level, seed, chosen.detectors, chosen.epochs))
            print(f"{level:g} dB, seed {seed}: done", flush=True)
        print(table(found), flush=True)
    PAGE.mkdir(parents=True, exist_ok=True)
    kept = {level: [report["results"] for report in reports] for level, reports in found.items()}
    (PAGE / "peers.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (PAGE / "peers.md").write_text(page(found, chosen.seeds, chosen.epochs), encoding="utf-8")


if __name__ == "__main__":
    main()
