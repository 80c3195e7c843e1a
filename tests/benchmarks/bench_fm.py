"""FM parameter matching against random search, CMA-ES and plain gradient at equal renders.

Targets that the synthesiser can make (drawn as its starts are, and drawn evenly over all its bounds) and targets that
it cannot (faults and machines of `sds_engine.physics`, a struck plate). Each method may render as many sounds.

    python tests/benchmarks/bench_fm.py [--renders 300] [--jobs 1] [--resume]

writes docs/benchmarks/fm.md and fm.json. Needs the package cma.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]

# ruff: noqa: E402 (the project may not be installed)
from fm_peers import METHODS

from sds_engine.dsp import mel_filters, power_to_db, stft_power
from sds_engine.makers import Params, maker_for
from sds_engine.makers.fm import Fm
from sds_engine.physics.faults import Fault, add_fault
from sds_engine.physics.kinds import draw_machine
from sds_engine.physics.machines import draw_take, render_take

PAGE = ROOT / "docs" / "benchmarks"
RATE, SECONDS = 16_000, 0.4
OURS = "FM match"
LAW, EVEN, OTHER = "drawn as starts are", "drawn evenly over the bounds", "not FM"
FAULTS = (
    ("fan", "outer_race"),
    ("fan", "belt_squeal"),
    ("pump", "leak"),
    ("gearbox", "broken_tooth"),
)
GROUPS = {LAW: 6, EVEN: 5, OTHER: len(FAULTS) + 2}


def voices(maker: Fm, group: str, number: int) -> Tensor:
    """A target that the synthesiser can make; seeds that no default was tuned on."""
    params = maker.start(1, 9000 + number)
    if group == EVEN:
        rng = np.random.default_rng([77, number])
        free = {}
        for name, bound in maker.bounds.items():
            share = rng.uniform(0.03, 0.97, bound.size)
            share = (
                share * (rng.random(bound.size) < 0.3) + 0.002 if name == "index" else share
            )  # most paths are unused
            free[name] = torch.from_numpy(np.log(share / (1.0 - share))[None]).float()
        free |= {"level_db": params.free["level_db"]}
        free["f0_hz"] = torch.from_numpy(maker.bounds["f0_hz"].free(np.exp(rng.uniform(4.0, 7.0, (1, 1))))).float()
        params = Params(free, params.fixed, params.seeds)
    return maker.render(params)[0].detach()


def others(maker: Fm, number: int) -> tuple[str, Tensor]:
    """A target that it cannot make: faults by themselves, a healthy gearbox, a struck plate."""
    rng = np.random.default_rng([78, number])
    if number < len(FAULTS):
        machine, fault = FAULTS[number]
        take = draw_take(draw_machine(machine, rng), 3.0, RATE, rng)
        return fault, _middle(add_fault(take, Fault(fault, 0.0), 5)[1], maker)
    if number == len(FAULTS):
        return "healthy gearbox", _middle(render_take(draw_take(draw_machine("gearbox", rng), 3.0, RATE, rng)), maker)
    impact = maker_for("impact", RATE, SECONDS)
    return "struck plate", impact.render(impact.start(1, 7, body="plate"))[0].detach()


def _middle(sound: np.ndarray, maker: Fm) -> Tensor:
    return torch.from_numpy(sound[RATE : RATE + maker.samples].astype(np.float32))


def mel_db(wave: Tensor) -> Tensor:
    """64 log-mel bands of a sound at RMS 1, 60 dB deep."""
    power = mel_filters(RATE, 1024, 64) @ stft_power(wave / wave.square().mean().sqrt(), 1024, 256)
    level = power_to_db(power)
    return level.clamp_min(float(level.max()) - 60.0)


def one(group: str, number: int, method: str, budget: int) -> dict[str, Any]:
    """One method on one target."""
    torch.set_num_threads(1)
    maker = maker_for("fm", RATE, SECONDS)
    assert isinstance(maker, Fm)
    name, target = others(maker, number) if group == OTHER else (f"voice {number}", voices(maker, group, number))
    started = time.process_time()
    found = METHODS[method](target, maker, 100 + number, budget)
    seconds = time.process_time() - started
    assert found.renders <= budget
    sound = maker.render(found.params)[0].detach()
    mel = float((mel_db(sound) - mel_db(target)).abs().mean())
    half = [distance for renders, distance in found.trace if renders <= budget // 2]
    result = {"group": group, "target": name, "method": method, "distance": found.distance, "mel_db": mel}
    return result | {"half": min(half), "renders": found.renders, "cpu_s": seconds}


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """The mean and its 95% interval, bootstrap over targets."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (4000, len(values))).mean(axis=1)
    return float(values.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per group and peer: mean distances and the paired difference, ours less theirs."""
    table = {(row["group"], row["target"], row["method"]): row for row in rows}
    lines = []
    for group in GROUPS:
        targets = sorted({t for g, t, _ in table if g == group})
        targets = [t for t in targets if all((group, t, m) in table for m in METHODS)]
        for method in METHODS if targets else ():
            ours, theirs = ([table[group, t, m] for t in targets] for m in (OURS, method))
            pairs = {
                key: interval(np.array([a[key] - b[key] for a, b in zip(ours, theirs, strict=True)]))
                for key in ("distance", "mel_db")
            }
            halves = np.array([a["half"] - b["distance"] for a, b in zip(ours, theirs, strict=True)])
            keys = ("distance", "mel_db", "cpu_s")
            theirs_mean = {key: float(np.mean([row[key] for row in theirs])) for key in keys}
            lines.append(
                {"group": group, "method": method, "targets": len(targets), **theirs_mean}
                | {"ours_less": pairs["distance"], "ours_less_mel": pairs["mel_db"], "half_less": interval(halves)}
                | {"wins": sum(a["distance"] < b["distance"] for a, b in zip(ours, theirs, strict=True))}
            )
    return lines


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["# FM matching: what it finds", "", "Written by `python tests/benchmarks/bench_fm.py`; do not edit.", ""]
    how = (
        f"Targets of {SECONDS:g} s at 16 kHz; every method may render {found['renders']} sounds (a gradient step is "
        "one render; its backward pass comes on top, see makers.md). All choose by the same "
        "spectral distance (three windows, spectral convergence plus log magnitude; 0 is equal); the log-mel distance "
        "in dB is one that none of them saw. Differences are FM match less the other, mean over targets with a 95% "
        "bootstrap interval: below 0, FM match is nearer. *Half* compares what FM match had after half its renders "
        "with what the other has after all of them. Random search, plain gradient and CMA-ES start from the law that "
        "the first group of targets is drawn from. Settings were chosen on two targets of other seeds."
    )
    lines += [how, ""]
    for group in dict.fromkeys(row["group"] for row in found["summary"]):
        rows = [row for row in found["summary"] if row["group"] == group]
        lines += [f"## {rows[0]['targets']} targets {'that are ' if group == OTHER else ''}{group}", ""]
        lines += ["| method | distance | difference | wins of FM match | half | log-mel dB | difference | CPU s |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for row in rows:
            far = "" if row["method"] == OURS else _span(row["ours_less"])
            half = "" if row["method"] == OURS else _span(row["half_less"])
            mel = "" if row["method"] == OURS else _span(row["ours_less_mel"])
            wins = "" if row["method"] == OURS else f"{row['wins']} of {row['targets']}"
            lines.append(
                f"| {row['method']} | {row['distance']:.3f} | {far} | {wins} | {half} | {row['mel_db']:.1f} | {mel} "
                f"| {row['cpu_s']:.0f} |"
            )
        lines.append("")
    return "\n".join([*lines, "## Every target", "", *_each(found["rows"])])


def _span(value: tuple[float, float, float]) -> str:
    mean, low, high = value
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def _each(rows: list[dict[str, Any]]) -> list[str]:
    table = {(row["group"], row["target"], row["method"]): row["distance"] for row in rows}
    lines = ["| target | " + " | ".join(METHODS) + " |", "|---|" + "---|" * len(METHODS)]
    for group in GROUPS:
        for target in sorted({t for g, t, _ in table if g == group}):
            values = [table.get((group, target, method)) for method in METHODS]
            best = min(value for value in values if value is not None)
            cells = ["" if v is None else f"**{v:.3f}**" if v == best else f"{v:.3f}" for v in values]
            lines.append(f"| {target}, {group} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def write(rows: list[dict[str, Any]], renders: int) -> None:
    """Both files."""
    found = {"renders": renders, "seconds": SECONDS, "summary": summary(rows), "rows": rows}
    (PAGE / "fm.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (PAGE / "fm.md").write_text(page(found), encoding="utf-8")


def results(jobs: list[tuple[str, int, str]], budget: int, processes: int) -> Iterator[dict[str, Any]]:
    """Each job's figures as they come; in this process where one is enough; else forked, one thread each."""
    if processes <= 1:
        yield from (one(*job, budget) for job in jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        for future in as_completed([pool.submit(one, *job, budget) for job in jobs]):
            yield future.result()


def main() -> None:
    """Measure, and write the page."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--renders", type=int, default=300)
    args.add_argument("--jobs", type=int, default=1)
    args.add_argument("--resume", action="store_true", help="keep what fm.json already holds")
    given = args.parse_args()
    PAGE.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    if given.resume and (PAGE / "fm.json").exists():
        rows = json.loads((PAGE / "fm.json").read_text(encoding="utf-8"))["rows"]
    names = {OTHER: [*(fault for _, fault in FAULTS), "healthy gearbox", "struck plate"]}
    done = {(row["group"], row["target"], row["method"]) for row in rows}
    # one target of each group in turn, so that what is done early is a fair sample
    turn = [(g, n) for n in range(max(GROUPS.values())) for g in GROUPS if n < GROUPS[g]]
    jobs = [(g, n, m) for g, n in turn for m in METHODS]
    jobs = [(g, n, m) for g, n, m in jobs if (g, names[g][n] if g in names else f"voice {n}", m) not in done]
    for row in results(jobs, given.renders, given.jobs):
        rows.append(row)
        print(f"{row['group']}, {row['target']}: {row['method']} {row['distance']:.3f}", flush=True)
        write(rows, given.renders)
    write(rows, given.renders)
    print(page(json.loads((PAGE / "fm.json").read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
