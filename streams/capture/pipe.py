"""The ffmpeg process behind a stream: its samples, its last words, its end. POSIX only (select on pipes)."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO

import numpy as np

from streams.capture.base import Clock
from streams.capture.live import Block, FeedFailed
from streams.soundfiles import SoundFileError

_READ_BYTES = 65_536  # a pipe's whole buffer: 2 s at 16 kHz
_KEPT_CHARS = 16_384
_LAST_WORDS = 4
_END_S = 2.0
_MUTED = re.compile(r"Pure channel mapping detected: M\s")
_SUMMARY = re.compile(r"size=|video:")  # ffmpeg's own last lines, which explain nothing
_INPUT_RATE = re.compile(r"Stream #\S+ Audio: .*?(\d+) Hz")


class PipeFeed:
    """A running `command` that writes int16 mono at `rate` Hz to its standard output.

    Nothing waits unboundedly: when we are slow the pipe fills and ffmpeg waits. `mask` takes the credentials out of
    what it says. `live` sound is stamped with the wall clock, a file's is not. Raises FeedFailed.
    """

    def __init__(
        self, command: Sequence[str], rate: int, clock: Clock, mask: Callable[[str], str], *, live: bool
    ) -> None:
        self.rate = rate
        self._clock, self._mask, self._live = clock, mask, live
        self._said = ""
        self._odd = b""
        self._input_checked = False
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # the whole group is ended with it, and Ctrl-C reaches only us
            )
        except OSError as error:
            raise FeedFailed("process_ended", f"{command[0]}: {error.strerror}") from error
        self._out, self._err = _pipe(self._process.stdout), _pipe(self._process.stderr)
        self._ready = selectors.DefaultSelector()
        for pipe in (self._out, self._err):
            os.set_blocking(pipe.fileno(), False)
            self._ready.register(pipe, selectors.EVENT_READ)

    def read(self, wait_s: float) -> Block | None:
        """The next block, or None where none came within `wait_s`.

        Raises FeedFailed when the process has ended, SoundFileError where its input lacks the rate or channel.
        """
        ready = {key.fileobj for key, _ in self._ready.select(wait_s)}
        if not ready:
            return None
        self._listen()
        if self._out not in ready:
            return None
        self._check_input()
        with suppress(BlockingIOError):
            data = os.read(self._out.fileno(), _READ_BYTES)
            if not data:
                raise self._ended()
            return self._block(data)
        return None

    def _block(self, data: bytes) -> Block | None:
        data = self._odd + data
        whole = len(data) // 2 * 2
        self._odd = data[whole:]
        samples = np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32_768.0)
        return Block(samples, self._clock.now_ns() if self._live else None) if whole else None

    def _listen(self) -> None:
        """Keep the end of what it said, in bounded memory; a pipe that nobody empties would stop ffmpeg."""
        if self._err.closed:
            return
        with suppress(BlockingIOError):
            data = os.read(self._err.fileno(), _READ_BYTES)
            if data:
                self._said = (self._said + data.decode(errors="replace"))[-_KEPT_CHARS:]
            else:
                self._ready.unregister(self._err)
                self._err.close()

    def _check_input(self) -> None:
        """Refuse a stream that lacks what is asked for; ffmpeg would fill it in with silence, without a word."""
        if self._input_checked:
            return
        self._input_checked = True  # ffmpeg describes its input and filters before it writes the first sample
        if _MUTED.search(self._said):
            raise SoundFileError("no_such_channel", "the stream has fewer channels; they count from 0")
        found = _INPUT_RATE.search(self._said)
        if found and int(found[1]) < self.rate:
            text = (
                f"the stream has {found[1]} Hz, the line runs at {self.rate} Hz: everything above "
                f"{int(found[1]) // 2} Hz would be missing and look like a fault; set the device or site.rate"
            )
            raise SoundFileError("rate_too_low", text)

    def _ended(self) -> FeedFailed | SoundFileError:
        code = self._wait()
        self._listen()
        lines = [line.strip() for line in self._said.splitlines() if line.strip() and not _SUMMARY.match(line)]
        words = self._mask(" | ".join(lines[-_LAST_WORDS:]))[-600:]
        text = f"ffmpeg ended with code {code}: {words}"
        if self._live or code == 0:
            return FeedFailed("process_ended", text, finished=not self._live)
        return SoundFileError("unreadable", text)

    def _wait(self) -> int:
        try:
            return self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()

    def close(self) -> None:
        """End the process and all that it started."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
        self._ready.close()
        self._out.close()  # before the wait: ffmpeg may be stuck in writing to it
        self._err.close()
        self._wait()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("the process was started without pipes")
    return pipe
