"""Several versions of the same sound, scored as one: raw, separated, and what the separation left behind.

A separator can erase a fault, and it can uncover one; nobody knows beforehand. So each path has a detector of its own,
and the statistic joins their z-scores over healthy out-of-fold sound, calibrated as one: a maximum of calibrated scores
would alarm more often than any of them.

Raw sound counts by the share of its power that is the machine's (at most MOST), separated sound by the rest: in a noisy
hall, where raw sound is mostly background, the separated path speaks nearly alone, since a new background moves raw
sound by a few healthy spreads; in a quiet hall raw sound hears faults that a mask takes for background. Each is tamed
by asinh, as in `detectors.fusion`. What raw or residual sound has beyond LOUD spreads is heard whatever the shares: a
fault that the separator erased is found if it is loud.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from detectors.base import Detector, Evidence
from detectors.calibrate import Calibration, calibrate
from detectors.fusion import Fusion, part
from detectors.kinematics import Kinematics
from detectors.lineup import detector_named, new_detector
from detectors.statistics import require

PATHS = ("raw", "separated", "residual")
LOUD = 5.0  # healthy spreads that raw and residual sound keep to themselves
MOST = 0.7  # of the weight is raw sound's
Paths = Mapping[str, Evidence]


class PathScored(NamedTuple):
    """statistic, score = -log10 p, extrapolated [batch], and the number in PATHS of the path that spoke [batch]."""

    statistic: Tensor
    score: Tensor
    extrapolated: Tensor
    path: Tensor


class Worst:
    """Raw and separated sound by their shares, or what is loud on raw sound or the residual, whichever is worse."""

    def __init__(self, detectors: Mapping[str, Detector], centre: Tensor, spread: Tensor, raw_weight: Tensor) -> None:
        self._detectors = detectors
        self._centre, self._spread = centre, spread  # [path]
        self._raw_weight = raw_weight  # [1]

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
        detectors = {path: path_detector(name, path, kinematics) for path in PATHS}
        statistics = torch.stack([detectors[path].cross_fit(healthy[path], groups) for path in PATHS])
        return cls.settled(detectors, statistics, machine_share(healthy))

    @classmethod
    def settled(cls, detectors: Mapping[str, Detector], statistics: Tensor, share: float) -> tuple[Worst, Tensor]:
        """From fitted detectors by path and their out-of-fold statistics [path, batch], and the joint one [batch].

        share: how much of raw sound's power is the machine's, in 0..1 (`machine_share`).
        """
        weight = torch.tensor([min(share, MOST)], dtype=torch.float64)
        self = cls(detectors, *_scatter(statistics), weight)
        return self, self.join(statistics)[0]

    def score(self, paths: Paths) -> tuple[Tensor, Tensor]:
        """The statistic [batch], and which path it comes from [batch]."""
        return self.join(torch.stack([self._detectors[path].score(paths[path]) for path in PATHS]))

    def join(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """The same from the paths' own statistics [path, batch]."""
        tamed = ((statistics - self._centre[:, None]) / self._spread[:, None]).asinh()
        shares = torch.stack([self._raw_weight * tamed[0], (1.0 - self._raw_weight) * tamed[1]])  # [2, batch]
        loud = tamed - math.asinh(LOUD)
        worst = torch.stack([loud[0], shares.sum(0), loud[2]]).max(0)
        return worst.values, torch.where(worst.indices == 1, shares.argmax(0), worst.indices)

    def state(self) -> Mapping[str, Tensor]:
        """Centre and spread [path], and each path's detector under its name."""
        inner = {f"{path}.{key}": value for path, one in self._detectors.items() for key, value in one.state().items()}
        return {"centre": self._centre, "spread": self._spread, "raw_weight": self._raw_weight, **inner}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], name: str) -> Worst:
        """From its state; raises ValueError where that does not fit together."""
        require(state, centre=(len(PATHS),), spread=(len(PATHS),), raw_weight=(1,))
        detectors = {path: detector_named(name).restore(part(state, path)) for path in PATHS}
        return cls(detectors, state["centre"], state["spread"], state["raw_weight"])


def path_detector(name: str, path: str, kinematics: Kinematics | None = None) -> Detector:
    """A detector of that name for one of PATHS, not fitted: a fusion has other members behind a separator."""
    detector = new_detector(name, kinematics)
    return detector if path == "raw" else behind_separator(detector)


def behind_separator(detector: Detector) -> Detector:
    """A detector that is not fitted yet, for separated sound (`Fusion.behind_separator`); most are the same there."""
    return detector.behind_separator() if isinstance(detector, Fusion) else detector


def machine_share(healthy: Paths) -> float:
    """How much of the power of raw sound is the machine's in a usual healthy context (median), in 0..1."""
    raw, own = (10.0 ** (healthy[path].level_dbfs.double() / 10.0) for path in ("raw", "separated"))
    return float((own.sum(1) / raw.sum(1)).quantile(0.5))


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
        """Fit and calibrate out of fold on healthy contexts of recordings numbered by groups [batch].

        Surroundings are not doubted here as those of raw sound alone are (`surroundings.doubted`): separation takes
        them away, and joined paths keep their nominal rate without (docs/separation.md).
        """
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
