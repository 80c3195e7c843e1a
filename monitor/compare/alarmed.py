"""Sides judged by alarms: which ones `run` would have opened with each side's own `[alarms]`, and on which files.

As `factory-ear roi` replays a trial (`monitor.roi.listen`, `replay`): a model per machine, k of n looks, delays and
hysteresis in event time where the manifest has times. A file is flagged if an alarm opened on it, and not after the
machine had failed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monitor.compare.faults import sounds_for
from monitor.compare.side import Side
from monitor.errors import WorkFailed
from monitor.manifest import Manifest, Row
from monitor.roi.listen import Chain, listen
from monitor.roi.replay import Alarm
from monitor.roi.trial import read_trial
from monitor.settings import AlarmRules, Alarms

TIMED = ("judge_recordings", "on_delay_s", "off_delay_s", "hysteresis")  # without times they decide nothing


def judged_alike(sides: tuple[Side, Side], paths: tuple[Path, Path]) -> tuple[Side, Side]:
    """Both sides with `[alarms]` where one has them. Raises WorkFailed for settings that these replace."""
    if not any(side.alarms for side in sides):
        return sides
    for side, path in zip(sides, paths, strict=True):
        if side.false_alarm_share is not None:
            raise WorkFailed(
                f"{path}: false_alarm_share = {side.false_alarm_share:g} beside [alarms], whose threshold follows from "
                "false_alarms_per_week; remove one of them"
            )
        if side.chain not in ("raw", "full"):
            raise WorkFailed(
                f'{path}: chain = "{side.chain}" beside [alarms], allowed is raw or full: what `roi` computes'
            )
    a, b = (side.model_copy(update={"alarms": side.alarms or AlarmRules()}) for side in sides)
    return a, b


def flagged(manifest: Manifest, machine: str, side: Side, rows: list[Row]) -> tuple[NDArray[np.bool_], float]:
    """Whether an alarm opened on each of the machine's test `rows` [file], and the threshold's share of looks.

    Raises ValueError where the machine cannot be learned, ManifestError for times that do not fit together.
    """
    assert side.alarms is not None  # noqa: S101 - `judged_alike` came before
    trial = read_trial(manifest)
    chain: Chain = "full" if side.chain == "full" else "raw"
    detector = side.detector if side.faults == "none" else f"{side.detector}+faults"
    heard = listen(
        manifest,
        replace(trial, machines=(machine,)),
        Alarms(**side.alarms.model_dump()),
        detector=detector,
        chain=chain,
        adapt_minutes=side.adapt_minutes,
        seed=side.seed,
        window_s=side.window_s,
        faults={machine: sounds_for(manifest, machine, side)},
    )
    if machine in heard.silent:
        raise ValueError(heard.silent[machine])
    failed = {(one.machine, one.name): one.failed_ns for one in trial.events}

    def counts(alarm: Alarm) -> bool:
        moment = failed.get((machine, alarm.recording.event)) if alarm.recording.faulty else None
        return moment is None or alarm.at_ns is None or alarm.at_ns <= moment

    opened = {alarm.recording.number for alarm in heard.alarms if counts(alarm)}
    return np.array([row.number in opened for row in rows], dtype=bool), heard.plans[machine].p


def untimed_notes(manifest: Manifest, sides: tuple[Side, Side]) -> list[str]:
    """What of the alarms cannot differ on a manifest without times."""
    a, b = sides
    if a.alarms is None or b.alarms is None or any(row.extra.get("start") for row in manifest.rows):
        return []
    lost = [f"alarms.{key}" for key in TIMED if getattr(a.alarms, key) != getattr(b.alarms, key)]
    return [f"{', '.join(lost)}: without the column start these decide nothing"] if lost else []
