"""A fault library: from a prompt to N varied sounds, taught by the prior, gated by physics and a judge.

Candidates start from physics, each from its own seed; SDS teaches all of them in one batch; of each, the moment that
the judge likes best is kept (the start is one of them, so teaching can only help it). What fails a gate is thrown away
and counted. From the rest the most different ones are taken. Refilled for a few rounds; then there are fewer, and the
reason is told.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from sds_engine.makers import Params, Physics, maker_for
from sds_engine.makers.base import Maker
from sds_engine.priors.denoiser import Prior
from sds_engine.sds import Ask, SdsSettings, SeededNoise, optimise
from sds_engine.tasks.agreement import agreement

# Chosen on seeds that no table uses, by neither judge; see docs/audio-sds.md. Encoder-SDS: this codec is linear.
SETTINGS = SdsSettings(
    kind="encoder",
    guidance=4.0,
    steps=1,
    draws=2,
    t_low=0.5,
    t_high=0.8,
    iterations=30,
    learning_rate=0.05,
    final_rate=0.1,
    enough=0.99,
)
SPARE = 2.0  # candidates for each sound that is wanted
GATE = 0.5  # the judge's least probability of the kind
ROUNDS = 3
BATCH = 32
NEAR_DB = 0.3  # two sounds nearer than this in mean spectrum and its deviation are one


class Judge(Protocol):
    """What gates: see `sds_engine.judges.Judge`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """What it can tell apart."""
        ...

    def probabilities(self, wave: Tensor) -> Tensor:
        """`[batch, time]` -> `[batch, class]`."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for: a prompt, a maker's kind, how many; `physics` is what is known of the machine, in SI units."""

    prompt: str
    kind: str
    count: int
    seed: int = 0
    physics: Physics = field(default_factory=Physics)

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 10_000:
            raise ValueError(f"{self.count} sounds: allowed is 1 to 10,000")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed}: allowed is 0 or more")


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """One sound of a library.

    judged: the judge's probability, None where it does not know the kind; `start_judged` is what the maker's start had.
    agreement: see `agreement`. iteration: of SDS, 0 is the start. physical: in SI units.
    """

    wave: Tensor
    seed: int
    judged: float | None
    start_judged: float | None
    agreement: float
    iteration: int
    physical: Mapping[str, list[float]]


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """What came of an order: the sounds, how many were tried, and why others were thrown away (reason -> how many)."""

    sounds: list[Sound]
    tried: int
    refused: Mapping[str, int]


def make_library(
    order: Order,
    prior: Prior,
    judge: Judge,
    settings: SdsSettings = SETTINGS,
    watch: Callable[[int], None] | None = None,
) -> Library:
    """Fill an order. watch(n) is called for each iteration of SDS with the number of candidates in it."""
    maker = maker_for(order.kind, prior.rate, prior.seconds)
    condition = prior.embed([order.prompt])[0]
    passed: list[Sound] = []
    refused: Counter[str] = Counter()
    tried = 0
    for _ in range(ROUNDS):
        missing = order.count - len(passed)
        wanted = max(4, round(SPARE * missing))
        for first in range(0, wanted, BATCH):
            size = min(BATCH, wanted - first)
            start = maker.start(size, order.seed + tried, **order.physics)
            tried += size
            passed += _taught(maker, start, prior, judge, condition, settings, refused, watch)
        if len(passed) >= order.count:
            break
    return Library(_different(passed, order.count, prior, refused), tried, dict(refused))


def _taught(
    maker: Maker,
    start: Params,
    prior: Prior,
    judge: Judge,
    condition: Tensor,
    settings: SdsSettings,
    refused: Counter[str],
    watch: Callable[[int], None] | None,
) -> list[Sound]:
    """One batch: taught, judged, gated."""
    seeds = list(start.seeds)
    conditions = condition.expand(len(seeds), *condition.shape)
    known = maker.kind in judge.classes
    if not known:
        settings = replace(settings, enough=math.inf)  # a probability, and agreement is none

    def likes(wave: Tensor) -> Tensor:
        return _liking(judge, maker.kind, wave, prior, conditions, seeds)

    with torch.no_grad():
        before = likes(maker.render(start))
    outcome = optimise(
        maker,
        start,
        prior,
        Ask(conditions),
        settings,
        SeededNoise(seeds),
        judge=likes,
        watch=None if watch is None else (lambda _, wave: watch(len(wave))),
    )
    with torch.no_grad():
        wave = maker.render(outcome.best)
    doubts = maker.check(outcome.best)
    agrees = agreement(prior, wave, conditions, seeds)
    physical = maker.physical(outcome.best)
    sounds = []
    for i, seed in enumerate(seeds):
        judged = float(outcome.best_score[i])
        reason = _refusal(doubts[i], judged if known else None, float(agrees[i]))
        if reason:
            refused[reason] += 1
            continue
        sounds.append(
            Sound(
                wave=wave[i],
                seed=seed,
                judged=judged if known else None,
                start_judged=float(before[i]) if known else None,
                agreement=float(agrees[i]),
                iteration=int(outcome.best_iteration[i]),
                physical={name: [float(x) for x in value[i].flatten()] for name, value in physical.items()},
            )
        )
    return sounds


def _liking(judge: Judge, kind: str, wave: Tensor, prior: Prior, conditions: Tensor, seeds: list[int]) -> Tensor:
    """The judge's probability of the kind `[batch]`; the prior's agreement where the judge does not know it."""
    if kind in judge.classes:
        return judge.probabilities(wave)[:, judge.classes.index(kind)]
    return agreement(prior, wave, conditions, seeds)


def _refusal(doubts: list[str], judged: float | None, agrees: float) -> str:
    """Why a sound is thrown away, in words that can be counted; empty where it is kept."""
    if doubts:
        return f"implausible: {doubts[0]}"
    if judged is not None and judged < GATE:
        return "the judge hears something else"
    if judged is None and agrees <= 0.0:
        return "the prior finds that it does not fit the prompt"
    return ""


def _different(sounds: list[Sound], count: int, prior: Prior, refused: Counter[str]) -> list[Sound]:
    """At most `count`, the best judged first, then always the one farthest from those taken."""
    if not sounds:
        return []
    features = _features(torch.stack([sound.wave for sound in sounds]), prior)
    quality = [sound.judged if sound.judged is not None else sound.agreement for sound in sounds]
    taken = [max(range(len(sounds)), key=lambda i: quality[i])]
    nearest = (features - features[taken[0]]).square().mean(dim=1).sqrt()
    while len(taken) < min(count, len(sounds)):
        far = int(nearest.argmax())
        if float(nearest[far]) < NEAR_DB:
            refused["too much like another"] += len(sounds) - len(taken)
            break
        taken.append(far)
        nearest = torch.minimum(nearest, (features - features[far]).square().mean(dim=1).sqrt())
    return [sounds[i] for i in sorted(taken)]


def _features(wave: Tensor, prior: Prior) -> Tensor:
    """Mean and deviation over time of log-mel, in dB: `[sound, 2 band]`."""
    from sds_engine.priors import logmel

    if prior.rate != logmel.RATE or wave.shape[1] != logmel.SAMPLES:
        wave = torch.nn.functional.interpolate(wave[:, None], logmel.SAMPLES, mode="linear")[:, 0]
    db = logmel.relative_db(logmel.mel_power(wave))
    return torch.cat([db.mean(dim=1), db.std(dim=1)], dim=1)
