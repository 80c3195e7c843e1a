"""Raw statistics to honest scores: -log10 of a conformal p-value, with n counted in recordings.

p = (1 + healthy at least as odd) / (n + 1) (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World",
2005). The windows of one recording resemble each other, so they weigh as one together: the count is the sum over
recordings of the share of their windows that are at least as odd. n recordings cannot count below 1 / (n + 1).
What lies beyond every healthy statistic is extrapolated, and says so, by the tail of the upper healthy ones:

- a generalised Pareto tail (Pickands, Annals of Statistics 3, 1975), by probability-weighted moments (Hosking and
  Wallis, Technometrics 29, 1987), where at least 30 recordings reach into the tail; its shape is kept within 0 .. 0.5,
  for a shape below 0 would claim that worse is impossible;
- else the predictive tail of an exponential law whose scale k recordings guess: (1 + y / (k m))^-k with their mean m.
  It is a generalised Pareto tail of shape 1 / k: the fewer recordings, the more cautious.

Where the kinds of surroundings are known that healthy sound was heard in (`detectors.surroundings`), part of the weight
goes to what kinds may do that were rare or not there: later sound may be another mix.

The tail continues at 1 / (n + 1) from the oddest healthy statistic: no jump up, and never less odd further out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from detectors.statistics import require
from detectors.surroundings import Doubted, doubted

TAIL_SHARE = 0.2  # of the healthy weight lies above the tail's threshold
ENOUGH = 30  # recordings in the tail that a shape can be fitted from


class Score(NamedTuple):
    """score [batch] = -log10 p, and whether it lies beyond what the healthy recordings can count [batch]."""

    score: Tensor
    extrapolated: Tensor


@dataclass(frozen=True, slots=True)
class Calibration:
    """The healthy statistics in order, with weights, and the tail above `threshold`.

    healthy [value] ascending; at_least [value]: the summed weight of this healthy value and all above, in recordings.
    """

    healthy: Tensor
    at_least: Tensor
    recordings: int
    threshold: float
    scale: float
    shape: float

    def __call__(self, statistic: Tensor) -> Score:
        """Scores of statistics [batch], each for itself. NaN stays NaN."""
        statistic = statistic.double()
        place = torch.searchsorted(self.healthy, statistic, side="left")
        count = torch.cat([self.at_least, self.at_least.new_zeros(1)])[place]
        counted = torch.log10((self.recordings + 1.0) / (1.0 + count))  # 0 at p = 1, not -0
        beyond = statistic > self.healthy[-1]
        top = self._log_tail(self.healthy[-1:])
        tail = (top - self._log_tail(statistic.maximum(self.healthy[-1]))) / math.log(10.0)
        score = torch.where(beyond, counted + tail, counted)
        return Score(torch.where(statistic.isnan(), statistic, score), beyond)

    def _log_tail(self, statistic: Tensor) -> Tensor:
        """Logarithm of the share of the tail that lies above [batch]."""
        excess = (statistic - self.threshold).clamp_min(0.0) / self.scale
        if self.shape < 1e-9:
            return -excess
        return -torch.log1p(self.shape * excess) / self.shape

    @property
    def floor(self) -> float:
        """The smallest p-value that the healthy recordings can count."""
        return 1.0 / (self.recordings + 1)

    def supports(self, alpha: float) -> bool:
        """Whether a false-alarm rate of `alpha` can be counted rather than extrapolated."""
        return self.floor <= alpha

    def state(self) -> Mapping[str, Tensor]:
        """As tensors: healthy, at_least [value], numbers [4] (recordings, threshold, scale, shape)."""
        numbers = torch.tensor([self.recordings, self.threshold, self.scale, self.shape], dtype=torch.float64)
        return {"healthy": self.healthy, "at_least": self.at_least, "numbers": numbers}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Calibration:
        """From its state; raises ValueError where that does not fit together."""
        require(state, healthy=(None,), numbers=(4,))
        require(state, at_least=(len(state["healthy"]),))
        recordings, threshold, scale, shape = state["numbers"].tolist()
        if recordings < 1 or scale <= 0 or shape < 0 or bool((state["healthy"].diff() < 0).any()):
            raise ValueError("tensors healthy and numbers are no calibration")
        return cls(state["healthy"], state["at_least"], int(recordings), threshold, scale, shape)


def calibrate(statistic: Tensor, groups: Tensor, kinds: Tensor | None = None) -> Calibration:
    """The calibration from out-of-fold healthy statistics [value] of recordings numbered by groups [value].

    kinds [value] numbers the surroundings that each was heard in; None: all alike.

    Raises ValueError for none, or for values that are not finite.
    """
    if len(statistic) == 0 or statistic.shape != groups.shape or not bool(torch.isfinite(statistic).all()):
        raise ValueError(f"{len(statistic)} healthy statistics: give at least one, all finite, each with its recording")
    _, number, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    weight = (1.0 / sizes.double())[number]
    given = Doubted(statistic.double(), weight, torch.arange(len(weight), device=weight.device))
    if kinds is not None:
        given = doubted(given.statistic, weight, kinds)
    healthy, order = given.statistic.sort()
    weight, number = given.weight[order], number[given.place[order]]
    at_least = weight.flip(0).cumsum(0).flip(0)
    recordings = len(sizes)
    above = at_least > TAIL_SHARE * recordings
    threshold = float(healthy[above][-1]) if bool(above.any()) else float(healthy[0])
    tail = healthy > threshold
    reach = torch.unique(number[tail & (order < len(statistic))])  # recordings that reach there without a doubt
    scale, shape = _fit_tail(healthy[tail] - threshold, weight[tail], len(reach))
    if not math.isfinite(scale) or scale <= 0.0:
        spread = float(healthy[-1] - healthy[0])
        scale = spread if spread > 0 else max(1e-6, 1e-3 * abs(float(healthy[-1])))
    return Calibration(healthy, at_least, recordings, threshold, scale, shape)


def _fit_tail(excess: Tensor, weight: Tensor, recordings: int) -> tuple[float, float]:
    """Scale and shape of the tail [value]; the weights say how much each value counts."""
    if recordings == 0:
        return math.nan, 1.0
    weight = weight / weight.sum()
    first = float((weight * excess).sum())  # E[y]
    if recordings < ENOUGH:
        return first, 1.0 / recordings
    rank = weight.flip(0).cumsum(0).flip(0) - 0.5 * weight  # 1 - F at each value, ascending
    second = float((weight * rank * excess).sum())  # E[y (1 - F(y))]
    shape = 2.0 - first / (first - 2.0 * second) if first > 2.0 * second else 0.5
    shape = min(max(shape, 0.0), 0.5)
    return first * (1.0 - shape), shape
