"""The page, /api/state, the clips, /metrics and the health endpoints, in a thread of their own.

The page shows a value that others made (`board`) and touches nothing else, so that a slow reader of it never holds
up an alarm. It needs no internet: its one style sheet and its one script come from here; nothing else is allowed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from monitor.errors import WorkFailed
from monitor.evidence import CLIP_ID
from monitor.page import Page
from monitor.settings import Line
from monitor.words import LANGS, Lang, text

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Server": "factory-ear",
}
OPEN = ("/-/healthy", "/-/ready")  # a token is not needed here: they say nothing about the line's sound
START_S = 30.0
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _ClipGone(Exception):
    """There is no clip of this name, or not any more."""


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the page takes from: `board` is the newest state, `alive` says whether the monitor goes on."""

    board: Callable[[], Mapping[str, Any]]
    alive: Callable[[], bool]
    clip: Callable[[str], Path]
    registry: CollectorRegistry


def make_app(line: Line, sources: Sources) -> web.Application:
    """The application; nothing is bound yet."""
    page = Page(line)
    site = Site(line, sources, page)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await site.guarded(request, handler)

    app = web.Application(middlewares=[guard])
    app.on_response_prepare.append(_add_headers)
    app.router.add_get("/", site.overview)
    app.router.add_get("/clips/{name}", site.clip)
    app.router.add_get("/api/state", site.state)
    app.router.add_get("/metrics", site.metrics)
    app.router.add_get("/-/healthy", site.healthy)
    app.router.add_get("/-/ready", site.ready)
    app.router.add_get("/static/{name}", site.static)
    return app


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


@dataclass(frozen=True)
class Site:
    """The handlers."""

    line: Line
    sources: Sources
    page: Page

    def lang(self, request: web.Request) -> Lang:
        """The language that `?lang=` asks for, else the site's."""
        asked = request.query.get("lang")
        return next((lang for lang in LANGS if lang == asked), self.line.site.lang)

    async def guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Ask for the token where there is one, and turn every error into a page that says what to do."""
        lang = self.lang(request)
        try:
            if not self._allowed(request):
                refused = self._error(401, text("refused", lang), lang)
                refused.headers["WWW-Authenticate"] = 'Basic realm="factory-ear", charset="UTF-8"'
                return refused
            return await handler(request)
        except _ClipGone:
            return self._error(404, text("clip_gone", lang), lang)
        except web.HTTPNotFound:
            return self._error(404, text("not_found", lang), lang)
        except web.HTTPException as error:
            return self._error(error.status, error.reason, lang)
        except Exception:  # noqa: BLE001 - a reader gets a sentence, the log the traceback
            _log.exception("page %s failed", request.path)
            return self._error(500, text("broken", lang), lang)

    def _allowed(self, request: web.Request) -> bool:
        token = self.line.web.token
        if not token or request.path in OPEN:
            return True
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":  # a browser asks its user: any name, the token as password
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, ValueError):
                return False
        return hmac.compare_digest(given.encode(), token.encode())

    def _error(self, status: int, words: str, lang: Lang) -> web.Response:
        return web.Response(status=status, text=self.page.error(status, words, lang), content_type="text/html")

    async def overview(self, request: web.Request) -> web.Response:
        """The page."""
        html = self.page.overview(self.sources.board(), self.lang(request))
        return web.Response(text=html, content_type="text/html")

    async def state(self, _request: web.Request) -> web.Response:
        """The board as JSON."""
        return web.json_response(self.sources.board())

    async def clip(self, request: web.Request) -> web.StreamResponse:
        """One clip of evidence; the name is checked against what an id can be before any path is made of it."""
        name, _, suffix = request.match_info["name"].partition(".")
        if suffix != "flac" or not CLIP_ID.fullmatch(name) or not (path := self.sources.clip(name)).is_file():
            raise _ClipGone
        return web.FileResponse(path, headers={"Content-Type": "audio/flac", "Cache-Control": "private, max-age=3600"})

    async def metrics(self, _request: web.Request) -> web.Response:
        """What Prometheus reads."""
        body = generate_latest(self.sources.registry)
        return web.Response(body=body, headers={"Content-Type": METRICS_TYPE})

    async def healthy(self, request: web.Request) -> web.Response:
        """200 while the monitor goes on, else 503."""
        alive = self.sources.alive()
        return web.Response(status=200 if alive else 503, text="ok\n" if alive else self._say("stalled", request))

    async def ready(self, request: web.Request) -> web.Response:
        """200 when sound is taken and judged, else 503 with the reasons, one per line."""
        board = self.sources.board()
        if board["ready"] and self.sources.alive():
            return web.Response(text="ok\n")
        keys = list(board["problems"]) if not board["ready"] else ["stalled"]
        lines = [self._say(key, request, **board["problems"].get(key, {})) for key in keys]
        return web.Response(status=503, text="".join(lines))

    def _say(self, key: str, request: web.Request, **values: Any) -> str:  # noqa: ANN401 - as in words.text
        return text(key, self.lang(request), **values) + "\n"

    async def static(self, request: web.Request) -> web.Response:
        """The style sheet and the script."""
        found = self.page.static.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        body, kind = found
        return web.Response(text=body, content_type=kind, headers={"Cache-Control": "no-cache"})


class WebThread:
    """Serves an application until `close`. `start` returns the address, also where the port was left open (0)."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        self._app, self._host, self._port = app, host, port
        self._loop = asyncio.new_event_loop()
        self._done: asyncio.Event | None = None
        self._bound = threading.Event()
        self._url = ""
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> str:
        """Bind and serve; the page's URL. Raises WorkFailed where the address cannot be had."""
        self._thread.start()
        if not self._bound.wait(START_S):
            raise WorkFailed(f"page: nothing was served within {START_S:.0f} s at {self._host}:{self._port}; try again")
        if self._error is not None:
            self._thread.join()
            raise WorkFailed(
                f"page: {self._host}:{self._port} cannot be served ({self._error.strerror or self._error}); "
                "is the line running already? else choose another [web] host or port"
            ) from self._error
        return self._url

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
            host = f"[{self._host}]" if ":" in self._host else self._host
            self._url = f"http://{host}:{runner.addresses[0][1]}/"
        except OSError as error:
            self._error = error
            self._done.set()
        self._bound.set()
        await self._done.wait()
        await runner.cleanup()

    def close(self) -> None:
        """Stop serving and wait for the thread."""
        if self._thread.is_alive() and self._done is not None:
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10.0)
