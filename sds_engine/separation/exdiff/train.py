"""Trains Ex-Diff; writes weights and a card. Seeded, resumable: stop it and start it again.

    python -m sds_engine.separation.exdiff.train OUT --extractor DIR [--background DIR ...] [--variant latents ...]
        [--steps 5000] [--minutes 40] [--start DIR]

Variants: latents (the paper's), none, mixture-only, joint (of `model.ExDiffModel`); several are trained side by side on
the very same mixtures, step by step, and the same seed gives all of them the same at any other time. OUT gets
`exdiff.safetensors` (`exdiff-VARIANT` for the others), its card, and a checkpoint to go on from.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sds_engine.separation.exdiff.mixing import heard
from sds_engine.separation.exdiff.model import VARIANTS, ExDiffModel, Guess, Variant
from sds_engine.separation.exdiff.network import ExDiffSize
from sds_engine.separation.exdiff.separator import file_name
from sds_engine.separation.exdiff.training import Task, loss_of
from sds_engine.separation.extractor import load_extractor, read_weights
from sds_engine.separation.mixing import Mixer
from sds_engine.separation.network import MaskNet
from sds_engine.separation.pool import Heard
from sds_engine.separation.train import (
    RATE_PEAK,
    SAVE_S,
    Training,
    begin,
    embeddings,
    learn,
    pool,
    rate_at,
    resume,
    save_checkpoint,
    say,
)

BATCH = 16


def start(variant: Variant, guide: MaskNet | None, seed: int, size: ExDiffSize | None = None) -> Training[ExDiffModel]:
    """A fresh network of that variant; `guide` is the extractor, of which `joint` trains a copy."""
    torch.manual_seed(seed)
    own = None if variant == "mixture-only" else copy.deepcopy(guide) if variant == "joint" else guide
    model = ExDiffModel(variant, own, size)
    model.fast = True
    return begin(model)


def advance(trainings: Sequence[Training[ExDiffModel]], mixer: Mixer, batch: int, steps: int, seed: int) -> list[float]:
    """One step of each, on the same mixtures; returns the losses. What it draws is of seed and step alone."""
    step = trainings[0].step
    task = Task.of(heard(mixer, step, batch), torch.Generator().manual_seed(seed * 1_000_003 + step))
    guesses: dict[int, Guess] = {}
    losses = []
    for training in trainings:
        model = training.net
        guess = None
        if model.extractor is not None and model.variant != "joint":  # frozen: ask it once for all
            guess = guesses.get(id(model.extractor)) or model.guess(task.look)
            guesses[id(model.extractor)] = guess
        losses.append(learn(training, loss_of(model, task, guess), rate_at(step, steps)))
    return losses


def ship(training: Training[ExDiffModel], out: Path, listed: Sequence[Heard], about: Mapping[str, Any]) -> None:
    """Write the mean weights in half precision and their card; `about` holds `settings` and `extractor`."""
    from safetensors.torch import save

    name = file_name(training.net.variant)
    data = save({key: value.half().contiguous() for key, value in training.mean.items()})
    (out / f"{name}.safetensors").write_bytes(data)
    card = {
        "v": 1,
        "what": "Ex-Diff: a bridge with data prediction on the complex STFT, from the extractor's answer to the target",
        "variant": training.net.variant,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": training.net.size.plain(),
        "steps": training.step,
        "train_s": round(training.seconds),
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} thread(s), bfloat16 autocast",
        "torch": torch.__version__,
        **about,
        "procedural": "sds_engine.physics: six kinds of machine, healthy and faulty, and events of a hall",
        "recordings": [asdict(one) for one in listed],
    }
    (out / f"{name}.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")


def run(options: argparse.Namespace) -> None:
    """Train until the steps or the minutes are over."""
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    sources, listed = pool(options)
    mixer = Mixer(sources, embeddings(sources), options.seed + 1)  # not the extractor's own mixtures
    trainings = _trainings(options)
    about = {"settings": _settings(options), "extractor": _guide_card(options)}
    began, before = time.monotonic(), trainings[0].seconds
    saved, smooth = began, torch.zeros(len(trainings))
    while trainings[0].step < options.steps and time.monotonic() - began < 60.0 * options.minutes:
        losses = torch.tensor(advance(trainings, mixer, BATCH, options.steps, options.seed))
        step, now = trainings[0].step, time.monotonic()
        smooth = torch.lerp(smooth, losses, max(0.01, 1.0 / step))
        for training in trainings:
            training.seconds = before + now - began
        if step % 50 == 0:
            shown = ", ".join(f"{one.net.variant} {loss:.4f}" for one, loss in zip(trainings, smooth, strict=True))
            say(f"step {step}: loss {shown}; {trainings[0].seconds / step:.3f} s each")
        if now - saved > SAVE_S:
            _save(trainings, options.out, listed, about)
            saved = now
    _save(trainings, options.out, listed, about)


def _trainings(options: argparse.Namespace) -> list[Training[ExDiffModel]]:
    """Fresh ones, or from where they stopped. Raises ValueError where they did not stop at the same step."""
    guide = None if options.extractor is None else load_extractor(options.extractor)[0].net
    trainings = [start(variant, guide, options.seed) for variant in options.variant]
    for training in trainings:
        if options.start is not None:
            _go_from(training, options.start)
        checkpoint = options.out / _checkpoint(training)
        if checkpoint.exists():
            resume(training, checkpoint)
            say(f"{training.net.variant} goes on from step {training.step}")
    if len({training.step for training in trainings}) > 1:
        raise ValueError("the variants stopped at different steps: train them one by one, or remove the checkpoints")
    return trainings


def _checkpoint(training: Training[ExDiffModel]) -> str:
    return f"{file_name(training.net.variant)}.checkpoint.safetensors"


def _save(
    trainings: Sequence[Training[ExDiffModel]], out: Path, listed: Sequence[Heard], about: Mapping[str, Any]
) -> None:
    for training in trainings:
        save_checkpoint(training, out / _checkpoint(training))
        ship(training, out, listed, about)


def _go_from(training: Training[ExDiffModel], folder: Path) -> None:
    """Begin with the trained weights of the paper's variant."""
    _, state, _ = read_weights(folder, file_name("latents"), "give --start the folder of a trained exdiff")
    training.net.load_state_dict(state, strict=False)
    training.mean = {key: value.clone() for key, value in training.net.state_dict().items()}


