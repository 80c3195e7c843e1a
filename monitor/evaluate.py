"""`factory-ear evaluate`: how well detectors and controls tell faulty from healthy recordings that they never heard.

One model per machine and detector, fitted on the healthy training files; one score per test file. Every choice
(aggregation, thresholds) is made out of fold on training recordings. Intervals are bootstraps over test recordings.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from monitor import roc
from monitor.console import progress as console_progress
from monitor.console import say, table
from monitor.contenders import Contender, contenders
from monitor.dataset_table import Judged, dataset_table, print_dataset_table
from monitor.evaluate_chain import chain_notes, chains_of, check_chain, is_enhanced, named, site_stages, through
from monitor.evaluate_machine import RATE, WINDOW_S, Heard, Outcome, hear_machine, run_detector, share
from monitor.evaluate_shared import Shared
from monitor.manifest import Manifest, read_manifest
from monitor.report import write_report
from monitor.site_sound import MINUTES

ALPHAS = (0.01, 0.05, 0.1)
Progress = Callable[[Sequence[str]], Iterable[str]]


@dataclass(frozen=True)
class Machine:
    """One machine's test set and what each detector made of it; `why` says why there are no outcomes."""

    name: str
    heard: Heard | None
    outcomes: dict[str, Outcome]
    why: str = ""


