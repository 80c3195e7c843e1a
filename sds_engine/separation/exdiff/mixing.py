"""Training examples for Ex-Diff: the extractor's own mixtures, as complex STFTs with the target's.

The same seed and step give the same mixtures to every variant, so that variants are compared on equal food.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds_engine.separation.adapt import SiteParts
from sds_engine.separation.exdiff.model import Asked
from sds_engine.separation.mixing import PAIRINGS, SNR_DB, Mixer, Parts, pairings


@dataclass(frozen=True)
class Heard:
    """STFTs [batch, bin, frame] of mixtures and of their targets, and the queries."""

    mixture: Tensor
    target: Tensor
    asked: Asked


def heard(mixer: Mixer, step: int, size: int) -> Heard:
    """The examples of a step, in fours, as `Mixer.batch` counts them."""
    parts = mixer.parts_of(step, size)
    mixture, target = mixed(parts, SNR_DB)
    return Heard(mixture, target, Asked(parts.query(PAIRINGS), parts.asked.mean(-1).repeat(PAIRINGS, 1)))


def mixed(parts: Parts | SiteParts, snr_db: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """STFTs [batch, bin, frame] of mixtures, each target with PAIRINGS backgrounds, and of their targets."""
    others = pairings(parts.rest, parts.level, snr_db, parts.generator)
    return torch.cat([parts.wanted + other for other in others]), parts.wanted.repeat(PAIRINGS, 1, 1)
