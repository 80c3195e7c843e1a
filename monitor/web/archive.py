"""What the page reads from the line's data folder: older alarms, the course of the scores, what was made of a clip.

All of it is read in the pages' one thread (`Pages.aside`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from detectors.card import Card, ModelError, read_card
from monitor.alarm_store import AlarmStore
from monitor.alarms import Update
from monitor.history import MINUTE, QUARTER, HistoryReader, Point
from monitor.keepsakes import Keepsake, keepsakes
from monitor.settings import Line
from monitor.show_clip import SHOWN
from monitor.web.charts import spark
from monitor.words import LANGS

VERSIONS = ("separated", "enhanced", "nearest")  # sound files that may lie beside a clip
DAY_S = 86_400
SPARK_S = 60.0  # how long a drawn strip is good for
NEWEST_S = 10.0  # how long it is known where the newest scores end
WEEK_NS = 7 * DAY_S * 1_000_000_000
MOST = 500  # alarms of a machine that are looked through


class Archive:
    """The data folder of a line. Nothing is opened before it is asked for."""

    def __init__(self, line: Line) -> None:
        self._line, self._data = line, line.site.data
        self.history = HistoryReader(line.site.data / "history.sqlite")
        self._alarms: AlarmStore | None = None
        self._sparks: dict[str, tuple[float, Markup]] = {}
        self._newest = (-NEWEST_S, 0)
        self._cards: dict[str, tuple[float, Card | None]] = {}

    def alerts(self, limit: int, machine: str = "") -> list[Update]:
        """The newest alarms, open ones first; with `machine`, those of this machine."""
        if self._alarms is None:
            path = self._data / "alarms.sqlite"
            if not path.exists():
                return []
            self._alarms = AlarmStore(path)
        return self._alarms.alerts(limit, machine)

    def alert(self, alert_id: str) -> Update | None:
        """One alarm."""
        self.alerts(1)
        return self._alarms.alert(alert_id) if self._alarms else None

    def spark(self, machine: str, mics: tuple[str, ...], threshold: float | None, now_s: int) -> Markup:
        """The strip of a machine's last day; the same for a minute."""
        drawn = self._sparks.get(machine)
        clock_s = time.monotonic()
        if drawn and clock_s - drawn[0] < SPARK_S:
            return drawn[1]
        from_s = now_s - DAY_S
        merged: dict[int, Point] = {}
        for mic in mics:
            for point in self.history.series(mic, from_s, now_s, QUARTER):
                if point.at_s not in merged or merged[point.at_s].top < point.top:
                    merged[point.at_s] = point
        found = spark(list(merged.values()), from_s, now_s, QUARTER, threshold)
        self._sparks[machine] = (clock_s, found)
        return found

    def end_s(self, now_ns: int) -> int:
        """Where charts end: now, or where the newest scores end if these lie elsewhere (a replay of old sound)."""
        now_s = now_ns // 1_000_000_000
        clock_s = time.monotonic()
        if clock_s - self._newest[0] > NEWEST_S:
            mics = [mic.id for machine in self._line.machine for mic in machine.mic]
            self._newest = (clock_s, self.history.newest_s(mics))
        newest_s = self._newest[1]
        if newest_s and not now_s - 30 * DAY_S < newest_s <= now_s + QUARTER:
            return newest_s + QUARTER
        return now_s

    def course(self, mic: str, from_s: int, to_s: int) -> tuple[list[Point], int]:
        """The points of a microphone and their step: minutes as far back as there are any, else quarters."""
        if to_s - from_s <= DAY_S:
            points = self.history.series(mic, from_s, to_s, MINUTE)
            if points:
                return points, MINUTE
        return self.history.series(mic, from_s, to_s, QUARTER), QUARTER

    def shown(self, clip: str) -> Mapping[str, Any] | None:
        """What was prepared of a clip; None where nothing is there yet."""
        try:
            found = json.loads((self.folder(clip) / SHOWN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def fault(self, clip: str) -> Mapping[str, str]:
        """What the sound was named: fault.json beside the clip's pictures, {"ja": name, "en": name}; else empty."""
        try:
            found = json.loads((self.folder(clip) / "fault.json").read_text(encoding="utf-8"))
            return {lang: str(found[lang])[:200] for lang in LANGS}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def folder(self, clip: str) -> Path:
        """Where things that belong to a clip lie; `clip` has been checked to be a clip's id."""
        return self._data / "evidence" / "shown" / clip

    def versions(self, clip: str) -> list[str]:
        """The further versions of a clip that exist."""
        return [name for name in VERSIONS if (self.folder(clip) / f"{name}.flac").is_file()]

    def week_before(self, mic: str, at_ns: int) -> Keepsake | None:
        """The healthy sound of a microphone nearest to a week before a moment, and before it in any case."""
        kept = [one for one in keepsakes(self._data / "evidence", mic) if one.at_ns < at_ns]
        return min(kept, key=lambda one: abs(one.at_ns - (at_ns - WEEK_NS)), default=None)

    def card(self, machine: str) -> Card | None:
        """The model card, read anew when its file has changed."""
        folder = self._line.models / machine
        try:
            changed = (folder / "card.json").stat().st_mtime
            known = self._cards.get(machine)
            if known is None or known[0] != changed:
                known = self._cards[machine] = (changed, read_card(folder))
        except (OSError, ModelError):
            return None
        return known[1]

    def close(self) -> None:
        """Let go of the files."""
        self.history.close()
        if self._alarms is not None:
            self._alarms.close()
            self._alarms = None
