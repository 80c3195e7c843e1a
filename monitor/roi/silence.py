"""Why a machine was not judged, in the reader's language. Reasons come from `detectors`, which speaks English."""

from __future__ import annotations

import re

_JA = (
    (r"(\d+) healthy recordings, at least (\d+) are needed.*", r"学習用の正常録音が \1 件です。\2 件以上必要です"),
    (r"(\d+) clips, none as long as one window of (\S+) s.*", r"\2 秒以上の学習用録音がありません (\1 件)"),
    (r"no healthy recording to learn from.*", "学習用の正常録音 (split = train、label = normal) がありません"),
    (r"healthy sound comes from one recording.*", "学習用の正常録音が 1 件だけです。2 件以上必要です"),
    (r"recording (.+): samples hold NaN or infinity.*", r"録音 \1 に数値でない値があります。除いてください"),
)


def reason(text: str, lang: str) -> str:
    """The reason in `lang`; what has no translation stays as it is."""
    if lang != "ja":
        return text
    for pattern, words in _JA:
        if re.fullmatch(pattern, text, flags=re.DOTALL):
            return re.sub(pattern, words, text, flags=re.DOTALL)
    return text
