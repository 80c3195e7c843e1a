"""FM parameter matching: the four-operator voice that sounds like a recorded sound, within a budget of renders.

Guesses from the sound's peaks and envelope are screened without gradients; the best are pulled by gradient descent
on multi-scale spectra with an optimal-transport term that fades out; between rounds, copies of the best jump where
gradients cannot go (other ratios, another fundamental), and what is worse is dropped (successive halving: Jamieson and
Talwalkar, "Non-stochastic best arm identification", AISTATS 2016). Every sound that is rendered counts as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sds_engine.makers.base import Params
from sds_engine.makers.fm import Fm
from sds_engine.physics.wander import F64, generator
from sds_engine.tasks.fm_starts import Heard, free_rows, guess, hear, jump
from sds_engine.tasks.spectral import Spectra, spectral_distance, transport

Regulariser = Callable[[Tensor], Tensor]
# Steps in unconstrained units. A fifth of a percent of a frequency moves a partial by what a long window resolves:
# with one rate for all, pitch is thrown away in the first steps.
STEP = {"f0_hz": 0.002, "ratio": 0.003}
OTHERS = 0.06


@dataclass(frozen=True, slots=True)
class MatchSettings:
    """renders: the budget. screen: its share for first guesses; jumps: for jumps between rounds; the rest is gradient.

    keep: how many candidates each round keeps, one number a round. transport: weight of the optimal-transport term in
    the first round, fading to 0 in the last. regulariser: weight of the hook. chunk: sounds rendered at a time.
    """

    renders: int = 1500
    screen: float = 0.25
    jumps: float = 0.25
    keep: tuple[int, ...] = (8, 5, 3, 2)
    transport: float = 0.5
    regulariser: float = 0.1
    chunk: int = 32

    def __post_init__(self) -> None:
        if self.renders < 4 * sum(self.keep) or not self.keep or min(self.keep) < 1:
            raise ValueError(f"{self.renders} renders for {self.keep} candidates: give {4 * sum(self.keep)} or more")
        if self.screen <= 0.0 or self.jumps < 0.0 or self.screen + self.jumps >= 0.9:
            raise ValueError(f"screen {self.screen} and jumps {self.jumps}: allowed is above 0 and together below 0.9")


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The voice found: params of one sound at the target's level, its distance, the renders spent.

    trace: (renders so far, least distance so far), falling.
    """

    params: Params
    distance: float
    renders: int
    trace: tuple[tuple[int, float], ...]


class Search:
    """A target, a maker and a count of renders; keeps the best voice so far. Other searches may share it."""

    def __init__(self, maker: Fm, target: Tensor, budget: int, chunk: int = 32) -> None:
        if target.shape != (maker.samples,) or not torch.isfinite(target).all() or not target.any():
            raise ValueError(
                f"the target is {tuple(target.shape)}: give {maker.samples} finite samples that are not silent"
            )
        self.maker, self.budget, self.chunk, self.renders = maker, budget, chunk, 0
        self.target = Spectra.of(target[None].float())
        self.level_db = float(20.0 * target.float().square().mean().sqrt().log10())
        self._blank = maker.start(1, 0)
        self._best: tuple[float, dict[str, Tensor]] | None = None
        self._trace: list[tuple[int, float]] = []

    @property
    def left(self) -> int:
        """Renders that may still be made."""
        return self.budget - self.renders

    def params(self, free: dict[str, Tensor]) -> Params:
        """Voices `[row, size]` of these free values."""
        rows = len(next(iter(free.values())))
        fixed = {name: value.expand(rows, *value.shape[1:]) for name, value in self._blank.fixed.items()}
        level = self._blank.free["level_db"].detach().expand(rows, 1)
        return Params({**free, "level_db": level}, fixed, tuple(range(rows)))

    def render(self, free: dict[str, Tensor]) -> Tensor:
        """Voices -> sound `[row, time]`, counted. Raises ValueError beyond the budget."""
        rows = len(next(iter(free.values())))
        if rows > self.left:
            raise ValueError(f"{rows} renders asked, {self.left} left of {self.budget}")
        self.renders += rows
        return self.maker.render(self.params(free))

    def note(self, free: dict[str, Tensor], distance: Tensor) -> None:
        """Keep the best of these rows if it is better than all before; a distance that is no number never is."""
        known = torch.where(torch.isfinite(distance), distance, torch.inf).detach()
        row = int(known.argmin())
        if self._best is None or float(known[row]) < self._best[0]:
            self._best = (float(known[row]), {n: v[row : row + 1].detach().clone() for n, v in free.items()})
            self._trace.append((self.renders, float(known[row])))

    @torch.no_grad()
    def distances(self, free: dict[str, Tensor]) -> Tensor:
        """The distance `[row]` of each voice, without gradients."""
        rows = len(next(iter(free.values())))
        parts = []
        for first in range(0, rows, self.chunk):
            some = {name: value[first : first + self.chunk] for name, value in free.items()}
            far = spectral_distance(Spectra.of(self.render(some)), self.target)
            self.note(some, far)
            parts.append(far)
        return torch.cat(parts)

    def result(self) -> Match:
        """The best so far, at the target's level (as far as the maker's bounds go)."""
        if self._best is None:
            raise ValueError("nothing was rendered: there is no best voice")
        distance, free = self._best
        level = self.maker.level_db.free(np.array([[self.level_db]]))
        params = self.params(free)
        fitting = {**params.free, "level_db": torch.from_numpy(level).float()}
        return Match(params.with_free(fitting).leaves(), distance, self.renders, tuple(self._trace))


