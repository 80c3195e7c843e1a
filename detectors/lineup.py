"""The detectors by name; which one is the default, and which are controls."""

from __future__ import annotations

from detectors.base import Detector
from detectors.controls import Loudness, MeanSpectrum
from detectors.frame_gmm import FrameGmm
from detectors.fusion import Fusion
from detectors.impulses import Impulses
from detectors.kinematics import Kinematics
from detectors.mahalanobis import Mahalanobis
from detectors.neighbours import FloorNeighbours, Neighbours
from detectors.physical import Physical
from detectors.states import States

DetectorType = (
    type[Fusion]
    | type[Mahalanobis]
    | type[Neighbours]
    | type[FloorNeighbours]
    | type[FrameGmm]
    | type[Physical]
    | type[Impulses]
    | type[States]
    | type[Loudness]
    | type[MeanSpectrum]
)

DETECTORS: tuple[DetectorType, ...] = (
    Fusion,
    Mahalanobis,
    Neighbours,
    FloorNeighbours,
    FrameGmm,
    Physical,
    Impulses,
    States,
)
CONTROLS: tuple[DetectorType, ...] = (Loudness, MeanSpectrum)
DEFAULT = Fusion.name


def detector_named(name: str) -> DetectorType:
    """The detector or control of that name. Raises ValueError for any other."""
    known = {one.name: one for one in (*DETECTORS, *CONTROLS)}
    if name not in known:
        raise ValueError(f"detector is {name!r}, allowed is one of {', '.join(known)}")
    return known[name]


def new_detector(name: str = DEFAULT, kinematics: Kinematics | None = None) -> Detector:
    """A detector of that name that has not been fitted; one that can use the machine's kinematics gets them."""
    kind = detector_named(name)
    return kind(kinematics) if kind is Physical else kind()
