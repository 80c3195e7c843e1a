"""Clicks on the six simulated machines: how loud must they be to be heard, with and without attention to events.

A click is 20 ms of noise in one octave (its middle drawn between 0.8 and 5 kHz) that dies away, every 2 s. Its level is
the RMS over those 20 ms over the RMS of the machine in that octave over the whole recording; the whole train's own
RMS, by which the faults of `sds_engine.physics` are levelled, is 20 dB lower.

    python tests/benchmarks/bench_impulses.py [--seeds 3] [--train 45] [--test 20]

writes docs/benchmarks/impulses.md and impulses.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt
from sklearn.metrics import roc_auc_score

from detectors.aggregate import clips_evidence
from detectors.base import Detector, Evidence
from detectors.calibrate import calibrate
from detectors.frame_gmm import FrameGmm
from detectors.frontend import FrontEnd
from detectors.fusion import combine, robust_scale
from detectors.impulses import Impulses
from detectors.mahalanobis import Mahalanobis
from detectors.neighbours import FloorNeighbours, Neighbours
from detectors.recordings import stack
from sds_engine.physics.kinds import KINDS, draw_machine
from sds_engine.physics.machines import render

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks"
RATE, WINDOW, CONTEXT = 16_000, 32_000, 5
LEVELS_DB = (-18, -12, -6, -3, 0, 3, 6, 14)
ALPHA = 0.05
FINE = FrontEnd(RATE, 256, 128, 32)  # frames of 16 ms
Sound = NDArray[np.float32]
Statistics = tuple[NDArray[np.float64], NDArray[np.float64]]  # out of fold of the healthy; of the tested


def with_clicks(sound: Sound, level_db: float, rng: np.random.Generator) -> Sound:
    """The sound with a click every 2 s."""
    middle = np.exp(rng.uniform(np.log(800), np.log(5000)))
    octave = butter(4, [middle / 2**0.5, min(middle * 2**0.5, 7600)], "bandpass", fs=RATE, output="sos")
    machine = np.sqrt(np.mean(sosfilt(octave, sound) ** 2))
    count = RATE // 50
    clicks = np.zeros(len(sound))
    for start_s in np.arange(rng.uniform(0.1, 1.9), len(sound) / RATE - 0.05, 2.0):
        click = sosfilt(octave, rng.standard_normal(count)) * np.exp(-3.0 * np.arange(count) / count)
        begin = round(start_s * RATE)
        clicks[begin : begin + count] = click / np.sqrt(np.mean(click**2)) * machine * 10 ** (level_db / 20)
    return (sound + clicks).astype(np.float32)


def heard(sounds: list[Sound], front_end: FrontEnd) -> Evidence:
    """One context of 10 s per sound."""
    return stack(clips_evidence([torch.from_numpy(sound) for sound in sounds], front_end, WINDOW, CONTEXT))


def statistics(detector: Detector, healthy: Evidence, tested: Evidence) -> Statistics:
    """Out-of-fold statistics of the healthy contexts, and those of the tested ones."""
    return detector.cross_fit(healthy).numpy(), detector.score(tested).numpy()


def fused(parts: list[Statistics]) -> Statistics:
    """As `detectors.fusion` joins its members: robust z-scores of the upper half, tamed, averaged."""
    both: list[list[NDArray[np.float64]]] = [[], []]
    for healthy, tested in parts:
        middle = np.median(healthy)
        spread = max((np.quantile(healthy, 0.9) - middle) / 1.2816, 1.4826 * np.median(np.abs(healthy - middle)), 1e-6)
        for place, values in enumerate((healthy, tested)):
            both[place].append(np.arcsinh((values - middle) / spread))
    return np.mean(both[0], axis=0), np.mean(both[1], axis=0)


def with_sentinel(members: list[Statistics], events: Statistics) -> Statistics:
    """As `detectors.fusion` joins members and sentinels."""
    every = [torch.stack([torch.from_numpy(one[place]) for one in (*members, events)]) for place in (0, 1)]
    centre, spread = robust_scale(every[0])
    z = [(part - centre[:, None]) / spread[:, None] for part in every]
    healthy, tested = (combine(part[: len(members)], part[len(members) :]).numpy() for part in z)
    return healthy, tested


@torch.inference_mode()
def one_machine(kind: str, seed: int, train: int, test: int) -> dict[str, list[tuple[float, float]]]:
    """AUC and share at p <= 0.05 per detector: first the healthy (AUC 0.5 by definition), then each level."""
    rng = np.random.default_rng([seed, sorted(KINDS).index(kind)])
    machine = draw_machine(kind, rng)
    sounds = [render(machine, 10.0, RATE, rng) for _ in range(train + test)]
    tested = sounds[train:]
    for level in LEVELS_DB:
        tested = [*tested, *(with_clicks(sound, level, rng) for sound in sounds[train:])]
    coarse = heard(sounds[:train], FrontEnd.at(RATE)), heard(tested, FrontEnd.at(RATE))
    members = [statistics(kind(), *coarse) for kind in (Mahalanobis, Neighbours, FloorNeighbours, FrameGmm)]
    events = statistics(Impulses(), *coarse)
    fine = statistics(Impulses(), heard(sounds[:train], FINE), heard(tested, FINE))
    every = {
        "mahalanobis": members[0],
        "four members fused (before)": fused(members),
        "impulses": events,
        "averaged with impulses": fused([*members, events]),
        "the default, impulses as its sentinel (after)": with_sentinel(members, events),
        "impulses, frames of 16 ms": fine,
    }
    return {name: _figures(values, test) for name, values in every.items()}


def _figures(values: Statistics, test: int) -> list[tuple[float, float]]:
    healthy, tested = values
    calibration = calibrate(torch.from_numpy(healthy), torch.arange(len(healthy)))
    odd = (calibration(torch.from_numpy(tested)).score >= -np.log10(ALPHA) - 1e-9).double().numpy()
    found = []
    for place in range(len(LEVELS_DB) + 1):
        part = slice(place * test, (place + 1) * test)
        labels = np.repeat([0, 1], test)
        auc = roc_auc_score(labels, np.concatenate([tested[:test], tested[part]])) if place else 0.5
        found.append((float(auc), float(odd[part].mean())))
    return found


def measure(seeds: int, train: int, test: int) -> dict[str, Any]:
    """All machines and seeds: per detector and machine [seed, healthy and levels, AUC and hits]."""
    runs = {kind: [one_machine(kind, seed, train, test) for seed in range(seeds)] for kind in KINDS}
    names = next(iter(runs.values()))[0]
    figures = {name: {kind: [run[name] for run in each] for kind, each in runs.items()} for name in names}
    return {"seeds": seeds, "train": train, "test": test, "levels_db": list(LEVELS_DB), "figures": figures}


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    how = (
        f"Six simulated machines, {found['seeds']} of each, learned from {found['train']} healthy recordings "
        f"of 10 s and tested on {found['test']} others with and without clicks. Level: the click's RMS over its 20 ms "
        "over the machine's RMS in the click's octave. By the train's own RMS, as faults are levelled elsewhere here, "
        f"every level is 20 dB lower: +14 dB is a train 6 dB under the machine. Hits: share with p at most {ALPHA:g}."
    )
    lines = ["# Clicks: what attention to events hears", ""]
    lines += ["Written by `python tests/benchmarks/bench_impulses.py`; do not edit.", "", how, ""]
    head = " | ".join(f"{level:+d} dB" for level in found["levels_db"])
    rule = "|---|" + "---|" * (len(found["levels_db"]) + 1)
    for what, title in ((0, "AUC"), (1, "Hits")):
        lines += [f"## {title}, mean over machines", "", f"| | healthy | {head} |", rule]
        for name, kinds in found["figures"].items():
            mean = np.mean([np.array(each)[:, :, what] for each in kinds.values()], axis=(0, 1))
            lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in mean) + " |")
        lines.append("")
    for name in ("four members fused (before)", "impulses", "the default, impulses as its sentinel (after)"):
        lines += [f"## Each machine: {name} (AUC, hits)", "", f"| | healthy | {head} |", rule]
        for kind, each in found["figures"][name].items():
            mean = np.array(each).mean(0)
            lines.append(f"| {kind} | " + " | ".join(f"{auc:.2f}, {hits:.2f}" for auc, hits in mean) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the page."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--seeds", type=int, default=3)
    args.add_argument("--train", type=int, default=45)
    args.add_argument("--test", type=int, default=20)
    given = args.parse_args()
    torch.set_num_threads(1)
    found = measure(given.seeds, given.train, given.test)
    PAGE.mkdir(parents=True, exist_ok=True)
    (PAGE / "impulses.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (PAGE / "impulses.md").write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
