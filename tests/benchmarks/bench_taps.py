"""The tap test on simulated beams, plates and rings: what is found, and what healthy parts are called.

Each design is drawn anew, healthy parts of it are learned from, and fresh parts of it are tapped: healthy ones, and
ones with a single mode shifted or damped otherwise. Modes are drawn among all that lie in the band, whether the model
knows them or not. A part is called odd at the smallest p-value that the healthy parts can count, 1 / (n + 1).

    python tests/benchmarks/bench_taps.py [--designs 3] [--healthy 30] [--parts 20]

writes docs/benchmarks/taps.md and taps.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from detectors.tap import ODD_P, TapModel, fit_taps, hear_taps
from sds_engine.dsp.modal import Modes
from sds_engine.physics.taps import DESIGNS, Design, Part, Scatter, Station, draw_design, draw_station, make_part, tap

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks"
RATE = 32_000
Change = Callable[[Part, int, np.random.Generator], Part]
CHANGES: dict[str, Change] = {
    "healthy": lambda part, mode, rng: part,
    "one mode ±0.3%": lambda part, mode, rng: part.with_fault(mode, hz=rng.choice([0.997, 1.003])),
    "one mode ±1%": lambda part, mode, rng: part.with_fault(mode, hz=rng.choice([0.99, 1.01])),
    "one mode ±3%": lambda part, mode, rng: part.with_fault(mode, hz=rng.choice([0.97, 1.03])),
    "damping of one mode +20%": lambda part, mode, rng: part.with_fault(mode, zeta=1.2),
    "damping of one mode -20%": lambda part, mode, rng: part.with_fault(mode, zeta=0.8),
    "damping of one mode +50%": lambda part, mode, rng: part.with_fault(mode, zeta=1.5),
}
SETTINGS = {
    "microphone at 0.1 m": (0.1, -60.0, Scatter()),
    "microphone at 0.3 m": (0.3, -60.0, Scatter()),
    "0.1 m, 20 dB more noise": (0.1, -40.0, Scatter()),
    "0.1 m, damping scatters 5%": (0.1, -60.0, Scatter(zeta=0.05)),
}


def heard(design: Design, part: Part, station: Station, rng: np.random.Generator) -> Modes | None:
    """The modes of one recording of three strikes; struck again, up to three times, where none can be used."""
    found = (hear_taps(tap(design, part, station, rng), station.rate).modes for _ in range(3))
    return next((modes for modes in found if modes is not None), None)


def learned(design: Design, station: Station, count: int, rng: np.random.Generator, scatter: Scatter) -> TapModel:
    """The model of so many healthy parts."""
    found = [heard(design, make_part(design, rng, scatter), station, rng) for _ in range(count)]
    usable = [modes for modes in found if modes is not None]
    return fit_taps(usable, [str(number) for number in range(len(usable))], station.rate)


def one_design(kind: str, seed: int, setting: tuple[float, float, Scatter], healthy: int, parts: int) -> dict[str, Any]:
    """Shares called odd, per change, of all modes and of those that the model knows."""
    rng = np.random.default_rng([seed, sorted(DESIGNS).index(kind)])
    distance, noise_dbfs, scatter = setting
    design = draw_design(kind, rng)
    station = draw_station(RATE, rng, distance, noise_dbfs)
    model = learned(design, station, healthy, rng, scatter)
    known = np.exp(model.reference.centre[0])
    inside = np.flatnonzero(design.nominal.hz < 0.43 * RATE)
    rows: dict[str, list[tuple[bool, bool]]] = {}
    for name, change in CHANGES.items():
        for turn in range(parts):
            mode = int(inside[turn % len(inside)])
            modes = heard(design, change(make_part(design, rng, scatter), mode, rng), station, rng)
            odd = modes is None or model.score(modes).score >= model.threshold
            near = float(np.abs(np.log(known / design.nominal.hz[mode])).min()) < 0.004
            rows.setdefault(name, []).append((bool(odd), near))
    return {"known": len(known), "modes": len(inside), "rows": rows}


def measure(designs: int, healthy: int, parts: int) -> dict[str, Any]:
    """All settings, designs and changes."""
    started = time.perf_counter()
    found: dict[str, Any] = {}
    jobs = {
        (setting, kind): [(kind, seed, values, healthy, parts) for seed in range(designs)]
        for setting, values in SETTINGS.items()
        for kind in DESIGNS
    }
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        futures = {key: [pool.submit(one_design, *job) for job in each] for key, each in jobs.items()}
        for (setting, kind), each in futures.items():
            runs = [future.result() for future in each]
            rows = {name: [row for run in runs for row in run["rows"][name]] for name in CHANGES}
            found.setdefault(setting, {})[kind] = {
                "known": sum(run["known"] for run in runs) / designs,
                "modes": sum(run["modes"] for run in runs) / designs,
                "odd": {name: _share([odd for odd, _ in each]) for name, each in rows.items()},
                "odd_known": {name: _share([odd for odd, near in each if near]) for name, each in rows.items()},
            }
            print(f"{setting}, {kind}: {json.dumps(found[setting][kind])}", file=sys.stderr, flush=True)
    return {"designs": designs, "healthy": healthy, "parts": parts, "seconds": time.perf_counter() - started} | {
        "settings": found
    }


def _share(odd: list[bool]) -> float | None:
    return sum(odd) / len(odd) if odd else None


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    count = found["designs"] * found["parts"]
    lines = ["# Tap test: what is found", "", "Written by `python tests/benchmarks/bench_taps.py`; do not edit.", ""]
    how = (
        f"Simulated parts ({RATE // 1000} kHz, three strikes each; place, force and contact time vary; a hall with "
        f"0.9 s of reverberation): per kind {found['designs']} designs, each learned from {found['healthy']} healthy "
        f"parts. A cell is the share of {count} fresh parts called odd (p at most {ODD_P:g}, which as many healthy are "
        "promised too); in brackets the share among changes of modes that the model knows. "
        "Production scatter: 0.15% of size, 0.05% of each mode, damping 3% of the part and 2% of each mode, except "
        "where the row says otherwise. Not measured: real parts."
    )
    lines += [how, ""]
    for setting, kinds in found["settings"].items():
        lines += [f"## {setting}", "", "| | " + " | ".join(kinds) + " |", "|---|" + "---|" * len(kinds)]
        known = [f"{one['known']:.0f} of {one['modes']:.0f}" for one in kinds.values()]
        lines.append("| modes known | " + " | ".join(known) + " |")
        for name in CHANGES:
            lines.append(f"| {name} | " + " | ".join(_cell(one, name) for one in kinds.values()) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(one: dict[str, Any], name: str) -> str:
    known = one["odd_known"][name]
    return f"{one['odd'][name]:.0%}" + ("" if name == "healthy" or known is None else f" ({known:.0%})")


def main() -> None:
    """Measure, and write the page."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--designs", type=int, default=3)
    args.add_argument("--healthy", type=int, default=40)
    args.add_argument("--parts", type=int, default=20)
    given = args.parse_args()
    found = measure(given.designs, given.healthy, given.parts)
    PAGE.mkdir(parents=True, exist_ok=True)
    (PAGE / "taps.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (PAGE / "taps.md").write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
