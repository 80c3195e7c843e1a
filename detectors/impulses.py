"""Attention to short events: the loudest few frames of every band over what surrounds them, beside the bands' levels.

A click of 20 ms every 2 s moves a band's mean over 10 s by a hundredth; it moves the mean of the five frames that stand
out most. What stands out is measured against the half second around it, so slow changes of load do not count, and in
units of what healthy contexts do: a press strikes in every healthy context too, and only what exceeds its own
strikes is odd. Bands are looked at alone, in groups and all together, since an event's energy adds up where it lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Evidence
from detectors.folds import groups_of, out_of_fold
from detectors.statistics import require, robust_spread, upper_spread, weights

EVENTS = 5  # frames that stand out most: as many as events of every two seconds in ten
AROUND = 15  # frames; 0.5 s of the front end's
_SHARES = (16, 8, 4, 1)  # of the spectrum in a group: a sixteenth, an eighth ... all; groups overlap by half
_STRONGEST = 3  # features that make the statistic: an event is heard in few groups
_LEAST = 0.1  # dB: a feature steadier than this must not decide by a hair's breadth


class Impulses:
    """Mean of the three largest robust z-scores of events and levels; events count upwards only, levels both ways."""

    name = "impulses"
    context_s = CONTEXT_S

    def __init__(self) -> None:
        self._centre = self._spread = torch.empty(0, dtype=torch.float64)  # [2 * group], events, then levels

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Median and spread of every feature. Raises ValueError for no contexts."""
        groups_of(healthy, groups)
        if not len(healthy):
            raise ValueError("0 healthy contexts, at least 1 is needed")
        values = features(healthy)
        self._centre, middle = robust_spread(values, least=_LEAST)
        outer = torch.maximum(upper_spread(values, self._centre), upper_spread(-values, -self._centre))
        self._spread = torch.maximum(middle, outer)  # what a tenth of healthy sound does is not odd
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold statistic [batch] of every healthy context."""
        statistic = out_of_fold(type(self), healthy, groups)
        self.fit(healthy, groups)
        return statistic

    def score(self, evidence: Evidence) -> Tensor:
        """The statistic [batch], in healthy spreads."""
        z = (features(evidence) - self._centre) / self._spread
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
    belief = evidence.confidence / evidence.confidence.amax((1, 2), keepdim=True).clamp_min(1e-6)
    weight = weights(evidence)
    mean = (weight * evidence.log_mel).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True)
    level = group_levels(mean + belief * (evidence.log_mel - mean))  # [batch, group, frame]
    frames = level.shape[-1]
    around = min(AROUND, frames - 1 + frames % 2)  # an odd number of frames
    padded = torch.nn.functional.pad(level, (around // 2, around // 2), mode="replicate")
    total = torch.nn.functional.pad(padded.double().cumsum(-1), (1, 0))
    over = level - (total[..., around:] - total[..., :-around]) / around
    events = over.topk(min(EVENTS, frames), dim=-1).values.mean(-1)
    return torch.cat([events, level.double().mean(-1)], dim=1)


def group_levels(log_mel: Tensor) -> Tensor:
    """The level in dB of groups of neighbouring bands [batch, group, frame], float64: their powers added up."""
    mels = log_mel.shape[1]
    power = torch.nn.functional.pad(
        (10.0 ** (log_mel.double() / 10.0)).cumsum(1), (0, 0, 1, 0)
    )  # [batch, mel + 1, frame]
    first, last = [], []
    for share in _SHARES:
        width = max(1, mels // share)
        starts = range(0, mels - width + 1, max(1, width // 2))
        first += list(starts)
        last += [start + width for start in starts]
    return 10.0 * (power[:, last] - power[:, first]).clamp_min(1e-12).log10()
