"""Train the judge that reports: `python tests/benchmarks/train_reporting.py [--each 260]`.

Renders `reporting.sounds` (a synthesis of its own, seeds of its own), trains three small nets on `reporting.hearing`,
sets the temperature on one half of the held-out sounds and measures on the other half. bench_judges.py
measures both judges on both syntheses.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import torch
from reporting.hearing import figures
from reporting.judge import FOLDER, ReportingJudge, dense
from reporting.sounds import CLASSES, coloured_path, one_sound, without_phase
from safetensors.torch import save_file

HELD_OUT = 1_000_000


def rows_of(name: str, seed: int) -> np.ndarray:
    """Figures [2, figure] of one sound: as it is or through another microphone, and without its phase."""
    rng = np.random.default_rng((78_000_000, seed))
    sound = one_sound(name, seed)
    heard = coloured_path(sound, rng) if rng.random() < 0.3 else sound
    return np.stack([figures(heard), figures(without_phase(sound, rng))])


def render(first: int, each: int, cache: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Figures [row, figure] and classes [row] of `each` sounds per class, kept in `cache` in parts of ten."""
    cache.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, each, 10):
        path = cache / f"reporting-{first + start * len(CLASSES)}.npz"
        if not path.exists():
            numbers = range(start, min(start + 10, each))
            jobs = [(name, first + number * len(CLASSES) + i) for number in numbers for i, name in enumerate(CLASSES)]
            found = np.concatenate([rows_of(*job) for job in jobs])
            labels = np.repeat([CLASSES.index(name) for name, _ in jobs], 2)
            np.savez(path, rows=found.astype(np.float16), labels=labels)
        parts.append(np.load(path))
    rows = np.concatenate([part["rows"] for part in parts]).astype(np.float32)
    return torch.from_numpy(rows), torch.from_numpy(np.concatenate([part["labels"] for part in parts]))


def fit(rows: torch.Tensor, labels: torch.Tensor, epochs: int, seed: int) -> torch.nn.Sequential:
    """One net; mixtures of rows (mixup, Zhang et al., ICLR 2018) keep it from being too sure."""
    torch.manual_seed(seed)
    net = dense(rows.shape[1], len(CLASSES))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
    size, wanted = 128, torch.nn.functional.one_hot(labels, len(CLASSES)).float()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * (len(rows) // size))
    for _ in range(epochs):
        order = torch.randperm(len(rows))
        for start in range(0, len(rows) // size * size, size):
            pick = order[start : start + size]
            share = float(np.random.default_rng((seed, start)).beta(0.2, 0.2))
            other = pick[torch.randperm(size)]
            mixed = share * rows[pick] + (1 - share) * rows[other]
            mixed = mixed + 0.1 * torch.randn_like(mixed)
            loss = torch.nn.functional.cross_entropy(net(mixed), share * wanted[pick] + (1 - share) * wanted[other])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def measured(probability: torch.Tensor, labels: torch.Tensor) -> dict[str, object]:
    """Accuracy, per class, calibration error over 15 bins, and the confusion [truth, said]."""
    said, sure = probability.argmax(1), probability.amax(1)
    hit = (said == labels).float()
    confusion = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.long)
    for truth, guess in zip(labels.tolist(), said.tolist(), strict=True):
        confusion[truth, guess] += 1
    groups = [(sure * 15).long().clamp_max(14) == number for number in range(15)]
    error = sum(float(g.float().mean() * (hit[g].mean() - sure[g].mean()).abs()) for g in groups if g.any())
    share = confusion.diagonal() / confusion.sum(1).clamp_min(1)
    return {
        "rows": len(labels),
        "accuracy": round(float(hit.mean()), 4),
        "per_class": {name: round(float(value), 3) for name, value in zip(CLASSES, share, strict=True)},
        "calibration_error": round(error, 4),
        "confusion": confusion.tolist(),
    }


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--each", type=int, default=260)
    args.add_argument("--held-out", type=int, default=40)
    args.add_argument("--epochs", type=int, default=30)
    args.add_argument("--cache", type=Path, default=Path("build/judge"))
    given = args.parse_args()
    torch.set_num_threads(1)
    held, truth = render(HELD_OUT, given.held_out, given.cache)
    rows, labels = render(0, given.each, given.cache)
    started = time.perf_counter()
    mean, deviation = rows.mean(0), rows.std(0) + 1e-3
    nets = [fit(((rows - mean) / deviation).clamp(-6, 6), labels, given.epochs, seed) for seed in range(3)]
    seconds = time.perf_counter() - started
    half = len(truth) // 2 // 2 * 2
    plain = ReportingJudge(nets, mean, deviation, CLASSES, 1.0).from_figures(held).log()
    grid = np.geomspace(0.3, 3, 61)
    losses = [float(torch.nn.functional.cross_entropy(plain[:half] / t, truth[:half])) for t in grid]
    temperature = float(grid[int(np.argmin(losses))])
    tensors = {"mean": mean, "deviation": deviation}
    for number, net in enumerate(nets):
        tensors |= {f"{number}.{name}": value for name, value in net.state_dict().items()}
    save_file({name: value.half().contiguous() for name, value in tensors.items()}, FOLDER / "reporting.safetensors")
    card = {
        "classes": CLASSES,
        "nets": len(nets),
        "temperature": temperature,
        "sha256": hashlib.sha256((FOLDER / "reporting.safetensors").read_bytes()).hexdigest(),
        "data": "tests/benchmarks/reporting/sounds.py, procedural: no recording was used",
        "training": {"sounds": len(rows) // 2, "rows": len(rows), "epochs": given.epochs, "seconds": round(seconds)},
        "held_out": measured((plain[half:] / temperature).softmax(1), truth[half:]),
    }
    (FOLDER / "reporting.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in card["held_out"].items() if k != "confusion"}, indent=1))


if __name__ == "__main__":
    main()