def _settings(options: argparse.Namespace) -> dict[str, object]:
    settings = {"batch": BATCH, "rate_peak": RATE_PEAK, "steps": options.steps, "seed": options.seed}
    return {**settings, "each": options.each, "start": options.start is not None}


def _guide_card(options: argparse.Namespace) -> dict[str, object]:
    """Which extractor it goes with; nothing for none."""
    if options.extractor is None:
        return {}
    card = load_extractor(options.extractor)[1]
    return {key: card[key] for key in ("sha256", "size", "steps")}


def main() -> None:
    """Read the options and train."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", type=Path)
    options.add_argument("--extractor", type=Path, help="folder of the trained extractor")
    options.add_argument("--variant", choices=VARIANTS, nargs="+", default=["latents"])
    options.add_argument("--background", type=Path, action="append", default=[], help="recordings, CLASS__name.wav")
    options.add_argument("--start", type=Path, help="folder of a trained exdiff to begin with")
    options.add_argument("--steps", type=int, default=5000)
    options.add_argument("--minutes", type=float, default=40.0)
    options.add_argument("--each", type=int, default=50, help="individuals of every kind of machine")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    if chosen.extractor is None and chosen.variant != ["mixture-only"]:
        options.error(f"--variant {' '.join(chosen.variant)} needs --extractor DIR, the folder of a trained extractor")
    run(chosen)


if __name__ == "__main__":
    main()
