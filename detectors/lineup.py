"""The detectors by name; which one is the default, which train a network, and which are controls."""

from __future__ import annotations

from detectors.autoencoder import Autoencoder, SelectiveAutoencoder
from detectors.base import Detector
from detectors.controls import Loudness, MeanSpectrum
from detectors.frame_gmm import FrameGmm
from detectors.fusion import Fusion
from detectors.impulses import Impulses
from detectors.kinematics import Kinematics
from detectors.mahalanobis import Mahalanobis
from detectors.neighbours import FloorNeighbours, Neighbours
from detectors.physical import Physical
from detectors.selfsupervised import SelfSupervised
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
    | type[Autoencoder]
    | type[SelectiveAutoencoder]
    | type[SelfSupervised]
    | type[Loudness]
    | type[MeanSpectrum]
)

QUICK: tuple[DetectorType, ...] = (  # fitted in seconds
    Fusion,
    Mahalanobis,
    Neighbours,
    FloorNeighbours,
    FrameGmm,
    Physical,
    Impulses,
    States,
)
NEURAL: tuple[DetectorType, ...] = (Autoencoder, SelfSupervised)  # they train a network, six times with calibration
DETECTORS: tuple[DetectorType, ...] = (*QUICK, *NEURAL)
ON_DEMAND: tuple[DetectorType, ...] = (SelectiveAutoencoder,)  # known by name; no row of every report
CONTROLS: tuple[DetectorType, ...] = (Loudness, MeanSpectrum)
DEFAULT = Fusion.name


def detector_named(name: str) -> DetectorType:
    """The detector or control of that name. Raises ValueError for any other."""
    known = {one.name: one for one in (*DETECTORS, *ON_DEMAND, *CONTROLS)}
    if name not in known:
        raise ValueError(f"detector is {name!r}, allowed is one of {', '.join(known)}")
    return known[name]


def new_detector(name: str = DEFAULT, kinematics: Kinematics | None = None) -> Detector:
    """A detector of that name that has not been fitted; one that can use the machine's kinematics gets them."""
    kind = detector_named(name)
    return kind(kinematics) if kind is Physical else kind()
