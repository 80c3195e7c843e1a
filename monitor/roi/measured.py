"""From alarms to figures: which events were found, how early, and how often a healthy machine alarmed.

Rules, the stricter reading wherever there are two:

- An alarm belongs to the recording whose look opened it. On a healthy recording it is false.
- An event is found if an alarm *opened* on one of its recordings, and not after it failed. An alarm that was open
  before and simply stayed open finds nothing: somebody looked at it then and saw nothing.
- Lead time = failed_at - opening. Early: at least `least_lead_hours` of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.roi.costs import Costs
from monitor.roi.replay import Alarm, Judged
from monitor.roi.trial import Event, Trial

HOUR_NS = 3_600 * 10**9
WEEK_H = 168.0
YEAR_H = 8_766.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One event and what became of it. `lead_h` is None where it was missed or nobody knows when it failed."""

    event: Event
    found: bool
    lead_h: float | None
    mics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MachineFigures:
    """A machine's share of the figures; `weeks` is healthy exposure, see `Figures`."""

    machine: str
    found: int
    events: int
    false_alarms: int
    listened_h: float
    weeks: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What the trial measured.

    `weeks` is the exposure behind the false alarms, in machine-weeks of service; `basis` says how it was counted:
    hours (listening_hours_per_week), trial (as the trial listened), or recordings (recordings_per_week).
    `machine_years` is what the trial covered, 0 without times.
    """

    outcomes: tuple[Outcome, ...]
    machines: tuple[MachineFigures, ...]
    basis: str
    least_lead_h: float
    machine_years: float

    @property
    def found(self) -> int:
        """Events that were found."""
        return sum(one.found for one in self.outcomes)

    @property
    def events(self) -> int:
        """All events."""
        return len(self.outcomes)

    @property
    def false_alarms(self) -> int:
        """Alarms of healthy machines."""
        return sum(one.false_alarms for one in self.machines)

    @property
    def weeks(self) -> float:
        """Healthy exposure in machine-weeks."""
        return sum(one.weeks for one in self.machines)

    @property
    def listened_h(self) -> float:
        """Hours of healthy sound."""
        return sum(one.listened_h for one in self.machines)

    @property
    def leads_h(self) -> tuple[float, ...]:
        """Lead times of found events, where they are known."""
        return tuple(one.lead_h for one in self.outcomes if one.lead_h is not None)

    @property
    def early(self) -> int:
        """Found events with a lead time that is long enough."""
        return sum(lead >= self.least_lead_h for lead in self.leads_h)


def measure(trial: Trial, heard: Sequence[Judged], alarms: Sequence[Alarm], costs: Costs) -> Figures:
    """The figures of a trial; machines without any recording heard are not in them."""
    known = {one.recording.machine for one in heard}
    outcomes = tuple(_outcome(event, alarms) for event in trial.events if event.machine in known)
    basis = "hours" if costs.listening_hours_per_week else "trial" if trial.timed else "recordings"
    machines = tuple(
        _machine(machine, outcomes, [one for one in heard if one.recording.machine == machine], alarms, costs, basis)
        for machine in trial.machines
        if machine in known
    )
    years = sum(_span_h(heard, machine) for machine in known) / YEAR_H if trial.timed else 0.0
    return Figures(outcomes, machines, basis, costs.least_lead_hours, years)


def _outcome(event: Event, alarms: Sequence[Alarm]) -> Outcome:
    own = [one for one in alarms if one.recording.faulty and one.recording.machine == event.machine]
    own = [one for one in own if one.recording.event == event.name]
    if event.failed_ns is not None:
        own = [one for one in own if one.at_ns is not None and one.at_ns <= event.failed_ns]
    moments = [one.at_ns for one in own if one.at_ns is not None]
    lead_h = None
    if moments and event.failed_ns is not None:
        lead_h = (event.failed_ns - min(moments)) / HOUR_NS
    return Outcome(event, bool(own), lead_h, tuple(sorted({one.recording.mic for one in own} - {""})))


def _machine(
    machine: str,
    outcomes: Sequence[Outcome],
    heard: Sequence[Judged],
    alarms: Sequence[Alarm],
    costs: Costs,
    basis: str,
) -> MachineFigures:
    healthy = [one for one in heard if not one.recording.faulty]
    false = [one.recording for one in alarms if one.recording.machine == machine and not one.recording.faulty]
    # Without times the channels of one recording alarm together: that is one alarm.
    count = len({one.group for one in false}) if basis_of_groups(heard) else len(false)
    listened_h = _listened_h(healthy)
    if basis == "hours":
        weeks = listened_h / (costs.listening_hours_per_week or WEEK_H)
    elif basis == "trial":
        weeks = _covered_h(heard) / WEEK_H
    else:
        weeks = len({one.recording.group for one in healthy}) / costs.recordings_per_week
    own = [one for one in outcomes if one.event.machine == machine]
    return MachineFigures(machine, sum(one.found for one in own), len(own), count, listened_h, weeks)


def basis_of_groups(heard: Sequence[Judged]) -> bool:
    """Whether recordings rather than times are counted."""
    return any(one.recording.start_ns is None for one in heard)


def _listened_h(healthy: Sequence[Judged]) -> float:
    """Hours of the machine, not of its microphones: what began together, or shares a recording, counts once."""
    longest: dict[object, dict[str, float]] = {}
    for one in healthy:
        timed = one.recording.start_ns is not None
        key: object = one.recording.start_ns if timed else one.recording.group
        mics = longest.setdefault(key, {})
        mic = one.recording.mic
        # A named microphone's files follow each other; files without a name may be channels of the same minutes.
        mics[mic] = mics.get(mic, 0.0) + one.seconds if mic and not timed else max(mics.get(mic, 0.0), one.seconds)
    return sum(max(mics.values()) for mics in longest.values()) / 3_600


def _covered_h(heard: Sequence[Judged]) -> float:
    """Hours for which healthy recordings speak: each until the machine's next one began, the last its own length."""
    starts: dict[int, Judged] = {}
    for one in heard:
        start_ns = one.recording.start_ns or 0
        if start_ns not in starts or one.seconds > starts[start_ns].seconds:
            starts[start_ns] = one
    ordered = sorted(starts)
    total = 0.0
    for here, after in zip(ordered, [*ordered[1:], None], strict=True):
        one = starts[here]
        if not one.recording.faulty:
            total += one.seconds / 3_600 if after is None else (after - here) / HOUR_NS
    return total


def _span_h(heard: Sequence[Judged], machine: str) -> float:
    own = [one for one in heard if one.recording.machine == machine]
    starts = [one.recording.start_ns or 0 for one in own]
    ends = [(one.recording.start_ns or 0) + round(one.seconds * 1e9) for one in own]
    return (max(ends) - min(starts)) / HOUR_NS
