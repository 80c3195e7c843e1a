"""Train the judge that reports: `python tests/benchmarks/train_reporting.py [--each 1000]`.

Renders `reporting.sounds` (a synthesis of its own, seeds of its own; `render_reporting`), trains small nets on
`reporting.hearing`, sets the temperature on one half of the held-out sounds and measures on the other half. Half of
the sounds are also heard as a drawn picture would give them back (`bodies.drawn`): a prior without phases is to be
judged by what it drew, not by what Griffin-Lim made of it.
bench_judges.py measures both judges on both syntheses.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time

import numpy as np
import torch
from render_reporting import BLOCKS, CACHE, HELD_OUT, part_of, starts
from reporting.bodies import drawn
from reporting.hearing import FINE, figures
from reporting.judge import FOLDER, Ear, ReportingJudge, Rows
from reporting.sounds import CLASSES
from safetensors.torch import save_file

SIZE = 128  # rows a step


def heard(first: int, each: int) -> tuple[Rows, torch.Tensor]:
    """Figures and classes [row] of `each` sounds a class, both as they are and without phase; kept in the cache."""
    parts = []
    for start in starts(first, each):
        path = CACHE / f"heard-{start}.npz"
        if not path.exists():
            waves = part_of(start)
            rows = zip(*(figures(wave) for wave in waves.reshape(-1, waves.shape[-1])), strict=True)
            np.savez(path, *(np.stack(row).astype(np.float16) for row in rows))
        with np.load(path) as part:
            parts.append([part[name].astype(np.float32) for name in part.files])
    plain, rhythm, buzz = (torch.from_numpy(np.concatenate(column)) for column in zip(*parts, strict=True))
    labels = torch.tensor(BLOCKS).repeat_interleave(20).repeat(len(parts))
    return (plain, rhythm, buzz), labels


def redrawn(first: int, each: int, every: int) -> tuple[Rows, torch.Tensor]:
    """Figures and classes [row] of the plain sounds of every so many parts, each rebuilt by `drawn`; kept, too."""
    parts = []
    for start in starts(first, each)[::every]:
        path = CACHE / f"drawn-{start}.npz"
        if not path.exists():
            rng = np.random.default_rng((77_000_000, start))
            waves = part_of(start)[:, :, 0].reshape(len(BLOCKS) * 10, -1)
            rows = zip(*(figures(drawn(wave / 32_000, rng)) for wave in waves), strict=True)
            np.savez(path, *(np.stack(row).astype(np.float16) for row in rows))
        with np.load(path) as part:
            parts.append([part[name].astype(np.float32) for name in part.files])
    plain, rhythm, buzz = (torch.from_numpy(np.concatenate(column)) for column in zip(*parts, strict=True))
    return (plain, rhythm, buzz), torch.tensor(BLOCKS).repeat_interleave(10).repeat(len(parts))


def joined(sets: list[tuple[Rows, torch.Tensor]]) -> tuple[Rows, torch.Tensor]:
    """Several sets of figures and classes as one."""
    plain, rhythm, buzz = (torch.cat([rows[i] for rows, _ in sets]) for i in range(3))
    return (plain, rhythm, buzz), torch.cat([labels for _, labels in sets])


def _moved(lines: torch.Tensor, step: int) -> torch.Tensor:
    """Modulation spectra [row, band, bin] at another speed: so many bins on, the last bin repeated."""
    if step > 0:
        return torch.cat([lines[..., :1].expand(-1, -1, step), lines[..., :-step]], 2)
    return torch.cat([lines[..., -step:], lines[..., -1:].expand(-1, -1, -step)], 2) if step else lines


def varied(rows: Rows, rng: np.random.Generator) -> Rows:
    """Another colour, another speed, some figures and bands unheard, and noise: cheap variety in the figures."""
    plain, rhythm, buzz = rows
    plain = (plain + 0.15 * torch.randn_like(plain)) * (torch.rand_like(plain) > 0.1)
    knots = torch.nn.functional.interpolate(torch.eye(6)[None], FINE, mode="linear", align_corners=True)[0]
    tilt = torch.randn(len(plain), 1) * torch.linspace(-1, 1, FINE)
    plain[:, :FINE] += 0.35 * torch.randn(len(plain), 6) @ knots + 0.4 * tilt
    step = int(rng.integers(-5, 6))
    rhythm, buzz = _moved(rhythm, step), _moved(buzz, round(0.875 * step))  # 0.875: the ratio of their bins
    unheard = torch.rand(len(rhythm), rhythm.shape[1], 1) < 0.1
    rhythm = torch.where(unheard, rhythm.mean((1, 2), keepdim=True), rhythm)
    return plain, rhythm + 0.15 * torch.randn_like(rhythm), buzz + 0.15 * torch.randn_like(buzz)


def fit(rows: Rows, labels: torch.Tensor, epochs: int, seed: int) -> Ear:
    """One net; mixtures of rows (mixup, Zhang et al., ICLR 2018) keep it from being too sure."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Ear(rows[0].shape[1], len(CLASSES))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
    steps, wanted = len(labels) // SIZE, torch.nn.functional.one_hot(labels, len(CLASSES)).float()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * steps)
    for epoch in range(epochs):
        order, total = torch.randperm(len(labels)), 0.0
        for pick in order[: steps * SIZE].reshape(steps, SIZE):
            other, share = pick[torch.randperm(SIZE)], float(rng.beta(0.2, 0.2))
            plain, rhythm, buzz = (share * part[pick] + (1 - share) * part[other] for part in rows)
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(*varied((plain, rhythm, buzz), rng))
            aim = share * wanted[pick] + (1 - share) * wanted[other]
            loss = torch.nn.functional.cross_entropy(logits.float(), aim)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(f"net {seed}, epoch {epoch + 1}: loss {total / steps:.3f}", flush=True)
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


