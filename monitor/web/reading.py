"""The pages that are read: board, machine, alarms, microphones, listening test, system, log-in."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from monitor.web.access import may
from monitor.web.charts import Span, score_chart
from monitor.web.desk import Desk
from monitor.web.pages import SESSION
from monitor.web.spectrum import spectrum
from monitor.web.views import View, iso

SPANS_H = (6, 24, 168, 720)
PAST = 30  # alarms in a machine's history
LISTED = 100  # alarms on the page of alarms
ENTRIES = 100  # of the audit log on one page


class Reading:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def board(self, request: web.Request) -> web.Response:
        """All machines, worst first, and what is open."""

        def fill(view: View) -> dict[str, Any]:
            return {"machines": view.machines(), "open": view.alarms(is_open=True), "problems": view.problems()}

        return await self._desk.show(request, "board.html", fill)

    async def machine(self, request: web.Request) -> web.Response:
        """One machine: how it sounds, how it sounded before, what was done."""
        name = request.match_info["machine"]
        if name not in self._desk.pages.machines:
            raise web.HTTPNotFound
        asked = request.query.get("span", "")
        span_h = int(asked) if asked in {str(one) for one in SPANS_H} else 24
        return await self._desk.show(request, "machine.html", lambda view: self._machine(view, name, span_h, request))

    def _machine(self, view: View, name: str, span_h: int, request: web.Request) -> dict[str, Any]:
        archive = self._desk.archive
        past = archive.alerts(PAST, name)
        more = self._desk.sources.actions
        if more:
            view = View(view.pages, archive, view.board, more.standing([one.alert.alert_id for one in past]), view.lang)
        alarms = [view.past(one) for one in past]
        wanted = request.query.get("alarm", "")
        with_clip = [one for one in alarms if one["clip"]]
        chosen = next((one for one in alarms if one["alert_id"] == wanted), None)
        chosen = chosen or next((one for one in with_clip if not one["closed_ns"]), None)
        chosen = chosen or next(iter(with_clip), None) or next(iter(alarms), None)
        machine = next(one for one in view.board["machines"] if one["id"] == name)
        settings = self._desk.pages.machines[name]
        return {
            "machine": view.machine(machine, spark=False),
            "charts": self._charts(view, machine, alarms, span_h),
            "spans": SPANS_H,
            "span_h": span_h,
            "alarms": alarms,
            "open": [one for one in alarms if not one["closed_ns"]],
            "chosen": chosen,
            "sound": self._sound(view, chosen) if chosen else None,
            "keeps": any(mic.evidence for mic in settings.mic),
            "shelf": view.standing.shelves.get(name),
            "asked": view.standing.rebaselines.get(name),
        }

    def _charts(
        self, view: View, machine: dict[str, Any], alarms: list[dict[str, Any]], span_h: int
    ) -> list[dict[str, Any]]:
        archive = self._desk.archive
        to_s = archive.end_s(view.now_ns)
        from_s = to_s - span_h * 3600
        spans = [
            Span(one["opened_ns"] / 1e9, (one["closed_ns"] or to_s * 1e9) / 1e9, one["level"])
            for one in alarms
            if one["level"] != "unknown"
        ]
        charts = []
        for mic in machine["mics"]:
            points, step = archive.course(mic["id"], from_s, to_s)
            top = max((one.top for one in points), default=0.0)
            times = {"from_": view.clock(from_s * 1_000_000_000), "to": view.clock(to_s * 1_000_000_000)}
            title = view.say("course_of", mic=mic["id"], top=f"{top:.1f}", **times)
            limit = mic["threshold"]
            words = (title, f"{view.say('threshold')} {limit:.1f}" if limit is not None else "")
            zone = view.pages.zone
            drawn = score_chart(points, (from_s, to_s), step, limit, spans, zone, words) if points else None
            charts.append({"mic": mic["id"], "svg": drawn})
        return charts

    def _sound(self, view: View, alarm: dict[str, Any]) -> dict[str, Any]:
        """The players and the picture of an alarm's clip."""
        archive, clip = self._desk.archive, alarm["clip"]
        if not clip:
            return {"players": [], "shown": None, "picture": None, "fault": ""}
        players = [(view.say("v_raw"), f"/clips/{clip}.flac", "raw")]
        versions = archive.versions(clip)
        players += [(view.say(f"v_{one}"), f"/clips/{clip}/{one}.flac", one) for one in versions if one != "nearest"]
        mic = alarm["facts"]["mic"]
        week = archive.week_before(mic, alarm["facts"]["since_ns"]) if mic else None
        if week:
            date = view.clock(week.at_ns)
            players.append((view.say("v_week", date=date), f"/healthy/{mic}/{week.at_ns}.flac", "week"))
        if "nearest" in versions:
            players.append((view.say("v_nearest"), f"/clips/{clip}/nearest.flac", "nearest"))
        shown = archive.shown(clip)
        picture = None
        if shown and "failed" not in shown:
            addresses = (f"/clips/{clip}/sound.png", f"/clips/{clip}/heat.png")
            picture = spectrum(shown, *addresses, (view.say("spectrum_of"), view.say("seconds")))
        fault = archive.fault(clip).get(view.lang, "")
        return {"players": players, "shown": shown, "picture": picture, "fault": fault}

    async def alarms(self, request: web.Request) -> web.Response:
        """All alarms with what was done about them, and for admins the audit log."""
        before = request.query.get("before", "")
        number = int(before) if before.isascii() and before.isdigit() and len(before) < 18 else None
        session = request.get(SESSION)
        actions = self._desk.sources.actions

        def fill(view: View) -> dict[str, Any]:
            past = self._desk.archive.alerts(LISTED)
            if actions:
                standing = actions.standing([one.alert.alert_id for one in past])
                view = View(view.pages, view.archive, view.board, standing, view.lang)
            found = [view.past(one) for one in past] or [view.alarm(one) for one in view.board["alerts"]]
            audit = actions.audit(ENTRIES, number) if actions and may(session and session.role, "admin") else []
            return {
                "open": [one for one in found if not one["closed_ns"]],
                "recent": [one for one in found if one["closed_ns"]],
                "audit": [(one, view.clock(one.at_ns), iso(one.at_ns)) for one in audit],
                "shelves": view.standing.shelves,
            }

        return await self._desk.show(request, "alarms.html", fill)

    async def mics(self, request: web.Request) -> web.Response:
        """Every microphone: alive, how loud, clipped, how far behind."""
        evidence = {mic.id: mic.evidence for machine in self._desk.line.machine for mic in machine.mic}
        order = ("lost", "silent", "waiting", "live")

        def fill(view: View) -> dict[str, Any]:
            rows = [
                {
                    **view.mic(mic),
                    "machine": machine["id"],
                    "machine_name": machine[f"name_{view.lang}"],
                    "keeps": evidence.get(mic["id"], False),
                    "meter": _meter(mic["level_dbfs"]),
                    "lag_s": max(0.0, (view.now_ns - mic["last_ns"]) / 1e9) if mic["last_ns"] else None,
                }
                for machine in view.board["machines"]
                for mic in machine["mics"]
            ]
            return {"mics": sorted(rows, key=lambda one: order.index(one["signal"]))}

        return await self._desk.show(request, "mics.html", fill)

    async def login(self, request: web.Request) -> web.Response:
        """The form that asks for name and token."""
        return self._desk.pages.login(request)


def _meter(level_dbfs: float | None) -> int:
    """A level as a share of the meter, 0 to 100: -80 dBFS to 0."""
    return 0 if level_dbfs is None else round(min(100.0, max(0.0, (level_dbfs + 80) / 0.8)))
