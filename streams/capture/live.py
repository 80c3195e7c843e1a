"""Sound that is made now: what a sound card and a network stream have in common.

A feed gives blocks until it fails. `LiveSource` cuts them into windows, notices when they stop, and opens the feed
again with growing pauses; each opening is a new session, whose first window carries the time that is missing.
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from streams.capture.base import IDLE, Clock, Event, Source, StallReason
from streams.soundfiles import SoundFileError
from streams.windows import Chunker, Cut

_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_WAIT_S = 0.1


@dataclass(frozen=True, slots=True)
class Block:
    """Samples float32 [time] as they came; `arrived_ns` is the wall clock at their end (None: it does not matter).

    `lost` samples are missing before them; `torn` says that some are, and nobody knows how many.
    """

    samples: NDArray[np.float32]
    arrived_ns: int | None
    lost: int = 0
    torn: bool = False


class FeedFailed(Exception):
    """The feed gives no more, for the reason in words; `finished` where that is as it should be."""

    def __init__(self, reason: StallReason, text: str, *, finished: bool = False) -> None:
        super().__init__(text)
        self.reason: StallReason = reason
        self.finished = finished


class Feed(Protocol):
    """An open device or stream at `rate` Hz."""

    rate: int

    def read(self, wait_s: float) -> Block | None:
        """The next block, or None where none came within `wait_s`.

        Raises FeedFailed, or SoundFileError for sound that can never be used.
        """

    def close(self) -> None:
        """Let go of it at once. Never raises."""


def new_session() -> str:
    """A session that no other capture has."""
    return secrets.token_hex(8)


class LiveSource(Source):
    """Windows from a feed that is opened again and again. `stall_s` without a sample is a `Stalled`.

    A feed that is `finite` is not opened again.
    """

    finite = False

    def __init__(
        self,
        cut: Cut,
        name: str,
        *,
        channel: int,
        stall_s: float,
        clock: Clock | None = None,
        session: Callable[[], str] = new_session,
    ) -> None:
        super().__init__(cut, name, channel, clock)
        self.stall_s = stall_s
        self._new_session = session
        self._window_end_ns = 0  # of the last window that was given out, over all sessions
        self._sound_end_ns = 0  # of the last session's sound
        self._heard_at = 0.0
        self._pause_s = _PAUSE_S

    @abstractmethod
    def _connect(self) -> Feed:
        """A new feed. Raises FeedFailed."""

    def _events(self) -> Generator[Event, None, None]:
        self._heard_at = self.clock.monotonic()
        while not self._stop.is_set():
            try:
                yield from self._session()
            except FeedFailed as failure:
                if failure.finished:
                    return
                yield self._stalled(failure.reason, str(failure), self.clock.monotonic() - self._heard_at)
            except SoundFileError as error:
                yield self._rejected(self.name, error)
            if self.finite:
                return
            yield IDLE
            self.clock.sleep(self._pause_s, self._stop)
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._counts.reopened += 1

    def _session(self) -> Generator[Event, None, None]:
        feed = self._connect()
        chunker: Chunker | None = None
        try:
            resampler = _Resampler(feed.rate, self.cut.rate)
            awaited_since = self.clock.monotonic()
            while not self._stop.is_set():
                block = feed.read(0.0)
                if block is None:
                    yield IDLE
                    block = feed.read(_WAIT_S)
                if block is None:
                    self._check_stall(awaited_since)
                    continue
                self._heard_at = awaited_since = self.clock.monotonic()
                chunker = chunker or self._begin(block, feed.rate)
                yield from self._windows(chunker, resampler, block, feed.rate)
        finally:
            feed.close()
            if chunker is not None:
                self._sound_end_ns = chunker.next_ns
                self._session_done(chunker)

    def _begin(self, block: Block, rate: int) -> Chunker:
        arrived_ns = self.clock.now_ns() if block.arrived_ns is None else block.arrived_ns
        start_ns = arrived_ns - len(block.samples) * 1_000_000_000 // rate
        gap_s = max(0, start_ns - self._window_end_ns) / 1e9 if self._window_end_ns else 0.0
        if self._sound_end_ns:
            self._counts.lost_samples += max(0, start_ns - self._sound_end_ns) * self.cut.rate // 1_000_000_000
        now_ns = None if block.arrived_ns is None else self.clock.now_ns
        return Chunker(self.cut, self._new_session(), start_ns, gap_s, now_ns)

    def _windows(
        self, chunker: Chunker, resampler: _Resampler, block: Block, rate: int
    ) -> Generator[Event, None, None]:
        if block.lost:
            chunker.lost(max(1, block.lost * self.cut.rate // rate))
        elif block.torn and block.arrived_ns is not None and chunker.heard:
            chunker.resume_at(block.arrived_ns - len(block.samples) * 1_000_000_000 // rate)
        if block.lost or block.torn:
            resampler.reset()
        for window in chunker.push(resampler(block.samples), block.arrived_ns):
            self._window_end_ns = window.end_ns
            self._pause_s = _PAUSE_S
            yield window

    def _check_stall(self, awaited_since: float) -> None:
        quiet_s = self.clock.monotonic() - awaited_since
        if quiet_s >= self.stall_s:
            raise FeedFailed("no_samples", f"{self.name}: no samples for {quiet_s:.1f} s; opening it again")


class _Resampler:
    """From the feed's rate to the line's, block by block; a feed at the line's rate passes untouched."""

    def __init__(self, rate: int, line_rate: int) -> None:
        self._rates = (rate, line_rate)
        self._stream: soxr.ResampleStream | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the sound so far: what follows does not join on to it."""
        rate, line_rate = self._rates
        self._stream = None if rate == line_rate else soxr.ResampleStream(rate, line_rate, 1, dtype="float32")

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._stream is not None:
            samples = self._stream.resample_chunk(samples)
        return np.clip(samples, -1.0, 1.0)
