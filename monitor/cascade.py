"""Which windows are worth the expensive stages: those that are odd already, some others in turn, none when overloaded.

False alarms: a window that is not separated keeps its raw score, which is below `cascade_above` and so never reaches a
threshold beyond it; a separated one has the calibrated score of the worst of its paths. So at thresholds from
`cascade_above` on, the cascade alarms at most as often as the full chain, whose calibration it uses.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from monitor.settings import Chain
from streams.records import AudioWindow

LIVE_S = 3600.0  # what is older is a replay or a file: that is not overload
OVERLOAD = "overload: separation was skipped"


@dataclass(frozen=True, slots=True)
class Cascade:
    """The choice, a pure function of window and score: a repeated batch chooses the same windows."""

    settings: Chain

    @property
    def on(self) -> bool:
        """Whether anything is ever separated."""
        return "separated" in self.settings.stages

    def wants(self, window: AudioWindow, score: float) -> bool:
        """Whether this window, with this raw score, is separated."""
        if not self.on:
            return False
        return not self.settings.cascade or score >= self.settings.cascade_above or self._turn(window)

    def _turn(self, window: AudioWindow) -> bool:
        """Every n-th window of a microphone, each microphone at another time."""
        if self.settings.cascade_share <= 0.0:
            return False
        every = max(1, round(1.0 / self.settings.cascade_share))
        return (window.sequence + zlib.crc32(window.mic.encode())) % every == 0

    def overloaded(self, window: AudioWindow, now_ns: int) -> bool:
        """Whether this live window waited so long that the worker must catch up first."""
        behind_s = (now_ns - window.end_ns) / 1e9
        return self.settings.overload_s < behind_s < LIVE_S
