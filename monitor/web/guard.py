"""What stands before every handler: names, rates, rights, forged forms, and errors that become pages.

In this order, so that nothing is looked up for a request that will be refused anyway: the name by which the page was
called (a foreign name is a rebound DNS entry), the rate, who asks, whether reading is allowed, and for a write the
right, the form's CSRF token and where the form came from. Every write that is denied becomes an entry of the audit log.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.web_exceptions import HTTPException

from monitor.actions import By, Outcome
from monitor.settings import Line
from monitor.settings_web import LOOPBACK
from monitor.web.access import Access, Role, may
from monitor.web.forms import fields
from monitor.web.limits import Limiter
from monitor.web.pages import SESSION, Pages
from monitor.web.sessions import COOKIE, Session, Sessions
from monitor.web.sources import Sources

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser hides the origin of our own forms too
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Server": "factory-ear",
}
HSTS = "max-age=31536000"
OPEN = ("/-/healthy", "/-/ready", "/login")  # a token is not needed here: they say nothing about the line's sound
STATIC = "/static/"
LOGIN_PER_S, LOGIN_BURST = 1 / 6, 10
WRITES_PER_S, WRITES_BURST = 1.0, 30
BURST_S = 10  # reads: how many seconds' worth may come at once

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = logging.getLogger(__name__)


class Denied(Exception):
    """A request without the right to it; `key` is what the page says."""

    def __init__(self, key: str, status: int = 403) -> None:
        super().__init__(key)
        self.key, self.status = key, status


class Guard:
    """The middleware of a line's page. `steady_s` is for the rates."""

    def __init__(
        self,
        line: Line,
        sources: Sources,
        pages: Pages,
        access: Access,
        sessions: Sessions,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line, self._actions, self._pages = line, sources.actions, pages
        self._access, self._sessions = access, sessions
        per_s = line.web.requests_per_s
        self._reads = Limiter(per_s, per_s * BURST_S, steady_s)
        self._writes = Limiter(WRITES_PER_S if per_s else 0.0, WRITES_BURST, steady_s)
        self._logins = Limiter(LOGIN_PER_S if per_s else 0.0, LOGIN_BURST, steady_s)
        self._needs: dict[str, Role] = {}

    def needs(self, path: str, role: Role) -> None:
        """A page below `path` that only `role` may read."""
        self._needs[path] = role

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let the request through, or answer with a page that says why not."""
        try:
            self._named(request)
            self._paced(request)
            session = self._session(request)
            if session:
                request[SESSION] = session
            self._may_read(request, session)
            if request.method not in ("GET", "HEAD"):
                await self._may_write(request, session)
            return await handler(request)
        except Denied as denied:
            return await self._denied(request, denied)
        except HTTPException as error:
            if error.status < 400:
                raise
            key = {404: "not_found", 413: "too_large", 429: "too_fast"}.get(error.status)
            answer = self._pages.error(request, error.status, key, error.reason)
            answer.headers.update({k: v for k, v in error.headers.items() if k in ("Allow", "Retry-After")})
            return answer
        except Exception:  # noqa: BLE001 - a reader gets a sentence, the log the traceback
            _log.exception("page %s failed", request.path)
            return self._pages.error(request, 500, "broken")

    def _named(self, request: web.Request) -> None:
        """Refuse a foreign host name where the page is only this machine's own: DNS rebinding."""
        if self._line.web.host not in LOOPBACK:
            return
        name = urlsplit(f"//{request.headers.get('Host', '')}").hostname
        if name not in (*LOOPBACK, *self._line.web.hosts):
            raise Denied("wrong_host", 421)

    def _paced(self, request: web.Request) -> None:
        if request.path.startswith(STATIC) or request.path in OPEN[:2]:
            return
        address = request.remote or ""
        limiter = self._reads
        if request.method not in ("GET", "HEAD"):
            limiter = self._logins if request.path == "/login" else self._writes
        wait_s = limiter.wait_s(address)
        if wait_s:
            raise web.HTTPTooManyRequests(headers={"Retry-After": str(int(wait_s) + 1)})

    def _session(self, request: web.Request) -> Session | None:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            role = self._access.role(given.strip())
            return Session(f"token ({role})", role) if role else None
        if kind.lower() == "basic":  # any name, the token as password; for reading only, since browsers repeat it
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, ValueError):
                return None
            return Session("basic", "view") if self._access.role(given) else None
        return self._sessions.of(request.cookies.get(COOKIE, ""))

    def _may_read(self, request: web.Request, session: Session | None) -> None:
        open_to_all = request.path in OPEN or request.path.startswith(STATIC)
        if not (open_to_all or session or self._line.web.reading_is_open):
            raise Denied("refused", 401)
        for path, role in self._needs.items():
            if request.path.startswith(path) and not may(session.role if session else None, role):
                raise Denied("no_right" if session else "refused", 403 if session else 401)

    async def _may_write(self, request: web.Request, session: Session | None) -> None:
        if not _same_origin(request):
            raise Denied("forged")
        if request.path == "/login":
            return
        if session is None:
            raise Denied("refused", 401)
        if not may(session.role, "operate") and request.path != "/logout":
            raise Denied("no_right")
        if not session.csrf:
            return  # a bearer token is sent on purpose: no other site can make a browser do it
        given = (await fields(request)).get("csrf", "")
        if not hmac.compare_digest(given.encode(), session.csrf.encode()):
            raise Denied("forged")

    async def _denied(self, request: web.Request, denied: Denied) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            await self.note(request, f"{request.method} {request.path[:200]}", "denied", denied.key)
        if denied.status == 401:
            answer = self._pages.login(request, 401, denied.key)
            answer.headers["WWW-Authenticate"] = 'Bearer realm="factory-ear"'
            return answer
        return self._pages.error(request, denied.status, denied.key)

    async def note(self, request: web.Request, subject: str, outcome: Outcome, comment: str = "") -> None:
        """An entry of the audit log, as far as there is one; a log that fails stops no answer."""
        if self._actions is None:
            return
        try:
            await self._pages.aside(self._actions.note, "page", subject, outcome, by_of(request), comment)
        except Exception:  # noqa: BLE001 - the write was denied in any case
            _log.exception("the audit log takes nothing")


def by_of(request: web.Request) -> By:
    """Who asks, for the log."""
    session = request.get(SESSION)
    address = request.remote or ""
    return By(session.who, session.role, address) if session else By("", "", address)


def _same_origin(request: web.Request) -> bool:
    """Whether a form was sent from our own page, as far as the browser says; programs say nothing."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin", "")
    return not origin or urlsplit(origin).netloc == request.headers.get("Host", "")
