"""How sound comes in: one interface, four kinds of source.

A table of contents:

- `base`: the interface `Source`, the events that it gives out, the clock that it is given.
- `opening`: `open_source`, from a text such as `folder:/srv/press` to a source.
- `files`: a file or a pattern of files, replayed in pace. `folder`: a folder that is watched; `taken`: its memory.
- `microphone`: a sound card. `ffmpeg`: whatever ffmpeg reads; `pipe`: the process behind it.

The promise: what is wrong with one source becomes an event of that source, never an exception that stops another; and
a recording counts as taken only after its windows were accepted.
"""

from streams.capture.base import (
    IDLE,
    REJECT_REASONS,
    STALL_REASONS,
    Clock,
    Counts,
    Event,
    Idle,
    Rejected,
    Source,
    SourceError,
    Stalled,
    SystemClock,
)
from streams.capture.opening import SCHEMES, open_source

__all__ = [
    "IDLE",
    "REJECT_REASONS",
    "SCHEMES",
    "STALL_REASONS",
    "Clock",
    "Counts",
    "Event",
    "Idle",
    "Rejected",
    "Source",
    "SourceError",
    "Stalled",
    "SystemClock",
    "open_source",
]
