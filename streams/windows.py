"""From blocks of samples to windows: the chunker of one microphone.

Time is counted in samples from an anchor, because block arrival times jitter and sample counts do not. The anchor
moves only where the count is known to be wrong: samples were lost, or the wall clock and the count have drifted apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.gate import LEVELS, SoundLevels, sound_flags
from streams.records import AudioWindow, Flag


@dataclass(frozen=True, slots=True)
class Cut:
    """How one microphone's sound is cut: windows of `window_s` at `rate` Hz, without overlap.

    `drift_s`: how far the wall clock may run from the sample count before the anchor moves.
    `late_s`: a window that leaves capture this long after its sound ended is flagged late.
    """

    machine: str
    mic: str
    rate: int = 16_000
    window_s: float = 2.0
    drift_s: float = 0.5
    late_s: float = 60.0
    levels: SoundLevels = LEVELS

    @property
    def length(self) -> int:
        """The samples of one window."""
        return round(self.rate * self.window_s)


class Chunker:
    """Cuts one session's blocks into `AudioWindow`s; holds one window of sound, never more.

    `start_ns` is the UTC time of the first sample, `gap_s` the sound that is missing before it. `now_ns`, where
    given, decides whether a window is late; replayed sound has no such clock.

    `lost_samples` counts what never arrived, `dropped_samples` what arrived but made no whole window,
    `anchors_moved` how often wall clock and sample count were reconciled.
    """

    def __init__(
        self, cut: Cut, session: str, start_ns: int, gap_s: float = 0.0, now_ns: Callable[[], int] | None = None
    ) -> None:
        if cut.length < 1:
            raise ValueError(f"window_s is {cut.window_s!r} at {cut.rate} Hz: allowed is at least one sample")
        self.cut = cut
        self.session = session
        self.sequence = 0
        self.lost_samples = 0
        self.dropped_samples = 0
        self.anchors_moved = 0
        self._now_ns = now_ns
        self._gap_s = gap_s
        self._anchor_ns = start_ns
        self._since_anchor = 0  # samples in whole windows since the anchor
        self._held = np.zeros(cut.length, np.float32)
        self._filled = 0
        self._least_lag_ns: int | None = None  # of the blocks of this window: jitter only ever adds to it

    @property
    def next_ns(self) -> int:
        """The UTC time of the next sample, by the sample count."""
        return self._at(self._since_anchor + self._filled)

    @property
    def heard(self) -> bool:
        """Whether a sample was ever pushed."""
        return self.sequence > 0 or self._filled > 0

    def push(self, block: NDArray[np.float32], arrived_ns: int | None = None) -> list[AudioWindow]:
        """Take `block` [time]; the windows that it completes.

        `arrived_ns` is the wall clock at the block's end; None for replayed sound, which cannot drift.
        """
        if arrived_ns is not None:
            lag = arrived_ns - (self.next_ns + self._ns(len(block)))
            self._least_lag_ns = lag if self._least_lag_ns is None else min(lag, self._least_lag_ns)
        windows = []
        while len(block):
            taken = min(len(block), self.cut.length - self._filled)
            self._held[self._filled : self._filled + taken] = block[:taken]
            self._filled += taken
            block = block[taken:]
            if self._filled == self.cut.length:
                windows.append(self._emit())
        return windows

    def lost(self, samples: int) -> None:
        """So many samples are missing after what was pushed: a window never spans a gap, so the piece is dropped."""
        if samples <= 0:
            return
        self.lost_samples += samples
        self._break(self.next_ns + self._ns(samples), samples)

    def resume_at(self, start_ns: int) -> None:
        """Sound was lost, nobody counted how much, at least a sample; the next one sounds at `start_ns`."""
        self.lost(max(1, round((start_ns - self.next_ns) * self.cut.rate / 1e9)))

    def finish(self) -> int:
        """The source has ended: drop the incomplete window and return how many samples it had."""
        rest, self._filled = self._filled, 0
        self.dropped_samples += rest
        return rest

    def _break(self, next_ns: int, missing: int) -> None:
        self._gap_s += (self._filled + missing) / self.cut.rate
        self.finish()
        self._move_anchor(next_ns)

    def _emit(self) -> AudioWindow:
        if self.sequence == 0:
            self._settle_anchor()
        start_ns = self._at(self._since_anchor)
        self._since_anchor += self.cut.length
        flags = set(sound_flags(self._held, self.cut.levels)) | self._flags_of_time(self._at(self._since_anchor))
        window = AudioWindow(
            machine=self.cut.machine,
            mic=self.cut.mic,
            session=self.session,
            sequence=self.sequence,
            start_ns=start_ns,
            rate=self.cut.rate,
            samples=self._held,
            flags=frozenset(flags),
            gap_s=self._gap_s,
        )
        self.sequence += 1
        self._filled, self._gap_s = 0, 0.0
        self._reconcile()
        return window

    def _settle_anchor(self) -> None:
        """A session's first block is often late, or the first of a burst: its promptest block says when it began."""
        if self._least_lag_ns is not None and self._least_lag_ns < 0:
            self._anchor_ns += self._least_lag_ns
            self._gap_s = max(0.0, self._gap_s + self._least_lag_ns / 1e9)
            self._least_lag_ns = 0

    def _flags_of_time(self, end_ns: int) -> set[Flag]:
        flags: set[Flag] = set()
        if self._gap_s > 0:
            flags.add("gap")
        if self._now_ns is not None and self._now_ns() - end_ns > self.cut.late_s * 1e9:
            flags.add("late")
        return flags

    def _reconcile(self) -> None:
        """Move the anchor where even the promptest block of this window was out of time.

        The wall clock ahead means that samples went missing unnoticed (or a slow sample clock, which cannot be told
        apart): the next window is flagged gap. The wall clock behind (it was set back, or the first blocks came
        in a burst) moves the time line back without a gap.
        """
        lag, self._least_lag_ns = self._least_lag_ns, None
        if lag is None or abs(lag) <= self.cut.drift_s * 1e9:
            return
        self._gap_s = max(0.0, lag / 1e9)
        self.lost_samples += max(0, round(lag * self.cut.rate / 1e9))
        self._move_anchor(self.next_ns + lag)

    def _move_anchor(self, next_ns: int) -> None:
        self._anchor_ns, self._since_anchor = next_ns, 0
        self._least_lag_ns = None
        self.anchors_moved += 1

    def _at(self, samples: int) -> int:
        return self._anchor_ns + self._ns(samples)

    def _ns(self, samples: int) -> int:
        return samples * 1_000_000_000 // self.cut.rate
