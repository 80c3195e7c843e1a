"""What an alarm remembers of each microphone: its last looks, and since when they are odd; as values for JSON too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from monitor.alarm_plan import Plan
from streams.records import WindowScore

JITTER_NS = 10_000_000  # live clocks wander: looks may be this much closer than a context


class Seen(NamedTuple):
    """What is kept of a scored window; sorts by time."""

    start_ns: int
    end_ns: int
    session: str
    sequence: int
    score: float
    low_hz: float
    high_hz: float
    band_db: float

    @classmethod
    def of(cls, score: WindowScore) -> Seen:
        """What is kept of `score`."""
        key = (score.start_ns, score.end_ns, score.session, score.sequence)
        return cls(*key, score.score, *score.band_hz, score.band_db)


@dataclass(frozen=True, slots=True)
class Trail:
    """What a microphone's windows amount to: its last looks, and since when they are odd (on) or not (off).

    `on_ns` is the event time at which k looks were at or above the threshold, 0 where they are not; `off_ns` the
    one at which fewer than k were at or above the lowered threshold, 0 where they are not fewer.
    """

    looks: tuple[Seen, ...] = ()
    end_ns: int = 0
    on_ns: int = 0
    off_ns: int = 0

    def step(self, window: Seen, rule: Plan, hysteresis: float) -> Trail:
        """The trail after one more window, which must not be older than the newest."""
        end_ns = max(self.end_ns, window.end_ns)
        apart_ns = round(rule.context_s * 1e9) - JITTER_NS
        if self.looks and window.start_ns - self.looks[-1].start_ns < apart_ns:
            return replace(self, end_ns=end_ns)
        looks = (*self.looks, window)[-rule.n :]
        is_on = count(looks, rule.threshold) >= rule.k
        is_off = count(looks, rule.threshold - hysteresis) < rule.k
        return Trail(looks, end_ns, (self.on_ns or end_ns) * is_on, (self.off_ns or end_ns) * is_off)


def count(looks: Sequence[Seen], threshold: float) -> int:
    """How many looks are at or above the threshold."""
    return sum(look.score >= threshold for look in looks)


@dataclass(slots=True)
class MicState:
    """One microphone: `settled` is beyond correction, `recent` (sorted) may still be joined, `trail` is both.

    `known` holds the windows of the last seconds of lateness, scored or not: (session, sequence) -> end.
    `opened` is the first look of the newest alarm that this microphone opened: the next must begin after it.
    """

    settled: Trail = Trail()
    trail: Trail = Trail()
    recent: list[Seen] = field(default_factory=list)
    known: dict[tuple[str, int], int] = field(default_factory=dict)
    sessions: list[str] = field(default_factory=list)
    newest_ns: int = 0
    opened: tuple[int, str, int] = (0, "", -1)


def _pack_trail(trail: Trail) -> list[Any]:
    return [[list(look) for look in trail.looks], trail.end_ns, trail.on_ns, trail.off_ns]


def _unpack_trail(plain: Sequence[Any]) -> Trail:
    looks, end_ns, on_ns, off_ns = plain
    return Trail(tuple(Seen(*look) for look in looks), end_ns, on_ns, off_ns)


def pack_mic(mic: MicState) -> dict[str, Any]:
    """A microphone's state as JSON values."""
    return {
        "settled": _pack_trail(mic.settled),
        "trail": _pack_trail(mic.trail),
        "recent": [list(window) for window in mic.recent],
        "known": [[*key, end_ns] for key, end_ns in mic.known.items()],
        "sessions": mic.sessions,
        "newest_ns": mic.newest_ns,
        "opened": list(mic.opened),
    }


def unpack_mic(plain: Mapping[str, Any]) -> MicState:
    """A microphone's state from its JSON values."""
    start_ns, session, sequence = plain["opened"]
    return MicState(
        settled=_unpack_trail(plain["settled"]),
        trail=_unpack_trail(plain["trail"]),
        recent=[Seen(*window) for window in plain["recent"]],
        known={(session, sequence): end_ns for session, sequence, end_ns in plain["known"]},
        sessions=list(plain["sessions"]),
        newest_ns=plain["newest_ns"],
        opened=(start_ns, session, sequence),
    )
