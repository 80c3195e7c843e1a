"""The detectors by name; which one is the default, which train a network, and which are controls."""

from __future__ import annotations

from detectors.autoencoder import Autoencoder, SelectiveAutoencoder
from detectors.base import Detector
from detectors.controls import Loudness, MeanSpectrum
from detectors.embedding import Embedding
from detectors.exposure import ExposedFusion, ExposedQuickFusion
from detectors.frame_gmm import FrameGmm
from detectors.fusion import QUICK_MEMBERS, SENTINELS, Fusion, QuickFusion
from detectors.impulses import Impulses
from detectors.kinematics import Kinematics
from detectors.mahalanobis import Mahalanobis, QuietMahalanobis
from detectors.neighbours import FloorNeighbours, Neighbours, QuietNeighbours
from detectors.physical import Physical
from detectors.selfsupervised import SelfSupervised
from detectors.states import States

DetectorType = (
    type[Fusion]
    | type[Mahalanobis]
    | type[Neighbours]
    | type[FloorNeighbours]
    | type[QuietMahalanobis]
    | type[QuietNeighbours]
    | type[FrameGmm]
    | type[Physical]
    | type[Impulses]
    | type[States]
    | type[Autoencoder]
    | type[SelectiveAutoencoder]
    | type[SelfSupervised]
    | type[ExposedFusion]
    | type[ExposedQuickFusion]
    | type[Embedding]
    | type[Loudness]
    | type[MeanSpectrum]
)

QUICK: tuple[DetectorType, ...] = (QuickFusion, *QUICK_MEMBERS, *SENTINELS, States)  # fitted in seconds
NEURAL: tuple[DetectorType, ...] = (Autoencoder, SelfSupervised)  # they train a network, six times with calibration
DETECTORS: tuple[DetectorType, ...] = (Fusion, *QUICK, *NEURAL)  # the default holds a network too
ON_DEMAND: tuple[DetectorType, ...] = (SelectiveAutoencoder,)  # known by name; no row of every report
EXPOSED: tuple[DetectorType, ...] = (ExposedFusion, ExposedQuickFusion)  # their base, where no faults are handed over
BROUGHT: tuple[DetectorType, ...] = (Embedding,)  # need a file that a user brings: embedding:NAME.safetensors
CONTROLS: tuple[DetectorType, ...] = (Loudness, MeanSpectrum)
DEFAULT = Fusion.name


def detector_named(name: str) -> DetectorType:
    """The detector or control of that name. Raises ValueError for any other."""
    known = {one.name: one for one in (*DETECTORS, *ON_DEMAND, *EXPOSED, *BROUGHT, *CONTROLS)}
    if name not in known:
        raise ValueError(f"detector is {name!r}, allowed is one of {', '.join(known)}")
    return known[name]


def new_detector(name: str = DEFAULT, kinematics: Kinematics | None = None) -> Detector:
    """A detector of that name that has not been fitted; one that can use the machine's kinematics gets them.

    `embedding:NAME.safetensors` brings its network with it. Raises ValueError for other names, and for a bad network.
    """
    name, colon, path = name.partition(":")
    kind = detector_named(name)
    if kind is Embedding:
        if not path:
            raise ValueError("detector embedding needs a network: name it as embedding:NAME.safetensors")
        return kind.open(path)
    if colon:
        raise ValueError(f"detector {name} takes no file, {path!r} was given")
    return kind(kinematics) if kind in {Physical, Fusion, QuickFusion, ExposedFusion, ExposedQuickFusion} else kind()
