"""A folder that is watched: recordings are taken in the order of their time, then new ones as they appear.

A file is left alone until its size and time have not changed for `settle_s`: whoever copies or records it is done. A
recording's sound is placed so that it ends when the file was last written, but never before the end of the
microphone's previous sound. Each file is a session of its own, named by its content; the time between two recordings
is no gap, since a new session says so already.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from streams import soundfiles
from streams.capture.base import IDLE, Clock, Event, Rejected, Source, SourceError
from streams.capture.files import duplicate, events_of
from streams.capture.taken import Entry, Taken
from streams.windows import Chunker, Cut

_RETRY_S = 60.0  # for a file that is there but cannot be read: a share that hiccups, rights that are put right


@dataclass(slots=True)
class _Watched:
    """A file that is not taken yet: how it looked, and from when on it may be taken."""

    size: int
    mtime_ns: int
    ready_at: float


class FolderSource(Source):
    """Watches `folder`, sub-folders included. `memory` is the file that remembers what was taken.

    A file is remembered once the consumer has acknowledged its windows (or its refusal); until then a restart gives
    it out again, with the same identities and times. A changed file is new sound. Without sound for `stall_s`
    (0: never) there is a `Stalled`. Raises SourceError where the memory cannot be written.
    """

    def __init__(
        self,
        cut: Cut,
        folder: str | Path,
        *,
        memory: Path | None = None,
        channel: int = 0,
        settle_s: float = 3.0,
        poll_s: float = 1.0,
        stall_s: float = 0.0,
        clock: Clock | None = None,
        limits: soundfiles.Limits = soundfiles.LIMITS,
    ) -> None:
        super().__init__(cut, f"folder:{folder}", channel, clock)
        self.folder = Path(folder)
        self.settle_s, self.poll_s, self.stall_s = settle_s, poll_s, stall_s
        self.limits = limits
        try:
            self._taken = Taken(memory)
        except OSError as error:
            raise SourceError(f"{memory}: {error.strerror}; give a folder that can be written") from error
        self._line_ns = self._taken.end_ns
        self._finished: dict[str, Entry] = {}  # given out whole, not acknowledged yet
        self._watched: dict[str, _Watched] = {}
        self._absent = False

    def acknowledge(self) -> None:
        """Remember the files that were given out whole; where the disk does not take it, with the next call."""
        finished = list(self._finished.values())
        try:
            self._taken.add(finished)
        except OSError:
            self._counts.unsaved += 1
            return
        self._finished.clear()

    def _events(self) -> Generator[Event, None, None]:
        heard_at = self.clock.monotonic()
        while not self._stop.is_set():
            yield from self._say_if_absent()
            for path, status in self._ready():
                yield from self._take(path, status)
                heard_at = self.clock.monotonic()
            quiet_s = self.clock.monotonic() - heard_at
            if 0 < self.stall_s <= quiet_s:
                heard_at = self.clock.monotonic()
                yield self._stalled("no_samples", f"{self.folder}: no new recording for {quiet_s:.0f} s", quiet_s)
            yield IDLE
            self.clock.sleep(self.poll_s, self._stop)

    def _say_if_absent(self) -> Iterator[Rejected]:
        was_absent, self._absent = self._absent, not self.folder.is_dir()
        if self._absent and not was_absent:
            text = f"{self.folder}: no such folder; make it or mount it, it is looked for again and again"
            yield Rejected(self.machine, self.mic, self.name, "no_folder", text)

    def _ready(self) -> list[tuple[Path, os.stat_result]]:
        """The files that are new and have settled, by modification time, then name."""
        now = self.clock.monotonic()
        ready, names = [], set()
        for path in soundfiles.walk_sounds(self.folder, soundfiles.SUFFIXES + soundfiles.FOREIGN_SUFFIXES):
            try:
                status = path.stat()
            except OSError:
                continue  # gone since it was listed, or a link to nothing
            name = self._name(path)
            names.add(name)
            if self._is_new(name, status) and self._has_settled(name, status, now):
                ready.append((status.st_mtime_ns, name, path, status))
        if names:  # an empty folder may be a share that is not mounted: forgetting can wait
            self._taken.forget_absent(names)
        self._watched = {name: watched for name, watched in self._watched.items() if name in names}
        return [(path, status) for _, _, path, status in sorted(ready, key=lambda item: item[:2])]

    def _is_new(self, name: str, status: os.stat_result) -> bool:
        entry = self._finished.get(name) or self._taken.get(name)
        return entry is None or not entry.is_of(status)

    def _has_settled(self, name: str, status: os.stat_result, now: float) -> bool:
        watched = self._watched.get(name)
        if watched is None or (watched.size, watched.mtime_ns) != (status.st_size, status.st_mtime_ns):
            self._watched[name] = _Watched(status.st_size, status.st_mtime_ns, now + self.settle_s)
            return self.settle_s <= 0
        return now >= watched.ready_at

    def _take(self, path: Path, status: os.stat_result) -> Generator[Event, None, None]:
        name = self._name(path)
        try:
            info = soundfiles.inspect(path, self.limits)
            session = soundfiles.content_hash(path)
        except soundfiles.SoundFileError as error:
            yield from self._refuse(path, status, error)
            return
        first = self._taken.name_of(session) or self._name_of_finished(session)
        if first is not None:  # a copy is refused, a file that was renamed or touched is none
            if first != name and (self.folder / first).exists():
                yield duplicate(self, path, first)
            self._finish(name, status, session)
            return
        start_ns = max(status.st_mtime_ns - round(info.duration_s * 1e9), self._line_ns)
        chunker = Chunker(self.cut, session, start_ns, now_ns=self.clock.now_ns)
        yield from events_of(self, chunker, info, self.limits)
        self._line_ns = chunker.next_ns
        self._file_done(chunker)
        if _changed(path, status):
            text = f"{path}: it was still being written while it was read; it is taken again when it has settled"
            yield Rejected(self.machine, self.mic, str(path), "still_written", text)
            return
        self._finish(name, status, session)

    def _refuse(
        self, path: Path, status: os.stat_result, error: soundfiles.SoundFileError
    ) -> Generator[Event, None, None]:
        name = self._name(path)
        if error.reason == "no_file":
            return  # gone since it was listed
        yield self._rejected(str(path), error)
        if error.reason == "unreadable":
            self._watched[name].ready_at = self.clock.monotonic() + _RETRY_S
        else:
            self._finish(name, status, "")

    def _finish(self, name: str, status: os.stat_result, session: str) -> None:
        self._finished[name] = Entry(name, status.st_size, status.st_mtime_ns, session, self._line_ns)
        self._watched.pop(name, None)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _name_of_finished(self, session: str) -> str | None:
        return next((entry.name for entry in self._finished.values() if entry.hash == session), None)


def _changed(path: Path, before: os.stat_result) -> bool:
    try:
        after = path.stat()
    except OSError:
        return False  # taken away after it was read: what was read stands
    return (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
