"""Attention to short events: the loudest few frames of every band over what surrounds them, beside the bands' levels.

A click of 20 ms every 2 s moves a band's mean over 10 s by a hundredth; it moves the mean of the five frames that stand
out most. What stands out is measured against the half second around it, so slow changes of load do not count, and in
units of what healthy contexts do: a press strikes in every healthy context too, and only what exceeds its own
strikes is odd. Bands are looked at alone, in groups and all together, since an event's energy adds up where it lies.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Evidence
from detectors.folds import groups_of
from detectors.many_folds import out_of_many
from detectors.statistics import require, robust_spread, upper_spread, weights

EVENTS = 5  # frames that stand out most: as many as events of every two seconds in ten
AROUND = 15  # frames; 0.5 s of the front end's
_SHARES = (16, 8, 4, 1)  # of the spectrum in a group: a sixteenth, an eighth ... all; groups overlap by half
_STRONGEST = 3  # features that make the statistic: an event is heard in few groups
_NEPER_PER_DB = math.log(10.0) / 10.0  # of power
_LEAST = 0.1  # dB: a feature steadier than this must not decide by a hair's breadth


class Impulses:
    """Mean of the three largest robust z-scores of events and levels; events count upwards only, levels both ways."""

    name = "impulses"
    context_s = CONTEXT_S

    def __init__(self) -> None:
        self._centre = self._spread = torch.empty(0, dtype=torch.float64)  # [2 * group], events, then levels

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Median and spread of every feature. Raises ValueError for no contexts."""
        if not len(healthy):
            raise ValueError("0 healthy contexts, at least 1 is needed")
        self.learn(features(healthy), groups_of(healthy, groups))
        return self

    def learn(self, values: Tensor, _groups: Tensor, /) -> None:
        """`fit` from features [batch, feature]; the recordings do not matter."""
        self._centre, middle = robust_spread(values, least=_LEAST)
        outer = torch.maximum(upper_spread(values, self._centre), upper_spread(-values, -self._centre))
        self._spread = torch.maximum(middle, outer)  # what a tenth of healthy sound does is not odd

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold statistic [batch] of every healthy context."""
        values, groups = features(healthy), groups_of(healthy, groups)
        self.learn(values, groups)
        return out_of_many(type(self), values, groups)

    def score(self, evidence: Evidence) -> Tensor:
        """The statistic [batch], in healthy spreads."""
        return self.judge(features(evidence))

    def judge(self, values: Tensor) -> Tensor:
        """The statistic [batch] of features [batch, feature]."""
        z = (values - self._centre) / self._spread
        half = z.shape[1] // 2
        z = torch.cat([z[:, :half], z[:, half:].abs()], dim=1)
        return z.topk(min(_STRONGEST, z.shape[1]), dim=1).values.mean(1)

    def state(self) -> Mapping[str, Tensor]:
        """Centre and spread [feature]."""
        return {"centre": self._centre, "spread": self._spread}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        require(state, centre=(None,))
        require(state, spread=(len(state["centre"]),))
        if not bool((state["spread"] > 0).all()):
            raise ValueError("tensor spread holds values that are not above 0")
        self = cls()
        self._centre, self._spread = state["centre"], state["spread"]
        return self


def features(evidence: Evidence) -> Tensor:
    """Events and levels in dB of all groups of bands [batch, 2 * group], float64.

    A cell that is not believed stands at its band's level instead, so it is neither an event nor a hole.
    """
    level = group_levels(_believed(evidence))  # [batch, group, frame]
    frames = level.shape[-1]
    around = min(AROUND, frames - 1 + frames % 2)  # an odd number of frames
    padded = torch.nn.functional.pad(level, (around // 2, around // 2), mode="replicate")
    over = level - torch.nn.functional.avg_pool1d(padded, around, 1)
    events = over.topk(min(EVENTS, frames), dim=-1).values.double().mean(-1)
    return torch.cat([events, level.mean(-1, dtype=torch.float64)], dim=1)


def _believed(evidence: Evidence) -> Tensor:
    """The log-mel frames [batch, mel, frame] with their band's mean in the place of what is not believed."""
    confidence = evidence.confidence
    if bool((confidence == 1.0).all()):
        return evidence.log_mel
    belief = confidence / confidence.amax((1, 2), keepdim=True).clamp_min(1e-6)
    weight = weights(evidence)
    mean = (weight * evidence.log_mel).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True)
    doubted = mean + belief * (evidence.log_mel - mean)
    return torch.where(belief == 1.0, evidence.log_mel, doubted)  # as where all is believed, to the last digit


def group_levels(log_mel: Tensor) -> Tensor:
    """The level in dB of groups of neighbouring bands [batch, group, frame]: their powers added up."""
    power = torch.exp(log_mel * _NEPER_PER_DB)
    return (_groups(log_mel.shape[1]).to(power) @ power).clamp_min(1e-12).log10() * 10.0


@functools.lru_cache(maxsize=4)
def _groups(mels: int) -> Tensor:
    """Which bands are in each group [group, mel], 1 or 0."""
    rows = []
    for share in _SHARES:
        width = max(1, mels // share)
        for start in range(0, mels - width + 1, max(1, width // 2)):
            place = torch.arange(mels)
            rows.append(((place >= start) & (place < start + width)).float())
    return torch.stack(rows)
