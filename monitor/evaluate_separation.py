"""`factory-ear evaluate-separation`: how much of a machine's sound each method of separation brings out, in SI-SDR.

Every test file with a reference is separated by every method, asked with the machine's own training recordings (`clean`
and `background`) or its prompt. Intervals are bootstraps over recordings. Two controls must fail: asking for something
else by prompt, and by enrolment.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monitor import roc
from monitor.console import progress as console_progress
from monitor.console import say, table
from monitor.errors import WorkFailed
from monitor.manifest import Manifest, Row, read_manifest
from sds_engine.dsp import si_sdr
from sds_engine.separation.base import Enhancer, Query, QueryError, Separator
from sds_engine.separation.extractor import WeightsError
from sds_engine.separation.grid import RATE
from sds_engine.separation.lineup import EX_DIFF, METHODS, ORACLE, MethodError, separator_named
from streams.soundfiles import SoundFileError, read_clip

QUERY_CLIPS = 24  # recordings that a query is made of at most, evenly taken
BASES = ("extractor", EX_DIFF, "exdiff-full-trust")  # what other methods are compared with, file by file
STRANGERS = ("people talking", "a dog barking", "rain", "metal press")
EMBEDDED = Callable[[str], Tensor]


@dataclass(frozen=True, eq=False)
class Item:
    """A test file: mixture and reference [time], and what to ask for."""

    row: Row
    mix: Tensor
    reference: Tensor
    query: Query


@dataclass(frozen=True, eq=False)
class Gains:
    """One method's figures per test file [file]: SI-SDR in and out, in dB; the seconds it took, and those of sound.

    unmasked: SI-SDR of the answer before it became a mask on the mixture, where the method has one.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    unmasked: NDArray[np.float64] | None
    recording: NDArray[np.str_]
    nfe: int
    seconds: float
    sound_s: float


def evaluate_separation(
    manifest_path: Path,
    out: Path,
    *,
    methods: Sequence[str] = (),
    limit: int = 0,
    seed: int = 0,
    quiet: bool = False,
    extra: Mapping[str, Separator] | None = None,
) -> dict[str, Any]:
    """Write report.json into `out` and return it. `limit` test files at most, evenly taken; 0: all.

    Without `methods`, all that there are; `extra` are methods of one's own besides, by name. Raises ManifestError, and
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
                found[name] = _run(ready[name], items)
            except QueryError as error:
                notes.append(f"{name}: {error}")
    protocol = {"seed": seed, "rate": RATE, "files": len(items), "manifest": str(manifest_path), "notes": notes}
    report: dict[str, Any] = {
        "protocol": protocol,
        "methods": {name: _figures(gains, seed) for name, gains in found.items()},
        "paired": {base: _paired(found, base, seed) for base in BASES if base in found},
        "oracle": {ORACLE: _figures(_run(separator_named(ORACLE), items), seed)},
        **_swapped(ready, found, items, seed, notes),
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
    for row in _evenly(rows, limit):
        mix, reference = _read(row.file), _read(row.reference or row.file)
        length = min(len(mix), len(reference))
        if bool(reference[:length].any()) and bool(mix[:length].any()):  # of silence nothing can be said
            items.append(Item(row, mix[:length], reference[:length], replace(queries[row.machine], prompt=None)))
    if not items:
        raise WorkFailed(f"{manifest.path}: every reference is silent; SI-SDR is not defined for silence")
    if all(not one.query.enrolment for one in items):
        items = [replace(one, query=replace(one.query, prompt=_embedded(one.row.prompt))) for one in items]
    return items


def _query(manifest: Manifest, machine: str) -> Query:
    def clips(label: str) -> tuple[Tensor, ...]:
        rows = [row for row in manifest.rows if row.machine == machine and row.label == label and row.split == "train"]
        return tuple(_read(row.file) for row in _evenly(rows, QUERY_CLIPS))

    return Query(clips("clean"), clips("background"))


def _evenly(rows: Sequence[Row], count: int) -> list[Row]:
    if not count or count >= len(rows):
        return list(rows)
    return [rows[number] for number in np.linspace(0, len(rows) - 1, count).round().astype(int)]


def _read(path: Path) -> Tensor:
    try:
        return torch.from_numpy(read_clip(path, rate=RATE))
    except SoundFileError as error:
        raise WorkFailed(f"{error}; replace the file or remove its row") from error


def _embedded(prompt: str) -> Tensor | None:
    """The prompt's sentence embedding [384]; None where there is no prompt, no encoder, or nothing that it can read."""
    from sds_engine.priors.text import embed

    try:
        return embed([prompt])[0] if prompt else None
    except (ImportError, ValueError):
        return None


def _run(method: Separator, items: Sequence[Item], change: Callable[[Item], Query] | None = None) -> Gains:
    before, after, unmasked = [], [], []
    seconds = 0.0
    for item in items:
        query = replace(change(item) if change else item.query, reference=_oracle_only(method, item))
        started = time.perf_counter()
        if isinstance(method, Enhancer):
            enhanced = method.enhance(item.mix[None], query)
            found, own = enhanced.separated, enhanced.unmasked
        else:
            found, own = method(item.mix[None], query), None
        seconds += time.perf_counter() - started
        before.append(float(si_sdr(item.mix, item.reference)))
        after.append(_si_sdr(found.target, item))
        unmasked += [] if own is None else [_si_sdr(own, item)]
    return Gains(
        before=np.array(before),
        after=np.array(after),
        unmasked=np.array(unmasked) if unmasked else None,
        recording=np.array([item.row.recording for item in items], dtype=np.str_),
        nfe=method.nfe,
        seconds=seconds,
        sound_s=sum(len(item.mix) for item in items) / RATE,
    )


