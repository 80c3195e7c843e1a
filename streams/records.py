"""The records that travel: windows of sound, their scores, and the alerts that follow from them.

Records are frozen and their samples are read-only: whoever receives one may keep it without a copy.
Times are UTC in nanoseconds since 1970, levels are dB relative to full scale 1.0, scores grow with oddity.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Flag = Literal["gap", "clipped", "silent", "late"]
FLAGS: tuple[Flag, ...] = ("gap", "clipped", "silent", "late")

Status = Literal["ok", "warming_up", "bad_input", "dead"]
STATUSES: tuple[Status, ...] = ("ok", "warming_up", "bad_input", "dead")

Level = Literal["alert", "danger", "unknown"]
LEVELS: tuple[Level, ...] = ("alert", "danger", "unknown")

TOPIC_WINDOWS = "audio.windows"
TOPIC_SCORES = "audio.scores"
TOPIC_ALERTS = "audio.alerts"
TOPIC_DEAD = "audio.dead"


class Identity(NamedTuple):
    """What makes a window the same window after a replay: microphone, capture session, running number."""

    mic: str
    session: str
    sequence: int


def _require(condition: object, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value!r}, allowed is {allowed}")


@dataclass(frozen=True, slots=True, eq=False)
class AudioWindow:
    """One window of one microphone.

    `samples` is float32 `[time]`, full scale 1.0, read-only. `start_ns` is the UTC time of sample 0.
    `gap_s` is how much sound is missing between the window before this one and this one; it is 0 for
    continuous sound. `flags` holds what capture noticed: gap, clipped, silent, late.
    Raises ValueError, naming the field, for anything that is not a window. NaN is the gate's to refuse.
    """

    machine: str
    mic: str
    session: str
    sequence: int
    start_ns: int
    rate: int
    samples: NDArray[np.float32]
    flags: frozenset[Flag] = frozenset()
    gap_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("machine", "mic", "session"):
            _require(bool(getattr(self, name)), name, getattr(self, name), "a name that is not empty")
        _require(self.sequence >= 0, "sequence", self.sequence, "0, 1, 2, ...")
        _require(self.rate > 0, "rate", self.rate, "a sampling rate in Hz above 0")
        _require(self.gap_s >= 0, "gap_s", self.gap_s, "seconds, 0 or more")
        unknown = set(self.flags) - set(FLAGS)
        _require(not unknown, "flags", sorted(unknown), ", ".join(FLAGS))
        samples = np.asarray(self.samples, dtype=np.float32)
        _require(samples.ndim == 1, "samples", f"{samples.ndim} dimensions", "[time], one dimension")
        if samples.flags.writeable:
            samples = samples.copy()
            samples.flags.writeable = False
        object.__setattr__(self, "samples", samples)

    @property
    def identity(self) -> Identity:
        """The window's identity, which travels end to end."""
        return Identity(self.mic, self.session, self.sequence)

    @property
    def duration_s(self) -> float:
        """How long the window sounds."""
        return len(self.samples) / self.rate

    @property
    def end_ns(self) -> int:
        """UTC of the first sample after the window."""
        return self.start_ns + round(self.duration_s * 1e9)


@dataclass(frozen=True, slots=True)
class WindowScore:
    """What the line thought of one window.

    `score` is -log10 of the conformal p-value: 2 is one in a hundred, higher is worse. It is NaN unless
    `status` is ok. `extrapolated` says that the score lies beyond what the healthy recordings can count.
    `band_hz` and `band_db` say where the window differs most from healthy sound (0, 0 where not computed);
    `profile_db` says by how much it does in each of equal shares of the mel bands, lowest first (empty: not computed).
    `stage_seconds` is the time each stage took, per window; `scored_ns` is when the score was made.
    """

    machine: str
    mic: str
    session: str
    sequence: int
    start_ns: int
    duration_s: float
    status: Status
    score: float = math.nan
    extrapolated: bool = False
    path: str = "raw"
    detector: str = ""
    model: str = ""
    flags: frozenset[Flag] = frozenset()
    level_dbfs: float = math.nan
    band_hz: tuple[float, float] = (0.0, 0.0)
    band_db: float = 0.0
    profile_db: tuple[float, ...] = ()
    reason: str = ""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    scored_ns: int = 0

    def __post_init__(self) -> None:
        _require(self.status in STATUSES, "status", self.status, ", ".join(STATUSES))
        _require(self.status != "ok" or math.isfinite(self.score), "score", self.score, "finite when status is ok")

    @property
    def identity(self) -> Identity:
        """The identity of the window that was scored."""
        return Identity(self.mic, self.session, self.sequence)

    @property
    def end_ns(self) -> int:
        """UTC of the first sample after the window."""
        return self.start_ns + round(self.duration_s * 1e9)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alarm of one machine, from opening to closing; every update keeps `alert_id`.

    `closed_ns` is 0 while it is open. `reason` is what staff read. `clip` names the evidence clip, or is empty.
    `cause` is the alert that this one only follows from (a neighbour's, or that of the whole hall), empty for one that
    stands on its own. `machines` are the others concerned: whose alarm it follows from, who only hears it, or, in
    an alarm of the whole hall, who raised it. `faults` maps what the sound resembles to its share of 1, likeliest first
    (empty until the clip was looked into): kinds such as `outer_race`, or names that staff gave.
    """

    alert_id: str
    machine: str
    level: Level
    opened_ns: int
    updated_ns: int
    closed_ns: int = 0
    peak_score: float = math.nan
    mics: tuple[str, ...] = ()
    reason: str = ""
    clip: str = ""
    cause: str = ""
    machines: tuple[str, ...] = ()
    faults: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _require(self.level in LEVELS, "level", self.level, ", ".join(LEVELS))


def alert_id(machine: str, first: Identity) -> str:
    """The id of the alarm of `machine` that `first` opened: the same after any crash or replay, 16 hex digits."""
    text = "\x1f".join((machine, first.mic, first.session, str(first.sequence)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
