"""Retrieval in front of the shipped prior: a prompt is pulled towards the training captions that lie nearest to it.

The prior met few ways of saying each thing; a paraphrase, or Japanese through the glossary, lands where it was never
trained. Its condition is therefore mixed with a weighted mean of the captions that it was trained on (in the manner of
retrieval-augmented diffusion: Blattmann et al., NeurIPS 2022, without any retraining). Captions of one subject vote
together; the nearer the best of them, the stronger the pull; a prompt that is near to none stays as it is. Where the
prompt's text is known, its words vote too (`wordwise`): the encoder alone cannot tell an inner race from an outer one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sds_engine.priors import text, wordwise
from sds_engine.priors.captions import phrases


@dataclass(frozen=True, slots=True)
class Pull:
    """How a prompt is pulled; chosen on the first set of test prompts, see docs/audio-sds.md.

    vote: temperature of the captions' votes for their subject. words: how much the prompt's words add to the logarithm
    of a subject's share. sharpen: power of a subject's share. nearest:
    temperature within a subject. most: the strongest pull, 0 to 1. near: similarities (cosine) between which it grows
    from none to the most.
    """

    vote: float = 0.08
    words: float = 2.0
    sharpen: float = 4.0
    nearest: float = 0.15
    most: float = 0.85
    near: tuple[float, float] = (0.25, 0.40)


PULL = Pull()


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Unit vectors `[caption, 384]` of the training captions, and the number of each one's subject `[caption]`."""

    vectors: Tensor
    subject: Tensor


@functools.cache
def known() -> Known:
    """The captions of `captions.tsv`, embedded once."""
    texts, subject = _captions()
    with torch.inference_mode(mode=False):
        return Known(text.embed(texts), torch.tensor(subject))


@functools.cache
def _words() -> wordwise.Words:
    """What the captions' words say, counted once."""
    texts, subject = _captions()
    with torch.inference_mode(mode=False):
        return wordwise.learn([text.normalise(one) for one in texts], torch.tensor(subject))


def _captions() -> tuple[list[str], list[int]]:
    """The captions and the number of each one's subject."""
    rows = [(number, phrase) for number, several in enumerate(phrases().values()) for phrase in several]
    return [phrase for _, phrase in rows], [number for number, _ in rows]


def embed(prompts: Sequence[str]) -> Tensor:
    """Unit vectors `[prompt, 384]` that the shipped prior takes for prompts; raises as `text.embed`."""
    own = text.embed(prompts)
    said = wordwise.speaks_for(_words(), [text.normalise(prompt) for prompt in prompts])
    return pulled(own, known(), said=said)


def pulled(own: Tensor, captions: Known, how: Pull = PULL, said: Tensor | None = None) -> Tensor:
    """Prompts `[prompt, 384]` of length 1, mixed with the captions that are near to them; again of length 1.

    said `[prompt, subject]`: what the prompts' words speak for (`wordwise.speaks_for`); None: vectors alone vote.
    """
    similarity = own @ captions.vectors.T  # [prompt, caption]
    low, high = how.near
    strength = how.most * ((similarity.amax(dim=1, keepdim=True) - low) / (high - low)).clamp(0.0, 1.0)
    mean = _weights(similarity, captions.subject, how, said) @ captions.vectors
    target = torch.nn.functional.normalize(mean, dim=1)
    return torch.nn.functional.normalize((1.0 - strength) * own + strength * target, dim=1)


def _weights(similarity: Tensor, subject: Tensor, how: Pull, said: Tensor | None = None) -> Tensor:
    """Each caption's weight `[prompt, caption]`, of sum 1: its subject's share of the votes, times its own therein."""
    members = torch.nn.functional.one_hot(subject).to(similarity)  # [caption, subject]
    votes = torch.softmax(similarity / how.vote, dim=1) @ members  # [prompt, subject]
    if said is not None:
        votes = votes * torch.exp(how.words * said.to(votes))
    votes = (votes / votes.amax(dim=1, keepdim=True)).pow(how.sharpen)
    votes = votes / votes.sum(dim=1, keepdim=True)
    within = torch.exp((similarity - similarity.amax(dim=1, keepdim=True)) / how.nearest)
    within = within / (within @ members @ members.T).clamp_min(1e-30)
    return within * (votes @ members.T)
