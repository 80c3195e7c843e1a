"""Sound and pictures from the data folder. Every name is checked against what it can be before a path is made of it."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import web

from monitor.evidence import CLIP_ID
from monitor.keepsakes import keepsakes
from monitor.web.archive import VERSIONS
from monitor.web.desk import Desk

KINDS = {".flac": "audio/flac", ".png": "image/png"}
BESIDE = (*(f"{name}.flac" for name in VERSIONS), "sound.png", "heat.png")
_NS = re.compile(r"[0-9]{1,19}")


class Sounds:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def clip(self, request: web.Request) -> web.StreamResponse:
        """One clip of evidence."""
        name, _, suffix = request.match_info["name"].partition(".")
        if suffix != "flac" or not CLIP_ID.fullmatch(name):
            return self._gone(request)
        return self.file(request, self._desk.sources.clip(name))

    async def beside(self, request: web.Request) -> web.StreamResponse:
        """What was made of a clip: another version of it, or a picture."""
        clip, name = request.match_info["clip"], request.match_info["name"]
        if not CLIP_ID.fullmatch(clip) or name not in BESIDE:
            return self._gone(request)
        return self.file(request, self._desk.archive.folder(clip) / name)

    async def healthy(self, request: web.Request) -> web.StreamResponse:
        """Healthy sound of an earlier day."""
        mic, at = request.match_info["mic"], request.match_info["at"]
        known = {one.id for machine in self._desk.line.machine for one in machine.mic}
        if mic not in known or not _NS.fullmatch(at):
            return self._gone(request)
        kept = await self._desk.pages.aside(keepsakes, self._desk.line.site.data / "evidence", mic)
        found = next((one.path for one in kept if one.at_ns == int(at)), None)
        return self.file(request, found) if found else self._gone(request)

    def file(self, request: web.Request, path: Path) -> web.StreamResponse:
        """A file, in parts where a player asks for parts; a page that says so where it is not there (any more)."""
        if not path.is_file():
            return self._gone(request)
        headers = {"Content-Type": KINDS[path.suffix], "Cache-Control": "private, max-age=3600"}
        return web.FileResponse(path, headers=headers)

    def _gone(self, request: web.Request) -> web.Response:
        return self._desk.pages.error(request, 404, "clip_gone")
