"""What is to be seen now, as one JSON value: /api/state shows it as it is, the page in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.alarms import AlarmMachine, Plan, Update
from monitor.fault_names import with_names
from monitor.langs import Lang
from monitor.liveness import Ear, Verdict
from monitor.settings import Line, Machine, Mic
from streams.records import Alert, WindowScore

VERSION = 1
STATES = ("danger", "alert", "unknown", "no_model", "waiting", "ok")  # worst first
BLOCKING = ("intake_stopped", "store_full", "broker_down", "no_model", "starting")  # not ready while one of these holds


@dataclass(slots=True)
class Facing:
    """What the board shows that no other part remembers.

    `problems` maps a key of `words.TEXTS` to its values; `clips` holds the alert ids whose clip is being written.
    """

    problems: dict[str, dict[str, Any]] = field(default_factory=dict)
    newest: dict[str, WindowScore] = field(default_factory=dict)
    detectors: dict[str, str] = field(default_factory=dict)
    since_ns: dict[str, int] = field(default_factory=dict)
    clips: set[str] = field(default_factory=set)
    lag: int = 0
    dead: int = 0


def board(
    line: Line,
    machines: Mapping[str, AlarmMachine],
    ears: Mapping[str, Ear],
    verdicts: Mapping[str, Mapping[str, Verdict]],
    alerts: Sequence[Update],
    facing: Facing,
    now_ns: int,
) -> dict[str, Any]:
    """The state of the line at `now_ns`; numbers that are not finite become null."""
    shown = [_machine(one, machines[one.id], ears, verdicts.get(one.id, {}), facing) for one in line.machine]
    return {
        "v": VERSION,
        "at_ns": now_ns,
        "site": {"name": line.site.name, "time_zone": line.site.time_zone},
        "ready": not any(problem in BLOCKING for problem in facing.problems),
        "problems": dict(facing.problems),
        "windows_waiting": facing.lag,
        "dead_letters": facing.dead,
        "machines": sorted(shown, key=lambda one: STATES.index(one["state"])),
        "alerts": [
            alert_plain(_live(update, machines, line.site.lang), clip_pending=update.alert.alert_id in facing.clips)
            for update in alerts
        ],
    }


def starting(line: Line, now_ns: int) -> dict[str, Any]:
    """The board before anything is known."""
    facing = Facing(problems={"starting": {}})
    machines = {one.id: AlarmMachine(one.id, {}, line.alarms) for one in line.machine}
    return board(line, machines, {}, {}, (), facing, now_ns)


def _live(update: Update, machines: Mapping[str, AlarmMachine], lang: Lang) -> Update:
    """An open alarm as it is this moment: what was announced last may be minutes old."""
    machine = machines.get(update.alert.machine)
    for one in (machine.alarm, machine.unknown) if machine else ():
        if one and one.alert.alert_id == update.alert.alert_id:
            found = Update(Alert(**{**_fields(one.alert), "clip": update.alert.clip}), one.facts)
            return with_names(found, update.facts.named, lang) if update.facts.named else found
    return update


def _fields(alert: Alert) -> dict[str, Any]:
    return {name: getattr(alert, name) for name in Alert.__dataclass_fields__}


def alert_plain(update: Update, *, clip_pending: bool = False) -> dict[str, Any]:
    """An alert and its facts as JSON values."""
    alert = _fields(update.alert)
    alert["peak_score"] = _finite(update.alert.peak_score)
    return {**alert, "facts": update.facts.plain(), "clip_pending": clip_pending}


def _machine(
    settings: Machine,
    machine: AlarmMachine,
    ears: Mapping[str, Ear],
    verdicts: Mapping[str, Verdict],
    facing: Facing,
) -> dict[str, Any]:
    mics = [_mic(mic, machine, ears.get(mic.id), verdicts.get(mic.id), facing) for mic in settings.mic]
    update = machine.alarm or machine.unknown
    judged = any(mic["score"] is not None for mic in mics)
    state = machine.level or ("ok" if judged else "waiting" if machine.plans else "no_model")
    worst = max((mic for mic in mics if mic["score"] is not None), key=_excess, default=None)
    return {
        "id": settings.id,
        "name_ja": settings.name("ja"),
        "name_en": settings.name("en"),
        "state": state,
        "since_ns": update.facts.since_ns if update else facing.since_ns.get(settings.id, 0),
        "score": worst and worst["score"],
        "threshold": worst and worst["threshold"],
        "mics": mics,
    }


def _excess(mic: Mapping[str, Any]) -> float:
    return float(mic["score"] - (mic["threshold"] or 0.0))


def _mic(mic: Mic, machine: AlarmMachine, ear: Ear | None, verdict: Verdict | None, facing: Facing) -> dict[str, Any]:
    rule = machine.rule(mic.id)
    newest = facing.newest.get(mic.id)
    signal = verdict.signal if verdict else "waiting"
    return {
        "id": mic.id,
        "signal": signal,
        "level_dbfs": _finite(ear.level_dbfs) if ear else None,
        "last_ns": ear.end_ns if ear else 0,
        "flags": sorted(ear.flags) if ear else [],
        "clipped": ear.clipped if ear else 0,
        "gap_s": round(ear.gap_s, 3) if ear else 0.0,
        "score": _finite(newest.score) if newest else None,
        "detector": facing.detectors.get(mic.id, ""),
        **_rule(rule),
    }


def _rule(rule: Plan | None) -> dict[str, Any]:
    if rule is None:
        return {"threshold": None, "k": None, "n": None, "supported": None, "expected_per_week": None}
    return {
        "threshold": round(rule.threshold, 4),
        "k": rule.k,
        "n": rule.n,
        "supported": rule.supported,
        "expected_per_week": round(rule.expected_per_week, 4),
    }


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