def evaluate(
    manifest_path: str | Path,
    out: str | Path,
    *,
    chain: str = "raw",
    seed: int = 0,
    lang: str = "en",
    detectors: str = "all",
    adapt_minutes: float = MINUTES,
    progress: Progress | None = None,
    dataset: str = "",
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Write report.json and report.html into `out` and return the report.

    `detectors` is `all`, `quick` (without those that train a network) or names with commas between them; the default
    and the controls are always there. For another chain than raw each machine's separator is adapted for
    `adapt_minutes` at most. `progress` wraps the sequence of machines; None: a bar on a terminal. `dataset`
    names the public data set that the manifest was made from, which adds its own table; `notes` are put before the
    report's own.

    Raises ManifestError for a manifest that cannot be used, WorkFailed for an unknown chain or detector. What cannot be
    measured (one class only, too few recordings) is null in the report, with the reason under protocol.notes.
    """
    check_chain(chain)
    rows = contenders(detectors)
    manifest = read_manifest(manifest_path)
    with console_progress("evaluate") as bar:
        names = (progress or bar)(manifest.machines())
        machines = [evaluate_machine(manifest, name, seed, rows, chain, adapt_minutes) for name in names]
    report = make_report(manifest, machines, kinds_of(rows, chain), chain, seed)
    report["protocol"]["notes"][:0] = [*notes, *chain_notes(chains_of(chain))]
    if dataset:
        report["dataset"] = dataset_table(dataset, [_judged(one, one.heard) for one in machines if one.heard])
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n", "utf-8")
    write_report(report, _curves(machines), out / "report.html", lang=lang)
    return report


def _judged(machine: Machine, heard: Heard) -> Judged:
    return Judged(machine.name, heard.test, {name: one.statistic for name, one in machine.outcomes.items()})


def evaluate_machine(
    manifest: Manifest,
    name: str,
    seed: int,
    rows: Sequence[Contender],
    chain: str = "raw",
    adapt_minutes: float = MINUTES,
    sharing: Callable[[Heard], Shared] = share,
) -> Machine:
    """One machine of the manifest, with an outcome for every row behind every chain that is asked for.

    `sharing` makes what keeps the parts that rows have in common.
    """
    try:
        heard = hear_machine(manifest, name, seed, fine=any(is_enhanced(one) for one in chains_of(chain)))
    except ValueError as error:  # too little to learn from: an answer, not a crash
        return Machine(name, None, {}, str(error))
    stages, notes = site_stages(manifest, name, seed, adapt_minutes, chains_of(chain))
    heard = replace(heard, notes=(*heard.notes, *notes))
    shared = sharing(heard)
    outcomes = {
        named(row.name, one, chain): run_detector(through(row.make(), one, stages.get(one)), heard, shared)
        for one in chains_of(chain)
        for row in rows
    }
    return Machine(name, heard, outcomes)


def kinds_of(rows: Sequence[Contender], chain: str) -> dict[str, str]:
    """What each row of the report is, in its order."""
    return {named(row.name, one, chain): row.kind for one in chains_of(chain) for row in rows}


def make_report(
    manifest: Manifest, machines: Sequence[Machine], kinds: Mapping[str, str], chain: str, seed: int
) -> dict[str, Any]:
    """The report of machines that were evaluated; `kinds` names the rows in their order and says what each is."""
    from detectors.lineup import DEFAULT

    return {
        "protocol": {
            "default": DEFAULT,
            "seed": seed,
            "window_s": WINDOW_S,
            "rate": RATE,
            "chain": chain,
            "git": _git(),
            "manifest": str(manifest.path),
            "machines": {one.name: _counts(one) for one in machines},
            "official": "harmonic mean of AUC source, AUC target and pAUC (max FPR 0.1), over all machines",
            "bootstrap": f"{roc.REPLICATES} replicates over test recordings, healthy and faulty apart",
            "notes": _notes(manifest, machines),
        },
        "results": _results(machines, kinds, seed),
        "machines": {one.name: {"results": _results([one], kinds, seed)} for one in machines},
    }


def _counts(machine: Machine) -> dict[str, Any]:
    heard = machine.heard
    if heard is None:
        return {"effective_n": None, "why": machine.why}
    faulty = heard.test.anomaly
    return {
        "effective_n": heard.recordings,
        "train_files": len(set(heard.train_file.tolist())),
        "test_normal": int((~faulty).sum()),
        "test_anomaly": int(faulty.sum()),
        "test_recordings_normal": len(set(heard.test.recording[~faulty])),
        "test_recordings_anomaly": len(set(heard.test.recording[faulty])),
    }


def _notes(manifest: Manifest, machines: Sequence[Machine]) -> list[str]:
    notes = []
    if "domain" not in manifest.columns:
        notes.append("no column domain: AUC source and AUC target are the same AUC")
    if "recording" not in manifest.columns:
        notes.append("no column recording: every file counts as a recording of its own")
    if len({(row.machine, row.mic) for row in manifest.rows}) > len(machines):
        notes.append("column mic: all microphones of a machine share one model here")
    for one in machines:
        if one.heard is None:
            notes.append(f"{one.name}: not evaluated: {one.why}")
            continue
        notes += [f"{one.name}: {note}" for note in one.heard.notes]
        n = one.heard.recordings
        poor = [f"{alpha:g}" for alpha in ALPHAS if 1 / (n + 1) > alpha]
        if poor:
            notes.append(
                f"{one.name}: effective n is {n} training recordings, so false-alarm rates below {1 / (n + 1):.3f} "
                f"cannot be calibrated: thresholds at {', '.join(poor)} are not supported"
            )
        if not one.heard.test.two_classes:
            notes.append(f"{one.name}: the test split has one class only, so AUC, pAUC and official are null")
        elif not roc.enough_recordings(one.heard.test):
            notes.append(f"{one.name}: fewer than two test recordings of a class, so there are no intervals")
    return notes


def _results(machines: Sequence[Machine], kinds: Mapping[str, str], seed: int) -> dict[str, Any]:
    from detectors.lineup import DEFAULT

    heard = [one for one in machines if one.heard is not None]
    ranked = [one for one in heard if one.heard is not None and one.heard.test.two_classes]
    tests = [one.heard.test for one in ranked if one.heard is not None]
    weights = [np.ones((1, len(test.anomaly))) for test in tests]
    drawn = []
    if tests and all(roc.enough_recordings(test) for test in tests):
        generator = np.random.default_rng(seed)
        drawn = [roc.bootstrap_weights(test, roc.REPLICATES, generator) for test in tests]
    replicates: dict[str, roc.Array] = {}
    results: dict[str, Any] = {}
    for name, kind in kinds.items():
        outcomes = [one.outcomes[name] for one in ranked]
        results[name] = {"kind": kind, **_ranking(outcomes, tests, weights, drawn, replicates, name)}
        results[name] |= _alarms([(one.outcomes[name], one.heard.test) for one in heard if one.heard is not None])
        results[name] |= _costs([one.outcomes[name] for one in heard])
    for name, one in results.items():
        one["delta_ci"] = roc.interval(replicates[name] - replicates[DEFAULT]) if replicates else None
        raw = name.partition("+")[0]
        if raw != name and raw in replicates:  # the same detector behind another chain
            one["delta_raw_ci"] = roc.interval(replicates[name] - replicates[raw])
    return results


def _ranking(
    outcomes: Sequence[Outcome],
    tests: Sequence[roc.TestSet],
    weights: Sequence[roc.Array],
    drawn: Sequence[roc.Array],
    replicates: dict[str, roc.Array],
    name: str,
) -> dict[str, Any]:
    """AUC, pAUC and official score with their intervals; nulls where there is nothing to rank."""
    keys = ("auc", "pauc", "official")
    if not outcomes:
        return dict.fromkeys((*keys, "auc_ci", "official_ci"))
    scores = [one.statistic for one in outcomes]
    plain = roc.over_machines(scores, tests, weights)
    found: dict[str, Any] = {key: float(value[0]) for key, value in zip(keys, plain, strict=True)}
    if not drawn:
        return found | {"auc_ci": None, "official_ci": None}
    auc, _, official = roc.over_machines(scores, tests, drawn)
    replicates[name] = official
    return found | {"auc_ci": roc.interval(auc), "official_ci": roc.interval(official)}


def _alarms(pairs: Sequence[tuple[Outcome, roc.TestSet]]) -> dict[str, Any]:
    """Per nominal rate, the share of healthy and of faulty test files at or beyond it; null where unsupported."""
    found: dict[str, dict[str, float | None]] = {"fpr_at": {}, "tpr_at": {}}
    for alpha in ALPHAS:
        for key, faulty in (("fpr_at", False), ("tpr_at", True)):
            flags = [outcome.p[test.anomaly == faulty] <= alpha * (1 + 1e-9) for outcome, test in pairs]
            supported = bool(pairs) and all(outcome.supports(alpha) for outcome, _ in pairs)
            everywhere = np.concatenate(flags) if supported else np.empty(0)
            found[key][f"{alpha:g}"] = float(everywhere.mean()) if len(everywhere) else None
    return dict(found)


def _costs(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    if not outcomes:
        return dict.fromkeys(("context_s", "aggregation", "train_s", "windows_per_s"))
    seconds = sum(one.score_s for one in outcomes)
    return {
        "context_s": max(one.context_s for one in outcomes),
        "aggregation": ", ".join(dict.fromkeys(one.aggregation for one in outcomes)),
        "train_s": sum(one.train_s for one in outcomes),
        "windows_per_s": sum(one.windows for one in outcomes) / seconds if seconds else None,
    }


def _curves(machines: Sequence[Machine]) -> dict[str, tuple[roc.Array, roc.Array]]:
    """The first ranked machine's ROC per detector, for the picture."""
    for one in machines:
        if one.heard is not None and one.heard.test.two_classes:
            test = one.heard.test
            flat = np.ones((1, len(test.anomaly)))
            both = {name: roc.curve(outcome.statistic, test.anomaly, flat) for name, outcome in one.outcomes.items()}
            return {f"{name} ({one.name})": (fpr[0], tpr[0]) for name, (fpr, tpr) in both.items()}
    return {}


def _git() -> str | None:
    """The commit of this program, where it runs from a repository."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def print_report(report: dict[str, Any], out: str | Path) -> None:
    """The table on the console, and where the page lies."""
    default = report["protocol"]["default"]

    def number(value: float | None, pair: list[float] | None = None) -> str:
        text = "–" if value is None else f"{value:.3f}"
        return text if pair is None else f"{text} [{pair[0]:.2f}, {pair[1]:.2f}]"

    rows = []
    for name, one in report["results"].items():
        delta = one["delta_ci"]
        rows.append(
            (
                name + " *" * (name == default),
                number(one["official"], one["official_ci"]),
                "–" if delta is None or name == default else f"[{delta[0]:+.2f}, {delta[1]:+.2f}]",
                number(one["auc"], one["auc_ci"]),
                number(one["pauc"]),
                number(one["fpr_at"]["0.1"]),
                number(one["tpr_at"]["0.1"]),
                "–" if one["windows_per_s"] is None else f"{one['windows_per_s']:,.0f}",
            )
        )
    columns = ("", "official", "less default", "AUC", "pAUC", "FPR at 0.1", "TPR at 0.1", "windows/s")
    table(f"* default: {default}; [] 95% intervals; loudness and mean-spectrum are controls", columns, rows)
    if "dataset" in report:
        print_dataset_table(report["dataset"], default)
    for note in report["protocol"]["notes"]:
        say(f"note: {note}")
    say(str(Path(out) / "report.html"))
