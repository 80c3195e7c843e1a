"""The loop: a batch of makers, one batch through the prior, Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from sds_engine.priors.denoiser import Prior
from sds_engine.sds.loss import Ask, sds_loss
from sds_engine.sds.noise import NoiseSource
from sds_engine.sds.settings import SdsSettings

MEMORY = 0.9  # of the running residual, by which "best" goes where no judge is given
Tensors = Mapping[str, Tensor]


class Params(Protocol):
    """What a maker renders: free tensors `[batch, ...]`, unbounded and of about 1, and whatever else it holds."""

    @property
    def free(self) -> Tensors:
        """What is optimised, by name."""
        ...

    def with_free(self, free: Tensors) -> Self:
        """The same with other free values."""
        ...


P = TypeVar("P", bound=Params)
P_contra = TypeVar("P_contra", bound=Params, contravariant=True)


class Maker(Protocol[P_contra]):
    """Makes sound from parameters, such as those of `sds_engine.makers`."""

    def render(self, params: P_contra, /) -> Tensor:
        """Waves `[batch, time]`, differentiable; item i depends on row i of the parameters alone."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome(Generic[P]):
    """What came of it. params: after the last iteration. best: of each item, at its best iteration. Detached.

    best_score `[batch]` (higher is better) and best_iteration `[batch]`. loss and residual `[iteration, batch]`.
    skipped `[batch]`: iterations whose gradient was not finite and moved nothing.
    """

    params: P
    best: P
    best_score: Tensor
    best_iteration: Tensor
    loss: Tensor
    residual: Tensor
    skipped: Tensor


def optimise(
    maker: Maker[P],
    start: P,
    prior: Prior,
    ask: Ask,
    settings: SdsSettings,
    noise: NoiseSource,
    *,
    also: Callable[[Tensor, P], Tensor] | None = None,
    judge: Callable[[Tensor], Tensor] | None = None,
    judge_every: int = 10,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Outcome[P]:
    """Teach every maker of the batch its prompt, from `start`, which stays as it is.

    also(wave, params) -> `[batch]`: another loss, to which SDS is added with weight `settings.gamma`. judge(wave) ->
    `[batch]`, higher is better, says which iteration was best (asked every `judge_every` iterations and at the end; see
    `settings.enough`); without one, the lowest running residual does. watch(iteration, wave) is called after each
    rendering, for a progress bar. Items do not touch each other: Adam works by element, noise by item.
    """
    free = {name: value.detach().clone().requires_grad_() for name, value in start.free.items()}
    params = start.with_free(free)
    adam = torch.optim.Adam(list(free.values()), lr=settings.learning_rate)
    record = _Record(free, judge, judge_every, settings.enough)
    losses, residuals = [], []
    for iteration in range(settings.iterations):
        progress = iteration / settings.iterations
        wave = maker.render(params)
        sds = sds_loss(prior, wave, ask, settings, noise, progress)
        loss = settings.gamma * sds.loss
        if also is not None:
            loss = loss + also(wave, params)
        record.note(iteration, wave, sds.residual)
        record.skipped += set_gradients(free, loss)
        set_rate(adam, settings, progress)
        adam.step()
        losses.append(loss.detach())
        residuals.append(sds.residual)
        if watch is not None:
            watch(iteration, wave.detach())
    with torch.no_grad():
        record.finish(settings.iterations, maker.render(params))
    return Outcome(
        params=start.with_free({name: value.detach() for name, value in free.items()}),
        best=start.with_free(record.best),
        best_score=record.score,
        best_iteration=record.iteration,
        loss=torch.stack(losses),
        residual=torch.stack(residuals),
        skipped=record.skipped,
    )


def set_rate(adam: torch.optim.Optimizer, settings: SdsSettings, progress: float) -> None:
    """The learning rate at progress 0..1: a half cosine from the whole to `final_rate` of it."""
    share = settings.final_rate + (1.0 - settings.final_rate) * 0.5 * (1.0 + math.cos(math.pi * progress))
    for group in adam.param_groups:
        group["lr"] = settings.learning_rate * share


def set_gradients(free: Tensors, loss: Tensor) -> Tensor:
    """Set `.grad` of parameters `[batch, ...]` from losses `[batch]`; items that are not finite get zeros.

    Returns which those were `[batch]`, 0 or 1. Nothing but the parameters gets a gradient, whatever else could.
    """
    values = list(free.values())
    gradients = torch.autograd.grad(loss.sum(), values, allow_unused=True, materialize_grads=True)
    finite = torch.isfinite(loss)
    for gradient in gradients:
        finite = finite & torch.isfinite(gradient).flatten(1).all(dim=1)
    for value, gradient in zip(values, gradients, strict=True):
        value.grad = torch.where(_rows(finite, gradient), gradient, torch.zeros_like(gradient))
    return (~finite).long()


class _Record:
    """The best parameters of each item so far."""

    def __init__(self, free: Tensors, judge: Callable[[Tensor], Tensor] | None, every: int, enough: float) -> None:
        self.best = {name: value.detach().clone() for name, value in free.items()}
        self._free, self._judge, self._every, self._enough = free, judge, every, enough
        first = next(iter(free.values()))
        batch, device = first.shape[0], first.device
        self.score = torch.full((batch,), -math.inf, device=device)
        self.iteration = torch.zeros(batch, dtype=torch.long, device=device)
        self.skipped = torch.zeros(batch, dtype=torch.long, device=device)
        self._running = torch.zeros(batch, device=device)

    def note(self, iteration: int, wave: Tensor, residual: Tensor) -> None:
        if self._judge is None:
            self._running = MEMORY * self._running + (1.0 - MEMORY) * residual
            self._take(iteration, -self._running / (1.0 - MEMORY ** (iteration + 1)))
        elif iteration % self._every == 0:
            self._take(iteration, self._judge(wave.detach()), self._enough)

    def finish(self, iteration: int, wave: Tensor) -> None:
        if self._judge is not None:
            self._take(iteration, self._judge(wave), self._enough)

    def _take(self, iteration: int, score: Tensor, enough: float = math.inf) -> None:
        better = (score > self.score) | (score >= enough)
        self.score = torch.where(better, score.to(self.score), self.score)
        self.iteration = torch.where(better, torch.full_like(self.iteration, iteration), self.iteration)
        for name, value in self._free.items():
            self.best[name] = torch.where(_rows(better, value), value.detach(), self.best[name])


def _rows(chosen: Tensor, value: Tensor) -> Tensor:
    """`[batch]` as `[batch, 1, ...]`, as many dimensions as the value."""
    return chosen.reshape(-1, *([1] * (value.dim() - 1)))
