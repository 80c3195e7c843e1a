"""Templates, filled: every page knows its language, its reader and the site's time zone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jinja2
from aiohttp import web
from yarl import URL

from monitor.settings import Line
from monitor.web.access import Role, may
from monitor.web.sessions import Session
from monitor.web.texts import page_text
from monitor.words import LANGS, Lang

TEMPLATES = Path(__file__).parent.parent / "templates"
STATIC = Path(__file__).parent.parent / "static"
KINDS = {".css": "text/css", ".js": "text/javascript", ".txt": "text/plain", ".svg": "image/svg+xml"}
LANG_COOKIE = "factory_ear_lang"
NAV = (
    ("board", "/"),
    ("alarms", "/alarms"),
    ("mics", "/mics"),
    ("listen", "/listen"),
    ("system", "/system"),
)
SESSION = web.RequestKey("session", Session)

P = ParamSpec("P")
T = TypeVar("T")


class Pages:
    """Renders the pages of a line; templates and static files are read once.

    `aside` runs what reads the disk in the one thread that does: a slow page holds up neither events nor health.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self.machines = {machine.id: machine for machine in line.machine}
        self._thread = ThreadPoolExecutor(1, "page")
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        for name in self._templates.list_templates(["html"]):
            self._templates.get_template(name)  # an upgrade under a running monitor changes nothing of it
        found = [path for path in STATIC.iterdir() if path.suffix in KINDS]
        self.static = {path.name: (path.read_text(encoding="utf-8"), KINDS[path.suffix]) for path in found}

    async def aside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in the pages' thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=True)

    @property
    def zone(self) -> str:
        """The site's time zone."""
        return self._line.site.time_zone

    def lang(self, request: web.Request) -> Lang:
        """The language that `?lang=` asks for, else the one asked for last, else the site's."""
        asked = (request.query.get("lang"), request.cookies.get(LANG_COOKIE))
        return next((lang for one in asked for lang in LANGS if lang == one), self._line.site.lang)

    def name(self, machine: str, lang: Lang) -> str:
        """The name of a machine or a hall, or its id where the settings do not know it (any more)."""
        return self._line.name_of(machine, lang)

    def html(self, request: web.Request, name: str, status: int = 200, **values: Any) -> web.Response:  # noqa: ANN401 - a template takes anything
        """A page from a template."""
        lang = self.lang(request)
        session = request.get(SESSION)

        def say(key: str, **parts: Any) -> str:  # noqa: ANN401 - as in words.text
            return page_text(key, lang, **parts)

        def can(role: Role) -> bool:
            return may(session.role if session else None, role)

        text = self._templates.get_template(name).render(
            t=say,
            lang=lang,
            other="en" if lang == "ja" else "ja",
            other_url=_in_other_language(request.rel_url if status < 400 else URL("/"), "en" if lang == "ja" else "ja"),
            here=str(request.rel_url) if status < 400 else "/",
            site=self._line.site.name,
            zone=self.zone,
            nav=NAV,
            wall="wall" in request.query,
            session=session,
            csrf=session.csrf if session else "",
            can=can,
            **values,
        )
        answer = web.Response(status=status, text=text, content_type="text/html")
        if request.query.get("lang") == lang and request.cookies.get(LANG_COOKIE) != lang:
            answer.set_cookie(LANG_COOKIE, lang, max_age=365 * 86_400, samesite="Lax", httponly=True, path="/")
        answer.enable_compression()
        return answer

    def error(self, request: web.Request, status: int, key: str | None, reason: str = "") -> web.Response:
        """A page that says what went wrong and what to do."""
        words = page_text(key, self.lang(request)) if key else reason
        return self.html(request, "error.html", status, error_status=status, words=words)

    def login(self, request: web.Request, status: int = 200, key: str = "") -> web.Response:
        """The log-in, with what went wrong before."""
        to = request.query.get("next", "") if request.path == "/login" else str(request.rel_url)
        to = to if request.method in ("GET", "HEAD") else "/"
        words = page_text(key, self.lang(request)) if key else ""
        return self.html(request, "login.html", status, to=local_path(to), words=words)


def _in_other_language(url: URL, lang: Lang) -> str:
    return str(url.update_query(lang=lang))


def local_path(text: str) -> str:
    """A path of this site, for going back to after a form; anything else is the first page."""
    fine = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if fine and len(text) <= 500 else "/"
