"""Both sides on the same files: hits and false alarms per event, and the difference of the official score.

Each side learns each machine from the healthy training files and lays its threshold on them, out of fold; then both
hear the same test files. An event (column `event`, else `recording`, else the file) is hit if any of its files is at or
beyond the threshold; a healthy recording is a false alarm by the same rule. The score's difference has a paired
bootstrap: both sides are measured on the same draws of recordings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.lineup import DEFAULT, detector_named, new_detector
from monitor import roc
from monitor.compare.alarmed import flagged, judged_alike, untimed_notes
from monitor.compare.faults import check_faults, exposed_detector
from monitor.compare.hits import Pairs, pairs
from monitor.compare.page import summary_lines, write_page
from monitor.compare.side import Side, differences, flat, read_side
from monitor.console import progress, say
from monitor.errors import WorkFailed
from monitor.evaluate_chain import is_enhanced, site_stages, through
from monitor.evaluate_machine import Heard, Outcome, hear_machine, run_detector
from monitor.manifest import Manifest, Row, read_manifest

RAREST = 0.01  # no threshold rarer than one in a hundred, as `alarm_plan` has it


@dataclass(frozen=True)
class Answer:
    """One side on one machine: the statistic and whether it is at or beyond the threshold [file], and the share."""

    statistic: roc.Array
    flagged: NDArray[np.bool_]
    share: float


@dataclass(frozen=True)
class Machine:
    """One machine's test files, the name of the event or healthy recording of each [file], and both answers."""

    name: str
    test: roc.TestSet
    unit: tuple[str, ...]
    sides: tuple[Answer, Answer]


def compare(
    manifest_path: Path, sides: tuple[Path, Path], out: Path, *, lang: str = "en", quiet: bool = False
) -> dict[str, Any]:
    """Write report.json and report.html into `out` and return the report.

    Raises SettingsError and ManifestError for files that cannot be used, WorkFailed for an unknown detector and where
    no machine could be judged by both sides.
    """
    both = read_sides(sides)
    manifest = read_manifest(manifest_path)
    machines: list[Machine] = []
    notes = untimed_notes(manifest, both)
    with progress("compare", quiet=quiet) as step:
        for name in step(manifest.machines()):
            try:
                machines.append(_machine(manifest, name, both))
            except ValueError as error:  # too little to learn from: an answer, not a crash
                notes.append(f"{name}: not judged: {error}")
    if not machines:
        raise WorkFailed(f"no machine could be compared: {'; '.join(notes)}")
    report = make_report(machines, both, notes, str(manifest_path))
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    write_page(report, out / "report.html", lang=lang)
    for line in summary_lines(report, lang):
        say(line, quiet=quiet)
    say(str(out / "report.html"), quiet=quiet)
    return report


def read_sides(paths: tuple[Path, Path]) -> tuple[Side, Side]:
    """Both sides, named A and B where they have no name of their own. Raises SettingsError, WorkFailed."""
    found = []
    for path, letter in zip(paths, "AB", strict=True):
        side = read_side(path)
        try:
            detector_named((side.detector or DEFAULT).partition(":")[0])
        except ValueError as error:
            raise WorkFailed(f"{path}: detector: {error}") from error
        check_faults(side, path)
        found.append(side.model_copy(update={"name": side.name or letter, "detector": side.detector or DEFAULT}))
    a, b = judged_alike((found[0], found[1]), paths)
    if a.name == b.name:
        a, b = (
            side.model_copy(update={"name": f"{side.name} {letter}"}) for side, letter in zip((a, b), "AB", strict=True)
        )
    if not differences(a, b):
        raise WorkFailed(f"{paths[0]} and {paths[1]} set the same: change a setting in one of them")
    return a, b


def _machine(manifest: Manifest, name: str, both: tuple[Side, Side]) -> Machine:
    heard: dict[tuple[int, float, bool], Heard] = {}
    answers = []
    rows = [row for row in manifest.rows if (row.machine, row.split) == (name, "test")]
    for side in both:
        key = (side.seed, side.window_s, is_enhanced(side.chain))
        if key not in heard:
            heard[key] = hear_machine(manifest, name, *key[:2], fine=key[2])
        answers.append(_answer(manifest, name, side, heard[key], rows))
    first = next(iter(heard.values()))
    return Machine(name, first.test, tuple(_unit(row) for row in rows), (answers[0], answers[1]))


def _unit(row: Row) -> str:
    return (row.extra.get("event", "") if row.label == "anomaly" else "") or row.recording


def _answer(manifest: Manifest, name: str, side: Side, heard: Heard, rows: list[Row]) -> Answer:
    stages, _ = site_stages(manifest, name, side.seed, side.adapt_minutes, (side.chain,))
    detector = new_detector(side.detector) if side.faults == "none" else exposed_detector(manifest, name, side)
    outcome = run_detector(through(detector, side.chain, stages.get(side.chain)), heard)
    if side.alarms is not None:
        return Answer(outcome.statistic, *flagged(manifest, name, side, rows))
    share = threshold_share(side, outcome)
    return Answer(outcome.statistic, outcome.p <= share * (1 + 1e-9), share)


