"""What every source of sound is, and the events that it gives out.

The consumer runs one thread per microphone:

    with open_source(...) as source:
        for event in source:
            match event:
                case AudioWindow():  send it
                case Rejected() | Stalled():  count it, log it, dead-letter it
                case Idle():  nothing else is ready
            when there is something unflushed and the event is Idle, or enough has gathered:
                producer.flush(); source.acknowledge()
        producer.flush(); source.acknowledge()      # the source has ended

`acknowledge` speaks of *everything given out so far*: call it only when all of that is durably accepted. Until then
a restart gives out the same windows again under the same identity (microphone, content hash, sequence), so that a
repeat overwrites and never duplicates: at least once.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Literal, Protocol, Self, get_args

from streams import gate, soundfiles
from streams.records import AudioWindow
from streams.windows import Chunker, Cut

CaptureReason = Literal["duplicate", "still_written", "too_short"]
RejectReason = soundfiles.Reason | gate.Reason | CaptureReason
REJECT_REASONS: tuple[RejectReason, ...] = tuple(
    dict.fromkeys((*soundfiles.REASONS, *gate.REASONS, *get_args(CaptureReason)))
)
StallReason = Literal["no_samples", "device_failed", "process_ended"]
STALL_REASONS: tuple[StallReason, ...] = get_args(StallReason)


class SourceError(Exception):
    """A source cannot be opened as it is configured; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Sound that was refused, with `reason` from `REJECT_REASONS`. `source` carries no credentials."""

    machine: str
    mic: str
    source: str
    reason: RejectReason
    text: str


@dataclass(frozen=True, slots=True)
class Stalled:
    """A microphone that has given nothing for `quiet_s`, with `reason` from `STALL_REASONS`.

    The source goes on trying by itself; windows that follow are the sign that it is back.
    """

    machine: str
    mic: str
    source: str
    reason: StallReason
    text: str
    quiet_s: float


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing more is ready now: a good moment to flush. The source waits when it is asked again."""


IDLE = Idle()

Event = AudioWindow | Rejected | Stalled | Idle


class Clock(Protocol):
    """Time, handed in."""

    def now_ns(self) -> int:
        """UTC in nanoseconds since 1970; it may be set back or forward."""

    def monotonic(self) -> float:
        """Seconds that only ever go on."""

    def sleep(self, seconds: float, stop: threading.Event) -> None:
        """Return after `seconds`, or as soon as `stop` is set."""


class SystemClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        """UTC in nanoseconds since 1970."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds that only ever go on."""
        return time.monotonic()

    def sleep(self, seconds: float, stop: threading.Event) -> None:
        """Return after `seconds`, or as soon as `stop` is set."""
        stop.wait(seconds)


@dataclass(slots=True)
class Counts:
    """What a source did since it was opened; `source.counts()` gives a copy.

    `lost_samples` never arrived, `dropped_samples` made no whole window, `reopened` counts starts after the first,
    `unsaved` how often the memory of what was taken could not be written (it is tried again).
    """

    windows: int = 0
    rejected: int = 0
    stalled: int = 0
    gaps: int = 0
    lost_samples: int = 0
    dropped_samples: int = 0
    files: int = 0
    reopened: int = 0
    unsaved: int = 0


class Source(ABC):
    """One microphone's events, in order; an iterator for one thread, and a context manager.

    `stop` may be called from any thread and ends the iteration soon; everything else belongs to the consumer.
    `name` is the configured source without credentials.
    """

    def __init__(self, cut: Cut, name: str, channel: int = 0, clock: Clock | None = None) -> None:
        self.cut = cut
        self.name = name
        self.channel = channel
        self.clock: Clock = clock or SystemClock()
        self._counts = Counts()
        self._stop = threading.Event()
        self._running: Generator[Event, None, None] | None = None

    @property
    def machine(self) -> str:
        """The machine that the microphone listens to."""
        return self.cut.machine

    @property
    def mic(self) -> str:
        """The microphone's id."""
        return self.cut.mic

    @abstractmethod
    def _events(self) -> Generator[Event, None, None]:
        """The events; it ends soon after `_stop` is set, and lets go of everything in its `finally`."""

    def acknowledge(self) -> None:
        """All that was given out so far is durably accepted. Only a source with a memory needs to know."""
        return

    def counts(self) -> Counts:
        """What the source did so far."""
        return Counts(**{field.name: getattr(self._counts, field.name) for field in fields(Counts)})

    def stop(self) -> None:
        """End the iteration soon. For any thread."""
        self._stop.set()

    def close(self) -> None:
        """Stop, and let go of everything. Twice does no harm."""
        self._stop.set()
        if self._running is not None:
            self._running.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        if self._running is None:
            self._running = self._events()
        if self._stop.is_set():
            self._running.close()
        event = next(self._running)
        self._count(event)
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _count(self, event: Event) -> None:
        match event:
            case AudioWindow():
                self._counts.windows += 1
                self._counts.gaps += "gap" in event.flags
            case Rejected():
                self._counts.rejected += 1
            case Stalled():
                self._counts.stalled += 1

    def _file_done(self, chunker: Chunker) -> None:
        self._counts.files += 1
        self._session_done(chunker)

    def _session_done(self, chunker: Chunker) -> None:
        chunker.finish()
        self._counts.dropped_samples += chunker.dropped_samples
        self._counts.lost_samples += chunker.lost_samples

    def _rejected(self, source: str, error: soundfiles.SoundFileError) -> Rejected:
        return Rejected(self.machine, self.mic, source, error.reason, error.text)

    def _stalled(self, reason: StallReason, text: str, quiet_s: float) -> Stalled:
        return Stalled(self.machine, self.mic, self.name, reason, text, quiet_s)
