"""The words that tell subjects apart, beside the sentence vectors: the sparse half of a hybrid retrieval.

To a sentence encoder "outer race" and "inner race" are all but one; that single word decides. A word weighs by how few
subjects use it (inverse document frequency: Spaerck Jones, Journal of Documentation 28, 1972, with subjects as the
documents) and speaks for a subject by how many of its captions hold it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_EMPTY = re.compile(
    "an?|and|are|as|at|been|by|for|from|has|have|in|is|it|its|like|of|on|or|so|than|that|the|this|to|with"
)
_ENDINGS = ("ings", "ing", "ies", "es", "ed", "s")
_SHORTEST = 3  # letters that an ending must leave


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """number: a word's row. rarity `[word]`: its weight. use `[subject, word]`: root of the share of captions."""

    number: dict[str, int]
    rarity: Tensor
    use: Tensor


def learn(captions: Sequence[str], subject: Tensor) -> Words:
    """From captions, as the encoder reads them (`text.normalise`), and the number of each one's subject `[caption]`."""
    split = [set(words_of(caption)) for caption in captions]
    number = {word: row for row, word in enumerate(sorted({word for words in split for word in words}))}
    held = torch.zeros(len(captions), len(number))
    for row, words in enumerate(split):
        held[row, [number[word] for word in words]] = 1.0
    members = torch.nn.functional.one_hot(subject).float()  # [caption, subject]
    share = (members.T @ held) / members.sum(dim=0)[:, None].clamp_min(1.0)
    subjects = (share > 0).sum(dim=0)  # in how many subjects each word occurs
    rarity = torch.log((len(share) + 1.0) / (subjects + 0.5)).clamp_min(0.0)
    return Words(number, rarity, share.sqrt())


def speaks_for(words: Words, prompts: Sequence[str]) -> Tensor:
    """How much the words of each prompt speak for each subject `[prompt, subject]`, 0 or more."""
    weight = torch.zeros(len(prompts), len(words.rarity))
    for row, prompt in enumerate(prompts):
        known = [words.number[word] for word in words_of(prompt) if word in words.number]
        weight[row, known] = words.rarity[known]
    return torch.nn.functional.normalize(weight, dim=1) @ words.use.T


def words_of(text: str) -> list[str]:
    """Lower-case words without endings ("clicking" is "click"), without those that say nothing."""
    return [_stem(word) for word in re.findall(r"[a-z]+", text.lower()) if not _EMPTY.fullmatch(word)]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST:
            return word[: -len(ending)]
    return word
