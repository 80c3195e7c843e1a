"""The page for whoever runs the line: throughput, backlog, dead letters, models; and what machines ask for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import generate_latest

from monitor.history import MINUTE
from monitor.web.desk import Desk
from monitor.web.texts import page_text
from monitor.web.views import View

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
RATE_S = 600  # throughput: the mean of so long


class System:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def page(self, request: web.Request) -> web.Response:
        """How the line itself fares."""

        def fill(view: View) -> dict[str, Any]:
            cards = []
            for machine in self._desk.line.machine:
                card = self._desk.archive.card(machine.id)
                rules: list[Any] = next((one["mics"] for one in view.board["machines"] if one["id"] == machine.id), [])
                cards.append({"id": machine.id, "name": machine.name(view.lang), "card": card, "mics": rules})
            return {
                "cards": cards,
                "per_minute": self._per_minute(view),
                "disk_gb": shutil.disk_usage(_existing(self._desk)).free / 1e9,
                "problems": view.problems(),
            }

        return await self._desk.show(request, "system.html", fill)

    def _per_minute(self, view: View) -> float:
        to_s = self._desk.archive.end_s(view.now_ns)
        mics = [mic["id"] for machine in view.board["machines"] for mic in machine["mics"]]
        history = self._desk.archive.history
        points = [one for mic in mics for one in history.series(mic, to_s - RATE_S, to_s + MINUTE, MINUTE)]
        if not points:
            return 0.0
        minutes = max(1, (max(one.at_s for one in points) - min(one.at_s for one in points)) // MINUTE + 1)
        return sum(one.windows for one in points) / minutes

    async def state(self, _request: web.Request) -> web.Response:
        """The board as JSON."""
        return web.json_response(self._desk.sources.board())

    async def metrics(self, _request: web.Request) -> web.Response:
        """What Prometheus reads."""
        body = generate_latest(self._desk.sources.registry)
        return web.Response(body=body, headers={"Content-Type": METRICS_TYPE})

    async def healthy(self, request: web.Request) -> web.Response:
        """200 while the monitor goes on, else 503."""
        alive = self._desk.sources.alive()
        return web.Response(status=200 if alive else 503, text="ok\n" if alive else self._say("stalled", request))

    async def ready(self, request: web.Request) -> web.Response:
        """200 when sound is taken and judged, else 503 with the reasons, one per line."""
        board = self._desk.sources.board()
        if board["ready"] and self._desk.sources.alive():
            return web.Response(text="ok\n")
        keys = list(board["problems"]) if not board["ready"] else ["stalled"]
        lines = [self._say(key, request, **board["problems"].get(key, {})) for key in keys]
        return web.Response(status=503, text="".join(lines))

    def _say(self, key: str, request: web.Request, **values: Any) -> str:  # noqa: ANN401 - as in words.text
        return page_text(key, self._desk.pages.lang(request), **values) + "\n"

    async def static(self, request: web.Request) -> web.Response:
        """Style sheet and scripts."""
        found = self._desk.pages.static.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        body, kind = found
        return web.Response(text=body, content_type=kind, headers={"Cache-Control": "no-cache"})


def _existing(desk: Desk) -> Path:
    folder = desk.line.site.data
    return folder if folder.exists() else folder.parent
