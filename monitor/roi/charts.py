"""The report's pictures as PNG in data: addresses. Matplotlib without a display; no state is left behind."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from monitor.fonts import japanese_font
from monitor.roi.chances import Bar
from monitor.roi.formats import money_scale
from monitor.roi.money import npv
from monitor.roi.result import Result
from monitor.roi.texts import words

INK, BLUE, PALE, ORANGE, GREY = "#1b1f24", "#1f5fa8", "#c9dcf2", "#c4581a", "#8a929c"
MOST_BARS = 8
Draw = Callable[[Any, Result, Mapping[str, str], str], None]


def charts(result: Result, lang: str) -> dict[str, str]:
    """The pictures by name (cash, tornado, false), those for which there is something to draw."""
    drawn: dict[str, tuple[Draw, tuple[float, float]]] = {}
    if result.spread is not None and result.expected is not None:
        if not result.brief:
            drawn["cash"] = (_cash, (7.2, 3.4))
        drawn["false"] = (_false_alarms, (7.2, 3.4))
    if bars_of(result):
        drawn["tornado"] = (_tornado, (7.2, 0.9 + 0.42 * min(MOST_BARS, len(bars_of(result)))))
    return {name: _picture(draw, size, result, lang) for name, (draw, size) in drawn.items()}


def bars_of(result: Result) -> list[Bar]:
    """The tornado's bars; without the false alarms where the trial was too brief to say anything of them."""
    return [bar for bar in result.bars if bar.name != "false_alarms" or not result.brief]


def english_instead(lang: str) -> bool:
    """Whether pictures of a Japanese report are labelled in English, for want of a font."""
    return lang == "ja" and japanese_font() is None


def _picture(draw: Draw, size: tuple[float, float], result: Result, lang: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    font = japanese_font() if lang == "ja" else None
    lang = "ja" if font else "en"
    style: dict[str, Any] = {
        "font.size": 9.5,
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": False,
    }
    if font:
        style["font.family"] = font
    with mpl.rc_context(cast("Any", style)):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots(), result, words(lang), lang)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=150)
    return "data:image/png;base64," + base64.b64encode(image.getvalue()).decode()


def _cash(axes: Any, result: Result, text: Mapping[str, str], lang: str) -> None:  # noqa: ANN401 - matplotlib's Axes
    assert result.spread is not None  # noqa: S101 - charts asked
    cash = np.asarray(result.spread.cash)
    scale, unit = money_scale(float(np.abs(cash).max()), result.costs.currency, lang)
    years = np.arange(len(cash))
    axes.fill_between(years, cash[:, 0] / scale, cash[:, 2] / scale, color=PALE, label=text["chart_band"], linewidth=0)
    axes.plot(
        years,
        cash[:, 1] / scale,
        color=BLUE,
        linewidth=2,
        marker="o",
        markersize=4,
        clip_on=False,
        label=text["chart_median"],
    )
    axes.axhline(0, color=INK, linewidth=1)
    axes.set(xlabel=text["chart_years"], ylabel=text["chart_cash_axis"].format(unit=unit), xlim=(0, len(cash) - 1))
    axes.set_xticks(years)
    _finish(axes)


def _false_alarms(axes: Any, result: Result, text: Mapping[str, str], lang: str) -> None:  # noqa: ANN401 - matplotlib's Axes
    assert result.expected is not None  # noqa: S101 - charts asked
    known = result.known["false_alarms"]
    limit = result.expected.break_even_false_alarms
    high = 1.0 if result.brief else max(known.high, 1.0)
    end = max(high, *([1.3 * limit] if limit is not None and limit < 20 * high else [high]))
    rates = np.linspace(0, 1.1 * end, 50)
    values = np.asarray(npv(result.expected.inputs.at(false_alarms=rates)))
    values = np.broadcast_to(values, rates.shape)
    scale, unit = money_scale(float(np.abs(values).max()), result.costs.currency, lang)
    axes.axvspan(known.low, min(known.high, rates[-1]), color=PALE, linewidth=0, label=text["chart_trial"])
    axes.axvline(known.value, color=BLUE, linewidth=1.5, clip_on=False)
    axes.plot(rates, values / scale, color=INK, linewidth=2)
    axes.axhline(0, color=INK, linewidth=1)
    if limit is not None and 0 <= limit <= rates[-1]:
        axes.plot([limit], [0], "o", color=ORANGE, markersize=8, label=text["chart_zero"], zorder=3)
    axes.set(xlabel=text["chart_false_axis"], ylabel=text["chart_tornado_axis"].format(unit=unit), xlim=(0, rates[-1]))
    _finish(axes)


def _tornado(axes: Any, result: Result, text: Mapping[str, str], lang: str) -> None:  # noqa: ANN401 - matplotlib's Axes
    assert result.expected is not None  # noqa: S101 - charts asked
    bars = bars_of(result)[:MOST_BARS][::-1]
    base = result.expected.npv
    largest = max(abs(value) for bar in bars for value in (bar.npv_low, bar.npv_high))
    scale, unit = money_scale(largest, result.costs.currency, lang)
    places = np.arange(len(bars))
    for ends, colour, label in (("npv_low", ORANGE, "chart_at_low"), ("npv_high", BLUE, "chart_at_high")):
        widths = [(getattr(bar, ends) - base) / scale for bar in bars]
        axes.barh(places, widths, left=base / scale, color=colour, height=0.62, label=text[label])
    axes.axvline(base / scale, color=INK, linewidth=1)
    if any(bar.npv_low * bar.npv_high < 0 for bar in bars):
        axes.axvline(0, color=GREY, linewidth=1, linestyle="--")
    axes.set_yticks(places, [text[f"f_{bar.name}"] for bar in bars])
    axes.set(xlabel=text["chart_tornado_axis"].format(unit=unit))
    axes.tick_params(axis="y", length=0)
    _finish(axes, "xaxis")


def _finish(axes: Any, money: str = "yaxis") -> None:  # noqa: ANN401 - matplotlib's Axes
    from matplotlib.ticker import FuncFormatter

    if money == "xaxis":  # long amounts beside each other must not touch
        axes.locator_params(axis="x", nbins=6)
    getattr(axes, money).set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}".replace("-", "−")))
    axes.grid(axis=money[0], color="#e3e7ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(facecolor="white", edgecolor="none", framealpha=0.9, fontsize=8.5, loc="best")
