"""Nearest healthy neighbour among embeddings, in units of how close healthy ones lie together there.

Local density normalisation: Wilkinghoff et al., "Keeping the Balance: Anomaly Score Calculation
for Domain Generalization" (ICASSP 2025). A kind of sound that healthy training rarely had lies alone, and what is like
it would look odd for that alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.statistics import require

NEIGHBOURS = 5  # of other recordings, whose mean distance is the radius around a healthy context
_LEAST_RADIUS = 1e-3  # identical recordings would have a radius of 0


@dataclass(frozen=True, slots=True)
class Nearest:
    """Healthy embeddings [healthy, feature], of a length around 1, and the radius around each [healthy]."""

    known: Tensor
    radius: Tensor

    @classmethod
    def of(cls, embedding: Tensor, groups: Tensor) -> Nearest:
        """From embeddings [healthy, feature] of recordings `groups`; ValueError for fewer than two recordings."""
        if int(groups.max()) < 1:
            raise ValueError("healthy sound comes from fewer than two recordings: give at least two")
        known = embedding.float()
        apart = _distances(known, known)
        apart[groups[:, None] == groups[None, :]] = torch.inf
        nearest = apart.topk(min(NEIGHBOURS, len(groups) - 1), largest=False).values
        nearest = torch.where(nearest.isinf(), nearest[:, :1], nearest)  # fewer strangers than NEIGHBOURS
        return cls(known, nearest.mean(1).clamp_min(_LEAST_RADIUS))

    def score(self, embedding: Tensor) -> Tensor:
        """The smallest normalised distance [batch], float64, of embeddings [batch, feature]."""
        distance = _distances(embedding.float(), self.known)
        return (distance / self.radius.sqrt()).amin(1).double()

    def state(self) -> Mapping[str, Tensor]:
        """Its tensors by name."""
        return {"known": self.known, "radius": self.radius}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Nearest:
        """From its state; raises ValueError where that does not fit together."""
        require(state, known=(None, None))
        require(state, radius=(len(state["known"]),))
        if not bool((state["radius"] > 0).all()):
            raise ValueError("tensor radius holds values that are not above 0")
        return cls(state["known"], state["radius"])


def _distances(left: Tensor, right: Tensor) -> Tensor:
    """Between rows [left, right]; of unit vectors the root of twice the cosine distance.

    Not by matrix product: that loses digits near 0, and a recording must be at distance 0 from itself.
    """
    return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist")
