"""What the handlers of a line's page share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from monitor.actions import Standing
from monitor.settings import Line
from monitor.web.archive import Archive
from monitor.web.guard import Guard
from monitor.web.pages import Pages
from monitor.web.sessions import Sessions
from monitor.web.sources import Sources
from monitor.web.views import View


@dataclass(frozen=True)
class Desk:
    """The parts of a page, and the two ways to get at them: a view of the line, or work in the pages' thread."""

    line: Line
    sources: Sources
    pages: Pages
    archive: Archive
    sessions: Sessions
    guard: Guard
    closing: list[bool] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)  # what people did last, for those who watch

    def wrote(self, path: str) -> None:
        """Somebody did something that the board does not know of: pages that are open should show it."""
        self.writes[:] = [f"{path} {time.monotonic_ns()}"]

    async def show(self, request: web.Request, template: str, fill: Callable[[View], dict[str, Any]]) -> web.Response:
        """A page: `fill` is called in the pages' thread with a fresh view."""

        def work() -> web.Response:
            view = self.view(request)
            return self.pages.html(request, template, view=view, **fill(view))

        return await self.pages.aside(work)

    def view(self, request: web.Request) -> View:
        """How things stand now; in the pages' thread."""
        board = self.sources.board()
        ids = [one["alert_id"] for one in board["alerts"]]
        actions = self.sources.actions
        standing = actions.standing(ids) if actions else Standing()
        return View(self.pages, self.archive, board, standing, self.pages.lang(request))