def match_fm(
    target: Tensor,
    maker: Fm,
    seed: int,
    settings: MatchSettings | None = None,
    regulariser: Regulariser | None = None,
) -> Match:
    """The FM voice nearest to the target `[time]`, which is as long as the maker's sounds.

    regulariser(wave `[batch, time]`) -> `[batch]` or a scalar, lower is better: a prior's opinion, such as an SDS
    loss, added to the gradient loss; what is kept is chosen by spectral distance alone. Deterministic in `seed`.
    Raises ValueError for a target that is silent, not finite or of another length.
    """
    how = settings or MatchSettings()
    search = Search(maker, target, how.renders, how.chunk)
    rng = generator(seed, 41)
    heard = hear(target.detach().double().cpu().numpy(), maker.rate)
    rows = [guess(heard, rng) for _ in range(max(how.keep[0], int(how.screen * how.renders)))]
    free = _tensors(rows, maker)
    free = _top(free, search.distances(free), how.keep[0])
    jumps = int(how.jumps * how.renders) // max(1, len(how.keep) - 1)
    for number, keep in enumerate(how.keep):
        last = number == len(how.keep) - 1
        if number:
            free = _jumped(search, free, heard, jumps, keep, rng)
        later = sum(how.keep[number + 1 :])
        ahead = 0 if last else (jumps + keep) * (len(how.keep) - 1 - number)
        share = keep / (keep + later)
        steps = int((search.left - ahead) * (1.0 if last else share)) // keep
        weight = how.transport * (1.0 - number / max(1, len(how.keep) - 1))
        free = descend(search, free, max(0, steps), weight, regulariser, how.regulariser)
    return search.result()


def descend(
    search: Search,
    free: dict[str, Tensor],
    steps: int,
    transport_weight: float = 0.0,
    regulariser: Regulariser | None = None,
    regulariser_weight: float = 0.0,
) -> dict[str, Tensor]:
    """Adam on each row by itself for `steps`; returns each row at its best step. A step is one render a row.

    A row whose gradient is not finite stands still for that step.
    """
    now = {name: value.detach().clone().requires_grad_() for name, value in free.items()}
    adam = torch.optim.Adam([{"params": [v], "lr": STEP.get(n, OTHERS)} for n, v in now.items()], betas=(0.9, 0.95))
    fall = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda i: 0.1 + 0.9 * 0.5 * (1.0 + math.cos(math.pi * i / max(1, steps)))
    )
    best = {name: value.detach().clone() for name, value in now.items()}
    least = torch.full((len(next(iter(now.values()))),), torch.inf)
    for _ in range(steps):
        wave = search.render(now)
        spectra = Spectra.of(wave)
        far = spectral_distance(spectra, search.target)
        search.note(now, far)
        better = far.detach() < least
        least = torch.where(better, far.detach(), least)
        best = {name: torch.where(better[:, None], now[name].detach(), best[name]) for name in best}
        loss = far.sum()
        if transport_weight > 0.0:
            loss = loss + transport_weight * transport(spectra, search.target, search.maker.rate).sum()
        if regulariser is not None:
            loss = loss + regulariser_weight * regulariser(wave).sum()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        _tame(list(now.values()))
        adam.step()
        fall.step()
    return best if steps else {name: value.detach() for name, value in now.items()}


def _tame(tensors: Sequence[Tensor]) -> None:
    """Each row's gradient at a norm of 1 at most, 0 where it is not finite; rows never touch each other."""
    grads = [value.grad for value in tensors if value.grad is not None]
    norm = torch.cat(grads, dim=1).norm(dim=1, keepdim=True)
    for grad in grads:
        tamed = grad / norm.clamp_min(1.0)
        grad.copy_(torch.where(torch.isfinite(norm), tamed, torch.zeros_like(tamed)))


def _jumped(
    search: Search, free: dict[str, Tensor], heard: Heard, count: int, keep: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """The best `keep` of these voices and of `count` jumps from them."""
    params = search.params(free)
    values = {n: v.double().numpy() for n, v in search.maker.physical(params).items() if n in free}
    parents = len(next(iter(values.values())))
    rows = [jump({n: v[i % parents] for n, v in values.items()}, heard, rng) for i in range(count)]
    old = search.distances(free)
    if not rows:
        return _top(free, old, keep)
    new = _tensors(rows, search.maker)
    both = {name: torch.cat([free[name], new[name]]) for name in free}
    return _top(both, torch.cat([old, search.distances(new)]), keep)


def _top(free: dict[str, Tensor], distance: Tensor, keep: int) -> dict[str, Tensor]:
    order = torch.argsort(torch.nan_to_num(distance, nan=torch.inf), stable=True)[:keep]
    return {name: value[order] for name, value in free.items()}


def _tensors(rows: list[dict[str, F64]], maker: Fm) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value).float() for name, value in free_rows(rows, maker.bounds).items()}
