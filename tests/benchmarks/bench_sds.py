"""Score distillation, how fast: seconds per step and steps per second, over the exact oracle and the shipped prior.

A step renders a batch of 2 s sounds, hears them through the prior, differentiates the maker and moves it. The oracle (a
Gaussian) costs next to nothing: its row is the price of maker, spectrograms and loop. Where no trained weights are in
the package yet, a network of the same size with random weights is timed, which takes as long, and the page says so.
Processor time is given beside the clock's: on a busy machine only the former says something about the code.

    python tests/benchmarks/bench_sds.py [--batches 1 4 16] [--steps 6] [--threads 2] [--device cpu]

writes docs/benchmarks/sds.md and sds.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from sds_engine.makers import maker_for
from sds_engine.priors import logmel
from sds_engine.priors.codec import TOKENS, MelCodec
from sds_engine.priors.denoiser import Prior, log_levels
from sds_engine.priors.edm import SIGMA_MAX, SIGMA_MIN
from sds_engine.priors.gaussian import one_gaussian, oracle_prior
from sds_engine.priors.network import Network, Size
from sds_engine.priors.shipped import MelDenoiser, load_prior
from sds_engine.sds import Ask, SdsSettings, SeededNoise, optimise

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks"
BASE = SdsSettings(guidance=4.0, draws=4, steps=2)
FORMS = {
    "decoder, 2 steps, emphasis": BASE,
    "decoder, 2 steps, waveform": replace(BASE, windows=()),
    "decoder, 1 step, emphasis": replace(BASE, steps=1),
    "decoder, 10 steps, emphasis": replace(BASE, steps=10),
    "decoder, 2 steps, emphasis, inversion": replace(BASE, start="inversion"),
    "encoder, 2 steps": replace(BASE, kind="encoder"),
}


def oracle(device: str) -> Prior:
    """A Gaussian around silence: arithmetic on the wave and nothing else."""
    return oracle_prior(one_gaussian(torch.zeros(32_000, device=device), 0.1), ["any"])


def mel_prior(device: str) -> tuple[Prior, str]:
    """The shipped prior, or its size in random weights; and which of both."""
    try:
        return load_prior(device=device).prior, "shipped"
    except ValueError:
        torch.manual_seed(0)
        components = 64
        network = Network(Size(TOKENS, components)).eval().requires_grad_(requires_grad=False).to(device)
        codec = MelCodec.fit(30 * torch.randn(64, logmel.FRAMES, logmel.BANDS), components)
        moved = MelCodec(codec.mean.to(device), codec.basis.to(device), codec.scale.to(device))
        levels = log_levels(SIGMA_MIN, SIGMA_MAX)
        prior = Prior(MelDenoiser(network), moved, lambda asked: torch.randn(len(asked), 384), 16_000, 2.0, levels)
        return prior, "random weights of the shipped size"


def seconds_per_step(prior: Prior, settings: SdsSettings, batch: int, steps: int, device: str) -> tuple[float, float]:
    """Medians over the steps after the first two, which warm up: seconds of the clock, seconds of processors."""
    maker = maker_for("impact", 16_000)
    start = maker.start(batch, seeds=0).to(device)
    ask = Ask(prior.embed(["any"] * batch).to(device))
    marks: list[tuple[float, float]] = []

    def watch(iteration: int, wave: torch.Tensor) -> None:
        if device != "cpu":
            torch.cuda.synchronize()
        marks.append((time.perf_counter(), time.process_time()))

    optimise(maker, start, prior, ask, replace(settings, iterations=steps + 3), SeededNoise(range(batch)), watch=watch)
    taken = [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(marks[2:])]
    return statistics.median(wall for wall, _ in taken), statistics.median(busy for _, busy in taken)


def measure(batches: list[int], steps: int, device: str) -> Iterator[dict[str, Any]]:
    """A row for every prior, form and batch."""
    prior, which = mel_prior(device)
    for name, one in ((which, prior), ("oracle", oracle(device))):
        for form, settings in FORMS.items():
            for batch in batches:
                wall, busy = seconds_per_step(one, settings, batch, steps, device)
                yield {"prior": name, "form": form, "batch": batch, "step_s": wall, "processor_s": busy}


def about(steps: int, device: str) -> dict[str, Any]:
    """Where it was measured; no rows yet."""
    return {
        "device": device if device == "cpu" else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "steps": steps,
        "load": round(os.getloadavg()[0], 1),
        "rows": [],
    }


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["# Score distillation: speed", "", "Written by `python tests/benchmarks/bench_sds.py`; do not edit.", ""]
    load = found["load"] or "not noted"
    how = (
        f"Device {found['device']}, {found['threads']} thread(s), torch {found['torch']}, load at the start {load}. "
        "Impact makers of 2 s at 16 kHz; 4 draws for each sound, and guidance (two calls of the network for each "
        f"denoising step); medians of {found['steps']} steps. On a machine with other work, read the processor seconds."
    )
    lines += [
        how,
        "",
        "| prior | form | batch | seconds per step | steps per second | processor seconds per step and sound |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        step, each = row["step_s"], row["processor_s"] / row["batch"]
        cells = (row["prior"], row["form"], row["batch"], f"{step:.3f}", f"{1 / step:.1f}", f"{each:.3f}")
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, and write the page."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    args.add_argument("--steps", type=int, default=6)
    args.add_argument("--device", default="cpu")
    args.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = args.parse_args()
    torch.set_num_threads(given.threads)
    found = about(given.steps, given.device)
    PAGE.mkdir(parents=True, exist_ok=True)
    for row in measure(given.batches, given.steps, given.device):
        found["rows"].append(row)  # written after each: a run that is cut off leaves what it has
        (PAGE / "sds.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (PAGE / "sds.md").write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
