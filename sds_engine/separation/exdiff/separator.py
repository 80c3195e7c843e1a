"""Ex-Diff as a separator: what the network takes for the target, as a mask on the mixture and as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds_engine.separation.base import Enhanced, Query
from sds_engine.separation.classical import mean_power
from sds_engine.separation.exdiff.bridge import Noise, sample
from sds_engine.separation.exdiff.cells import spread
from sds_engine.separation.exdiff.model import VARIANTS, Asked, Belief, ExDiffModel, Look, Seen, dot
from sds_engine.separation.exdiff.network import ExDiffSize
from sds_engine.separation.extractor import WEIGHTS, WeightsError, load_extractor, net_of, query_input, read_weights
from sds_engine.separation.grid import BINS, FLOOR, Separated, analyse, apply_mask, power, synthesise
from sds_engine.separation.network import MaskNet
from sds_engine.separation.pool import slope_noise

NFE = 1  # evaluations unless asked otherwise: more cost time and gain nothing in SI-SDR (docs/separation.md)
TRUST = 0.05
"""In what was learned where there is an enrolment: a compromise (docs/separation.md). Machines of the kinds that were
trained on gain from some of it; on the training side of the development set's fan 0.15 lose 0.2 dB at -12 dB."""


class ExDiff:
    """Separates what the query asks for, in `nfe` evaluations of the network (and one of the extractor).

    Without a seed the sampler takes the mean of every step and always answers the same; with one it draws from the
    bridge, the same for the same seed, and for every mixture of a batch as if it were alone.
    """

    def __init__(
        self,
        model: ExDiffModel,
        *,
        nfe: int = NFE,
        seed: int | None = None,
        trust: float = TRUST,
        shuffled: bool = False,
        name: str = "",
    ) -> None:
        """`trust` is that of `model.Seen`; `shuffled` takes the latents of noise as loud as the mixture: a control."""
        if nfe < 1:
            raise ValueError(f"nfe is {nfe}, allowed is 1 or more: 1, 2, 4 and 30 are measured")
        self.model, self.nfe, self.seed, self.trust, self.shuffled = model.eval(), nfe, seed, trust, shuffled
        self.name = name or f"exdiff-{nfe}"

    def __call__(self, mix: Tensor, query: Query) -> Separated:
        """Needs enrolment, or a prompt's embedding, or both, as the extractor does."""
        return self.enhance(mix, query).separated

    @torch.inference_mode()
    def enhance(self, mix: Tensor, query: Query) -> Enhanced:
        """The same with the unmasked answer and the confidence."""
        asked = asked_with(query, len(mix))
        look = Look.at(analyse(mix), asked)
        guess = self.model.guess(look)
        if self.shuffled and guess.latents is not None:
            guess = replace(guess, latents=self.model.guess(Look.at(analyse(_noise_like(mix)), asked)).latents)
        seen = self.model.see(look, guess, trust=self.trust)
        beliefs: list[Belief] = []

        def predict(x: Tensor, t: float) -> Tensor:
            answer, belief = self.model.predict(seen, x, t)
            beliefs.append(belief)
            return answer

        state = sample(predict, seen.first(), self.nfe, self._noise(seen))
        loud, known = power(seen.look.mixture), power(state)
        share = torch.where(loud > 0, dot(state, seen.look.mixture) / loud.clamp_min(FLOOR**2), 0.0)
        sure = known / (known + spread(beliefs[0].variance)).clamp_min(FLOOR**2)  # |E S|^2 / E |S|^2
        separated = apply_mask(mix, share.clamp(0.0, 1.0).transpose(1, 2))
        return Enhanced(separated, synthesise(state.transpose(1, 2), mix.shape[1]), sure.transpose(1, 2))

    def _noise(self, seen: Seen) -> Noise | None:
        """Noise of the unit's level, the same for every row, so that no row depends on its batch."""
        if self.seed is None:
            return None
        generator = torch.Generator().manual_seed(self.seed)
        level = spread(seen.look.unit.sqrt())

        def draw(x: Tensor) -> Tensor:
            one = torch.randn((*x.shape[1:], 2), generator=generator).to(x.device)
            return level * torch.view_as_complex(one)

        return draw


def _noise_like(mix: Tensor) -> Tensor:
    """Pink noise of the mixtures' shape and levels [batch, time], always the same."""
    noise = slope_noise(mix.shape[1], 1.0, np.random.default_rng(0))
    return torch.from_numpy(noise).to(mix) * mix.square().mean(1, keepdim=True).sqrt()


def asked_with(query: Query, batch: int) -> Asked:
    """A query as Ex-Diff takes it. Raises QueryError as the extractor does."""
    question = query_input(query, batch)
    if not query.enrolment:
        return Asked(question, torch.zeros(batch, BINS))
    each = torch.stack([mean_power([clip]).clamp_min(FLOOR).log() for clip in query.enrolment])
    return Asked(question, each.mean(0).exp().expand(batch, -1))


def file_name(variant: str) -> str:
    """What a variant's files are called: the paper's is plain `exdiff`."""
    return "exdiff" if variant == "latents" else f"exdiff-{variant}"


def load_exdiff(
    folder: Path = WEIGHTS, variant: str = "latents", *, extractor: Path | None = None
) -> tuple[ExDiffModel, Mapping[str, Any]]:
    """A variant of a folder (the shipped one) with the extractor that it was trained with, and its card.

    Raises WeightsError for weights that are missing or damaged, or go with another extractor.
    """
    remedy = f"train it: python -m sds_engine.separation.exdiff.train {folder} --variant {variant} --extractor DIR"
    card, state, path = read_weights(folder, file_name(variant), remedy)
    try:
        if card["variant"] not in VARIANTS:
            raise KeyError(card["variant"])
        guide = _guide(card, state, extractor or folder)
        size = dict(card["size"])
        size |= {key: tuple(size[key]) for key in ("dilations", "ask")}
        model = ExDiffModel(card["variant"], guide, ExDiffSize(**size))
        model.load_state_dict(state)
    except (RuntimeError, TypeError, KeyError) as error:
        raise WeightsError(f"{path}: not weights of this network; {remedy}") from error
    return model.eval(), card


def _guide(card: Mapping[str, Any], state: Mapping[str, Tensor], folder: Path) -> MaskNet | None:
    """The extractor that a variant goes with: none, its own, or that of the folder, which must be the very one."""
    if card["variant"] == "mixture-only":
        return None
    if card["variant"] == "joint":
        own = {key.removeprefix("joint."): value for key, value in state.items() if key.startswith("joint.")}
        return net_of(card["extractor"]["size"], own)
    extractor, its_card = load_extractor(folder)
    if its_card["sha256"] != card["extractor"]["sha256"]:
        raise WeightsError(
            f"{folder}: Ex-Diff was trained with another extractor, whose latents mean something else; train it anew: "
            f"python -m sds_engine.separation.exdiff.train {folder} --extractor {folder}"
        )
    return extractor.net
