"""From the text in `line.toml` to a source."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from streams.capture.base import Clock, Source, SourceError
from streams.gate import LEVELS, SoundLevels
from streams.windows import Cut

SCHEMES = ("file:", "folder:", "mic:", "ffmpeg:")


def open_source(
    source: str,
    *,
    machine: str,
    mic: str,
    rate: int = 16_000,
    window_s: float = 2.0,
    channel: int = 0,
    speed: float = 1.0,
    start_ns: int | None = None,
    state_dir: Path | None = None,
    stall_s: float | None = None,
    settle_s: float = 3.0,
    late_s: float = 60.0,
    levels: SoundLevels = LEVELS,
    clock: Clock | None = None,
) -> Source:
    """The source that `source` names: `file:PATH or pattern`, `folder:PATH`, `mic:DEVICE`, `ffmpeg:URL or path`.

    Nothing is captured before the source is iterated. `speed` and `start_ns` are for `file:`, `settle_s` and
    `state_dir` (where it remembers what was taken; None: nowhere) for `folder:`. `stall_s` None leaves each kind its
    own: 5 s for a microphone, 15 s for a stream, never for a folder.
    Raises SourceError, which says what to do.
    """
    scheme, colon, rest = source.partition(":")
    if scheme + colon not in SCHEMES or not rest:
        allowed = ", ".join(SCHEMES)
        raise SourceError(f"source of {mic} is {source!r}; start it with one of {allowed} and say what to read")
    cut = Cut(machine, mic, rate, window_s, late_s=late_s, levels=levels)
    if scheme == "file":
        from streams.capture.files import FileSource

        return FileSource(cut, rest, channel=channel, speed=speed, start_ns=start_ns, clock=clock)
    if scheme == "folder":
        from streams.capture.folder import FolderSource

        memory = state_dir and state_dir / f"{memory_name(mic, rest)}.taken.jsonl"
        return FolderSource(
            cut, rest, memory=memory, channel=channel, settle_s=settle_s, stall_s=stall_s or 0.0, clock=clock
        )
    if scheme == "mic":
        from streams.capture.microphone import MicSource

        return MicSource(cut, rest, channel=channel, stall_s=stall_s or 5.0, clock=clock)
    from streams.capture.ffmpeg import FfmpegSource

    return FfmpegSource(cut, rest, channel=channel, stall_s=stall_s or 15.0, clock=clock)


def memory_name(mic: str, folder: str) -> str:
    """A file name of its own for each microphone and folder, whatever characters their names hold."""
    digest = hashlib.sha256(f"{mic}\x1f{folder}".encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', mic)[:60]}-{digest}"
