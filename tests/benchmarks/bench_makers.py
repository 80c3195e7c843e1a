"""How many sounds a second each maker renders on one core, with and without gradients; and a picture of each.

    python tests/benchmarks/bench_makers.py

writes docs/benchmarks/makers.md, makers.json and docs/pictures/makers.png.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sds_engine.makers import KINDS, maker_for  # noqa: E402 (the project may not be installed)

PAGE, PICTURE = ROOT / "docs" / "benchmarks", ROOT / "docs" / "pictures" / "makers.png"
RATE, SECONDS, BATCH, REPEATS = 16_000, 2.0, 16, 7


def speed(kind: str) -> dict[str, Any]:
    """Renders a second of CPU time, the mean of some repeats after one that warms up."""
    maker = maker_for(kind, RATE, SECONDS)
    started = time.process_time()
    params = maker.start(BATCH, 0)
    start_s = (time.process_time() - started) / BATCH
    plain, graded = [], []
    for _ in range(1 + REPEATS):
        before = time.process_time()
        with torch.no_grad():
            wave = maker.render(params)
        plain.append(time.process_time() - before)
        weight = torch.ones_like(wave)
        before = time.process_time()
        (maker.render(params) * weight).sum().backward()
        graded.append(time.process_time() - before)
    mean, mean_graded = float(np.mean(plain[1:])), float(np.mean(graded[1:]))
    return {
        "kind": kind,
        "renders_per_s": BATCH / mean,
        "with_gradient_per_s": BATCH / mean_graded,
        "backward_costs_renders": (mean_graded - mean) / mean,
        "start_ms": 1e3 * start_s,
        "parameters": sum(bound.size for bound in maker.bounds.values()),
    }


def page(rows: list[dict[str, Any]], load: float) -> str:
    """The figures as Markdown."""
    lines = ["# Makers: how fast", "", "Written by `python tests/benchmarks/bench_makers.py`; do not edit.", ""]
    lines.append(
        f"Sounds of {SECONDS:g} s at {RATE // 1000} kHz in batches of {BATCH}, one thread, per second of CPU time, the "
        f"mean of {REPEATS} (the machine's load was {load:.1f} on {os.cpu_count()} cores: shared caches make every "
        "figure here a lower bound). *Backward* is what a gradient costs on top of its render, counted in renders."
    )
    lines += [
        "",
        "| maker | values | renders/s | with gradient/s | backward | start, ms |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['kind']} | {row['parameters']} | {row['renders_per_s']:.0f} | {row['with_gradient_per_s']:.0f} "
            f"| {row['backward_costs_renders']:.1f} | {row['start_ms']:.1f} |"
        )
    slowest = min(rows, key=lambda row: row["renders_per_s"])
    slow = min(rows, key=lambda row: row["with_gradient_per_s"])
    lines += ["", f"Slowest: {slowest['kind']} at {slowest['renders_per_s']:.0f} renders a second; with gradients "]
    lines[-1] += f"{slow['kind']} at {slow['with_gradient_per_s']:.0f}. ![spectrograms](../pictures/makers.png)"
    return "\n".join([*lines, ""])


def picture() -> None:
    """A spectrogram of each maker's start, 2 s and 0 to 8 kHz, 70 dB deep, with the first 0.25 s of the wave below."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    figure, axes = plt.subplots(6, 4, figsize=(13, 13), height_ratios=[3, 1] * 3, layout="constrained")
    for number, kind in enumerate(KINDS):
        maker = maker_for(kind, RATE, SECONDS)
        wave = maker.render(maker.start(1, 3, body="plate"))[0].detach()
        stft = torch.stft(wave, 512, 128, window=torch.hann_window(512), return_complex=True)
        level = (20.0 * (stft.abs() + 1e-6).log10()).numpy()
        top, below = axes[2 * (number // 4) : 2 * (number // 4) + 2, number % 4]
        top.imshow(
            level, origin="lower", aspect="auto", extent=(0, SECONDS, 0, RATE / 2000), cmap="magma",
            vmin=level.max() - 70.0, vmax=level.max(),
        )  # fmt: skip
        top.set_title(kind, fontsize=10)
        top.set_ylabel("kHz", fontsize=8)
        below.plot(np.arange(RATE // 4) / RATE, wave[: RATE // 4].numpy(), linewidth=0.5)
        below.set_xlabel("s", fontsize=8)
        for axis in (top, below):
            axis.tick_params(labelsize=7)
    PICTURE.parent.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=85, format="png")
    drawn = Image.open(buffer).convert("RGB")
    drawn.quantize(192, method=Image.Quantize.MAXCOVERAGE).save(PICTURE, optimize=True)


def main() -> None:
    """Measure, write the page, draw."""
    torch.set_num_threads(1)
    rows = [speed(kind) for kind in KINDS]
    PAGE.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    (PAGE / "makers.json").write_text(json.dumps({"load": load, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    (PAGE / "makers.md").write_text(page(rows, load), encoding="utf-8")
    picture()
    print(page(rows, load))


if __name__ == "__main__":
    main()
