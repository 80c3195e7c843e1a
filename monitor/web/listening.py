"""The listening test: is a fault easier to hear in separated or enhanced sound? Blind, two at a time, votes kept.

A trial is a clip and one of its other versions; which of the two stands on the left follows from a keyed hash of trial
and person, so it is the same when the page is loaded again and cannot be guessed. The addresses of the sounds do not
say which is which, and neither do the lengths of their names.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from monitor.actions import Vote
from monitor.evidence import CLIP_ID
from monitor.web.desk import Desk
from monitor.web.pages import SESSION
from monitor.web.sounds import Sounds
from monitor.web.views import View

COMPARED = ("separated", "enhanced")
RAW = "raw"
CLIPS = 200  # the newest clips are compared


@dataclass(frozen=True, slots=True)
class Trial:
    """One comparison as one person meets it."""

    name: str
    clip: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Tally:
    """The votes on one version against the raw sound, and the share that preferred it with its 95% Wilson interval."""

    version: str
    raw: int
    other: int
    same: int

    @property
    def share(self) -> tuple[float, float, float]:
        """Share of the decided votes for the version, lowest and highest that the votes allow."""
        return wilson(self.other, self.raw + self.other)


def wilson(hits: int, total: int) -> tuple[float, float, float]:
    """A share and its 95% interval (Wilson, JASA 22, 1927). Nothing counted: 0 to 1."""
    if not total:
        return 0.5, 0.0, 1.0
    z = 1.959964
    share, room = hits / total, z * z / total
    middle = (share + room / 2) / (1 + room)
    half = z * math.sqrt(share * (1 - share) / total + room / (4 * total)) / (1 + room)
    return share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def tally(votes: Sequence[Vote]) -> list[Tally]:
    """The votes summed up; what is not a version against raw is left out."""
    found = []
    for version in COMPARED:
        mine = [vote for vote in votes if {vote.a, vote.b} == {RAW, version}]
        if mine:
            chosen = [vote.preferred for vote in mine]
            found.append(Tally(version, chosen.count(RAW), chosen.count(version), chosen.count("")))
    return found


class Listening:
    """Handlers. The key is made anew with each start: only the sides of trials that nobody has voted on change."""

    def __init__(self, desk: Desk, sounds: Sounds, key: bytes = b"") -> None:
        self._desk, self._sounds = desk, sounds
        self._key = key or secrets.token_bytes(32)

    def trials(self, who: str) -> list[Trial]:
        """All there are, in this person's order and with this person's sides."""
        clips = [one.alert.clip for one in self._desk.archive.alerts(CLIPS) if one.alert.clip]
        pairs = [(clip, name) for clip in clips for name in self._desk.archive.versions(clip) if name in COMPARED]
        return sorted((self._trial(who, clip, version) for clip, version in pairs), key=lambda one: one.name)

    def _trial(self, who: str, clip: str, version: str) -> Trial:
        mark = hmac.new(self._key, "\x1f".join((who, clip, version)).encode(), hashlib.sha256).hexdigest()
        a, b = (RAW, version) if int(mark[-1], 16) % 2 else (version, RAW)
        return Trial(mark[:24], clip, a, b)

    async def page(self, request: web.Request) -> web.Response:
        """The next comparison, and what was voted so far."""
        session = request.get(SESSION)
        who = session.who if session else ""
        actions = self._desk.sources.actions

        def fill(_view: View) -> dict[str, Any]:
            votes = actions.votes() if actions else []
            voted = {(vote.clip, frozenset((vote.a, vote.b))) for vote in votes if vote.who == who}
            trials = self.trials(who)
            left = [one for one in trials if (one.clip, frozenset((one.a, one.b))) not in voted]
            return {"trial": next(iter(left), None), "total": len(trials), "left": len(left), "tallies": tally(votes)}

        return await self._desk.show(request, "listen.html", fill)

    async def find(self, request: web.Request, name: str) -> Trial | None:
        """The trial of this name, as its person meets it."""
        session = request.get(SESSION)
        trials = await self._desk.pages.aside(self.trials, session.who if session else "")
        return next((one for one in trials if hmac.compare_digest(one.name.encode(), name.encode())), None)

    async def sound(self, request: web.Request) -> web.StreamResponse:
        """One side of a trial."""
        trial = await self.find(request, request.match_info["trial"])
        side = request.match_info["side"]
        if trial is None or side not in ("a", "b") or not CLIP_ID.fullmatch(trial.clip):
            raise web.HTTPNotFound
        version = trial.a if side == "a" else trial.b
        clip = self._desk.sources.clip(trial.clip)
        path = clip if version == RAW else self._desk.archive.folder(trial.clip) / f"{version}.flac"
        answer = self._sounds.file(request, path)
        answer.headers["Cache-Control"] = "no-store"
        return answer
