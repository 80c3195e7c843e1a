"""The loss of Ex-Diff: the target itself is predicted (data prediction), at the bridge's start and along it.

Predictions are a X + w D with weights of cells, D what a point of the bridge knows (`model.weights`). So the squared
error of a cell is a form of six inner products that need no gradient:
a^2 |X|^2 + w^2 |D|^2 + |S|^2 + 2 a w <X, D> - 2 a <X, S> - 2 w <D, S>.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds_engine.separation.exdiff.bridge import SIGMA
from sds_engine.separation.exdiff.cells import pooled, spread, widths
from sds_engine.separation.exdiff.mixing import Heard
from sds_engine.separation.exdiff.model import Belief, ExDiffModel, Guess, Look, dot, weights
from sds_engine.separation.grid import FLOOR, power
from sds_engine.separation.training import mean_nepers

ALONG = 4  # every fourth example is asked on the way, the others at t = 1
REACHES = (16, 64, None)  # of latents: no moment's alone, which would be leant on where they are known from training
EVEN = 0.3  # share of the loss that counts every cell alike, loud or soft
SURE = 0.02  # share of the likelihood, which teaches the variance
_LEAST_T = 0.02


@dataclass(frozen=True)
class Task:
    """What a batch is asked, the same for every variant: places on the bridge t [batch], and inner products.

    The first `alone` examples are asked at t = 1, where only the mixture is known. All [batch, frame, cell] or, of the
    points D, those of the other examples; means over the bins of cells.
    """

    look: Look
    t: Tensor
    alone: int
    truth: Tensor  # |S|^2
    crossed: Tensor  # <X, S>
    point: Tensor  # |D|^2
    point_mixture: Tensor  # <X, D>
    point_truth: Tensor  # <D, S>
    reach: int | None  # of latents, `Guess.around`

    @classmethod
    def of(cls, examples: Heard, generator: torch.Generator) -> Task:
        """Ask most at t = 1 and the last ones at a random place of the bridge."""
        look = Look.at(examples.mixture, examples.asked)
        target = examples.target.transpose(1, 2).contiguous()
        ways = max(1, len(target) // ALONG)
        t = torch.ones(len(target))
        t[-ways:] = _LEAST_T + (1.0 - _LEAST_T) * torch.rand(ways, generator=generator)
        known = known_at(target[-ways:], look.unit[-ways:], t[-ways:], generator)
        reach = REACHES[int(torch.randint(len(REACHES), (), generator=generator))]
        return cls(
            look=look,
            t=t,
            alone=len(target) - ways,
            truth=pooled(power(target)),
            crossed=pooled(dot(target, look.mixture)),
            point=pooled(power(known)),
            point_mixture=pooled(dot(known, look.mixture[-ways:])),
            point_truth=pooled(dot(known, target[-ways:])),
            reach=reach,
        )


@dataclass(frozen=True)
class Answer:
    """What a model's answers Y are worth [batch, frame, cell]: |Y - S|^2, Re(Y S*) and |Y|^2, and what it believed."""

    error: Tensor
    alike: Tensor
    energy: Tensor
    belief: Belief


def loss_of(model: ExDiffModel, task: Task, guess: Guess | None = None) -> Tensor:
    """Minus the SI-SDR of a batch, the error in units of the mixture's level, and the likelihood of the variance.

    The first is SI-SDR's own form (Le Roux et al., ICASSP 2019) in nepers of power, the second keeps soft bands and the
    scale in sight.
    """
    found = answer(model, task, guess)
    return _even(task, found.error) - _si_sdr(task, found) + SURE * _unlikely(task, found.error, found.belief)


def answer(model: ExDiffModel, task: Task, guess: Guess | None = None) -> Answer:
    """What a model answers to a task, as sums that need no spectra."""
    look, way = task.look, slice(task.alone, None)
    heard = torch.zeros_like(task.truth)
    heard[way] = task.point_mixture / look.power[way].clamp_min(FLOOR)
    belief = model.believe(model.see(look, guess, reach=task.reach), heard, task.t)
    a, w = weights(look, belief, task.t)
    alike, energy = a * task.crossed, a.square() * look.power
    a, w = a[way], w[way]
    alike = torch.cat([alike[: task.alone], alike[way] + w * task.point_truth])
    more = w * (w * task.point + 2.0 * a * task.point_mixture)
    energy = torch.cat([energy[: task.alone], energy[way] + more])
    return Answer((energy - 2.0 * alike + task.truth).clamp_min(0.0), alike, energy, belief)


def known_at(target: Tensor, unit: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    """What points of the bridge know of their targets [batch, frame, bin]: D = (1 - t) S + sigma sqrt(t (1 - t)) z.

    z has the power of the unit in its real and its imaginary part, each.
    """
    noise = torch.view_as_complex(torch.randn((*target.shape, 2), generator=generator))
    t = t[:, None, None]
    return (1.0 - t) * target + SIGMA * (t * (1.0 - t)).sqrt() * spread(unit.sqrt()) * noise


def _si_sdr(task: Task, found: Answer) -> Tensor:
    """log(rho^2 / (1 - rho^2)), rho^2 = <Y, S>^2 / (|Y|^2 |S|^2), the mean over examples that hold their target."""
    width = widths(task.truth.device)
    alike, energy, whole, mixture = (
        (width * one).sum(dim=(1, 2)) for one in (found.alike, found.energy, task.truth, task.look.power)
    )
    return mean_nepers(alike, energy, whole, mixture)


def _even(task: Task, error: Tensor) -> Tensor:
    unit = task.look.unit.clamp_min(1e-9)
    even = (error / unit).mean(dim=(1, 2)) / ((task.truth / unit).mean(dim=(1, 2)) + 0.01)
    return EVEN * even.mean()


def _unlikely(task: Task, error: Tensor, belief: Belief) -> Tensor:
    """Minus the likelihood of Gaussian errors where only the mixture was known: teaches the variance alone."""
    first = slice(task.alone)
    unit = task.look.unit[first].clamp_min(1e-9)
    variance = belief.variance[first] / unit + 1e-6
    return (torch.log(variance) + (error[first].detach() / unit) / variance).clamp(-20.0, 20.0).mean()
