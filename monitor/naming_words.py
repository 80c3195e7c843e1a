"""What kinds of fault are called on pages and in reports, in Japanese and English."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monitor.langs import LANGS, Lang
from monitor.naming_share import Guess

KINDS: Mapping[str, tuple[str, str]] = {
    "outer_race": ("軸受外輪の傷", "outer race of a bearing"),
    "inner_race": ("軸受内輪の傷", "inner race of a bearing"),
    "ball": ("軸受転動体の傷", "rolling element of a bearing"),
    "broken_tooth": ("歯車の歯欠け", "broken gear tooth"),
    "looseness": ("取付けの緩み", "loose mounting"),
    "rattle": ("カバー・ボルトのがたつき", "rattling cover or bolt"),
    "cavitation": ("キャビテーション", "cavitation"),
    "leak": ("空気・流体の漏れ", "leak"),
    "belt_squeal": ("ベルト鳴き", "belt squeal"),
    "blade_imbalance": ("羽根の不釣合い", "blade out of balance"),
}
UNSURE = 0.4  # the likeliest name's share below which it is told as a guess among several


def kind_name(kind: str, lang: Lang) -> str:
    """A kind of fault by its name; what staff wrote themselves stays as they wrote it."""
    names = KINDS.get(kind)
    return kind if names is None else names[0 if lang == "ja" else 1]


def in_words(guesses: Sequence[Guess], lang: Lang) -> str:
    """The names with their shares, the likeliest first; empty for none."""
    if not guesses:
        return ""
    ja = lang == "ja"
    told = ("、" if ja else ", ").join(f"{kind_name(one.kind, lang)} {one.share:.0%}" for one in guesses)
    if guesses[0].share >= UNSURE:
        return told
    return f"はっきりしない（{told}）" if ja else f"unclear ({told})"


def both(guesses: Sequence[Guess]) -> dict[str, str]:
    """The same in every language, as `fault.json` has it."""
    return {lang: in_words(guesses, lang) for lang in LANGS}
