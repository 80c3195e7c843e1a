"""A file, or a pattern of files in the order of their names, replayed in pace: `file:press.wav`, `file:day1/*.flac`.

Each file is a session of its own, named by its content. The microphone's time line is continuous: the first file starts
at `start_ns`, each next one where the one before ended, so that a replay of old recordings has sensible event times.
"""

from __future__ import annotations

import glob
from collections.abc import Generator, Iterator
from pathlib import Path

from streams import soundfiles
from streams.capture.base import IDLE, Clock, Event, Rejected, Source, SourceError
from streams.records import AudioWindow
from streams.windows import Chunker, Cut


class FileSource(Source):
    """Replays the files that match `pattern` at `speed` times real time; 0 is as fast as they are taken.

    Raises SourceError where no file matches. A file that is refused is a `Rejected` and takes no time.
    """

    def __init__(
        self,
        cut: Cut,
        pattern: str,
        *,
        channel: int = 0,
        speed: float = 1.0,
        start_ns: int | None = None,
        clock: Clock | None = None,
        limits: soundfiles.Limits = soundfiles.LIMITS,
    ) -> None:
        super().__init__(cut, f"file:{pattern}", channel, clock)
        if not speed >= 0:
            raise SourceError(f"speed is {speed!r}, allowed is 0 (as fast as it goes) or a factor such as 1.0")
        self.paths = matching(pattern)
        self.speed = speed
        self.start_ns = start_ns
        self.limits = limits

    def _events(self) -> Generator[Event, None, None]:
        line_ns = self.clock.now_ns() if self.start_ns is None else self.start_ns
        pace = (self.clock.monotonic(), line_ns)
        seen: dict[str, Path] = {}
        for path in self.paths:
            try:
                info = soundfiles.inspect(path, self.limits)
                session = soundfiles.content_hash(path)
            except soundfiles.SoundFileError as error:
                yield self._rejected(str(path), error)
                continue
            if session in seen:
                yield duplicate(self, path, seen[session])
                continue
            seen[session] = path
            chunker = Chunker(self.cut, session, line_ns)
            yield from self._replay(chunker, info, pace)
            line_ns = chunker.next_ns
            self._file_done(chunker)

    def _replay(
        self, chunker: Chunker, info: soundfiles.SoundInfo, pace: tuple[float, int]
    ) -> Generator[Event, None, None]:
        begin, begin_ns = pace
        for event in events_of(self, chunker, info, self.limits):
            if isinstance(event, AudioWindow):
                yield from self._wait_until(begin, event.end_ns - begin_ns)
            yield event

    def _wait_until(self, begin: float, due_ns: int) -> Iterator[Event]:
        if self.speed == 0:
            return
        due = begin + due_ns / 1e9 / self.speed
        if due > self.clock.monotonic():
            yield IDLE
        while (rest := due - self.clock.monotonic()) > 0 and not self._stop.is_set():
            self.clock.sleep(rest, self._stop)


def matching(pattern: str) -> list[Path]:
    """The file of this name, or the files that match, sorted by name. Raises SourceError where there is none."""
    if Path(pattern).is_file():
        return [Path(pattern)]
    paths = [Path(name) for name in sorted(glob.glob(pattern, recursive=True)) if Path(name).is_file()]  # noqa: PTH207  (a pattern may be absolute, which Path.glob refuses)
    if not paths:
        raise SourceError(f"file:{pattern}: no file matches; correct the path, or use folder: for a folder")
    return paths


def events_of(
    source: Source, chunker: Chunker, info: soundfiles.SoundInfo, limits: soundfiles.Limits
) -> Iterator[AudioWindow | Rejected]:
    """The windows of one file; then what decoding showed to be wrong with it, or that it is shorter than a window.

    `chunker.next_ns` is afterwards where the file's sound ended.
    """
    try:
        for block in soundfiles.read_blocks(info.path, source.cut.rate, source.channel, source.cut.window_s, limits):
            yield from chunker.push(block)
    except soundfiles.SoundFileError as error:
        yield Rejected(source.machine, source.mic, str(info.path), error.reason, error.text)
        return
    if chunker.sequence == 0:
        text = f"{info.path}: {info.duration_s:.2f} s, a window has {source.cut.window_s:g} s; record for longer"
        yield Rejected(source.machine, source.mic, str(info.path), "too_short", text)


def duplicate(source: Source, path: Path, first: Path | str) -> Rejected:
    """The event for a file with the same bytes as `first`: its windows would overwrite that one's."""
    text = f"{path}: the same bytes as {first}, which was taken; its windows would overwrite those"
    return Rejected(source.machine, source.mic, str(path), "duplicate", text)
