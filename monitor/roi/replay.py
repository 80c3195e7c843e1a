"""A trial's looks through the alarm logic of `run`: which alarms would have opened, and on which recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.alarm_plan import Plan
from monitor.alarms import AlarmMachine
from monitor.roi.trial import Recording
from monitor.settings import Alarms
from streams.records import WindowScore


@dataclass(frozen=True, slots=True)
class Judged:
    """A recording and what was heard of it: its length and the score of each look (one per context), in order."""

    recording: Recording
    seconds: float
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm, by the recording that opened it. `at_ns` is None in a trial without times."""

    recording: Recording
    at_ns: int | None


def alarms_of(heard: Sequence[Judged], plans: Mapping[str, Plan], settings: Alarms) -> list[Alarm]:
    """Every alarm of the trial; `plans` per machine.

    With times the looks run through `AlarmMachine` in event time. Without, a recording stands for a state that lasts:
    it alarms where the rule's share of its looks, k of n, is odd.
    """
    found: list[Alarm] = []
    for machine, rule in plans.items():
        own = [one for one in heard if one.recording.machine == machine]
        if all(one.recording.start_ns is not None for one in own):
            found += _in_time(machine, own, rule, settings)
        else:
            found += [Alarm(one.recording, None) for one in own if lasting(one.scores, rule)]
    return found


def lasting(scores: Sequence[float], rule: Plan) -> bool:
    """Whether k of n looks would be odd if the recording went on as it is."""
    odd = sum(score >= rule.threshold for score in scores)
    return bool(scores) and odd * rule.n >= rule.k * len(scores)


def _in_time(machine: str, heard: Sequence[Judged], rule: Plan, settings: Alarms) -> list[Alarm]:
    looks = []
    for one in heard:
        for number, score in enumerate(one.scores):
            looks.append((_window(machine, one, number, score, rule), one.recording))
    looks.sort(key=lambda look: look[0].end_ns)
    alarms = AlarmMachine(machine, {"*": rule}, settings)
    found = []
    for window, recording in looks:
        if any(update.opened for update in alarms.feed(window)):
            found.append(Alarm(recording, window.end_ns))
    return found


def _window(machine: str, one: Judged, number: int, score: float, rule: Plan) -> WindowScore:
    """The look as a score of one window that is as long as a context."""
    assert one.recording.start_ns is not None  # noqa: S101 - alarms_of asked
    return WindowScore(
        machine=machine,
        mic=one.recording.mic,
        session=str(one.recording.number),
        sequence=number,
        start_ns=one.recording.start_ns + round(number * rule.context_s * 1e9),
        duration_s=rule.context_s,
        status="ok",
        score=score,
    )
