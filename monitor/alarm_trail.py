"""What an alarm remembers of each microphone: its last looks, and since when they are odd; as values for JSON too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from monitor.alarm_plan import RUNS, Plan
from streams.records import WindowScore

JITTER_NS = 10_000_000  # live clocks wander: looks may be this much closer than a context


class Seen(NamedTuple):
    """What is kept of a scored window; sorts by time. `profile` (`WindowScore.profile_db`) is kept of odd ones."""

    start_ns: int
    end_ns: int
    session: str
    sequence: int
    score: float
    low_hz: float
    high_hz: float
    band_db: float
    profile: tuple[float, ...] = ()

    @classmethod
    def of(cls, score: WindowScore, odd: float = -math.inf) -> Seen:
        """What is kept of `score`, which is odd from `odd` on."""
        key = (score.start_ns, score.end_ns, score.session, score.sequence)
        profile = score.profile_db if score.score >= odd else ()
        return cls(*key, score.score, *score.band_hz, score.band_db, profile)


@dataclass(frozen=True, slots=True)
class Trail:
    """What a microphone's windows amount to: its last looks, and since when they are odd (on) or not (off).

    `on_ns` is the event time at which k looks were at or above the threshold, 0 where they are not; `off_ns` the
    one at which fewer than k were at or above the lowered threshold, 0 where they are not fewer. `recordings` is
    the newest look of each of the last sessions.
    """

    looks: tuple[Seen, ...] = ()
    end_ns: int = 0
    on_ns: int = 0
    off_ns: int = 0
    recordings: tuple[Seen, ...] = ()

    def step(self, window: Seen, rule: Plan, hysteresis: float) -> Trail:
        """The trail after one more window, which must not be older than the newest."""
        end_ns = max(self.end_ns, window.end_ns)
        apart_ns = round(rule.context_s * 1e9) - JITTER_NS
        if self.looks and window.start_ns - self.looks[-1].start_ns < apart_ns:
            return replace(self, end_ns=end_ns)
        looks = (*self.looks, window)[-rule.n :]
        again = self.recordings and self.recordings[-1].session == window.session
        recordings = (*self.recordings[: -1 if again else None], window)[-max(RUNS) :]
        run = _run(recordings, rule)
        is_on = count(looks, rule.threshold) >= rule.k or bool(run)
        is_off = count(looks, rule.threshold - hysteresis) < rule.k and not run
        return Trail(looks, end_ns, (self.on_ns or end_ns) * is_on, (self.off_ns or end_ns) * is_off, recordings)

    def evidence(self, rule: Plan) -> Evidence:
        """What speaks for an alarm: the odd looks, else the odd recordings of a run that is odd."""
        if count(self.looks, rule.threshold) < rule.k:
            run = _run(self.recordings, rule)
            if run:
                return run
        return Evidence(tuple(look for look in self.looks if look.score >= rule.threshold), len(self.looks))


class Evidence(NamedTuple):
    """The odd ones among the last `of` looks, or recordings."""

    odd: tuple[Seen, ...]
    of: int
    recordings: bool = False


def _run(recordings: Sequence[Seen], rule: Plan) -> Evidence | None:
    """The first rule for separate recordings that holds."""
    for one in rule.recordings:
        odd = tuple(look for look in recordings[-one.n :] if look.score >= one.threshold)
        if len(odd) >= one.k:
            return Evidence(odd, min(one.n, len(recordings)), recordings=True)
    return None


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
    recordings = [list(look) for look in trail.recordings]
    return [[list(look) for look in trail.looks], trail.end_ns, trail.on_ns, trail.off_ns, recordings]


def _unpack_trail(plain: Sequence[Any]) -> Trail:
    looks, end_ns, on_ns, off_ns, recordings = plain
    return Trail(tuple(map(_seen, looks)), end_ns, on_ns, off_ns, tuple(map(_seen, recordings)))


def _seen(plain: Sequence[Any]) -> Seen:
    """From its values; one of an older version has no profile."""
    profile = tuple(plain[-1]) if isinstance(plain[-1], list) else ()
    return Seen._make((*plain[: len(Seen._fields) - 1], profile))


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
        recent=[_seen(window) for window in plain["recent"]],
        known={(session, sequence): end_ns for session, sequence, end_ns in plain["known"]},
        sessions=list(plain["sessions"]),
        newest_ns=plain["newest_ns"],
        opened=(start_ns, session, sequence),
    )
