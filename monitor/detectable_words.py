"""What the levels say, in sentences of both languages and as figures of the model card."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from monitor.detectable import LOUDEST_DB, QUIETEST_DB, Audible
from monitor.naming_words import kind_name
from monitor.words import LANGS, Lang


def in_words(one: Audible, lang: Lang, offset_db: float | None = None) -> str:
    """A sentence: from which level on. offset_db: see `detectable.over_machine_db`."""
    name = kind_name(one.kind, lang)
    half, most = (one.at(share) + (offset_db or 0.0) for share in (0.5, 0.9))
    ja = lang == "ja"
    against = {
        "ja": "機械の音に対して" if offset_db is not None else "正常時の音全体に対して",
        "en": "over the machine" if offset_db is not None else "over all it hears when healthy",
    }[lang]
    if math.isinf(half):
        top = LOUDEST_DB + (offset_db or 0.0)
        if ja:
            return f"このマイクでは「{name}」は{against} {top:+.0f} dB でも聞き分けられない見込み"
        return f"this microphone would not hear this fault even at {top:+.0f} dB {against}: {name}"
    edge = half - (offset_db or 0.0) <= QUIETEST_DB + 1.0  # as quiet as was tried
    if ja:
        surely = "" if math.isinf(most) else f"、10回中9回は {most:+.0f} dB から"
        often = f"（2回に1回{surely}）"
        return (
            f"このマイクは「{name}」を{against} {half:+.0f} dB{' 以下' if edge else ''}から聞き分けられる見込み{often}"
        )
    surely = "" if math.isinf(most) else f", nine in ten from {most:+.0f} dB"
    level = f"{half:+.0f} dB{' or less' if edge else ''} {against} on (one in two{surely})"
    return f"this microphone would hear this fault from {level}: {name}"


def plain(found: Sequence[Audible], threshold: float, offset_db: float | None) -> dict[str, Any]:
    """As JSON values for the model card; null is never."""
    return {
        "threshold": threshold,
        "against": "all that the microphone hears when healthy, RMS",
        "over_machine_db": offset_db,
        "kinds": {
            one.kind: {
                "db50": _finite(one.at(0.5)),
                "db90": _finite(one.at(0.9)),
                "db50_ci": [_finite(edge) for edge in one.interval(0.5)],
                "db90_ci": [_finite(edge) for edge in one.interval(0.9)],
                "pairs": len(one.levels_db),
                "words": {lang: in_words(one, lang, offset_db) for lang in LANGS},
            }
            for one in found
        },
    }


def _finite(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None
