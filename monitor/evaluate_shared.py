"""What the rows of a report share: the members of a fusion are rows of their own, fitted and scored once for both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from detectors.base import Detector, Evidence
from detectors.fusion import MEMBERS, SENTINELS, Fusion
from detectors.kinematics import Kinematics
from detectors.surroundings import kinds_of

_PARTS = frozenset((*MEMBERS, *SENTINELS))  # made without settings other than the kinematics, so alike in all rows


@dataclass(frozen=True, slots=True)
class Fitted:
    """Out-of-fold statistics of the healthy contexts [batch], and those of every test batch; seconds for both.

    The seconds are those that the detector takes alone, also where a part of it was there already.
    """

    healthy: Tensor
    scores: tuple[Tensor, ...]
    train_s: float
    score_s: float


class Shared:
    """Fits detectors on one machine's healthy contexts and scores its test batches, each part of a fusion once."""

    def __init__(self, healthy: Evidence, groups: Tensor, tests: Sequence[Evidence]) -> None:
        self._healthy, self._groups, self._tests = healthy, groups, tests
        self._known: dict[tuple[type, Kinematics | None], Fitted] = {}

    @cached_property
    def kinds(self) -> Tensor:
        """The kinds of surroundings [batch] of the healthy contexts."""
        return kinds_of(self._healthy)

    def __call__(self, detector: Detector) -> Fitted:
        """What an unfitted detector makes of the machine; as if it had been fitted for itself alone."""
        if isinstance(detector, Fusion):
            return self._joined(detector)
        if type(detector) not in _PARTS:
            return self.fitted(detector)
        key = (type(detector), getattr(detector, "kinematics", None))
        if key not in self._known:
            self._known[key] = self.fitted(detector)
        return self._known[key]

    def _joined(self, fusion: Fusion) -> Fitted:
        found = [self(part) for part in fusion.new_parts()]
        started = time.perf_counter()
        healthy = fusion.settle(torch.stack([one.healthy for one in found]), self.kinds)
        scores = tuple(fusion.join(torch.stack(batch)) for batch in zip(*(one.scores for one in found), strict=True))
        own_s = time.perf_counter() - started
        return Fitted(healthy, scores, sum(one.train_s for one in found) + own_s, sum(one.score_s for one in found))

    def fitted(self, detector: Detector) -> Fitted:
        """The same, whatever was fitted before."""
        started = time.perf_counter()
        healthy = detector.cross_fit(self._healthy, self._groups)
        train_s = time.perf_counter() - started
        started = time.perf_counter()
        scores = tuple(detector.score(evidence) for evidence in self._tests)
        return Fitted(healthy, scores, train_s, time.perf_counter() - started)