def threshold_share(side: Side, outcome: Outcome) -> float:
    """The share of healthy files beyond the threshold: as asked, but no rarer than the recordings can count."""
    floor = outcome.calibration.floor
    return max(floor, side.false_alarm_share if side.false_alarm_share is not None else RAREST)


def make_report(
    machines: Sequence[Machine], both: tuple[Side, Side], notes: Sequence[str], manifest: str
) -> dict[str, Any]:
    """The comparison as JSON; figures that need both classes are null without them."""
    notes = [*notes, *_threshold_notes(machines, both)]
    hits, alarms = _pairs(machines, faulty=True), _pairs(machines, faulty=False)
    score = _scores(machines)
    return {
        "v": 1,
        "manifest": manifest,
        "names": [side.name for side in both],
        "settings": [flat(side) for side in both],
        "judged_by": "threshold" if both[0].alarms is None else "alarms",
        "differs": list(differences(*both)),
        "hits": asdict(hits),
        "false_alarms": asdict(alarms),
        "official": score,
        "verdict": verdict(hits, alarms, score["delta_ci"]),
        "machines": {
            one.name: {
                "hits": asdict(_pairs([one], faulty=True)),
                "false_alarms": asdict(_pairs([one], faulty=False)),
                "threshold_share": [side.share for side in one.sides],
            }
            for one in machines
        },
        "bootstrap": f"{roc.REPLICATES} paired replicates over test recordings",
        "notes": notes,
    }


def _threshold_notes(machines: Sequence[Machine], both: tuple[Side, Side]) -> list[str]:
    found = []
    for one in machines:
        for side, answer in zip(both, one.sides, strict=True):
            if side.alarms is not None:
                continue  # the threshold is the alarm plan's
            asked = RAREST if side.false_alarm_share is None else side.false_alarm_share
            if answer.share > asked:
                found.append(
                    f"{one.name}, {side.name}: threshold at {answer.share:.3f} of healthy files; the training "
                    f"recordings cannot count {asked:g}"
                )
    return found


def verdict(hits: Pairs, alarms: Pairs, delta_ci: Sequence[float] | None) -> str:
    """`a`, `b` or `open`: better in hits (p below 0.05) or by the score's interval; worse in neither, nor in alarms."""
    votes = []
    if hits.p < 0.05:
        votes.append("a" if hits.a_only > hits.b_only else "b")
    if delta_ci is not None and not delta_ci[0] <= 0 <= delta_ci[1]:
        votes.append("b" if delta_ci[0] > 0 else "a")
    if len(set(votes)) != 1:
        return "open"
    worse = "b" if alarms.b_only > alarms.a_only else "a"
    return "open" if alarms.p < 0.05 and worse == votes[0] else votes[0]


def _pairs(machines: Sequence[Machine], *, faulty: bool) -> Pairs:
    """Per event, or per healthy recording: was any of its files flagged?"""
    answers: tuple[dict[str, bool], dict[str, bool]] = ({}, {})
    for one in machines:
        for place in np.flatnonzero(one.test.anomaly == faulty):
            key = f"{one.name}\x1f{one.unit[place]}"
            for found, side in zip(answers, one.sides, strict=True):
                found[key] = found.get(key, False) or bool(side.flagged[place])
    return pairs(*answers)


def _scores(machines: Sequence[Machine]) -> dict[str, Any]:
    """Official scores and AUC of both sides, and B less A with its paired interval."""
    ranked = [one for one in machines if one.test.two_classes]
    if not ranked:
        return dict.fromkeys(("a", "b", "delta", "delta_ci", "auc_a", "auc_b"))
    tests = [one.test for one in ranked]
    flat = [np.ones((1, len(test.anomaly))) for test in tests]
    found: dict[str, Any] = {}
    for number, letter in enumerate("ab"):
        auc, _, official = roc.over_machines([one.sides[number].statistic for one in ranked], tests, flat)
        found |= {letter: float(official[0]), f"auc_{letter}": float(auc[0])}
    return found | {"delta": found["b"] - found["a"], "delta_ci": _delta_ci(ranked, tests)}


def _delta_ci(ranked: Sequence[Machine], tests: Sequence[roc.TestSet]) -> list[float] | None:
    if not all(roc.enough_recordings(test) for test in tests):
        return None
    generator = np.random.default_rng(0)
    weights = [roc.bootstrap_weights(test, roc.REPLICATES, generator) for test in tests]
    each = [
        roc.over_machines([one.sides[number].statistic for one in ranked], tests, weights)[2] for number in range(2)
    ]
    return roc.interval(each[1] - each[0])
