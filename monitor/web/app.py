"""The application: which address leads where."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web

from monitor.settings import Line
from monitor.web.access import access_of
from monitor.web.archive import Archive
from monitor.web.desk import Desk
from monitor.web.guard import HEADERS, HSTS, Guard, Handler
from monitor.web.listening import Listening
from monitor.web.live import Live
from monitor.web.pages import Pages
from monitor.web.reading import Reading
from monitor.web.runbooks import Runbooks
from monitor.web.sessions import Sessions
from monitor.web.sounds import Sounds
from monitor.web.sources import Sources
from monitor.web.system import System
from monitor.web.writing import Writing

LARGEST = 16 * 1024  # bytes of a form


def make_app(line: Line, sources: Sources, now_ns: Callable[[], int] = time.time_ns) -> web.Application:
    """The application; nothing is bound yet. Raises SettingsError or WorkFailed where the tokens cannot be had."""
    access = access_of(line)
    sessions = Sessions(line.site.data / "web.sqlite", access, line.web.session_hours, lambda: now_ns() / 1e9)
    pages = Pages(line)
    guard = Guard(line, sources, pages, access, sessions)
    desk = Desk(line, sources, pages, Archive(line), sessions, guard)

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await guard(request, handler)

    async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        if line.web.certfile:
            response.headers["Strict-Transport-Security"] = HSTS

    async def stop(_app: web.Application) -> None:
        desk.closing.append(True)

    async def clean(_app: web.Application) -> None:
        await pages.aside(desk.archive.close)
        pages.close()
        sessions.close()

    app = web.Application(middlewares=[guarded], client_max_size=LARGEST)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(stop)
    app.on_cleanup.append(clean)
    _routes(app, desk, now_ns)
    return app


def _routes(app: web.Application, desk: Desk, now_ns: Callable[[], int]) -> None:
    reading, sounds, system, live = Reading(desk), Sounds(desk), System(desk), Live(desk)
    listening = Listening(desk, sounds)
    writing = Writing(desk, listening, now_ns)
    for path, handler in (
        ("/", reading.board),
        ("/machines/{machine:.+}", reading.machine),
        ("/alarms", reading.alarms),
        ("/mics", reading.mics),
        ("/listen", listening.page),
        ("/listen/{trial}/{side}.flac", listening.sound),
        ("/system", system.page),
        ("/login", reading.login),
        ("/events", live.events),
        ("/clips/{name}", sounds.clip),
        ("/clips/{clip}/{name}", sounds.beside),
        ("/healthy/{mic:.+}/{at}.flac", sounds.healthy),
        ("/runbooks/{name}", Runbooks(desk).page),
        ("/api/state", system.state),
        ("/metrics", system.metrics),
        ("/-/healthy", system.healthy),
        ("/-/ready", system.ready),
        ("/static/{name}", system.static),
    ):
        app.router.add_get(path, handler)
    for path, handler in (
        ("/login", writing.login),
        ("/logout", writing.logout),
        ("/acknowledge", writing.acknowledge),
        ("/shelve", writing.shelve),
        ("/unshelve", writing.unshelve),
        ("/judge", writing.judge),
        ("/rebaseline", writing.rebaseline),
        ("/vote", writing.vote),
    ):
        app.router.add_post(path, handler)
