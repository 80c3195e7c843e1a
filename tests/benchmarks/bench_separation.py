"""Separation on the development set: gain in SI-SDR, whether that finds faults, what is kept of them, what it costs.

The set comes from `make_dev_set.py` (real fan, real background; not part of the project). Separators are adapted on
training rows alone; nothing here chooses anything. Parts may run apart; each keeps its figures:

    python tests/benchmarks/bench_separation.py TOOL [--levels 0 -6 -12] [--only sdr|chain|retention|speed]
        [--limit 40] [--site-steps 600] [--seeds 3] [--minutes 8] [--steps 900]
        [--detectors neighbours,quick-fusion] [--work DIR] [--controls DIR]

TOOL is the path of make_dev_set.py; `retention` and `speed` do without it. `--work` keeps the chains' scores, so that a
run that was stopped goes on. Writes docs/separation.md and docs/benchmarks/separation.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
KEPT = DOCS / "benchmarks" / "separation.json"


def page(kept: dict[str, Any]) -> str:
    import separation_chain
    import separation_retention
    import separation_sdr
    import separation_speed

    parts = [
        section(kept[name]) if kept.get(name) else f"## {name.capitalize()}\n\nNot measured yet.\n"
        for name, section in (
            ("sdr", separation_sdr.section),
            ("chain", separation_chain.section),
            ("retention", separation_retention.section),
            ("speed", separation_speed.section),
        )
    ]
    joined = "\n".join(parts)
    return f"""# Separation: one machine out of a noisy hall

Written by `python tests/benchmarks/bench_separation.py TOOL`; do not edit. One industrial fan (MIMII id_00), levelled,
in real background; test split. Separators know the training rows alone.

{joined}"""


def make_set(tool: Path, level: float, folder: str, seed: int = 0) -> Path:
    command = [sys.executable, str(tool), f"{folder}/set", "--snr", str(level), "--seed", str(seed)]
    subprocess.run(command, check=True, capture_output=True)
    return Path(folder) / "set" / "manifest.csv"


def sdr(options: argparse.Namespace, kept: dict[str, Any]) -> None:
    """SI-SDR, level by level."""
    import separation_sdr

    for level in options.levels:
        with tempfile.TemporaryDirectory() as folder:
            manifest = make_set(options.tool, level, folder)
            out = Path(folder) / "report"
            report = separation_sdr.measure(
                manifest, out, limit=options.limit, controls=options.controls, site_steps=options.site_steps
            )
        keep_sdr(kept, f"{level:g}", report)
    for snr_db in separation_sdr.SNRS_DB:
        with tempfile.TemporaryDirectory() as folder:
            manifest = separation_sdr.unheard(Path(folder), snr_db)
            report = separation_sdr.measure(manifest, Path(folder), limit=0, controls=options.controls)
        keep_sdr(kept, f"unheard {snr_db:g}", report)


def keep_sdr(kept: dict[str, Any], level: str, report: dict[str, Any]) -> None:
    kept |= read()  # another part may have been written meanwhile
    kept.setdefault("sdr", {})[level] = report
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


def read() -> dict[str, Any]:
    return json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}


def write(kept: dict[str, Any]) -> None:
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (DOCS / "separation.md").write_text(page(kept), encoding="utf-8")


PARTS = {"sdr": sdr, "chain": chain, "retention": retention, "speed": speed}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tool", type=Path)
    options.add_argument("--levels", type=float, nargs="+", default=[0.0, -6.0, -12.0])
    options.add_argument("--limit", type=int, default=40, help="test files for SI-SDR")
    options.add_argument("--controls", type=Path, help="folder of Ex-Diff's other variants, which are not shipped")
    options.add_argument("--site-steps", type=int, default=600, help="of adaptation for SI-SDR, each network")
    options.add_argument("--seeds", type=int, default=3, help="sets for the chains")
    options.add_argument("--minutes", type=float, default=8.0, help="of adaptation at most")
    options.add_argument("--steps", type=int, default=900, help="of adaptation at most")
    options.add_argument("--detectors", default="neighbours,quick-fusion")
    options.add_argument("--work", type=Path, help="keeps the chains' scores")
    options.add_argument("--only", choices=sorted(PARTS))
    chosen = options.parse_args()
    for name, part in PARTS.items():
        if chosen.only in (None, name):
            kept = read()  # another part may have been written
            part(chosen, kept)
            write(kept)


if __name__ == "__main__":
    main()
