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

ALONG = 4  # every fourth example is asked on the way, the others at t = 1
EVEN = 0.3  # share of the loss that counts every cell alike, loud or soft
SURE = 0.02  # share of the likelihood, which teaches the variance
_LEAST_T = 0.02
_FLOOR = 3e-4  # of the mixture's energy: 35 dB below it is good enough


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

    @classmethod
    def of(cls, examples: Heard, generator: torch.Generator) -> Task:
        """Ask most at t = 1 and the last ones at a random place of the bridge."""
        look = Look.at(examples.mixture, examples.asked)
        target = examples.target.transpose(1, 2).contiguous()
        ways = max(1, len(target) // ALONG)
        t = torch.ones(len(target))
        t[-ways:] = _LEAST_T + (1.0 - _LEAST_T) * torch.rand(ways, generator=generator)
        known = known_at(target[-ways:], look.unit[-ways:], t[-ways:], generator)
        return cls(
            look=look,
            t=t,
            alone=len(target) - ways,
            truth=pooled(power(target)),
            crossed=pooled(dot(target, look.mixture)),
            point=pooled(power(known)),
            point_mixture=pooled(dot(known, look.mixture[-ways:])),
            point_truth=pooled(dot(known, target[-ways:])),
        )


def loss_of(model: ExDiffModel, task: Task, guess: Guess | None = None) -> Tensor:
    """The mean over a batch of the log of squared error over energy, and of the error in units of the mixture's level.

    The first counts as SI-SDR does (Le Roux et al., ICASSP 2019), the second keeps soft bands in sight.
    """
    error, belief = answer(model, task, guess)
    return _wrong(task, error) + SURE * _unlikely(task, error, belief)


def answer(model: ExDiffModel, task: Task, guess: Guess | None = None) -> tuple[Tensor, Belief]:
    """The squared errors of a model's answers [batch, frame, cell], and what it believed."""
    look, way = task.look, slice(task.alone, None)
    heard = torch.zeros_like(task.truth)
    heard[way] = task.point_mixture / look.power[way].clamp_min(FLOOR)
    belief = model.believe(model.see(look, guess), heard, task.t)
    a, w = weights(look, belief, task.t)
    error = a.square() * look.power + task.truth - 2.0 * a * task.crossed
    a, w = a[way], w[way]
    more = w * (w * task.point + 2.0 * a * task.point_mixture - 2.0 * task.point_truth)
    return torch.cat([error[: task.alone], error[way] + more]).clamp_min(0.0), belief


def known_at(target: Tensor, unit: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    """What points of the bridge know of their targets [batch, frame, bin]: D = (1 - t) S + sigma sqrt(t (1 - t)) z.

    z has the power of the unit in its real and its imaginary part, each.
    """
    noise = torch.view_as_complex(torch.randn((*target.shape, 2), generator=generator))
    t = t[:, None, None]
    return (1.0 - t) * target + SIGMA * (t * (1.0 - t)).sqrt() * spread(unit.sqrt()) * noise


def _wrong(task: Task, error: Tensor) -> Tensor:
    look, truth = task.look, task.truth
    width = widths(truth.device)
    floor = _FLOOR * (width * look.power).sum(dim=(1, 2)) + 1e-9
    loud = torch.log(((width * error).sum(dim=(1, 2)) + floor) / ((width * truth).sum(dim=(1, 2)) + floor))
    unit = look.unit.clamp_min(1e-9)
    even = (error / unit).mean(dim=(1, 2)) / ((truth / unit).mean(dim=(1, 2)) + 0.01)
    return (loud + EVEN * even).mean()


def _unlikely(task: Task, error: Tensor, belief: Belief) -> Tensor:
    """Minus the likelihood of Gaussian errors where only the mixture was known: teaches the variance alone."""
    first = slice(task.alone)
    unit = task.look.unit[first].clamp_min(1e-9)
    variance = belief.variance[first] / unit + 1e-6
    return (torch.log(variance) + (error[first].detach() / unit) / variance).clamp(-20.0, 20.0).mean()