def write(judge: ReportingJudge, training: dict[str, int], held_out: dict[str, object]) -> None:
    """reporting.safetensors in half precision, and its card."""
    tensors = {"mean": judge.mean, "deviation": judge.deviation}
    for number, net in enumerate(judge.nets):
        tensors |= {f"{number}.{name}": value for name, value in net.state_dict().items()}
    save_file({name: value.half().contiguous() for name, value in tensors.items()}, FOLDER / "reporting.safetensors")
    card = {
        "classes": CLASSES,
        "nets": len(judge.nets),
        "temperature": judge.temperature,
        "sha256": hashlib.sha256((FOLDER / "reporting.safetensors").read_bytes()).hexdigest(),
        "data": "tests/benchmarks/reporting/sounds.py, procedural: no recording was used",
        "training": training,
        "held_out": held_out,
    }
    (FOLDER / "reporting.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--each", type=int, default=1000)
    args.add_argument("--held-out", type=int, default=50)
    args.add_argument("--epochs", type=int, default=14)
    args.add_argument("--nets", type=int, default=3)
    given = args.parse_args()
    torch.set_num_threads(1)
    held, truth = heard(HELD_OUT, given.held_out)
    again, known = redrawn(HELD_OUT, given.held_out, 1)
    (plain, rhythm, buzz), labels = joined([heard(0, given.each), redrawn(0, given.each, 2)])
    started = time.perf_counter()
    mean, deviation = plain.mean(0), plain.std(0) + 1e-3
    rows = ((plain - mean) / deviation).clamp(-6, 6), rhythm, buzz
    nets = [fit(rows, labels, given.epochs, seed) for seed in range(given.nets)]
    seconds = round(time.perf_counter() - started)
    first = torch.arange(len(truth)) // 2 % 2 == 0  # every other sound, with its copy
    plainly = ReportingJudge(nets, mean, deviation, CLASSES, 1.0).from_figures(held).log()
    grid = np.geomspace(0.3, 3, 61)
    losses = [float(torch.nn.functional.cross_entropy(plainly[first] / t, truth[first])) for t in grid]
    judge = ReportingJudge(nets, mean, deviation, CLASSES, float(grid[int(np.argmin(losses))]))
    found = measured((plainly[~first] / judge.temperature).softmax(1), truth[~first])
    found["drawn_accuracy"] = measured(judge.from_figures(again), known)["accuracy"]
    found["plain_accuracy"] = measured(judge.from_figures(tuple(part[::2] for part in held)), truth[::2])["accuracy"]
    training = {
        "sounds": int(given.each * len(BLOCKS)),
        "rows": len(labels),
        "epochs": given.epochs,
        "seconds": seconds,
    }
    write(judge, training, found)
    print(json.dumps({k: v for k, v in found.items() if k != "confusion"}, indent=1))


if __name__ == "__main__":
    main()
