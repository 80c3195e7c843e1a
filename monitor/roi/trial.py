"""The manifest as a trial: its test recordings, what happened (events), and when, where the manifest says so.

Columns beside those of `monitor.manifest`: `start` (ISO 8601, when the recording began), `event` (an id; recordings of
one fault share it), `failed_at` (ISO 8601, when the machine failed or the fault was found without us). With `start`
the trial is timed; without it every faulty recording is an event of its own and lead times are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from monitor.manifest import Manifest, ManifestError, Row

TIMES = ("start", "event", "failed_at")


@dataclass(frozen=True, slots=True)
class Recording:
    """A test file. `number` is its line in the manifest; `group` is what is never split; `start_ns` None: unknown."""

    number: int
    file: Path
    machine: str
    mic: str
    group: str
    faulty: bool
    event: str
    start_ns: int | None


@dataclass(frozen=True, slots=True)
class Event:
    """A fault of a machine. `failed_ns` is None where nobody wrote down when it failed."""

    machine: str
    name: str
    failed_ns: int | None


@dataclass(frozen=True, slots=True)
class Trial:
    """Test recordings in the manifest's order, or in time's where there are times; events in order of appearance."""

    timed: bool
    recordings: tuple[Recording, ...]
    events: tuple[Event, ...]
    machines: tuple[str, ...]

    def of(self, machine: str) -> tuple[Recording, ...]:
        """The recordings of one machine."""
        return tuple(one for one in self.recordings if one.machine == machine)


def read_trial(manifest: Manifest) -> Trial:
    """The trial that a manifest holds. Raises ManifestError, with the line, for times that do not fit together."""
    rows = [row for row in manifest.rows if row.split == "test"]
    if not rows:
        raise ManifestError(
            f"{manifest.path}: no test recordings; give split = test to those that were not learned from"
        )
    timed = any(row.extra.get("start") for row in rows)
    starts = [_moment(manifest, row, "start") for row in rows] if timed else [None] * len(rows)
    _check_clock(manifest, rows)
    found = []
    for row, start_ns in zip(rows, starts, strict=True):
        if timed and start_ns is None:
            raise ManifestError(
                f"{manifest.path}, line {row.number}: start is empty, but other recordings have one; fill it in, or "
                "remove the column"
            )
        found.append(_recording(manifest, row, start_ns))
    events = _events(manifest, rows, found)
    found.sort(key=lambda one: one.start_ns or 0)
    return Trial(timed, _named_microphones(found), events, tuple(manifest.machines()))


def _recording(manifest: Manifest, row: Row, start_ns: int | None) -> Recording:
    faulty = row.label == "anomaly"
    event = row.extra.get("event", "")
    if event and not faulty:
        raise ManifestError(
            f"{manifest.path}, line {row.number}: a normal recording with event {event!r}; set label to anomaly, or "
            "clear event"
        )
    name = (event or row.recording) if faulty else ""
    return Recording(row.number, row.file, row.machine, row.mic, row.recording, faulty, name, start_ns)


def _moment(manifest: Manifest, row: Row, column: str) -> int | None:
    """Nanoseconds of a time; one without an offset counts as UTC, since only differences matter."""
    text = row.extra.get(column, "")
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ManifestError(
            f"{manifest.path}, line {row.number}: {column} is {text!r}; write it as 2026-04-01T08:30 or "
            "2026-04-01T08:30+09:00"
        ) from error
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()) * 10**9


def _check_clock(manifest: Manifest, rows: Sequence[Row]) -> None:
    """Times with and without an offset do not compare."""
    with_offset: dict[bool, int] = {}
    for row in rows:
        for column in ("start", "failed_at"):
            if row.extra.get(column) and _moment(manifest, row, column) is not None:
                with_offset[datetime.fromisoformat(row.extra[column]).tzinfo is not None] = row.number
    if len(with_offset) == 2:
        raise ManifestError(
            f"{manifest.path}: line {with_offset[True]} has a time with an offset, line {with_offset[False]} one "
            "without; write all of them the same way"
        )


def _events(manifest: Manifest, rows: Sequence[Row], recordings: Sequence[Recording]) -> tuple[Event, ...]:
    failed: dict[tuple[str, str], int | None] = {}
    for row, one in zip(rows, recordings, strict=True):
        if not one.faulty:
            continue
        key = (one.machine, one.event)
        moment = _moment(manifest, row, "failed_at")
        known = failed.get(key)
        if moment is not None and known is not None and moment != known:
            raise ManifestError(
                f"{manifest.path}, line {row.number}: event {one.event!r} of {one.machine} has two different "
                "failed_at; correct one"
            )
        failed[key] = known if moment is None else moment
        if moment is not None and one.start_ns is None:
            raise ManifestError(
                f"{manifest.path}, line {row.number}: failed_at without start; fill in start, or clear failed_at"
            )
    _check_order(manifest, recordings, failed)
    return tuple(Event(machine, name, moment) for (machine, name), moment in failed.items())


def _check_order(
    manifest: Manifest, recordings: Sequence[Recording], failed: Mapping[tuple[str, str], int | None]
) -> None:
    for (machine, name), moment in failed.items():
        own = [one for one in recordings if one.faulty and (one.machine, one.event) == (machine, name)]
        first = min(own, key=lambda one: one.start_ns or 0)
        if moment is not None and first.start_ns is not None and moment < first.start_ns:
            raise ManifestError(
                f"{manifest.path}, line {first.number}: event {name!r} of {machine} failed before its first recording "
                "began; correct start or failed_at"
            )


def _named_microphones(recordings: Sequence[Recording]) -> tuple[Recording, ...]:
    """Files that began together without a microphone's name are channels: each gets a name of its own."""
    taken: dict[tuple[str, int], int] = {}
    named = []
    for one in recordings:
        mic = one.mic
        if not mic and one.start_ns is not None:
            number = taken[one.machine, one.start_ns] = taken.get((one.machine, one.start_ns), -1) + 1
            mic = f"channel {number}"
        named.append(Recording(one.number, one.file, one.machine, mic, one.group, one.faulty, one.event, one.start_ns))
    return tuple(named)
