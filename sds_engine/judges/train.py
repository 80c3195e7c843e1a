"""Train the gate's judge: `python -m sds_engine.judges.train --out sds_engine/judges`.

Renders its sounds (seeds from FIRST_SEED, held-out from HELD_OUT_SEED), trains, sets the temperature on one half of the
held-out machines and reports accuracy, calibration and confusion on the other half. Seeded; one core, low priority
is enough. Writes gate.safetensors and gate.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sds_engine.judges.features import RATE, SAMPLES, hear
from sds_engine.judges.network import GateNet
from sds_engine.judges.sounds import CLASSES, FIRST_SEED, HELD_OUT_SEED, batch_of

_STEP = 12  # machines at a time
Set = tuple[Tensor, Tensor, Tensor]  # log-mel, modulation, class


def render(first: int, machines: int, cache: Path) -> Set:
    """The features of so many machines' windows, kept in `cache` by seed: an interrupted run goes on."""
    cache.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Tensor]] = []
    for start in range(first, first + machines, _STEP):
        path = cache / f"{start}.safetensors"
        if not path.exists():
            wave, label = batch_of(range(start, min(start + _STEP, first + machines)))
            picture, rhythm = hear(wave)
            save_file(
                {"picture": picture.half().contiguous(), "rhythm": rhythm.half().contiguous(), "label": label}, path
            )
        parts.append(load_file(path))
    return (
        torch.cat([p["picture"] for p in parts]),
        torch.cat([p["rhythm"] for p in parts]),
        torch.cat([p["label"] for p in parts]),
    )


def _varied(picture: Tensor, rhythm: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A smooth change of colour, a shift in time, one band hidden: cheap variety in the picture itself."""
    count, mels, frames = picture.shape
    knots = 0.04 * torch.randn(count, 1, 6, generator=generator)
    colour = torch.nn.functional.interpolate(knots, mels, mode="linear", align_corners=True)
    picture = torch.roll(picture, int(torch.randint(frames, (1,), generator=generator)), 2)
    picture = (picture + colour.transpose(1, 2)).clamp(-1.0, 0.2)
    start = int(torch.randint(mels - 8, (1,), generator=generator))
    picture[::3, start : start + 8] = -1.0
    return picture, rhythm + 0.05 * torch.randn(rhythm.shape, generator=generator)


def fit(train: Set, epochs: int, seed: int) -> GateNet:
    """A net trained with AdamW on a one-cycle rate; labels smoothed by 0.05."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = GateNet(len(CLASSES))
    size = 64
    steps = epochs * (len(train[2]) // size)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    weight = 1.0 / torch.bincount(train[2], minlength=len(CLASSES)).float()
    loss_of = torch.nn.CrossEntropyLoss(weight / weight.mean(), label_smoothing=0.05)
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        order = torch.randperm(len(train[2]), generator=generator)
        for rows in torch.split(order[: len(order) // size * size], size):
            picture, rhythm = _varied(train[0][rows].float(), train[1][rows].float(), generator)
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(picture, rhythm)
            loss = loss_of(logits.float(), train[2][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            total += float(loss.detach())
        print(  # noqa: T201 - a script that reports as it goes
            f"epoch {epoch + 1}: loss {total / max(1, len(order) // size):.3f}, {time.perf_counter() - started:.0f} s",
            flush=True,
        )
    return net.eval()


@torch.no_grad()
def logits_of(net: GateNet, data: Set) -> Tensor:
    """Logits [row, class] of a set."""
    parts = zip(torch.split(data[0], 256), torch.split(data[1], 256), strict=True)
    return torch.cat([net(picture.float(), rhythm.float()) for picture, rhythm in parts])


def temperature_of(logits: Tensor, label: Tensor) -> float:
    """The temperature that makes the probabilities calibrated (Guo et al., ICML 2017), by a search over a grid."""
    grid = np.geomspace(0.3, 3.0, 61)
    losses = [float(torch.nn.functional.cross_entropy(logits / t, label)) for t in grid]
    return float(grid[int(np.argmin(losses))])


def figures(probability: Tensor, label: Tensor) -> dict[str, Any]:
    """Accuracy, accuracy per class, the mean class accuracy, calibration error (15 bins), confusion [truth, said]."""
    said, sure = probability.argmax(1), probability.amax(1)
    confusion = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.long)
    confusion.index_put_((label, said), torch.ones_like(label), accumulate=True)
    hit = (said == label).float()
    bins = (sure * 15).long().clamp_max(14)
    error = sum(
        float((bins == b).float().mean() * (hit[bins == b].mean() - sure[bins == b].mean()).abs())
        for b in range(15)
        if bool((bins == b).any())
    )
    per_class = confusion.diagonal() / confusion.sum(1).clamp_min(1)
    return {
        "rows": len(label),
        "accuracy": round(float(hit.mean()), 4),
        "class_accuracy": round(float(per_class.mean()), 4),
        "per_class": {name: round(float(value), 3) for name, value in zip(CLASSES, per_class, strict=True)},
        "calibration_error": round(error, 4),
        "confusion": confusion.tolist(),
    }


def main() -> None:
    """Render, train, measure, write."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--machines", type=int, default=900)
    args.add_argument("--held-out", type=int, default=120)
    args.add_argument("--epochs", type=int, default=14)
    args.add_argument("--seed", type=int, default=0)
    args.add_argument("--cache", type=Path, default=Path("build/judge"))
    args.add_argument("--out", type=Path, default=Path(__file__).parent)
    args.add_argument("--render-only", action="store_true")
    given = args.parse_args()
    torch.set_num_threads(1)
    held = render(HELD_OUT_SEED, given.held_out, given.cache)
    train = render(FIRST_SEED, given.machines, given.cache)
    if given.render_only:
        return
    started = time.perf_counter()
    net = fit(train, given.epochs, given.seed)
    seconds = time.perf_counter() - started
    logits, half = logits_of(net, held), len(held[2]) // 2
    temperature = temperature_of(logits[:half], held[2][:half])
    found = figures((logits[half:] / temperature).softmax(1), held[2][half:])
    given.out.mkdir(parents=True, exist_ok=True)
    weights = given.out / "gate.safetensors"
    save_file({name: value.contiguous().float() for name, value in net.state_dict().items()}, weights)
    card = {
        "classes": CLASSES,
        "rate": RATE,
        "samples": SAMPLES,
        "temperature": temperature,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "data": "sds_engine.physics, procedural: no recording was used",
        "seeds": {"train": [FIRST_SEED, given.machines], "held_out": [HELD_OUT_SEED, given.held_out]},
        "training": {"rows": len(train[2]), "epochs": given.epochs, "seed": given.seed, "seconds": round(seconds)},
        "date": datetime.now(UTC).date().isoformat(),
        "held_out": found,
    }
    (given.out / "gate.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in found.items() if key != "confusion"}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