def _si_sdr(target: Tensor, item: Item) -> float:
    return max(-100.0, float(si_sdr(target[0], item.reference)))  # silence would be minus infinity


def _oracle_only(method: Separator, item: Item) -> Tensor | None:
    return item.reference[None] if method.name == ORACLE else None


def _figures(gains: Gains, seed: int) -> dict[str, Any]:
    own = None if gains.unmasked is None else gains.unmasked - gains.before
    return {
        "si_sdr_in": float(gains.before.mean()),
        "si_sdr_out": float(gains.after.mean()),
        "si_sdri": float((gains.after - gains.before).mean()),
        "si_sdri_ci": mean_interval(gains.after - gains.before, gains.recording, seed),
        "nfe": gains.nfe,
        "rtf": gains.seconds / gains.sound_s,
        "files": len(gains.before),
        **({} if own is None else {"unmasked_si_sdri": float(own.mean())}),
        **({} if own is None else {"unmasked_si_sdri_ci": mean_interval(own, gains.recording, seed)}),
    }


def _paired(found: Mapping[str, Gains], base: str, seed: int) -> dict[str, Any]:
    """What each method gains over `base`, file by file, in dB."""
    over = {name: one.after - found[base].after for name, one in found.items() if name != base}
    recording = found[base].recording
    return {name: {"db": float(more.mean()), "ci": mean_interval(more, recording, seed)} for name, more in over.items()}


def mean_interval(values: NDArray[np.float64], recording: NDArray[np.str_], seed: int) -> list[float] | None:
    """The 95% interval of a mean by bootstrap over recordings; None for fewer than two of them."""
    names, number = np.unique(recording, return_inverse=True)
    if len(names) < 2:
        return None
    sums = np.bincount(number, values)
    counts = np.bincount(number).astype(np.float64)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), roc.REPLICATES)
    return roc.interval((drawn @ sums) / (drawn @ counts))


def _swapped(
    ready: Mapping[str, Separator], found: Mapping[str, Gains], items: Sequence[Item], seed: int, notes: list[str]
) -> dict[str, Any]:
    """The two controls of those that listen to the query."""
    asked = [name for name in ("extractor", EX_DIFF) if name in found]
    prompt = {name: _swapped_prompt(ready[name], items, seed, notes) for name in asked}
    enrolment = {name: _swapped_enrolment(ready[name], items, found[name], seed, notes) for name in asked}
    return {
        "swapped_prompt": {name: one for name, one in prompt.items() if one},
        "swapped_enrolment": {name: one for name, one in enrolment.items() if one},
    }


def _swapped_prompt(method: Separator, items: Sequence[Item], seed: int, notes: list[str]) -> dict[str, Any]:
    """Asked by prompt alone, the right one and another one: the other must lose."""
    if not any(item.row.prompt for item in items):
        notes.append("swapped_prompt: no column prompt")
        return {}
    prompts = list(dict.fromkeys(item.row.prompt for item in items if item.row.prompt))
    vectors = {prompt: _embedded(prompt) for prompt in (*prompts, *STRANGERS)}
    if any(vector is None for vector in vectors.values()):
        notes.append(
            "swapped_prompt: the prompts cannot be read; they need the sentence encoder and English or Japanese"
        )
        return {}
    asked = {prompt: _farthest(prompt, vectors) for prompt in prompts}
    named = [item for item in items if item.row.prompt]
    right = _run(method, named, lambda item: Query(prompt=vectors[item.row.prompt]))
    wrong = _run(method, named, lambda item: Query(prompt=vectors[asked[item.row.prompt]]))
    return _lost(right, wrong, seed) | {"asked": asked}


def _farthest(prompt: str, vectors: Mapping[str, Tensor | None]) -> str:
    """The prompt that resembles this one least."""
    known = {name: vector for name, vector in vectors.items() if vector is not None}
    return min((name for name in known if name != prompt), key=lambda name: float(known[prompt] @ known[name]))


def _swapped_enrolment(
    method: Separator, items: Sequence[Item], right: Gains, seed: int, notes: list[str]
) -> dict[str, Any]:
    """Asked with another machine's recordings, or where there is none with those of the background."""
    others: defaultdict[str, tuple[Tensor, ...]] = defaultdict(tuple)
    for item in items:
        strangers = [
            one.query.enrolment for one in items if one.row.machine != item.row.machine and one.query.enrolment
        ]
        others[item.row.machine] = strangers[0] if strangers else item.query.background
    if any(not clips for clips in others.values()) or any(not item.query.enrolment for item in items):
        notes.append("swapped_enrolment: needs enrolment (clean) and another machine's, or background recordings")
        return {}
    wrong = _run(method, items, lambda item: Query(others[item.row.machine]))
    several = len(others) > 1
    return _lost(right, wrong, seed) | {"asked": "another machine" if several else "the background"}


def _lost(right: Gains, wrong: Gains, seed: int) -> dict[str, Any]:
    lost = right.after - wrong.after
    return {
        "right": _figures(right, seed),
        "swapped": _figures(wrong, seed),
        "lost_db": float(lost.mean()),
        "lost_db_ci": mean_interval(lost, right.recording, seed),
    }


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
    for key in ("swapped_prompt", "swapped_enrolment"):
        for name, one in report[key].items():
            say(f"{key.replace('_', ' ')}, {name}: loses {one['lost_db']:.2f} dB")
    for note in report["protocol"]["notes"]:
        say(f"note: {note}")
    say(str(out / "report.json"))
