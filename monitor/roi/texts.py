"""The report's words by language."""

from __future__ import annotations

from collections.abc import Mapping

from monitor.roi import texts_en, texts_ja

TEXTS: Mapping[str, Mapping[str, str]] = {"en": texts_en.TEXTS, "ja": texts_ja.TEXTS}


def words(lang: str) -> Mapping[str, str]:
    """The texts of one language. Raises ValueError for another than ja and en."""
    if lang not in TEXTS:
        raise ValueError(f"lang is {lang!r}, allowed is {', '.join(TEXTS)}")
    return TEXTS[lang]
