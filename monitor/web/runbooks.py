"""The runbooks of monitor/runbooks/, which alerts link to: /runbooks/NAME?lang=ja|en. They travel in the package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from monitor.web.desk import Desk
from monitor.web.views import View

FOLDER = Path(__file__).parents[1] / "runbooks"
NAME = re.compile(r"[a-z-]{1,60}")
SECTIONS = {"ja": "## 日本語", "en": "## English"}
_ITEM = re.compile(r"(\d+\.|-) ")


class Block(NamedTuple):
    """A paragraph (`p`) or a list (`ol`, `ul`) with its lines."""

    kind: str
    lines: tuple[str, ...]


class Runbooks:
    """One handler; texts are read once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._books = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}

    async def page(self, request: web.Request) -> web.Response:
        """One runbook in the reader's language."""
        name = request.match_info["name"]
        if not NAME.fullmatch(name) or name not in self._books:
            raise web.HTTPNotFound
        text = self._books[name]

        def fill(view: View) -> dict[str, Any]:
            return {"title": title(text, view.lang), "blocks": list(blocks(text, view.lang))}

        return await self._desk.show(request, "runbook.html", fill)


def title(text: str, lang: str) -> str:
    """The first line, Japanese / English."""
    ja, _, en = text.split("\n", maxsplit=1)[0].removeprefix("# ").partition(" / ")
    return ja if lang == "ja" else en


def blocks(text: str, lang: str) -> Iterator[Block]:
    """The section of a language: paragraphs and lists; a line that goes on is joined to the one before."""
    section = text.split(SECTIONS[lang], maxsplit=1)[-1].split("\n## ", maxsplit=1)[0]
    for part in re.split(r"\n\s*\n|\n(?=1\. )|\n(?=- )", section.strip()):
        kind = "ol" if part.startswith("1. ") else "ul" if part.startswith("- ") else "p"
        space = "" if lang == "ja" else " "
        lines: list[str] = []
        for line in part.replace("`", "").split("\n"):
            if kind == "p" or not lines or not _ITEM.match(line):
                lines[-1:] = [space.join([*lines[-1:], line.strip()])] if lines else [line]
            else:
                lines.append(line)
        yield Block(kind, tuple(_ITEM.sub("", line, count=1) if kind != "p" else line for line in lines))
