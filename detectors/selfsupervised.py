"""A small network that learns from the machine's own healthy sound alone, and the nearest neighbour in what it sees.

It learns to tell the healthy recordings apart, also when they are mixed or have exchanged their statistics, and what
was done to them (`pretext`). To do that it has to find what is typical of a recording under a background that changes;
what it embeds far from all healthy sound is odd. The strongest recipe of DCASE Task 2 that needs no other weights
(Wilkinghoff, ICASSP 2024), with few and small layers so that a calibration out of fold can train it six times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Evidence
from detectors.filled import filled
from detectors.folds import groups_of, out_of_fold
from detectors.nearest import Nearest
from detectors.selfsupervised_net import TEXTURE, Embedder, inputs, statistics_of, train
from detectors.statistics import require, standardise

_CONTEXTS = 32  # scored at a time
_TINY = 1e-6
_TEXTURE_SHARE = 0.5  # of the length that the levels have: of a steady machine they tell more
_LEAST_SPREAD = 0.25  # dB; a band steadier than this must not decide alone


class SelfSupervised:
    """Distance to the nearest healthy context in the embedding, normalised by local density."""

    name = "self-supervised"
    context_s = CONTEXT_S

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._centre = self._spread = torch.empty(0)  # [2 * mel], dB
        self._frame_spread = torch.empty(0)  # [mel], dB
        self._size = torch.empty(0)  # [2], the root mean square length of what each branch makes of healthy sound
        self._net: Embedder | None = None
        self._nearest = Nearest(torch.empty(0, 0), torch.empty(0))

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Train on the device that the evidence lies on. Raises ValueError for fewer than two recordings."""
        groups = groups_of(healthy, groups).to(healthy.log_mel.device)
        if int(groups.max()) < 1:
            raise ValueError("healthy sound comes from fewer than two recordings: give at least two")
        heard = filled(healthy).log_mel
        statistics = statistics_of(heard)
        self._centre, spread, _ = standardise(statistics)
        self._spread = spread.clamp_min(_LEAST_SPREAD)
        mels = heard.shape[1]
        self._frame_spread = statistics[:, mels:].mean(0).clamp_min(_LEAST_SPREAD)
        self._net = train(heard, groups, (self._centre, self._spread, self._frame_spread), self._seed)
        parts = self._embed(healthy)
        self._size = torch.stack([part.square().sum(1).mean().sqrt() for part in parts]).clamp_min(_TINY)
        self._size[1] /= _TEXTURE_SHARE
        self._nearest = Nearest.of(self.embed(healthy), groups)
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold distance [batch] of every healthy context."""
        statistic = out_of_fold(lambda: type(self)(self._seed), healthy, groups)
        self.fit(healthy, groups)
        return statistic

    def embed(self, evidence: Evidence) -> Tensor:
        """What the network sees in contexts [batch, feature], each branch in units of healthy sound's own length."""
        return torch.cat([part / size for part, size in zip(self._embed(evidence), self._size, strict=True)], dim=1)

    @torch.no_grad()
    def _embed(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        assert self._net is not None, "fit or restore comes first"  # noqa: S101 - a programming error
        device = self._centre.device
        levels, textures = [], []
        for start in range(0, len(evidence), _CONTEXTS):
            rows = evidence.rows(torch.arange(start, min(start + _CONTEXTS, len(evidence))))
            seen = inputs(filled(rows).log_mel.to(device), self._centre, self._spread, self._frame_spread)
            level, texture = self._net(*seen)
            levels.append(level)
            textures.append(texture)
        return torch.cat(levels), torch.cat(textures)

    def score(self, evidence: Evidence) -> Tensor:
        """The smallest normalised distance [batch], float64."""
        return self._nearest.score(self.embed(evidence)).to(evidence.log_mel.device)

    def state(self) -> Mapping[str, Tensor]:
        """Units, the network's weights as `net.` and the healthy embeddings with their radii."""
        assert self._net is not None, "fit or restore comes first"  # noqa: S101 - a programming error
        weights = {f"net.{key}": value for key, value in self._net.state_dict().items()}
        units = {"centre": self._centre, "spread": self._spread, "frame_spread": self._frame_spread, "size": self._size}
        return {**units, **self._nearest.state(), **weights}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state, on the device that it lies on; raises ValueError where that does not fit together."""
        require(state, frame_spread=(None,))
        mels = len(state["frame_spread"])
        require(state, centre=(2 * mels,), spread=(2 * mels,), size=(2,))
        with torch.device("meta"):
            net = Embedder(mels)
        for key, value in net.state_dict().items():
            require(state, **{f"net.{key}": tuple(value.shape)})
        weights = {key: state[f"net.{key}"] for key in net.state_dict()}
        net.load_state_dict(weights, assign=True)
        self = cls()
        self._centre, self._spread, self._frame_spread = state["centre"], state["spread"], state["frame_spread"]
        self._net, self._size = net.requires_grad_(requires_grad=False).eval(), state["size"]
        self._nearest = Nearest.restore(state)
        if self._nearest.known.shape[1] != 2 * mels + TEXTURE:
            raise ValueError(f"tensor known has shape {tuple(state['known'].shape)}, the network embeds otherwise")
        return self
