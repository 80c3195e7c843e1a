"""Whatever ffmpeg reads: `ffmpeg:rtsp://user:secret@camera/stream`, `ffmpeg:/srv/recording.mkv`.

A URL is a live stream: its ffmpeg is started again when it ends or falls silent, as a new session with the gap
measured. A path is a recording: it is read once, on a time line that starts now. Credentials in URLs are masked
wherever a URL is shown; the process list of the machine shows them all the same, since ffmpeg takes its input as an
argument.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from urllib.parse import unquote

from streams.capture.base import Clock, SourceError
from streams.capture.live import Feed, LiveSource, new_session
from streams.capture.pipe import PipeFeed
from streams.windows import Cut

_CREDENTIALS = re.compile(r"(?<=://)\S*(?=@)")
_QUERY = re.compile(r"(://[^\s?]*)\?[^\s'\"]+")


class FfmpegSource(LiveSource):
    """Windows of one channel of what ffmpeg reads from `url`. `program` is ffmpeg's name or path.

    Raises SourceError where ffmpeg is not installed, or where `url` could be taken for an option.
    """

    def __init__(
        self,
        cut: Cut,
        url: str,
        *,
        channel: int = 0,
        stall_s: float = 15.0,
        clock: Clock | None = None,
        session: Callable[[], str] = new_session,
        program: str = "ffmpeg",
    ) -> None:
        self._mask = masker(url)
        name = f"ffmpeg:{self._mask(url)}"
        super().__init__(cut, name, channel=channel, stall_s=stall_s, clock=clock, session=session)
        if url.startswith("-") or not url:
            raise SourceError(
                f"{name}: a URL or a path is allowed, not an option of ffmpeg; write ./ before a file name"
            )
        found = shutil.which(program)
        if found is None:
            raise SourceError(f"{name}: {program} is not installed; install it with: apt-get install ffmpeg")
        self.finite = not is_live(url)
        self.command = command(found, url, channel, cut.rate)

    def _connect(self) -> Feed:
        return PipeFeed(self.command, self.cut.rate, self.clock, self._mask, live=not self.finite)


def is_live(url: str) -> bool:
    """Whether `url` is a stream rather than a file."""
    return "://" in url and not url.startswith("file:")


def command(program: str, url: str, channel: int, rate: int) -> list[str]:
    """The arguments that make ffmpeg write one channel of `url` as int16 at `rate` Hz to its standard output."""
    rtsp = ["-rtsp_transport", "tcp", "-allowed_media_types", "audio"] if url.startswith("rtsp") else []
    return [
        *(program, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "info"),
        *rtsp,
        *("-i", url, "-map", "0:a:0", "-af", f"pan=mono|c0=c{channel}"),
        *("-ar", str(rate), "-ac", "1", "-c:a", "pcm_s16le", "-f", "s16le", "pipe:1"),
    ]


def masker(url: str) -> Callable[[str], str]:
    """A function that takes the credentials of `url`, and any others in URLs, out of a text.

    User and password go, and so does a query (`?token=...`); a path that holds an @ loses more than it must.
    """
    found = _CREDENTIALS.search(url)
    password = found[0].partition(":")[2] if found else ""
    secrets = {word for word in (password, unquote(password)) if len(word) >= 3}

    def mask(text: str) -> str:
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return _QUERY.sub(r"\1?***", _CREDENTIALS.sub("***", text))

    return mask
