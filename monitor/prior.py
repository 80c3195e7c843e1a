"""`factory-ear prior`: train the diffusion prior anew or on a site's own sound, and say what it is."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.console import say, warn
from monitor.errors import WorkFailed
from streams.soundfiles import list_sounds, read_clip

if TYPE_CHECKING:
    from sds_engine.priors.build import Recipe
    from sds_engine.priors.training import Plan, Progress

_REPORT_S = 10.0
_MOST_S = 600.0  # of one recording
_SITE_RATE, _TUNE_RATE = 1e-4, 4e-4  # learning rates of fine-tuning


@dataclass(frozen=True, slots=True)
class Request:
    """What to train on and for how long; zero: the recipe's own numbers (or, on a site's recordings, few).

    tune: go on from the shipped prior, with the emphasis on some faults, perhaps.
    """

    out: Path
    background: Path | None = None
    recordings: Path | None = None
    steps: int = 0
    machines: int = 0
    others: int = 0
    seed: int = 0
    threads: int = 0
    tune: bool = False
    rate: float = 0.0
    emphasise: tuple[str, ...] = ()
    fault_db: tuple[float, float] | None = None
    noise: tuple[float, float] | None = None


def train_prior(request: Request, *, quiet: bool = False) -> dict[str, Any]:
    """Train into `request.out`: weights, card, and in `work` what a killed run goes on from. Returns the card.

    Raises WorkFailed for folders without sound and for a working folder of another recipe.
    """
    import torch

    from sds_engine.priors.build import build
    from sds_engine.priors.shipped import load_prior, save_prior

    recipe, plan, files = _recipe(request)
    torch.set_num_threads(request.threads or os.cpu_count() or 1)
    shipped = load_prior() if request.recordings is not None or request.tune else None  # from nothing it may be absent
    start = None if shipped is None else (shipped.codec, shipped.network.requires_grad_(requires_grad=True))
    teller = _Teller(plan, quiet)
    began = time.perf_counter()
    try:
        codec, network = build(recipe, plan, request.out / "work", lambda t: say(t, quiet=quiet), teller.report, start)
    except ValueError as error:
        raise WorkFailed(str(error)) from error
    hours = (time.perf_counter() - began) / 3600.0
    card = card_of(request.out.name, recipe, plan, files, loss=teller.loss, hours=hours, tuned=start is not None)
    if shipped is not None:
        card["training"]["examples_before"] = _examples(shipped.card)
    save_prior(request.out, codec, network, card)
    say(f"the prior is in {request.out}", quiet=quiet)
    return dict(load_prior(request.out).card)


def _recipe(request: Request) -> tuple[Recipe, Plan, list[str]]:
    """The recipe, the plan and the names of the recordings in it."""
    from sds_engine.priors.build import Recipe, subject_of
    from sds_engine.priors.training import Plan

    site = request.recordings is not None
    background = _sounds(request.background) if request.background is not None else []
    recordings = _sounds(request.recordings) if request.recordings is not None else []
    recipe = Recipe(
        machines=request.machines or (60 if site else Recipe().machines),
        others=request.others or (70 if site else Recipe().others),
        background=tuple((subject_of(path), sound) for path, sound in background),
        site=tuple(sound for _, sound in recordings),
    )
    rate = request.rate or (_SITE_RATE if site else _TUNE_RATE if request.tune else Plan().rate)
    steps = request.steps or (300 if site else Plan().steps)
    plan = Plan(
        steps=steps,
        rate=rate,
        warm_up=20 if site else 50 if request.tune else Plan().warm_up,
        batch=128 if site else Plan().batch,
        seed=request.seed,
        emphasise=tuple(_weight(text) for text in request.emphasise),
        fault_db=request.fault_db or Plan().fault_db,
        noise=request.noise or Plan().noise,
    )
    return recipe, plan, [path.name for path, _ in [*background, *recordings]]


def _weight(text: str) -> tuple[str, float]:
    """KIND=WEIGHT as a pair. Raises WorkFailed where it is something else."""
    from sds_engine.physics.faults import FAULT_KINDS

    kind, _, weight = text.partition("=")
    try:
        number = float(weight)
    except ValueError:
        number = 0.0
    if kind not in FAULT_KINDS or not 0.0 < number < float("inf"):
        allowed = ", ".join(FAULT_KINDS)
        raise WorkFailed(f"--emphasise {text!r}: give KIND=WEIGHT, a weight above 0 and as kind one of {allowed}")
    return kind, number


def _sounds(folder: Path) -> list[tuple[Path, np.ndarray]]:
    """Recordings of a folder at 16 kHz, first channel. Raises SoundFileError where there are none."""
    from sds_engine.priors.logmel import RATE

    return [(path, read_clip(path, RATE, max_duration_s=_MOST_S)) for path in list_sounds(folder)]


class _Teller:
    """Says every ten seconds how far training is."""

    def __init__(self, plan: Plan, quiet: bool) -> None:  # noqa: FBT001 - passed on from the command's --json
        self.plan, self.quiet, self.loss, self._last = plan, quiet, float("nan"), 0.0

    def report(self, progress: Progress) -> None:
        self.loss = progress.loss
        now = time.monotonic()
        if self.quiet or (now - self._last < _REPORT_S and progress.step < self.plan.steps):
            return
        self._last = now
        left_min = (self.plan.steps - progress.step) * self.plan.batch / progress.examples_per_s / 60.0
        warn(
            f"step {progress.step} of {self.plan.steps}, loss {progress.loss:.4f}, "
            f"{progress.examples_per_s:.0f} examples/s, {left_min:.0f} min left"
        )


def card_of(
    name: str, recipe: Recipe, plan: Plan, files: list[str], *, loss: float, hours: float, tuned: bool
) -> dict[str, Any]:
    """What the card says: data and licences, how it was trained, the last loss."""
    from detectors.store import program
    from sds_engine.priors.corpus import CLIP_S, FIRST_SEED

    return {
        "name": name,
        "kind": "EDM diffusion on a linear latent codec of log-mel, 2 s at 16 kHz, conditioned on a sentence vector",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": program(),
        "tuned_from_shipped": tuned,
        "data": {
            "procedural_machines": recipe.machines,
            "procedural_others": recipe.others,
            "clip_s": CLIP_S,
            "seeds_from": FIRST_SEED,
            "background_recordings": len(recipe.background),
            "site_recordings": len(recipe.site),
            "files": files,
        },
        "training": {
            "steps": plan.steps,
            "batch": plan.batch,
            "examples_seen": plan.steps * plan.batch,
            "learning_rate": plan.rate,
            "ema": plan.ema,
            "seed": plan.seed,
            "emphasised": dict(plan.emphasise),
            "fault_over_machine_db": list(plan.fault_db),
            "log_sigma_mean_and_deviation": list(plan.noise),
            "loss": round(loss, 4),
            "hours_of_last_run": round(hours, 2),
        },
    }


def _examples(card: Mapping[str, Any]) -> int:
    """All examples that a prior has seen: in its own training and before that."""
    training = card["training"]
    return int(training["examples_seen"]) + int(training.get("examples_before", 0))


def describe(card: Mapping[str, Any]) -> list[str]:
    """The card for people, a line each."""
    data, training = card["data"], card["training"]
    return [
        f"{card['name']}: {card['kind']}",
        f"made {card['made']} by {card['program']}, weights {card['sha256'][:12]}",
        (
            f"learned from {data['procedural_machines']} procedural machines with their faults, "
            f"{data['procedural_others']} other procedural sounds, {data['background_recordings']} recordings of "
            f"background, {data['site_recordings']} of a site"
        ),
        (
            f"{_examples(card):,} examples seen, {training['examples_seen']:,} of them in the last {training['steps']} "
            f"steps, loss {training['loss']}"
        ),
        *(f"{key}: {card[key]}" for key in ("licence", "hardware", "note") if key in card),
    ]


def read_prior(folder: Path | None) -> dict[str, Any]:
    """The card of a prior whose weights are what it says. Raises WorkFailed where they are not."""
    from sds_engine.priors.shipped import load_prior

    try:
        return dict(load_prior(folder).card)
    except ValueError as error:
        raise WorkFailed(str(error)) from error
