"""Trains the shipped extractor; writes weights and a card. Seeded, resumable: stop it and start it again.

    python -m sds_engine.separation.train OUT [--background DIR:licence ...] [--steps 20000] [--minutes 60] [--each 50]

OUT gets `extractor.safetensors`, `extractor.json` and, to go on from, `checkpoint.safetensors`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sds_engine.separation.mixing import Examples, Mixer
from sds_engine.separation.network import MaskNet, NetSize
from sds_engine.separation.pool import Heard, Source, procedural_pool, recorded_sources
from sds_engine.separation.training import loss_of

BATCH = 64
RATE_PEAK = 1e-3
WARM_UP = 200
AVERAGE = 0.998  # decay of the running mean of weights, which is what ships
SAVE_S = 120.0
TEST_FOLDS = ("3-",)  # of names like rain__3-...: the development set's test background


Net = TypeVar("Net", bound=nn.Module)


@dataclass
class Training(Generic[Net]):
    """A net in training: weights, their running mean, optimiser, and how far it is."""

    net: Net
    mean: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0


def rate_at(step: int, steps: int) -> float:
    """The learning rate: a linear rise, level, and down to nothing over the last tenth of the steps.

    Level, so that a training may be stopped at any time: what ships is a running mean of the weights.
    """
    return RATE_PEAK * min(1.0, (step + 1) / WARM_UP, max(0.0, 10.0 * (1.0 - step / steps)))


def start(size: NetSize, seed: int) -> Training[MaskNet]:
    """A fresh net."""
    torch.manual_seed(seed)
    return begin(MaskNet(size))


def begin(net: Net) -> Training[Net]:
    """Training of a net from where it is."""
    learning = [weight for weight in net.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=RATE_PEAK, betas=(0.9, 0.98), weight_decay=1e-2)
    return Training(net, {key: value.clone() for key, value in net.state_dict().items()}, optimiser)


def advance(training: Training[MaskNet], examples: Examples, steps: int) -> float:
    """One step; returns the loss."""
    training.net.train()
    return learn(training, loss_of(training.net, examples), rate_at(training.step, steps))


def learn(training: Training[Net], loss: Tensor, rate: float) -> float:
    """One step down a loss at a learning rate; returns the loss."""
    for group in training.optimiser.param_groups:
        group["lr"] = rate
    training.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
    nn.utils.clip_grad_norm_(training.net.parameters(), 1.0)
    training.optimiser.step()
    training.step += 1
    decay = min(AVERAGE, training.step / (training.step + 20.0))
    for key, value in training.net.state_dict().items():
        training.mean[key].lerp_(value, 1.0 - decay)
    return float(loss.detach())


def save_checkpoint(training: Training[Net], path: Path) -> None:
    """Everything that a resumed training needs, in one step on disk."""
    from safetensors.torch import save_file

    tensors = {f"net.{key}": value.contiguous() for key, value in training.net.state_dict().items()}
    tensors |= {f"mean.{key}": value.contiguous() for key, value in training.mean.items()}
    for number, state in training.optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{key}": torch.as_tensor(value).clone() for key, value in state.items()}
    fresh = path.with_suffix(".new")
    save_file(tensors, fresh, {"step": str(training.step), "seconds": str(training.seconds)})
    fresh.replace(path)


def resume(training: Training[Net], path: Path) -> None:
    """Go on from a checkpoint. Raises ValueError for one of another network."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        about = file.metadata()
    try:
        training.net.load_state_dict(_under(tensors, "net."))
    except RuntimeError as error:
        raise ValueError(f"{path}: not a checkpoint of this network; remove it to start anew") from error
    training.mean = _under(tensors, "mean.")
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _under(tensors, "adam.").items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    whole = training.optimiser.state_dict()
    training.optimiser.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
    training.step, training.seconds = int(about["step"]), float(about["seconds"])


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def ship(training: Training[MaskNet], out: Path, heard: Sequence[Heard], settings: Mapping[str, object]) -> None:
    """Write the mean weights in half precision and their card."""
    import hashlib

    from safetensors.torch import save

    data = save({key: value.half().contiguous() for key, value in training.mean.items()})
    (out / "extractor.safetensors").write_bytes(data)
    card = {
        "v": 1,
        "what": "mask network of the extractor: share of the asked-for source in each mel band's power",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": training.net.size.plain(),
        "steps": training.step,
        "examples": training.step * BATCH,
        "train_s": round(training.seconds),
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} thread(s), bfloat16 autocast",
        "torch": torch.__version__,
        "settings": dict(settings),
        "procedural": "sds_engine.physics: six kinds of machine, healthy and faulty, and events of a hall",
        "recordings": [asdict(one) for one in heard],
    }
    (out / "extractor.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _read(path: Path) -> NDArray[np.float32]:
    import soundfile
    import soxr

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = np.ascontiguousarray(samples.mean(axis=1))
    return mono if rate == 16_000 else np.asarray(soxr.resample(mono, rate, 16_000), dtype=np.float32)


def _keep(name: str) -> bool:
    return not any(f"__{fold}" in name for fold in TEST_FOLDS)


def embeddings(sources: Sequence[Source]) -> dict[str, Tensor]:
    """Every prompt of the sources with its sentence embedding [384]."""
    from sds_engine.priors.text import embed

    prompts = sorted({prompt for source in sources for prompt in source.prompts})
    return dict(zip(prompts, embed(prompts), strict=True)) if prompts else {}


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def pool(options: argparse.Namespace) -> tuple[list[Source], list[Heard]]:
    """The sources that `options` (each, seed, background) name, and the list of the recordings among them."""
    started = time.monotonic()
    sources = procedural_pool(options.each, options.seed)
    heard: list[Heard] = []
    for folder in options.background:
        found, listed = recorded_sources(folder, read=_read, keep=_keep)
        sources += found * max(1, 5 * options.each // max(1, len(found)))  # few classes: ask for them as often
        heard += listed
    say(f"{len(sources)} sources, {len(heard)} recordings, {time.monotonic() - started:.0f} s")
    return sources, heard


def run(options: argparse.Namespace) -> None:
    """Train until the steps or the minutes are over."""
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    sources, heard = pool(options)
    mixer = Mixer(sources, embeddings(sources), options.seed)
    training = start(NetSize(), options.seed)
    checkpoint = options.out / "checkpoint.safetensors"
    if checkpoint.exists():
        resume(training, checkpoint)
        say(f"goes on from step {training.step}")
    settings = {"batch": BATCH, "rate_peak": RATE_PEAK, "steps": options.steps, "seed": options.seed}
    settings["each"] = options.each
    began, before = time.monotonic(), training.seconds
    saved, smooth = began, 0.7
    while training.step < options.steps and time.monotonic() - began < 60.0 * options.minutes:
        smooth += 0.02 * (advance(training, mixer.batch(training.step, BATCH), options.steps) - smooth)
        now = time.monotonic()
        training.seconds = before + now - began
        if training.step % 50 == 0:
            say(f"step {training.step}: loss {smooth:.4f}, {training.step * BATCH / training.seconds:.1f} examples/s")
        if now - saved > SAVE_S:
            save_checkpoint(training, checkpoint)
            ship(training, options.out, heard, settings)
            saved = now
    save_checkpoint(training, checkpoint)
    ship(training, options.out, heard, settings)


def main() -> None:
    """Read the options and train."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", type=Path)
    options.add_argument("--background", type=Path, action="append", default=[], help="recordings, CLASS__name.wav")
    options.add_argument("--steps", type=int, default=20_000)
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument("--each", type=int, default=50, help="individuals of every kind of machine")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    run(options.parse_args())


if __name__ == "__main__":
    main()
