"""Several versions of the same sound, scored as one: raw, separated, and what the separation left behind.

A separator can erase a fault, and it can uncover one; nobody knows beforehand. So each path has a detector of its own,
and the statistic is the worst of their z-scores over healthy out-of-fold sound, calibrated as one: a maximum of
calibrated scores would alarm more often than any of them.

The separated path leads. Raw sound and the residual hold the background, and one that training never had moves them by
a few healthy spreads; taken at par they cost half of what separation gained. So they speak from HANDICAP spreads on: a
fault that the separator erased is still found if it is loud, and nothing is lost on development sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from detectors.base import Detector, Evidence
from detectors.calibrate import Calibration, calibrate
from detectors.fusion import part
from detectors.kinematics import Kinematics
from detectors.lineup import detector_named, new_detector
from detectors.statistics import require

PATHS = ("raw", "separated", "residual")
HANDICAP = (5.0, 0.0, 5.0)  # healthy spreads that a path keeps to itself
Paths = Mapping[str, Evidence]


class PathScored(NamedTuple):
    """statistic, score = -log10 p, extrapolated [batch], and the number in PATHS of the path that spoke [batch]."""

    statistic: Tensor
    score: Tensor
    extrapolated: Tensor
    path: Tensor


class Worst:
    """The greatest of the paths' z-scores, less what each keeps to itself."""

    def __init__(self, detectors: Mapping[str, Detector], centre: Tensor, spread: Tensor) -> None:
        self._detectors = detectors
        self._centre, self._spread = centre, spread  # [path]

    @classmethod
    def fit(
        cls, name: str, healthy: Paths, groups: Tensor, kinematics: Kinematics | None = None
    ) -> tuple[Worst, Tensor]:
        """A detector `name` for each path of healthy contexts, and the out-of-fold statistic [batch] of them all.

        Raises ValueError where a path is missing or there are too few recordings.
        """
        missing = [path for path in PATHS if path not in healthy]
        if missing:
            raise ValueError(f"paths {', '.join(missing)} are missing, allowed is all of {', '.join(PATHS)}")
        detectors = {path: new_detector(name, kinematics) for path in PATHS}
        return cls.settled(detectors, torch.stack([detectors[path].cross_fit(healthy[path], groups) for path in PATHS]))

    @classmethod
    def settled(cls, detectors: Mapping[str, Detector], statistics: Tensor) -> tuple[Worst, Tensor]:
        """From fitted detectors by path and their out-of-fold statistics [path, batch], and the joint one [batch]."""
        self = cls(detectors, *_scatter(statistics))
        return self, self.join(statistics)[0]

    def score(self, paths: Paths) -> tuple[Tensor, Tensor]:
        """The statistic [batch], and which path it comes from [batch]."""
        return self.join(torch.stack([self._detectors[path].score(paths[path]) for path in PATHS]))

    def join(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """The same from the paths' own statistics [path, batch]."""
        z = (statistics - self._centre[:, None]) / self._spread[:, None]
        worst = (z - z.new_tensor(HANDICAP)[:, None]).max(0)
        return worst.values, worst.indices

    def state(self) -> Mapping[str, Tensor]:
        """Centre and spread [path], and each path's detector under its name."""
        inner = {f"{path}.{key}": value for path, one in self._detectors.items() for key, value in one.state().items()}
        return {"centre": self._centre, "spread": self._spread, **inner}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], name: str) -> Worst:
        """From its state; raises ValueError where that does not fit together."""
        require(state, centre=(len(PATHS),), spread=(len(PATHS),))
        kind = detector_named(name)
        return cls({path: kind.restore(part(state, path)) for path in PATHS}, state["centre"], state["spread"])


def _scatter(statistics: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and upper spread [path] of healthy statistics [path, batch]: what healthy sound does where faults lie."""
    centre = statistics.quantile(0.5, dim=1)
    upper = (statistics.quantile(0.9, dim=1) - centre) / 1.2816  # the normal law's 90% quantile
    middle = (statistics - centre[:, None]).abs().quantile(0.5, dim=1) * 1.4826
    return centre, torch.maximum(upper, middle).clamp_min(1e-6)


@dataclass(frozen=True)
class PathModel:
    """The worst of the paths with its own calibration, and what separates: tensors that `monitor` makes a stage of."""

    worst: Worst
    calibration: Calibration
    separator: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        name: str,
        healthy: Paths,
        groups: Tensor,
        separator: Mapping[str, Tensor],
        kinematics: Kinematics | None = None,
    ) -> PathModel:
        """Fit and calibrate out of fold on healthy contexts of recordings numbered by groups [batch]."""
        worst, statistic = Worst.fit(name, healthy, groups, kinematics)
        return cls(worst, calibrate(statistic, groups), separator)

    @torch.inference_mode()
    def score(self, paths: Paths) -> PathScored:
        """Score contexts [batch], each row for itself."""
        statistic, path = self.worst.score(paths)
        score, extrapolated = self.calibration(statistic)
        return PathScored(statistic, score, extrapolated, path)

    def state(self) -> Mapping[str, Tensor]:
        """All tensors."""
        parts = {"worst": self.worst.state(), "calibration": self.calibration.state(), "separator": self.separator}
        return {f"{name}.{key}": value for name, state in parts.items() for key, value in state.items()}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], name: str) -> PathModel:
        """From its state and its detector's name; raises ValueError where they do not fit together."""
        return cls(
            Worst.restore(part(state, "worst"), name),
            Calibration.restore(part(state, "calibration")),
            part(state, "separator"),
        )
