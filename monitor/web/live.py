"""Server-sent events: a page is told when there is something new, and fetches it.

An event says only that something changed, so that a page that missed some misses nothing. `changed` comes when a
state, an alarm or a signal differs, `tick` every few seconds for levels and clocks.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from monitor.web.desk import Desk

LOOK_S = 1.0
TICK_LOOKS = 10  # every so many looks at least
MOST = 200  # pages that listen at once


def fingerprint(board: Mapping[str, Any]) -> str:
    """The same as long as nothing has changed that somebody should see at once."""
    parts = [
        [
            (one["id"], one["state"], one["since_ns"], [mic["signal"] for mic in one["mics"]])
            for one in board["machines"]
        ],
        [
            (one["alert_id"], one["level"], one["closed_ns"], one["clip"], one["clip_pending"])
            for one in board["alerts"]
        ],
        board["problems"],
    ]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


class Live:
    """The handler, and how many listen. What people do shows at once, as what the line does."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._listening = 0

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Events until the page or the monitor goes."""
        if self._listening >= MOST:
            raise web.HTTPServiceUnavailable
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await answer.prepare(request)
        self._listening += 1
        try:
            await self._tell(answer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._listening -= 1
        return answer

    async def _tell(self, answer: web.StreamResponse) -> None:
        await answer.write(b"retry: 3000\n\n")
        last, looks = self._mark(), 0
        while not self._desk.closing:
            await asyncio.sleep(LOOK_S)
            looks += 1
            mark = self._mark()
            if mark != last:
                await answer.write(b"event: changed\ndata: 1\n\n")
                last, looks = mark, 0
            elif looks >= TICK_LOOKS:
                await answer.write(b"event: tick\ndata: 1\n\n")
                looks = 0

    def _mark(self) -> str:
        return f"{fingerprint(self._desk.sources.board())} {self._desk.writes}"
