"""What a watched folder has given already: a small file of JSON lines that survives a crash.

The schema, one line each, appended and synced when the consumer has acknowledged the file:

    {"name": "a/b.wav", "size": 64044, "mtime_ns": 1764..., "hash": "16 hex digits", "end_ns": 1764...}

`name` is relative to the folder; `end_ns` is the end of the microphone's time line after this file, so that a restart
computes the same start times again. A later line of the same name replaces the earlier one. A line that a crash tore
is ignored: its file is then given again, which is harmless. Lines start with a line feed, so that a torn one spoils no
other. The file is written anew at opening and when it has grown to twice what it must hold; a line with an empty
name then keeps the end of the time line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

_SPARE = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that was taken, or refused for good."""

    name: str
    size: int
    mtime_ns: int
    hash: str
    end_ns: int

    def is_of(self, status: os.stat_result) -> bool:
        """Whether the file still looks as it did when it was taken."""
        return (self.size, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


class Taken:
    """The memory at `path`; None remembers until the process ends only.

    Its size is that of the folder and some: `forget_absent` drops what is not there any more. Raises OSError where
    `path` cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.end_ns = 0
        self._entries: dict[str, Entry] = {}
        self._by_hash: dict[str, str] = {}
        self._lines = 0
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._load(path)
            self._rewrite(path)

    def get(self, name: str) -> Entry | None:
        """What is remembered of the file of this name."""
        return self._entries.get(name)

    def name_of(self, content: str) -> str | None:
        """The name under which this content was taken."""
        return self._by_hash.get(content)

    def add(self, entries: Iterable[Entry]) -> None:
        """Remember `entries` durably. Raises OSError where the disk does not take them; nothing is lost then."""
        entries = list(entries)
        if self.path is not None and entries:
            with self.path.open("a", encoding="utf-8") as file:
                _write(file, entries)
            self._lines += len(entries)
        for entry in entries:
            self._keep(entry)

    def forget_absent(self, names: set[str]) -> None:
        """Drop what is not among `names`, once that is much: a file that was renamed is known by its content."""
        if len(self._entries) > 2 * len(names) + _SPARE:
            self._entries = {name: entry for name, entry in self._entries.items() if name in names}
            self._by_hash = {entry.hash: name for name, entry in self._entries.items() if entry.hash}
        if self.path is not None and self._lines > 2 * len(self._entries) + _SPARE:
            with suppress(OSError):  # a full disk: it stays long, and is tried again
                self._rewrite(self.path)

    def __len__(self) -> int:
        return len(self._entries)

    def _keep(self, entry: Entry) -> None:
        if entry.name:
            self._entries[entry.name] = entry
        if entry.hash:
            self._by_hash.setdefault(entry.hash, entry.name)
        self.end_ns = max(self.end_ns, entry.end_ns)

    def _load(self, path: Path) -> None:
        with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                with suppress(ValueError, TypeError):  # torn or damaged: its file is given again
                    self._keep(_entry(json.loads(line)))

    def _rewrite(self, path: Path) -> None:
        part = path.with_name(path.name + ".part")
        kept = [Entry("", 0, 0, "", self.end_ns), *self._entries.values()]
        with part.open("w", encoding="utf-8") as file:
            _write(file, kept)
        part.replace(path)
        self._lines = len(kept)


def _write(file: TextIO, entries: Iterable[Entry]) -> None:
    file.write("".join("\n" + json.dumps(asdict(entry)) for entry in entries))
    file.flush()
    os.fsync(file.fileno())


def _entry(raw: object) -> Entry:
    if not isinstance(raw, dict):
        raise TypeError("an entry is a JSON object")
    entry = Entry(**raw)
    texts, numbers = (entry.name, entry.hash), (entry.size, entry.mtime_ns, entry.end_ns)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in numbers):
        raise TypeError("an entry's field has a wrong type")
    return entry
