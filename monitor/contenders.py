"""Which detectors an evaluation runs: all, the quick ones, or some by name; the default and the controls always."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detectors.base import Detector
from detectors.lineup import CONTROLS, DEFAULT, DETECTORS, QUICK, DetectorType, detector_named, new_detector
from monitor.errors import WorkFailed

WORDS: Mapping[str, tuple[DetectorType, ...]] = {"all": DETECTORS, "quick": QUICK}


@dataclass(frozen=True, slots=True)
class Contender:
    """A row of the report: its name, detector or control, and what makes a new one (`lineup.new_detector`)."""

    name: str
    kind: str
    asked: str

    def make(self) -> Detector:
        """A detector that has not been fitted."""
        return new_detector(self.asked)


def contenders(asked: str = "all") -> tuple[Contender, ...]:
    """`all`, `quick`, or names with commas between them. Raises WorkFailed, with what is allowed, for others."""
    rows = {DEFAULT: Contender(DEFAULT, "detector", DEFAULT)}
    for word in filter(None, (part.strip() for part in asked.split(","))):
        names = [kind.name for kind in WORDS[word]] if word in WORDS else [word]
        for name in names:
            rows.setdefault(_known(name), Contender(_known(name), "detector", name))
    for control in CONTROLS:
        rows[control.name] = Contender(control.name, "control", control.name)
    return tuple(rows.values())


def _known(name: str) -> str:
    try:
        return detector_named(name.partition(":")[0]).name
    except ValueError as error:
        raise WorkFailed(f"--detectors: {error}; or all, or quick") from error
