"""The curves of `detectable`, drawn: the share of cases that are heard, by the level of the fault."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monitor.detectable import LOUDEST_DB, QUIETEST_DB, Audible
from monitor.fonts import japanese_font
from monitor.naming_words import kind_name
from monitor.words import Lang

_WORDS = {
    "en": (
        "From which level each fault would be heard",
        "fault over healthy sound, dB",
        "share heard",
        "over the machine",
    ),
    "ja": ("各故障が聞こえ始めるレベル", "正常音に対する故障音のレベル (dB)", "検出率", "機械音に対して"),
}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito
_STYLES = ("-", "--")


def draw_levels(
    found: Sequence[Audible], title: str, target: Path, *, lang: Lang = "en", offset_db: float | None = None
) -> None:
    """Draw one microphone's curves into `target` (PNG), 50% and 90% marked. English where no font writes Japanese."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    font = japanese_font() if lang == "ja" else None
    spoken: Lang = "ja" if font else "en"
    words = _WORDS[spoken]
    with mpl.rc_context({"font.family": font} if font else {}):
        figure = Figure(figsize=(9, 5), layout="constrained")
        axis = figure.subplots()
        levels = np.arange(QUIETEST_DB, LOUDEST_DB + 0.25, 0.25)
        for number, one in enumerate(sorted(found, key=lambda one: one.at(0.5))):
            half = one.at(0.5)
            told = f"{half:+.0f} dB" if np.isfinite(half) else f"> {LOUDEST_DB:+.0f} dB"
            style = _STYLES[number // len(_COLOURS) % len(_STYLES)]
            colour = _COLOURS[number % len(_COLOURS)]
            label = f"{kind_name(one.kind, spoken)}: {told}"
            shares = [one.share(level) for level in levels]
            axis.step(levels, shares, where="post", linestyle=style, color=colour, label=label)
        for share in (0.5, 0.9):
            axis.axhline(share, color="0.6", linewidth=0.8, linestyle=":")
        axis.set(xlabel=words[1], ylabel=words[2], ylim=(-0.02, 1.04), xlim=(QUIETEST_DB, LOUDEST_DB))
        axis.set_yticks([0.0, 0.5, 0.9, 1.0], ["0%", "50%", "90%", "100%"])
        if offset_db is not None:
            shift = float(offset_db)
            there, back = (lambda x: np.asarray(x) + shift), (lambda x: np.asarray(x) - shift)
            over = axis.secondary_xaxis("top", functions=(there, back))
            over.set_xlabel(f"{words[3]}, dB")
        axis.legend(loc="upper left", fontsize=9)
        figure.suptitle(f"{words[0]}: {title}")
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=110)
