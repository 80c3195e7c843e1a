"""Charts as inline SVG, made here: numbers in, text out. Colours come from the style sheet, by class.

A chart is drawn twice, wide and narrow, and the style sheet shows the one that fits: text in a picture that is scaled
down to a telephone cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from markupsafe import Markup, escape

from monitor.history import Point
from monitor.words import local

SPARK_WIDTH, SPARK_HEIGHT = 240, 40
WIDE, NARROW = (960, 280), (380, 240)
LEFT, RIGHT, TOP, BOTTOM = 38, 10, 14, 26
LEAST_TOP = 4.0  # the score axis reaches at least so far
TICK_PX = 110  # a label of the time axis needs so much room
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Span:
    """An alarm on the time axis."""

    from_s: float
    to_s: float
    level: str


@dataclass(frozen=True, slots=True)
class Frame:
    """From when to when (UTC seconds), up to which score, in how many pixels."""

    from_s: float
    to_s: float
    full: float
    width: int
    height: int

    def x(self, at_s: float) -> float:
        """Pixels from the left."""
        share = (at_s - self.from_s) / max(1.0, self.to_s - self.from_s)
        return round(LEFT + min(1.0, max(0.0, share)) * (self.width - LEFT - RIGHT), 1)

    def y(self, score: float) -> float:
        """Pixels from the top."""
        share = min(1.0, max(0.0, score / self.full))
        return round(self.height - BOTTOM - share * (self.height - TOP - BOTTOM), 1)


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most about `most` points: neighbours become one, with the highest of their tops."""
    group = -(-len(points) // most) if points else 1
    if group <= 1:
        return list(points)
    return [_merged(points[start : start + group]) for start in range(0, len(points), group)]


def _merged(points: Sequence[Point]) -> Point:
    windows = sum(one.windows for one in points)
    middle = sum(one.middle * one.windows for one in points) / max(1, windows)
    return Point(
        points[0].at_s,
        max(one.top for one in points),
        middle,
        windows,
        sum(one.odd for one in points),
        points[-1].level_dbfs,
    )


def spark(points: Sequence[Point], from_s: int, to_s: int, step: int, threshold: float | None) -> Markup:
    """The highest scores of a day in a small strip; decoration beside the number that says the same."""
    full = max(LEAST_TOP, 2 * (threshold or 0.0))
    per_s = SPARK_WIDTH / max(1, to_s - from_s)
    bar = max(1.0, step * per_s - 0.4)
    parts = {"s-ok": [], "s-odd": []}  # type: dict[str, list[str]]
    for one in points:
        height = max(1.0, min(1.0, one.top / full) * SPARK_HEIGHT)
        kind = "s-odd" if threshold is not None and one.top >= threshold else "s-ok"
        x = (one.at_s - from_s) * per_s
        parts[kind].append(f"M{x:.0f} {SPARK_HEIGHT}v-{height:.0f}h{bar:.1f}V{SPARK_HEIGHT}z")
    paths = "".join(f'<path class="{kind}" d="{"".join(one)}"/>' for kind, one in parts.items() if one)
    line = ""
    if threshold is not None:
        y = round(SPARK_HEIGHT * (1 - threshold / full), 1)
        line = f'<path class="s-limit" d="M0 {y}H{SPARK_WIDTH}"/>'
    box = f"0 0 {SPARK_WIDTH} {SPARK_HEIGHT}"
    return Markup(  # noqa: S704 - numbers and fixed names only
        f'<svg class="spark" viewBox="{box}" preserveAspectRatio="none" aria-hidden="true">{paths}{line}</svg>'
    )


def score_chart(
    points: Sequence[Point],
    frame: tuple[float, float],
    step: int,
    threshold: float | None,
    alarms: Sequence[Span],
    zone: str,
    words: tuple[str, str],
) -> Markup:
    """The course of a microphone's scores, wide and narrow. `words`: the picture's name, the threshold's label."""
    full = max(LEAST_TOP, 1.5 * (threshold or 0.0), 1.05 * max((one.top for one in points), default=0.0))
    drawn = []
    for kind, (width, height) in (("wide", WIDE), ("narrow", NARROW)):
        shown = thinned(points, (width - LEFT - RIGHT) // 2)
        gap_s = 2.5 * max(step, (shown[1].at_s - shown[0].at_s) if len(shown) > 1 else step)
        place = Frame(frame[0], frame[1], full, width, height)
        drawn.append(_chart(shown, place, gap_s, threshold, alarms, zone, kind, words))
    return Markup("").join(drawn)


def _chart(
    points: Sequence[Point],
    frame: Frame,
    gap_s: float,
    threshold: float | None,
    alarms: Sequence[Span],
    zone: str,
    kind: str,
    words: tuple[str, str],
) -> Markup:
    body = [_alarms(alarms, frame), _grid(frame, zone)]
    for run in _runs(points, gap_s):
        body += [_area(run, frame, gap_s / 2.5), _line(run, frame)]
    if threshold is not None:
        y = frame.y(threshold)
        body.append(f'<path class="c-limit" d="M{LEFT} {y}H{frame.width - RIGHT}"/>')
        body.append(f'<text class="c-limit-text" x="{LEFT + 6}" y="{y - 5}">{escape(words[1])}</text>')
    box = f"0 0 {frame.width} {frame.height}"
    return Markup(  # noqa: S704 - numbers and fixed names; the words are escaped
        f'<svg class="chart {kind}" viewBox="{box}" role="img" aria-label="{escape(words[0])}">{"".join(body)}</svg>'
    )


def _runs(points: Sequence[Point], gap_s: float) -> list[list[Point]]:
    """The points in runs without a gap: where nothing was heard no line is drawn."""
    runs: list[list[Point]] = [[points[0]]] if points else []
    for before, after in pairwise(points):
        if after.at_s - before.at_s > gap_s:
            runs.append([])
        runs[-1].append(after)
    return runs


def _area(run: Sequence[Point], frame: Frame, step_s: float) -> str:
    """Steps of the highest scores, filled down to the axis."""
    base = frame.y(0)
    path = f"M{frame.x(run[0].at_s)} {base}" + "".join(f"L{frame.x(one.at_s)} {frame.y(one.top)}" for one in run)
    last = frame.x(run[-1].at_s + step_s)
    return f'<path class="c-top" d="{path}H{last}V{base}z"/>'


def _line(run: Sequence[Point], frame: Frame) -> str:
    path = "L".join(f"{frame.x(one.at_s)} {frame.y(one.middle)}" for one in run)
    return f'<path class="c-middle" d="M{path}"/>'


def _alarms(alarms: Sequence[Span], frame: Frame) -> str:
    top, height = TOP, frame.height - TOP - BOTTOM
    drawn = []
    for one in alarms:
        if one.to_s < frame.from_s or one.from_s > frame.to_s:
            continue
        x = frame.x(one.from_s)
        width = max(2.0, round(frame.x(one.to_s) - x, 1))
        drawn.append(f'<rect class="c-alarm {escape(one.level)}" x="{x}" y="{top}" width="{width}" height="{height}"/>')
    return "".join(drawn)


def _grid(frame: Frame, zone: str) -> str:
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 1000) if frame.full / s <= 6)
    drawn = []
    for number in range(int(frame.full // step) + 1):
        y = frame.y(number * step)
        drawn.append(f'<path class="c-grid" d="M{LEFT} {y}H{frame.width - RIGHT}"/>')
        drawn.append(f'<text class="c-y" x="{LEFT - 6}" y="{y + 4}">{number * step}</text>')
    for at_s, text in time_ticks(frame.from_s, frame.to_s, zone, (frame.width - LEFT - RIGHT) // TICK_PX):
        x = frame.x(at_s)
        drawn.append(f'<path class="c-grid" d="M{x} {TOP}V{frame.height - BOTTOM}"/>')
        drawn.append(f'<text class="c-x" x="{x}" y="{frame.height - 8}">{escape(text)}</text>')
    return "".join(drawn)


def time_ticks(from_s: float, to_s: float, zone: str, most: int) -> list[tuple[float, str]]:
    """Round times of the site between two moments, at most about `most`: UTC seconds and label."""
    steps = (600, 1800, _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, 24 * _HOUR, 48 * _HOUR, 120 * _HOUR)
    step = next((one for one in steps if (to_s - from_s) / one <= most), 240 * _HOUR)
    at = local(int(from_s * 1e9), zone).replace(hour=0, minute=0, second=0, microsecond=0)
    at += timedelta(seconds=max(0, int(from_s - at.timestamp())) // step * step)
    ticks = []
    while at.timestamp() <= to_s:
        if at.timestamp() >= from_s:
            midnight = at.hour == at.minute == 0
            ticks.append((at.timestamp(), at.strftime("%m-%d") if midnight or step >= 24 * _HOUR else f"{at:%H:%M}"))
        at += timedelta(seconds=step)
    return ticks
