"""The extractor: one pass of the mask network over the mixture, asked by enrolment recordings, a prompt, or both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sds_engine.separation.base import Query, QueryError
from sds_engine.separation.enrolment import site_statistics
from sds_engine.separation.grid import Separated, analyse, apply_mask, log_mel, mel_to_bins, power
from sds_engine.separation.network import TEXT, TRUST, MaskNet, NetSize, QueryInput

WEIGHTS = Path(__file__).parent / "weights"
_KEEP = "extractor"


class WeightsError(Exception):
    """Weights that are missing, damaged or of another network; the text names the file and the remedy."""


class Extractor:
    """Separates what the query asks for. `net` is a trained mask network; one evaluation per mixture."""

    nfe = 1

    def __init__(self, net: MaskNet, *, trust: float = TRUST, name: str = "extractor") -> None:
        """`trust` is that in what was learned where there is an enrolment: more of it for a net adapted to its site."""
        self.net, self.trust, self.name = net.eval(), trust, name

    @torch.inference_mode()
    def __call__(self, mix: Tensor, query: Query) -> Separated:
        """Needs enrolment, or a prompt's embedding, or both; enrolment is best at the level it has in the mixture."""
        return apply_mask(mix, mel_to_bins(self.mel_mask(mix, query)))

    @torch.inference_mode()
    def mel_mask(self, mix: Tensor, query: Query) -> Tensor:
        """The share of each mel band's power that is the target's [batch, mel, frame]."""
        question = query_input(query, len(mix))
        spectrum = power(analyse(mix))
        mask: Tensor = torch.sigmoid(self.net(log_mel(spectrum), question, self.trust))
        return mask


def query_input(query: Query, batch: int) -> QueryInput:
    """A query as the network takes it. Raises QueryError for one that asks for nothing, or for no embedding [384]."""
    if not query.enrolment and query.prompt is None:
        raise QueryError("the extractor needs a query: give --enrol recordings of the wanted sound, or --prompt")
    if query.prompt is not None and query.prompt.shape != (TEXT,):
        raise QueryError(f"the prompt is {tuple(query.prompt.shape)}, allowed is a sentence embedding [{TEXT}]")
    statistics = site_statistics(query.enrolment) if query.enrolment else None
    return QueryInput.of(batch, statistics=statistics, text=query.prompt)


def load_extractor(folder: Path = WEIGHTS) -> tuple[Extractor, Mapping[str, Any]]:
    """The extractor of a folder (the shipped one), and its card. Raises WeightsError."""
    card, state, path = read_weights(folder, _KEEP, f"train one: python -m sds_engine.separation.train {folder}")
    return Extractor(net_of(card["size"], state, path)), card


def read_weights(folder: Path, name: str, remedy: str) -> tuple[Mapping[str, Any], dict[str, Tensor], Path]:
    """The card of NAME.json, the tensors of NAME.safetensors as float32, and where they lie.

    Raises WeightsError for files that are not there, with the remedy, and for damaged ones.
    """
    from safetensors.torch import load

    path, card_path = folder / f"{name}.safetensors", folder / f"{name}.json"
    try:
        card, data = json.loads(card_path.read_text("utf-8")), path.read_bytes()
    except FileNotFoundError as error:
        raise WeightsError(f"{error.filename}: no such file; {remedy}") from error
    except ValueError as error:
        raise WeightsError(f"{card_path}: cannot be read as JSON ({error}); install the program anew") from error
    if hashlib.sha256(data).hexdigest() != card.get("sha256"):
        raise WeightsError(f"{path}: its SHA-256 is not the card's: it was damaged or changed; install it anew")
    return card, {key: value.float() for key, value in load(data).items()}, path


def net_of(size: Mapping[str, Any], state: Mapping[str, Tensor], where: object = "the weights") -> MaskNet:
    """A network of that size with these weights. Raises WeightsError where they do not fit together."""
    try:
        net = MaskNet(NetSize(**{**size, "dilations": tuple(size["dilations"])}))
        net.load_state_dict(dict(state))
    except (RuntimeError, TypeError, KeyError) as error:
        raise WeightsError(f"{where}: not weights of this network; train it anew") from error
    return net.eval()
