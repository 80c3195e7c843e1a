"""`factory-ear evaluate-separation`: how much of a machine's sound each method of separation brings out, in SI-SDR.

Every test file with a reference is separated by every method, asked with the machine's own training recordings (`clean`
and `background`) or its prompt. Intervals are bootstraps over recordings. Asking for something else
(`separation_controls`) must lose.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monitor.console import progress as console_progress
from monitor.console import say, table
from monitor.errors import WorkFailed
from monitor.manifest import Manifest, Row, read_manifest
from monitor.separation_controls import CONTROLS, embedded, swapped
from monitor.separation_gains import Gains, Item, figures, paired, run_method
from sds_engine.separation.base import Query, QueryError, Separator
from sds_engine.separation.extractor import WeightsError
from sds_engine.separation.grid import RATE
from sds_engine.separation.lineup import EX_DIFF, METHODS, ORACLE, MethodError, separator_named
from streams.soundfiles import SoundFileError, read_clip

QUERY_CLIPS = 24  # recordings that a query is made of at most, evenly taken
BASES = ("extractor", EX_DIFF, "exdiff-full-trust")  # what other methods are compared with, file by file


def evaluate_separation(
    manifest_path: Path,
    out: Path,
    *,
    methods: Sequence[str] = (),
    limit: int = 0,
    seed: int = 0,
    quiet: bool = False,
    extra: Mapping[str, Separator] | None = None,
    bases: Sequence[str] = BASES,
) -> dict[str, Any]:
    """Write report.json into `out` and return it. `limit` test files at most, evenly taken; 0: all.

    Without `methods`, all that there are; `extra` are methods of one's own besides, by name; all are compared file by
    file with those named in `bases`. Raises ManifestError, and
    WorkFailed for a method that is not there or files without references.
    """
    chosen = _methods(methods or tuple(METHODS), strict=bool(methods))
    ready = {**chosen.ready, **(extra or {})}
    manifest = read_manifest(manifest_path)
    items = _items(manifest, limit)
    notes = [f"{name}: {why}" for name, why in chosen.missing.items()]
    found: dict[str, Gains] = {}
    with console_progress("separate", quiet=quiet) as step:
        for name in step(list(ready)):
            try:
                found[name] = run_method(ready[name], items)
            except QueryError as error:
                notes.append(f"{name}: {error}")
    protocol = {"seed": seed, "rate": RATE, "files": len(items), "manifest": str(manifest_path), "notes": notes}
    report: dict[str, Any] = {
        "protocol": protocol,
        "methods": {name: figures(gains, seed) for name, gains in found.items()},
        "paired": {base: paired(found, base, seed) for base in bases if base in found},
        "oracle": {ORACLE: figures(run_method(separator_named(ORACLE), items), seed)},
        **swapped(ready, found, items, seed, notes),
    }
    protocol["notes"] = list(dict.fromkeys(notes))
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n", "utf-8")
    return report


@dataclass(frozen=True)
class _Methods:
    ready: Mapping[str, Separator]
    missing: Mapping[str, str]


def _methods(names: Sequence[str], *, strict: bool) -> _Methods:
    """The methods, ready; where the user named them, one that is not there is an error."""
    ready: dict[str, Separator] = {}
    missing: dict[str, str] = {}
    for name in dict.fromkeys(names):
        try:
            ready[name] = separator_named(name)
        except (MethodError, WeightsError) as error:
            if strict:
                raise WorkFailed(f"--methods: {error}") from error
            missing[name] = str(error)
    return _Methods(ready, missing)


def _items(manifest: Manifest, limit: int) -> list[Item]:
    rows = [row for row in manifest.rows if row.split == "test" and row.reference is not None]
    if not rows:
        raise WorkFailed(
            f"{manifest.path}: no test row has a reference; SI-SDR needs the machine's own part of each mixture"
        )
    queries = {name: _query(manifest, name) for name in dict.fromkeys(row.machine for row in rows)}
    items = []
    for row in evenly(rows, limit):
        mix, reference = read_sound(row.file), read_sound(row.reference or row.file)
        length = min(len(mix), len(reference))
        if bool(reference[:length].any()) and bool(mix[:length].any()):  # of silence nothing can be said
            items.append(Item(row, mix[:length], reference[:length], replace(queries[row.machine], prompt=None)))
    if not items:
        raise WorkFailed(f"{manifest.path}: every reference is silent; SI-SDR is not defined for silence")
    if all(not one.query.enrolment for one in items):
        items = [replace(one, query=replace(one.query, prompt=embedded(one.row.prompt))) for one in items]
    return items


def _query(manifest: Manifest, machine: str) -> Query:
    def clips(label: str) -> tuple[Tensor, ...]:
        rows = [row for row in manifest.rows if row.machine == machine and row.label == label and row.split == "train"]
        return tuple(read_sound(row.file) for row in evenly(rows, QUERY_CLIPS))

    return Query(clips("clean"), clips("background"))


def evenly(rows: Sequence[Row], count: int) -> list[Row]:
    """So many rows, evenly taken; all of them for 0."""
    if not count or count >= len(rows):
        return list(rows)
    return [rows[number] for number in np.linspace(0, len(rows) - 1, count).round().astype(int)]


def read_sound(path: Path) -> Tensor:
    """A recording [time] at RATE. Raises WorkFailed with the remedy."""
    try:
        return torch.from_numpy(read_clip(path, rate=RATE))
    except SoundFileError as error:
        raise WorkFailed(f"{error}; replace the file or remove its row") from error


def print_separation(report: Mapping[str, Any], out: Path) -> None:
    """The table on the console, and where the report lies."""
    rows = []
    for name, one in (*report["methods"].items(), *report["oracle"].items()):
        low, high = one["si_sdri_ci"] or (float("nan"),) * 2
        gain = f"{one['si_sdri']:+.2f} [{low:+.2f}, {high:+.2f}]"
        rows.append(
            (name, f"{one['si_sdr_in']:.2f}", f"{one['si_sdr_out']:.2f}", gain, str(one["nfe"]), f"{one['rtf']:.4f}")
        )
    table("SI-SDR in dB; [] 95% intervals over recordings", ("", "in", "out", "gain", "NFE", "RTF"), rows)
    for key in CONTROLS:
        for name, one in report[key].items():
            say(f"{key.replace('_', ' ')}, {name}: loses {one['lost_db']:.2f} dB")
    for note in report["protocol"]["notes"]:
        say(f"note: {note}")
    say(str(out / "report.json"))
