"""What the demo found, as a pure function of what was planned and what was seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from monitor.settings import HALL
from streams.records import Alert

GRACE_S = 120.0  # an alarm may close so long after its fault ends, and another of its own tail is no false one


@dataclass(frozen=True)
class Planned:
    """One thing that happens in the hall: a fault of a machine, or kind "no signal" of one microphone.

    Times are seconds from the start of the stream, the level is in dB relative to the machine's own sound.
    """

    machine: str
    kind: str
    start_s: float
    end_s: float
    level_db: float = 0.0
    mic: str = ""
    must_find: bool = True

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels of an alert that find it."""
        return ("unknown",) if self.kind == "no signal" else ("alert", "danger")


@dataclass(frozen=True)
class Row:
    """One line of the table. `delay_s` is None where nothing was found; a machine without a plan has kind "".

    `raw` says whether the raw detector alone would have found it; None: that was not asked.
    """

    machine: str
    kind: str
    level_db: float
    start_s: float
    end_s: float
    found: bool
    delay_s: float | None
    false_alarms: int
    alert_id: str = ""
    clip: str = ""
    reason: str = ""
    raw: bool | None = None


@dataclass(frozen=True)
class Verdict:
    """The table, in words why the demo failed, if it did, and which alarms were marked as those of others."""

    rows: tuple[Row, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...] = ()


def judge(
    machines: Sequence[str],
    planned: Sequence[Planned],
    alerts: Sequence[Alert],
    counts: Mapping[str, int],
    start_ns: int,
    raw: Sequence[Alert] | None = None,
) -> Verdict:
    """Match alerts with what was planned. An alert that no plan of its machine explains is a false alarm.

    `raw` are the alerts of the raw detector alone: they are told beside the others and fail nothing.

    An alert that is marked as the consequence of another finds nothing; it is none of its machine's if the other one
    is explained, and false if that one is. One of the whole hall is explained while anything that is planned lasts.
    """
    explained = {alert.alert_id for alert in alerts for plan in planned if _explains(plan, alert, start_ns)}
    explained |= {
        alert.alert_id
        for alert in alerts
        for plan in planned
        if alert.machine.startswith(HALL) and plan.start_s <= (alert.opened_ns - start_ns) / 1e9 <= plan.end_s + GRACE_S
    }
    explained |= {alert.alert_id for alert in alerts if alert.cause in explained}
    machines = (*machines, *sorted({alert.machine for alert in alerts if alert.machine.startswith(HALL)}))
    false = {
        machine: sum(alert.machine == machine and alert.alert_id not in explained for alert in alerts)
        for machine in machines
    }
    rows = [
        replace(
            _row(plan, alerts, false[plan.machine], start_ns),
            raw=None if raw is None or plan.kind == "no signal" else any(_explains(plan, one, start_ns) for one in raw),
        )
        for plan in planned
    ]
    rows += [
        Row(machine, "", 0.0, 0.0, 0.0, found=False, delay_s=None, false_alarms=false[machine])
        for machine in machines
        if machine not in {plan.machine for plan in planned} and not machine.startswith(HALL)
    ]
    failures = [
        f"{row.machine}: {row.kind} was not found"
        for row, plan in zip(rows, planned, strict=False)
        if plan.must_find and not row.found
    ]
    failures += [f"{machine}: {count} false alarms" for machine, count in false.items() if count]
    failures += _add_up(counts)
    order = {machine: place for place, machine in enumerate(machines)}
    table = sorted(rows, key=lambda row: (order[row.machine], row.start_s))
    return Verdict(tuple(table), tuple(failures), tuple(_notes(alerts)))


def _notes(alerts: Sequence[Alert]) -> Iterator[str]:
    for alert in sorted(alerts, key=lambda one: one.opened_ns):
        if alert.cause:
            yield f"{alert.machine}: an alarm was marked as that of {', '.join(alert.machines)}"
        elif alert.machine.startswith(HALL):
            yield f"{alert.machine}: one alarm for {', '.join(alert.machines)}"


def _row(plan: Planned, alerts: Sequence[Alert], false_alarms: int, start_ns: int) -> Row:
    hits = sorted((a for a in alerts if _explains(plan, a, start_ns)), key=lambda alert: alert.opened_ns)
    first = hits[0] if hits else None
    return Row(
        machine=plan.machine,
        kind=plan.kind,
        level_db=plan.level_db,
        start_s=plan.start_s,
        end_s=plan.end_s,
        found=first is not None,
        delay_s=(first.opened_ns - start_ns) / 1e9 - plan.start_s if first else None,
        false_alarms=false_alarms,
        alert_id=first.alert_id if first else "",
        clip=first.clip if first else "",
        reason=first.reason if first else "",
    )


def _explains(plan: Planned, alert: Alert, start_ns: int) -> bool:
    opened_s = (alert.opened_ns - start_ns) / 1e9
    return (
        alert.machine == plan.machine
        and not alert.cause
        and alert.level in plan.levels
        and (not plan.mic or plan.mic in alert.mics)
        and plan.start_s <= opened_s <= plan.end_s + GRACE_S
    )


def _add_up(counts: Mapping[str, int]) -> list[str]:
    ended = counts["scored"] + counts["rejected"] + counts["dead"] + counts["expired"]
    wrong = []
    if counts["accepted"] != ended:
        wrong.append(f"{counts['accepted']} windows were accepted, {ended} are accounted for")
    if counts["accepted"] != counts["sent"]:
        wrong.append(f"{counts['sent']} windows were rendered, {counts['accepted']} were accepted")
    return wrong
