"""Why one clip is odd, in words: the worst context explained, for the picture, for JSON and for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.aggregate import join
from detectors.explain import Band, Explanation, Guess, explain
from detectors.model import Model
from monitor.clip_score import ScoredFile
from monitor.words import LANGS, Lang, band

_PARTS: Mapping[str, tuple[str, str]] = {
    "BPFO": ("軸受外輪（BPFO）", "the outer race of the bearing (BPFO)"),
    "BPFI": ("軸受内輪（BPFI）", "the inner race of the bearing (BPFI)"),
    "2BSF": ("軸受の転動体（2×BSF）", "a rolling element of the bearing (2 x BSF)"),
    "shaft": ("軸回転", "the shaft"),
    "mesh": ("歯車のかみ合い", "the gear mesh"),
}
_UNNAMED: Mapping[str, tuple[str, str]] = {
    "strokes": ("不規則な打音（がたつき・キャビテーションなど）", "irregular strokes (rattle, cavitation or the like)"),
    "hiss": ("広帯域の雑音（漏れ・摩擦など）", "broadband hiss (a leak, friction or the like)"),
    "rumble": ("低い唸り・揺れ", "a low rumble"),
    "quieter": ("正常より弱い", "weaker than healthy"),
}


@dataclass(frozen=True)
class Explained:
    """The worst context of a clip, from start_s to end_s, with its score and what it departs by."""

    explanation: Explanation
    start_s: float
    end_s: float
    score: float

    def plain(self) -> dict[str, Any]:
        """As JSON values, the words in both languages included."""
        place = {"start_s": self.start_s, "end_s": self.end_s, "score": self.score}
        return {**place, **self.explanation.plain(), "words": {lang: in_words(self, lang) for lang in LANGS}}


def explain_clip(samples: NDArray[np.float32], model: Model, scored: ScoredFile) -> Explained:
    """Explain the context of `scored` with the highest score; `samples` [time] are the clip's."""
    ok = [row for row in scored.rows if row["status"] == "ok"]
    worst = max(ok, key=lambda row: row["score"])
    last = worst["window"] + 1
    first = max(0, last - model.context_windows)
    size = round(model.rate * model.window_s)
    sound = torch.from_numpy(np.ascontiguousarray(samples[first * size : last * size]))
    features = model.front_end(sound.reshape(last - first, size))
    evidence = join([[features.row(number) for number in range(last - first)]])
    explanation = explain(model, evidence, sound)
    return Explained(explanation, first * model.window_s, last * model.window_s, worst["score"])


def in_words(explained: Explained, lang: Lang) -> list[str]:
    """A line for each band, and one for the recording to compare with."""
    bands = explained.explanation.bands
    lines = [f"{number}. {_band_words(one, lang)}" for number, one in enumerate(bands, 1)]
    if not lines:
        lines = ["正常から大きく外れた帯域はない。" if lang == "ja" else "No band departs much from healthy."]
    nearest = explained.explanation.nearest
    if nearest is not None:
        lines.append(
            f"聞き比べ：最も近い正常録音 {nearest.recording}（{nearest.start_s:g} 秒から）"
            if lang == "ja"
            else f"Compare by ear: nearest healthy recording {nearest.recording}, from {nearest.start_s:g} s"
        )
    return lines


def _band_words(one: Band, lang: Lang) -> str:
    where = band((one.low_hz, one.high_hz), one.db, lang)
    return f"{where}：{_WORDS[lang](one.guess)}" if lang == "ja" else f"{where}: {_WORDS[lang](one.guess)}"


def _japanese(guess: Guess) -> str:
    if guess.kind == "impacts":
        text = f"毎秒 {guess.hz:.1f} 回の衝撃"
        if guess.part == "shaft":
            return f"{text}。軸1回転に{guess.order}回"
        return f"{text}。{_PARTS[guess.part][0]}の損傷に合う" if guess.part else text
    if guess.kind == "tone":
        times = "" if guess.order == 1 else f"の{guess.order}次"
        return f"{guess.hz:,.0f} Hz の音" + (f"。{_PARTS[guess.part][0]}{times}に合う" if guess.part else "")
    return _UNNAMED[guess.kind][0]


def _english(guess: Guess) -> str:
    if guess.kind == "impacts":
        text = f"impacts, {guess.hz:.1f} a second"
        if guess.part == "shaft":
            return f"{text}: {('once', 'twice', 'three times')[guess.order - 1]} a turn of the shaft"
        return f"{text}: fits {_PARTS[guess.part][1]}" if guess.part else text
    if guess.kind == "tone":
        times = "" if guess.order == 1 else f"{guess.order} x "
        return f"a tone at {guess.hz:,.0f} Hz" + (f": fits {times}{_PARTS[guess.part][1]}" if guess.part else "")
    return _UNNAMED[guess.kind][1]


_WORDS: Mapping[str, Callable[[Guess], str]] = {"ja": _japanese, "en": _english}
