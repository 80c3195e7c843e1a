"""The spectrogram of a clip with the residual heat map on it: two pictures and their axes in one SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

WIDE, NARROW = (960, 340), (380, 260)
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 24
CLOSE_PX = 16  # frequency labels nearer than this are left out


def spectrum(shown: Mapping[str, Any], sound: str, heat: str, words: tuple[str, str]) -> Markup:
    """Wide and narrow. `sound` and `heat` are addresses; `words`: what the picture is called, what seconds are."""
    return Markup("").join(
        _one(shown, sound, heat, words, kind, *size) for kind, size in (("wide", WIDE), ("narrow", NARROW))
    )


def _one(
    shown: Mapping[str, Any], sound: str, heat: str, words: tuple[str, str], kind: str, width: int, height: int
) -> Markup:
    room, high = width - LEFT - RIGHT, height - TOP - BOTTOM
    place = f'x="{LEFT}" y="{TOP}" width="{room}" height="{high}" preserveAspectRatio="none"'
    body = [
        f'<image href="{escape(sound)}" {place}/>',
        f'<image class="heat" href="{escape(heat)}" {place}/>',
        *_frequencies(shown["ticks"], width, height, high),
        *_seconds(shown["duration_s"], words[1], height, room),
        *_frames(shown, room, high),
        f'<path class="cursor" d="M{LEFT} {TOP}v{high}" data-left="{LEFT}" data-room="{room}"/>',
    ]
    return Markup(  # noqa: S704 - numbers and fixed names; addresses and words are escaped
        f'<svg class="chart spectrum {kind}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(words[0])}">{"".join(body)}</svg>'
    )


def _frequencies(ticks: list[list[float]], width: int, height: int, high: int) -> list[str]:
    drawn, last = [], float(height)
    for hz, share in ticks:
        y = round(TOP + (1 - share) * high, 1)
        if last - y < CLOSE_PX:
            continue
        last = y
        label = f"{hz / 1000:g} k" if hz >= 1000 else f"{hz:g}"
        drawn.append(f'<path class="c-tick" d="M{LEFT} {y}H{width - RIGHT}"/>')
        drawn.append(f'<text class="c-y" x="{LEFT - 6}" y="{y + 4}">{label}</text>')
    return drawn


def _seconds(duration_s: float, unit: str, height: int, room: int) -> list[str]:
    step = next((one for one in (1, 2, 5, 10, 20, 30, 60) if duration_s / one <= 7), 120)
    return [
        f'<text class="c-x" x="{LEFT + room * at / duration_s:.1f}" y="{height - 7}">{at} {escape(unit)}</text>'
        for at in range(0, int(duration_s) + 1, step)
        if at + step / 3 < duration_s or at == 0
    ]


def _frames(shown: Mapping[str, Any], room: int, high: int) -> list[str]:
    """The bands that the words speak of, by number, over the context that was explained."""
    length = max(0.1, shown["duration_s"])
    x = LEFT + room * shown["start_s"] / length
    width = room * (shown["end_s"] - shown["start_s"]) / length
    drawn = []
    for number, (low, top) in enumerate(shown["frames"], 1):
        y, tall = TOP + (1 - top) * high, (top - low) * high
        drawn.append(f'<rect class="band" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{tall:.1f}"/>')
        drawn.append(f'<circle class="band-disc" cx="{x:.1f}" cy="{y + tall / 2:.1f}" r="9"/>')
        drawn.append(f'<text class="band-no" x="{x:.1f}" y="{y + tall / 2 + 4:.1f}">{number}</text>')
    return drawn
