"""What people do: log in, acknowledge, shelve, judge, ask for a new normal, vote. Plain forms, no script is needed.

The guard has checked rights and forms before a handler is called. The store of actions holds the rules and the log;
here a form becomes a call, and the reader goes back to where they came from.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar, cast

from aiohttp import web

from monitor.actions import COMMENT_LONGEST, WHO_LONGEST, Actions, Choice, Refused, Verdict, Vote
from monitor.web.access import Role
from monitor.web.desk import Desk
from monitor.web.forms import fields
from monitor.web.guard import Denied, by_of
from monitor.web.listening import Listening
from monitor.web.pages import SESSION, local_path
from monitor.web.sessions import COOKIE

T = TypeVar("T")
HOURS = (1, 4, 8, 24, 72)  # how long a form offers to shelve
FAULT_LONGEST = 60


class Writing:
    """Handlers. `now_ns` is UTC."""

    def __init__(self, desk: Desk, listening: Listening, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._desk, self._listening, self._now_ns = desk, listening, now_ns

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Name and token become a session."""
        form = await fields(request)
        who, token = form.get("who", ""), form.get("token", "")
        pages = self._desk.pages
        if not (who and len(who) <= WHO_LONGEST and who.isprintable()):
            return pages.login(request, 400, "name_needed")
        begun = self._desk.sessions.begin(who, token)
        if begun is None:
            await self._desk.guard.note(request, "log-in", "denied", who)
            return pages.login(request, 401, "login_failed")
        cookie, _ = begun
        await self._desk.guard.note(request, "log-in", "done", who)
        answer = _back(local_path(form.get("next", "")))
        web_settings = self._desk.line.web
        answer.set_cookie(
            COOKIE,
            cookie,
            max_age=round(web_settings.session_hours * 3600),
            httponly=True,
            samesite="Strict",
            secure=web_settings.certfile is not None,
            path="/",
        )
        return answer

    async def logout(self, request: web.Request) -> web.StreamResponse:
        """End the session, here and in the browser."""
        self._desk.sessions.end(request.cookies.get(COOKIE, ""))
        await self._desk.guard.note(request, "log-out", "done")
        answer = _back("/")
        answer.del_cookie(COOKIE, path="/")
        return answer

    async def acknowledge(self, request: web.Request) -> web.StreamResponse:
        """Somebody has seen an alarm."""
        form = await self._form(request)
        by = by_of(request)
        return await self._do(request, lambda do: do.acknowledge(form["alarm"], by, form["comment"]))

    async def shelve(self, request: web.Request) -> web.StreamResponse:
        """Nobody is called because of a machine for some hours."""
        form = await self._form(request)
        hours = int(form["hours"]) if form["hours"] in {str(one) for one in HOURS} else 0
        if not hours:
            return self._refuse(request, "bad_until")
        by, until_ns = by_of(request), self._now_ns() + hours * 3_600_000_000_000
        return await self._do(request, lambda do: do.shelve(form["machine"], until_ns, by, form["comment"]))

    async def unshelve(self, request: web.Request) -> web.StreamResponse:
        """People are called again."""
        form = await self._form(request)
        by = by_of(request)
        return await self._do(request, lambda do: do.unshelve(form["machine"], by, form["comment"]))

    async def judge(self, request: web.Request) -> web.StreamResponse:
        """What an alarm turned out to be."""
        form = await self._form(request)
        if form["verdict"] not in ("confirmed", "rejected") or len(form["fault"]) > FAULT_LONGEST:
            return self._refuse(request, "bad_value")
        by, verdict = by_of(request), cast("Verdict", form["verdict"])
        return await self._do(request, lambda do: do.judge(form["alarm"], verdict, by, form["fault"], form["comment"]))

    async def rebaseline(self, request: web.Request) -> web.StreamResponse:
        """Ask that this be the new normal: for admins."""
        await self._need(request, "admin")
        form = await self._form(request)
        if not form["why"]:
            return self._refuse(request, "bad_value")
        by = by_of(request)
        return await self._do(request, lambda do: do.ask_rebaseline(form["machine"], by, form["why"]))

    async def vote(self, request: web.Request) -> web.StreamResponse:
        """One answer of the listening test."""
        form = await self._form(request)
        trial = await self._listening.find(request, form["trial"])
        if trial is None or form["choice"] not in ("a", "b", "same"):
            return self._refuse(request, "bad_value")
        by = by_of(request)
        vote = Vote(trial.name, trial.clip, trial.a, trial.b, cast("Choice", form["choice"]), by.who, self._now_ns())
        return await self._do(request, lambda do: do.vote(vote, by))

    async def _need(self, request: web.Request, role: Role) -> None:
        session = request.get(SESSION)
        if session is None or session.role != role:
            raise Denied("no_right")

    async def _form(self, request: web.Request) -> dict[str, str]:
        """The form's fields; what was not sent is empty. Raises Denied for a field that is too long."""
        form = await fields(request)
        names = ("alarm", "machine", "comment", "hours", "verdict", "fault", "why", "trial", "choice")
        found = {name: form.get(name, "") for name in names}
        if any(len(one) > COMMENT_LONGEST or "\x00" in one for one in found.values()):
            raise Denied("bad_value", 400)
        return found

    async def _do(self, request: web.Request, work: Callable[[Actions], T]) -> web.StreamResponse:
        """Have it done and go back."""
        actions = self._desk.sources.actions
        if actions is None:
            return self._refuse(request, "no_actions", 503)
        try:
            await self._desk.pages.aside(work, actions)
        except Refused as refused:
            return self._refuse(request, refused.why)
        self._desk.wrote(request.path)
        form = await fields(request)
        return _back(local_path(form.get("next", "")))

    def _refuse(self, request: web.Request, key: str, status: int = 400) -> web.Response:
        return self._desk.pages.error(request, status, key)


def _back(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})
