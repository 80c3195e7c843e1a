"""Nearest healthy neighbour in the embedding of a pretrained network that the user brings.

The strongest published systems of DCASE Task 2 look for the nearest healthy clip in the embedding of a network trained
on large collections (GenRep: BEATs and nearest neighbours, Saengthong and Shinozaki, 2024). This project ships no such
network; `embedding_files` says how to bring one. Its parameters become part of the model, which is then as large as the
network, and the model card names its SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from detectors.base import CONTEXT_S, Evidence
from detectors.embedding_files import Pretrained, read_network
from detectors.embedding_input import adapt
from detectors.filled import filled
from detectors.folds import folds, groups_of
from detectors.frontend import FrontEnd
from detectors.nearest import Nearest
from detectors.statistics import require

_CONTEXTS = 8  # embedded at a time
_NET = "net."


class Embedding:
    """Distance to the nearest healthy context by direction in the embedding, normalised by local density."""

    name = "embedding"
    context_s = CONTEXT_S

    def __init__(self, network: Pretrained | None = None, front_end: FrontEnd | None = None) -> None:
        self._network = network
        self._front_end = front_end or FrontEnd()
        self._nearest = Nearest(torch.empty(0, 0), torch.empty(0))

    @classmethod
    def open(cls, path: str) -> Self:
        """With the network of NAME.safetensors and NAME.json. Raises ValueError, with the remedy, for others."""
        return cls(read_network(path))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the model card should say of the network."""
        return (self._given().words,)

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Embed the healthy contexts. Raises ValueError without a network, and for fewer than two recordings."""
        self._nearest = Nearest.of(self.embed(healthy), groups_of(healthy, groups).to(healthy.log_mel.device))
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold distance [batch]; the network learns nothing, so each context is embedded once."""
        embedded = self.embed(healthy)
        groups = groups_of(healthy, groups).to(embedded.device)
        fold = folds(groups.cpu()).to(embedded.device)
        if int(fold.max()) < 1:
            raise ValueError("healthy sound comes from one recording; give at least two, or one of several minutes")
        statistic = torch.empty(len(healthy), dtype=torch.float64, device=embedded.device)
        for number in range(int(fold.max()) + 1):
            held = fold == number
            known = torch.unique(groups[~held], return_inverse=True)[1]
            statistic[held] = Nearest.of(embedded[~held], known).score(embedded[held])
        self._nearest = Nearest.of(embedded, groups)
        return statistic

    @torch.no_grad()
    def embed(self, evidence: Evidence) -> Tensor:
        """The embedding's direction [batch, feature], of length 1; each row for itself."""
        network = self._given()
        device = next(iter(network.net.parameters())).device
        parts = []
        for start in range(0, len(evidence), _CONTEXTS):
            rows = evidence.rows(torch.arange(start, min(start + _CONTEXTS, len(evidence))))
            seen = adapt(filled(rows).log_mel.to(device), self._front_end, network.wanted)
            parts.append(functional.normalize(network.net(seen).float(), dim=1))
        return torch.cat(parts).to(evidence.log_mel.device)

    def score(self, evidence: Evidence) -> Tensor:
        """The smallest normalised distance [batch], float64."""
        return self._nearest.score(self.embed(evidence).to(self._nearest.known.device)).to(evidence.log_mel.device)

    def _given(self) -> Pretrained:
        if self._network is None:
            raise ValueError("the detector embedding needs a network: name it as embedding:NAME.safetensors")
        return self._network

    def state(self) -> Mapping[str, Tensor]:
        """The healthy embeddings and radii, the network's parameters as `net.`, its and our settings as JSON bytes."""
        network, ours = self._given(), self._front_end
        parameters = {name: value for name, value in network.net.state_dict().items() if name in network.tensors}
        front_end = [ours.rate, ours.n_fft, ours.hop, ours.mels]
        text = json.dumps({"about": network.about, "front_end": front_end, "tensors": sorted(parameters)})
        settings = torch.tensor(list(text.encode()), dtype=torch.uint8)
        return {"settings": settings, **self._nearest.state(), **{_NET + name: v for name, v in parameters.items()}}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        require(state, settings=(None,))
        tensors = {name.removeprefix(_NET): one for name, one in state.items() if name.startswith(_NET)}
        try:
            text = json.loads(bytes(state["settings"].tolist()).decode())
            lost = sorted(set(text["tensors"]) - set(tensors))
            if lost:  # some may be left out of a file, but not after it has been fitted
                raise ValueError(f"tensor net.{lost[0]} is missing")
            network = Pretrained.of(text["about"], tensors)
            self = cls(network, FrontEnd(*text["front_end"]))
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"tensor settings does not describe a network: {error!r}") from error
        self._nearest = Nearest.restore(state)
        return self
