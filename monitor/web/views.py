"""The board in words: what the templates are filled with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.actions import Flood, Standing
from monitor.alarms import Update
from monitor.board import alert_plain
from monitor.web.archive import Archive
from monitor.web.pages import Pages
from monitor.web.texts import page_text
from monitor.words import Facts, Lang, ago, clock, local, reason

SHAPES = {"ok": "●", "alert": "▲", "danger": "◆", "unknown": "?", "waiting": "○", "no_model": "○"}


@dataclass(frozen=True)
class View:
    """One look at the line: the board, what people did, the language. Makes the parts of pages."""

    pages: Pages
    archive: Archive
    board: Mapping[str, Any]
    standing: Standing
    lang: Lang

    @property
    def now_ns(self) -> int:
        """When the board was made."""
        return int(self.board["at_ns"])

    def say(self, key: str, **values: Any) -> str:  # noqa: ANN401 - as in words.text
        """A text in the reader's language."""
        return page_text(key, self.lang, **values)

    def clock(self, ns: int) -> str:
        """A moment in the site's time."""
        return clock(ns, self.pages.zone, self.now_ns)

    def short(self, ns: int) -> str:
        """A moment in little room: the time of today, the date of another day of the year."""
        then, now = local(ns, self.pages.zone), local(self.now_ns, self.pages.zone)
        if then.date() == now.date():
            return then.strftime("%H:%M")
        return then.strftime("%m-%d" if then.year == now.year else "%Y-%m-%d")

    def today(self) -> str:
        """The site's date."""
        return local(self.now_ns, self.pages.zone).strftime("%Y-%m-%d")

    def problems(self) -> list[str]:
        """What keeps the line from its work, in sentences."""
        return [self.say(key, **values) for key, values in self.board["problems"].items()]

    def machines(self) -> list[dict[str, Any]]:
        """The cards of the board, worst first."""
        return [self.machine(one) for one in self.board["machines"]]

    def machine(self, machine: Mapping[str, Any], *, spark: bool = True) -> dict[str, Any]:
        """One card."""
        mics = [self.mic(mic) for mic in machine["mics"]]
        shelf = self.standing.shelves.get(machine["id"])
        ids = tuple(mic["id"] for mic in machine["mics"])
        end_s = self.archive.end_s(self.now_ns)
        strip = self.archive.spark(machine["id"], ids, machine["threshold"], end_s) if spark else ""
        return {
            **machine,
            "name": machine[f"name_{self.lang}"],
            "shape": SHAPES[machine["state"]],
            "since": self.short(machine["since_ns"]) if machine["since_ns"] else "",
            "since_iso": iso(machine["since_ns"]),
            "mics": mics,
            "ailing": [mic for mic in mics if mic["signal"] in ("lost", "silent") or mic["notes"]],
            "spark": strip,
            "shelf": shelf and self.say("shelved_until", time=self.clock(shelf.until_ns), who=shelf.who),
        }

    def mic(self, mic: Mapping[str, Any]) -> dict[str, Any]:
        """One microphone."""
        notes = [self.say(f"flag_{flag}") for flag in mic["flags"]]
        if mic["clipped"]:
            notes.append(self.say("clipped_total", count=mic["clipped"]))
        if mic["gap_s"]:
            notes.append(self.say("gaps_total", seconds=mic["gap_s"]))
        if mic["supported"] is False:
            notes.append(self.say("unsupported", expected=mic["expected_per_week"]))
        return {**mic, "notes": notes, "last": self._ago(mic["last_ns"])}

    def _ago(self, ns: int) -> str:
        if not ns:
            return self.say("never")
        length = ago((self.now_ns - ns) / 1e9, self.lang)
        return length + self.say("ago") if self.lang == "ja" else f"{length} {self.say('ago')}"

    def alarms(self, *, is_open: bool) -> list[dict[str, Any]]:
        """The board's alarms that are open, or those that are over."""
        return [self.alarm(one) for one in self.board["alerts"] if bool(one["closed_ns"]) != is_open]

    def past(self, update: Update) -> dict[str, Any]:
        """An alarm from the archive; the board's own version where it has one, which is newer."""
        for one in self.board["alerts"]:
            if one["alert_id"] == update.alert.alert_id:
                return self.alarm(one)
        return self.alarm(alert_plain(update))

    def alarm(self, alert: Mapping[str, Any]) -> dict[str, Any]:
        """One alarm with what people did about it."""
        name = self.pages.name(alert["machine"], self.lang)
        key, end_ns = alert["alert_id"], alert["closed_ns"] or self.now_ns
        shelf = self.standing.shelves.get(alert["machine"])
        seen, judged = self.standing.acknowledged.get(key), self.standing.judged.get(key)
        flood = next((one for one in self.standing.floods if one.first == key), None)
        facts = Facts.of(alert["facts"])
        others = {other: self.pages.name(other, self.lang) for other in facts.others}
        return {
            **alert,
            "name": name,
            "of_machine": alert["machine"] in self.pages.machines,  # else it is a whole hall's
            "shape": SHAPES[alert["level"]],
            "reason": reason(facts, name, self.lang, self.pages.zone, others),
            "opened": self.clock(alert["opened_ns"]),
            "opened_iso": iso(alert["opened_ns"]),
            "closed_iso": iso(alert["closed_ns"]),
            "closed": self.clock(alert["closed_ns"]) if alert["closed_ns"] else "",
            "lasted": ago((end_ns - alert["opened_ns"]) / 1e9, self.lang),
            "seen": seen and self.say("seen_by", who=seen.who, time=self.clock(seen.at_ns)),
            "seen_comment": seen.comment if seen else "",
            "judged": judged and self.say(f"judged_{judged.verdict}", fault=judged.fault or "–", who=judged.who),
            "shelf": shelf and self.say("shelved_until", time=self.clock(shelf.until_ns), who=shelf.who),
            "first_out": flood and self._first(flood),
        }

    def _first(self, flood: Flood) -> str:
        return self.say("first_out", count=len(flood.alert_ids))


def iso(ns: int) -> str:
    """A moment for machines, in UTC."""
    return local(ns, "UTC").isoformat(timespec="seconds")
