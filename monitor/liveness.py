"""Which microphones give a signal: pure bookkeeping, on event time and on a wall clock that is handed in.

A microphone is *lost* when the newest window of all microphones ended `unknown_after_s` after its own (event time),
or when no microphone of the whole line was heard for that long on the wall clock. It is *silent* when its
windows have been flagged so for that long. A `file:` source ends by itself: its absence says nothing; a `folder:` is
filled file by file and may be quiet for longer (`Mic.patience_s`).
One microphone whose clock is a day ahead must not make all the others look lost, so a microphone also has to be
overdue by the pace at which its windows have come.
Whoever asks must have read all windows there are (`verdicts` compares microphones whose windows come at different
speeds from a backlog).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from monitor.settings import Line
from streams.records import Flag, Identity

PACE_SHARE = 0.2  # what the newest window adds to the running mean of the pace
OVERDUE = 3.0  # so many times its usual pace without a window is overdue

Signal = Literal["live", "lost", "silent", "waiting"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one microphone's signal.

    `waiting` means that nothing can be said yet, neither good nor bad. `since_ns` is the end of the last sound
    (lost) or the start of the silence; `at_ns` is the event time of the verdict; `first` identifies the last
    window before the loss, or the first silent one.
    """

    signal: Signal
    since_ns: int
    at_ns: int
    first: Identity


@dataclass(slots=True)
class Ear:
    """One microphone's windows so far; `level_dbfs` and `flags` are those of the newest."""

    machine: str
    mic: str
    finite: bool
    last: Identity
    after_ns: int
    start_ns: int = 0
    end_ns: int = 0
    level_dbfs: float = math.nan
    flags: frozenset[Flag] = frozenset()
    windows: int = 0
    clipped: int = 0
    gap_s: float = 0.0
    silent_since_ns: int = 0
    silent_first: Identity | None = None
    wall_ns: int = 0  # when its newest window came
    pace_ns: float = 0.0  # wall time from window to window, a running mean

    def hear(self, window: Heard, wall_ns: int) -> None:
        """Count one window; a window that is not newer than the newest changes nothing but the counts."""
        if self.windows:
            self.pace_ns += (max(0, wall_ns - self.wall_ns) - self.pace_ns) * PACE_SHARE
        self.wall_ns = wall_ns
        self.windows += 1
        self.clipped += "clipped" in window.flags
        self.gap_s += window.gap_s
        if window.end_ns <= self.end_ns and window.identity.session == self.last.session:
            return
        self.last, self.start_ns, self.end_ns = window.identity, window.start_ns, window.end_ns
        self.level_dbfs, self.flags = window.level_dbfs, window.flags
        if "silent" not in window.flags:
            self.silent_since_ns, self.silent_first = 0, None
        elif self.silent_first is None:
            self.silent_since_ns, self.silent_first = window.start_ns, window.identity


@dataclass(frozen=True, slots=True)
class Heard:
    """What liveness needs to know of a window."""

    identity: Identity
    start_ns: int
    end_ns: int
    level_dbfs: float
    flags: frozenset[Flag] = frozenset()
    gap_s: float = 0.0


class Liveness:
    """The ears of a line. `wall_ns` is the wall clock at the start."""

    def __init__(self, line: Line, wall_ns: int) -> None:
        self._after_ns = round(line.alarms.unknown_after_s * 1e9)
        self.ears = {
            mic.id: Ear(
                machine.id, mic.id, mic.finite, Identity(mic.id, "", 0), round(mic.patience_s(line.alarms) * 1e9)
            )
            for machine in line.machine
            for mic in machine.mic
        }
        self._wall_ns = wall_ns  # when anything was last heard
        self._first_ns = 0  # event time of the first window of all
        self._newest_ns = 0

    def hear(self, window: Heard, wall_ns: int) -> None:
        """Take note of one window; microphones that are not of this line are ignored."""
        ear = self.ears.get(window.identity.mic)
        if ear is None:
            return
        ear.hear(window, wall_ns)
        self._wall_ns = max(self._wall_ns, wall_ns)
        self._first_ns = self._first_ns or window.start_ns
        self._newest_ns = max((one.end_ns for one in self.ears.values()), default=0)

    def awake(self, wall_ns: int) -> None:
        """Begin to listen at `wall_ns`: what was not heard before says nothing."""
        self._wall_ns = max(self._wall_ns, wall_ns)

    def quiet(self, wall_ns: int) -> bool:
        """Whether no microphone of the whole line was heard for `unknown_after_s` on the wall clock."""
        return wall_ns - self._wall_ns >= self._after_ns

    def verdicts(self, wall_ns: int) -> Mapping[str, Mapping[str, Verdict]]:
        """Machine -> microphone -> verdict."""
        found: dict[str, dict[str, Verdict]] = {}
        for ear in self.ears.values():
            found.setdefault(ear.machine, {})[ear.mic] = self._verdict(ear, wall_ns)
        return found

    def _verdict(self, ear: Ear, wall_ns: int) -> Verdict:
        quiet_ns = wall_ns - self._wall_ns  # how long nothing at all has come
        now_ns = (self._newest_ns or self._wall_ns) + (quiet_ns if quiet_ns >= self._after_ns else 0)
        since_ns = ear.end_ns or self._first_ns or self._wall_ns
        overdue = wall_ns - ear.wall_ns >= OVERDUE * ear.pace_ns
        if not ear.finite and overdue and now_ns - since_ns >= ear.after_ns:
            return Verdict("lost", since_ns, now_ns, ear.last)
        if ear.silent_first and ear.end_ns - ear.silent_since_ns >= self._after_ns:
            return Verdict("silent", ear.silent_since_ns, ear.end_ns, ear.silent_first)
        if not ear.windows or ear.silent_first:
            return Verdict("waiting", since_ns, now_ns, ear.last)
        return Verdict("live", ear.end_ns, ear.end_ns, ear.last)
