"""From which level on a microphone would hear each kind of fault: measured on its own healthy sound and its own model.

Fault sounds (`monitor.exposing`: half of them at random, half adapted to the machine) are mixed into healthy contexts;
for every pair of sound and context the level is looked for at which the model's score reaches the alarm threshold,
by bisection. The share of pairs that are heard at a level is the curve; where it passes 50% and 90% are its figures.

What these figures are not: real faults may be easier or harder than made ones, so they rank microphones and faults and
say what cannot be heard at all; they set no threshold and choose no detector. The contexts are those that the model
learned from; it knows their background, so elsewhere a fault may be masked a little more or stand out a little more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detectors.exposure_mix import FaultSound, heard, mix
from detectors.model import Model
from detectors.recordings import Clip, choose_contexts

PAIRS = 12  # of sound and context, for every kind
QUIETEST_DB, LOUDEST_DB = -36.0, 12.0
ROUNDS = 6  # of bisection: 48 dB / 2^6, steps of 0.75 dB
REPLICATES = 1000
F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Audible:
    """One kind of fault at one microphone: the level in dB at which each pair is heard [pair], infinity for never.

    Levels are RMS over the healthy sound at the microphone.
    """

    kind: str
    levels_db: tuple[float, ...]

    def share(self, level_db: float) -> float:
        """The share of pairs that are heard at a level."""
        return float(np.mean(np.array(self.levels_db) <= level_db))

    def at(self, share: float) -> float:
        """The level at which that share of pairs is heard, infinity where fewer ever are."""
        ordered = np.sort(self.levels_db)
        return float(ordered[max(0, int(np.ceil(share * len(ordered) - 1e-9)) - 1)])

    def interval(self, share: float) -> tuple[float, float]:
        """The 95% bootstrap interval of `at`, over pairs."""
        levels = np.array(self.levels_db)
        drawn = np.random.default_rng(0).choice(levels, (REPLICATES, len(levels)))
        place = max(0, int(np.ceil(share * len(levels) - 1e-9)) - 1)
        at = np.sort(drawn, axis=1)[:, place]
        low, high = np.sort(at)[[round(0.025 * REPLICATES), round(0.975 * REPLICATES) - 1]]  # infinity is a level too
        return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Pair:
    """A fault's part at the healthy RMS and the healthy context that it is mixed into, [time] both."""

    kind: str
    healthy: Tensor
    part: Tensor


def pairs_of(
    model: Model, clips: Sequence[Clip], sounds: Mapping[str, Sequence[FaultSound]], count: int = PAIRS, seed: int = 0
) -> list[Pair]:
    """`count` pairs of each kind: its sounds in turn, each in another context. ValueError where all clips are short."""
    size = round(model.rate * model.window_s)
    length = size * model.context_windows
    usable = [clip for clip in clips if len(clip.samples) >= length]
    if not usable:
        raise ValueError(f"{len(clips)} recordings, none as long as a context of {model.context_s:g} s")
    spans = choose_contexts(usable, size, model.rate, model.context_windows, grouped=True, seed=seed).spans
    rng = np.random.default_rng([seed, 73])
    found = []
    for kind, own in sounds.items():
        order = rng.permutation(len(spans))
        for number in range(count):
            span = spans[int(order[number % len(order)])]
            healthy = usable[span.clip].samples[span.first * size : span.last * size]
            found.append(Pair(kind, healthy, own[number % len(own)].part(healthy, model.rate, rng)))
    return found


@torch.inference_mode()
def hear_levels(model: Model, pairs: Sequence[Pair], threshold: float) -> list[Audible]:
    """The level at which each pair's score reaches `threshold`, per kind in the pairs' order.

    Bisection between QUIETEST_DB and LOUDEST_DB, all pairs at once; what is not heard at LOUDEST_DB is never heard, and
    a context that alarms by itself is heard at QUIETEST_DB.
    """

    def heard_at(levels: F64) -> NDArray[np.bool_]:
        mixed = [mix(pair.healthy, pair.part, float(level)) for pair, level in zip(pairs, levels, strict=True)]
        evidence = heard(mixed, model.front_end, round(model.rate * model.window_s))
        return np.asarray(model.score(evidence).score.numpy() >= threshold - 1e-9)

    found = bisect(heard_at, len(pairs))
    kinds = dict.fromkeys(pair.kind for pair in pairs)
    return [
        Audible(kind, tuple(float(level) for pair, level in zip(pairs, found, strict=True) if pair.kind == kind))
        for kind in kinds
    ]


def bisect(heard_at: Callable[[F64], NDArray[np.bool_]], count: int) -> F64:
    """For each of `count` the level [count] from which on `heard_at` says yes; infinity where it never does."""
    low, high = np.full(count, QUIETEST_DB), np.full(count, LOUDEST_DB)
    never = ~heard_at(high)
    for _ in range(ROUNDS):
        middle = (low + high) / 2.0
        yes = heard_at(middle)
        high, low = np.where(yes, middle, high), np.where(yes, low, middle)
    return np.where(never, np.inf, high)


def over_machine_db(healthy: Sequence[Tensor], background: Sequence[Tensor]) -> float | None:
    """What to add to a level over all that the microphone hears, to have it over the machine alone; None: not known.

    From recordings with the machine running and without: their powers subtract. None without background recordings, and
    where the background is as loud as the whole.
    """
    if not healthy or not background:
        return None
    whole, alone = (float(torch.cat([one.double().square() for one in some]).mean()) for some in (healthy, background))
    return 10.0 * float(np.log10(whole / (whole - alone))) if whole > 1.0001 * alone else None
