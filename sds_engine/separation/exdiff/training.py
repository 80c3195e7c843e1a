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
from sds_engine.separation.exdiff.model import Belief, ExDiffModel, Seen, dot, weights
from sds_engine.separation.grid import FLOOR, power

ALONG = 4  # every fourth example is asked on the way, the others at t = 1
EVEN = 0.3  # share of the loss that counts every cell alike, loud or soft
SURE = 0.02  # share of the likelihood, which teaches the variance
_LEAST_T = 0.02
_FLOOR = 3e-4  # of the mixture's energy: 35 dB below it is good enough


@dataclass(frozen=True)
class Answered:
    """How wrong a batch was answered: squared errors and the truth's power, means over the bins of cells.

    Everything is [batch, frame, cell]; of the first `alone` examples only the mixture was known.
    """

    seen: Seen
    belief: Belief
    truth: Tensor
    error: Tensor
    alone: int


def loss_of(model: ExDiffModel, examples: Heard, generator: torch.Generator) -> Tensor:
    """The mean over a batch of the log of squared error over energy, and of the error in units of the mixture's level.

    The first counts as SI-SDR does (Le Roux et al., ICASSP 2019), the second keeps soft bands in sight.
    """
    answered = answer(model, examples, generator)
    return _wrong(answered) + SURE * _unlikely(answered)


def answer(model: ExDiffModel, examples: Heard, generator: torch.Generator) -> Answered:
    """Ask for every example's target: for most at t = 1, for the last ones at a random place of the bridge."""
    seen = model.see(examples.mixture, examples.asked)
    target = examples.target.transpose(1, 2).contiguous()
    ways = max(1, len(target) // ALONG)
    t = torch.ones(len(target))
    t[-ways:] = _LEAST_T + (1.0 - _LEAST_T) * torch.rand(ways, generator=generator)
    truth, crossed = pooled(power(target)), pooled(dot(target, seen.mixture))  # |S|^2, <X, S>
    known = known_at(target[-ways:], seen.unit[-ways:], t[-ways:], generator)
    with_mixture = pooled(dot(known, seen.mixture[-ways:]))  # <X, D>
    heard = torch.zeros_like(truth)
    heard[-ways:] = with_mixture / seen.power[-ways:].clamp_min(FLOOR)
    belief = model.believe(seen, heard, t)
    a, w = weights(seen, belief, t)
    error = a.square() * seen.power + truth - 2.0 * a * crossed
    a, w = a[-ways:], w[-ways:]
    more = w * (w * pooled(power(known)) + 2.0 * a * with_mixture - 2.0 * pooled(dot(known, target[-ways:])))
    error = torch.cat([error[:-ways], error[-ways:] + more]).clamp_min(0.0)
    return Answered(seen, belief, truth, error, len(target) - ways)


def known_at(target: Tensor, unit: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    """What points of the bridge know of their targets [batch, frame, bin]: D = (1 - t) S + sigma sqrt(t (1 - t)) z.

    z has the power of the unit in its real and its imaginary part, each.
    """
    noise = torch.view_as_complex(torch.randn((*target.shape, 2), generator=generator))
    t = t[:, None, None]
    return (1.0 - t) * target + SIGMA * (t * (1.0 - t)).sqrt() * spread(unit.sqrt()) * noise


def _wrong(answered: Answered) -> Tensor:
    seen, truth, error = answered.seen, answered.truth, answered.error
    width = widths(truth.device)
    floor = _FLOOR * (width * seen.power).sum(dim=(1, 2)) + 1e-9
    loud = torch.log(((width * error).sum(dim=(1, 2)) + floor) / ((width * truth).sum(dim=(1, 2)) + floor))
    unit = seen.unit.clamp_min(1e-9)
    even = (error / unit).mean(dim=(1, 2)) / ((truth / unit).mean(dim=(1, 2)) + 0.01)
    return (loud + EVEN * even).mean()


def _unlikely(answered: Answered) -> Tensor:
    """Minus the likelihood of Gaussian errors where only the mixture was known: teaches the variance alone."""
    first = slice(answered.alone)
    unit = answered.seen.unit[first].clamp_min(1e-9)
    variance = answered.belief.variance[first] / unit + 1e-6
    return (torch.log(variance) + (answered.error[first].detach() / unit) / variance).clamp(-20.0, 20.0).mean()
