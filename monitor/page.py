"""The board in words: what the templates are filled with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from monitor.board import STATES
from monitor.settings import Line
from monitor.words import Facts, Lang, ago, clock, local, reason, text

TEMPLATES = Path(__file__).parent / "templates"
SHAPES = {"ok": "●", "alert": "▲", "danger": "◆", "unknown": "?", "waiting": "○", "no_model": "○"}
FULL = 5.0  # the score at which the bar is full, where the threshold is not above half of it
STATIC = {"page.css": "text/css", "page.js": "text/javascript"}


class Page:
    """Renders the pages of a line; templates are read once."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._names = {machine.id: machine for machine in line.machine}
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.static = {name: ((TEMPLATES / name).read_text(encoding="utf-8"), kind) for name, kind in STATIC.items()}

    def overview(self, board: Mapping[str, Any], lang: Lang) -> str:
        """The first page."""
        alerts = [self._alert(alert, board["at_ns"], lang) for alert in board["alerts"]]
        return self._render(
            "overview.html",
            lang,
            board=board,
            machines=[self._machine(machine, board["at_ns"], lang) for machine in board["machines"]],
            open=sorted((one for one in alerts if not one["closed_ns"]), key=lambda one: STATES.index(one["level"])),
            recent=[alert for alert in alerts if alert["closed_ns"]],
            problems=[text(key, lang, **values) for key, values in board["problems"].items()],
            now=clock(board["at_ns"], self._zone, board["at_ns"]),
            today=local(board["at_ns"], self._zone).strftime("%Y-%m-%d"),
        )

    def error(self, status: int, words: str, lang: Lang) -> str:
        """A page that says what went wrong."""
        return self._render("error.html", lang, status=status, words=words)

    def _render(self, name: str, lang: Lang, **values: Any) -> str:  # noqa: ANN401 - a template takes anything
        def say(key: str, **parts: Any) -> str:  # noqa: ANN401 - as in words.text
            return text(key, lang, **parts)

        other = "en" if lang == "ja" else "ja"
        return self._templates.get_template(name).render(
            t=say, lang=lang, other=other, site=self._line.site.name, zone=self._zone, **values
        )

    @property
    def _zone(self) -> str:
        return self._line.site.time_zone

    def _name(self, machine: str, lang: Lang) -> str:
        known = self._names.get(machine)
        return known.name(lang) if known else machine

    def _machine(self, machine: Mapping[str, Any], now_ns: int, lang: Lang) -> dict[str, Any]:
        return {
            **machine,
            "name": machine[f"name_{lang}"],
            "shape": SHAPES[machine["state"]],
            "since": clock(machine["since_ns"], self._zone, now_ns) if machine["since_ns"] else "",
            "mics": [self._mic(mic, now_ns, lang) for mic in machine["mics"]],
            "bar": _bar(machine["score"], machine["threshold"]),
        }

    def _mic(self, mic: Mapping[str, Any], now_ns: int, lang: Lang) -> dict[str, Any]:
        notes = [text(f"flag_{flag}", lang) for flag in mic["flags"]]
        if mic["clipped"]:
            notes.append(text("clipped_total", lang, count=mic["clipped"]))
        if mic["gap_s"]:
            notes.append(text("gaps_total", lang, seconds=mic["gap_s"]))
        if mic["supported"] is False:
            notes.append(text("unsupported", lang, expected=mic["expected_per_week"]))
        last = ""
        if mic["last_ns"]:
            length = ago((now_ns - mic["last_ns"]) / 1e9, lang)
            last = length + text("ago", lang) if lang == "ja" else f"{length} {text('ago', lang)}"
        return {**mic, "notes": notes, "last": last or text("never", lang)}

    def _alert(self, alert: Mapping[str, Any], now_ns: int, lang: Lang) -> dict[str, Any]:
        name = self._name(alert["machine"], lang)
        return {
            **alert,
            "name": name,
            "shape": SHAPES[alert["level"]],
            "reason": reason(Facts.of(alert["facts"]), name, lang, self._zone),
            "opened": clock(alert["opened_ns"], self._zone, now_ns),
            "opened_iso": _iso(alert["opened_ns"]),
            "closed_iso": _iso(alert["closed_ns"]),
            "closed": clock(alert["closed_ns"], self._zone, now_ns) if alert["closed_ns"] else "",
        }


def _iso(ns: int) -> str:
    return local(ns, "UTC").isoformat(timespec="seconds")


def _bar(score: float | None, threshold: float | None) -> dict[str, float] | None:
    """The score and the threshold as shares of the bar, in percent."""
    if score is None or threshold is None:
        return None
    full = max(FULL, 2 * threshold)
    return {"score": round(100 * min(1.0, max(0.0, score / full)), 1), "threshold": round(100 * threshold / full, 1)}
