"""Log-mel frames for networks, which cannot leave a cell out: what is not believed is filled in.

Mean imputation of missing features (Cooke et al., Speech Communication 34, 2001): a doubted cell takes its band's
believed mean within the context, in part where it is doubted in part. Only doubt relative to the most believed cell
counts, so an even confidence is raw sound.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from detectors.base import Evidence
from detectors.statistics import band_means, weights


class Filled(NamedTuple):
    """log_mel [batch, mel, frame] in dB without holes, and trust [batch, mel, frame] in 0..1, 1 at the most believed.

    trust is None where every cell is believed alike, as in raw sound.
    """

    log_mel: Tensor
    trust: Tensor | None


def filled(evidence: Evidence) -> Filled:
    """The evidence with doubted cells filled in; each row for itself."""
    confidence = evidence.confidence
    if bool((confidence == confidence[:, :1, :1]).all()):
        return Filled(evidence.log_mel, None)
    weight = weights(evidence)
    trust = weight / weight.amax((1, 2), keepdim=True)
    mean = band_means(evidence)[:, :, None]
    return Filled(mean + trust * (evidence.log_mel - mean), trust)
