"""Pictures for people: where a sound differs from healthy. Matplotlib without a display."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from detectors.model import Model
from monitor.clip_score import ScoredFile
from monitor.fonts import japanese_font
from monitor.guesses import Explained, in_words

WORDS = {
    "en": ("Sound: log-mel", "Difference from healthy", "Score", "Hz", "s", "dB", "healthy spreads", "1 in 100"),
    "ja": ("音：ログメル", "正常との差", "スコア", "Hz", "秒", "dB", "正常ばらつき比", "百に一つ"),
}
HEAT_LIMIT = 4.0  # healthy spreads at which the colours saturate
SMOOTH_FRAMES = 8  # about a quarter of a second: single frames scatter, what lasts remains
TICKS_HZ = (0, 250, 500, 1000, 2000, 3000, 4000, 6000, 8000, 12_000, 16_000, 24_000)


def smooth(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """The running mean of a heat map [mel, frame] over `SMOOTH_FRAMES`; a shorter map keeps its mean."""
    width = min(SMOOTH_FRAMES, heat.shape[1])
    return np.asarray(uniform_filter1d(heat, width, axis=1, mode="nearest"), dtype=np.float32)


def draw_heat(
    scored: ScoredFile, model: Model, target: Path, *, lang: str = "en", explained: Explained | None = None
) -> None:
    """Draw the log-mel, the residual heat map and the score over time of one file into `target` (PNG).

    `explained` adds a caption in words and frames the bands that it speaks of, by number. Japanese needs a font that
    has it; without one the labels are English rather than empty boxes.
    """
    font = japanese_font() if lang == "ja" else None
    words = WORDS["ja" if font else "en"]
    figure = Figure(figsize=(10, 8), layout="constrained")
    if font:
        import matplotlib as mpl

        mpl.rcParams["font.family"] = font
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    seconds = len(scored.rows) * model.window_s
    hz = np.asarray(model.band_edges_hz)  # [mel + 1]
    edges = np.linspace(0.0, seconds, scored.log_mel.shape[1] + 1)
    bands = np.arange(len(hz))  # the axis is the mel scale itself
    sound = axes[0].pcolormesh(edges, bands, scored.log_mel, cmap="magma", rasterized=True)
    heat = axes[1].pcolormesh(
        edges, bands, smooth(scored.heat), cmap="RdBu_r", vmin=-HEAT_LIMIT, vmax=HEAT_LIMIT, rasterized=True
    )
    shown = [tick for tick in TICKS_HZ if tick <= hz[-1]]
    for axis, title in zip(axes[:2], words[:2], strict=True):
        axis.set(title=title, ylabel=words[3])
        axis.set_yticks(np.interp(shown, hz, bands), [f"{tick:,}" for tick in shown])
    figure.colorbar(sound, ax=axes[0], label=words[5])
    figure.colorbar(heat, ax=axes[1], label=words[6])
    _draw_score(axes[2], scored, words)
    if explained:
        _frame_bands(axes[1], explained, np.interp(_edges_hz(explained), hz, bands))
        figure.supxlabel("\n".join(in_words(explained, "ja" if font else "en")), x=0.02, ha="left", fontsize=10)
    figure.suptitle(scored.path.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)


def _edges_hz(explained: Explained) -> list[list[float]]:
    return [[band.low_hz, band.high_hz] for band in explained.explanation.bands]


def _frame_bands(axis, explained: Explained, places: NDArray[np.float64]) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - matplotlib's Axes
    start, length = explained.start_s, explained.end_s - explained.start_s
    for number, (low, high) in enumerate(places, 1):
        axis.add_patch(Rectangle((start, low), length, high - low, fill=False, linewidth=1.2))
        middle = (start, (low + high) / 2)
        plate = {"facecolor": "white", "linewidth": 0, "pad": 1}
        axis.annotate(
            str(number), middle, xytext=(-4, 0), textcoords="offset points", ha="right", va="center", bbox=plate
        )


def _draw_score(axis, scored: ScoredFile, words: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - matplotlib's Axes
    ok = [row for row in scored.rows if row["status"] == "ok"]
    scores = [row["score"] for row in ok]
    axis.hlines(scores, [row["start_s"] for row in ok], [row["end_s"] for row in ok], color="black")
    axis.plot([row["end_s"] for row in ok], scores, "o", color="black", markersize=4, clip_on=False)
    axis.axhline(2.0, color="tab:orange", linestyle="--", label=words[7])
    axis.set(title=words[2], xlabel=words[4], ylim=(0, max([4.0, *scores]) * 1.05))
    axis.legend(loc="upper left")
