"""SI-SDR of every method of separation on the development set: one part of bench_separation.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monitor.evaluate_separation import evaluate_separation
from sds_engine.separation.base import Separator
from sds_engine.separation.exdiff.separator import ExDiff, file_name, load_exdiff
from sds_engine.separation.extractor import WEIGHTS
from sds_engine.separation.lineup import CONTROLS, EX_DIFF, ex_diff

STEPS = ("exdiff-2", "exdiff-4", "exdiff-30")
DRAWN = ((4, "exdiff-4-drawn"), (30, "exdiff-30-drawn"))
PAIRED = ("extractor", *STEPS, *CONTROLS)


def measure(manifest: Path, out: Path, *, limit: int, controls: Path | None) -> dict[str, Any]:
    """The report of one level, with Ex-Diff's controls from the folder where they are."""
    return evaluate_separation(manifest, out, limit=limit, extra=compared(controls))


def compared(controls: Path | None) -> dict[str, Separator]:
    """Ex-Diff with more evaluations, drawn instead of averaged, and its controls, as far as there are weights."""
    if not (WEIGHTS / f"{file_name('latents')}.json").exists():
        return {}
    methods: dict[str, Separator] = {name: ex_diff(name) for name in (*STEPS, "exdiff-shuffled")}
    model = load_exdiff()[0]
    methods |= {name: ExDiff(model, nfe=nfe, seed=0, name=name) for nfe, name in DRAWN}
    for name, variant in CONTROLS.items():
        if controls is not None and variant != "latents" and (controls / f"{file_name(variant)}.json").exists():
            methods[name] = ex_diff(name, weights=controls, extractor=WEIGHTS)
    return methods


def section(found: dict[str, Any]) -> str:
    """The part of docs/separation.md."""
    files = next(iter(found.values()))["protocol"]["files"]
    return f"""## What each method gains

SI-SDR improvement in dB, mean over {files} test files of seed 0 with 95% intervals over recordings; enrolment and
background are the training rows labelled clean and background. `ideal_ratio_mask` is the oracle, with the power ratio
as mask. RTF is seconds of computing per second of sound, one 10 s clip at a time, on a busy machine.

Ex-Diff goes on from the extractor's answer (`sds_engine/separation/exdiff`, a re-implementation of a paper without
code): `ex-diff` is one evaluation of its network, `exdiff-N` N of them, without noise; `-drawn` draws from the bridge,
as diffusion does; `-shuffled` gets the latents of half a clip away. `exdiff-no-latents` was trained without latents,
`mixture-diffusion` without any extractor, both on the very same mixtures for as many steps as `ex-diff`. What counts
is a mask on the mixture; `unmasked` is the network's own answer. {EX_DIFF}'s controls are not shipped.

{table(found)}

{paired(found)}
"""


def table(found: dict[str, Any]) -> str:
    """Gains in dB: a row for each method, a column for each level; and what asking wrongly loses."""
    names = [*dict.fromkeys(name for report in found.values() for name in report["methods"]), "ideal_ratio_mask"]
    lines = [_head("| | NFE | RTF |", found), "|---|---:|---:|" + "---:|" * len(found)]
    for name in names:
        rows = [(report["methods"] | report["oracle"]).get(name) for report in found.values()]
        known = next(row for row in rows if row)
        lines.append(f"| {name} | {known['nfe']} | {known['rtf']:.4f} | " + " | ".join(map(gain, rows)) + " |")
    for key in ("swapped_prompt", "swapped_enrolment"):
        for name in ("extractor", EX_DIFF):
            some = [report[key].get(name) for report in found.values()]
            cells = ["–" if one is None else f"{-one['lost_db']:+.2f}" for one in some]
            if any(some):
                lines.append(f"| {name}, {key.replace('_', ' ')}: than asked rightly | | | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def gain(row: dict[str, Any] | None) -> str:
    """A cell: gain, interval, and the unmasked answer's."""
    if row is None:
        return "–"
    own = row.get("unmasked_si_sdri")
    return f"{row['si_sdri']:+.2f}{interval(row['si_sdri_ci'])}" + ("" if own is None else f"; unmasked {own:+.2f}")


def paired(found: dict[str, Any]) -> str:
    """Ex-Diff (one evaluation) against the extractor, against more evaluations and against its controls."""
    over = [report.get("paired", {}).get(EX_DIFF, {}) for report in found.values()]
    names = [name for name in PAIRED if any(name in one for one in over)]
    if not names:
        return ""
    lines = ["File by file, `ex-diff` is better by so many dB, with paired 95% intervals, than:", ""]
    lines += [_head("| |", found), "|---|" + "---:|" * len(found)]
    for name in names:
        cells = []
        for one in (some.get(name) for some in over):
            ci = None if one is None or one["ci"] is None else [-one["ci"][1], -one["ci"][0]]
            cells.append("–" if one is None else f"{-one['db']:+.2f}{interval(ci)}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(pair: Sequence[float] | None) -> str:
    """An interval in brackets."""
    return "" if pair is None else f" [{pair[0]:+.2f}, {pair[1]:+.2f}]"


def _head(first: str, found: dict[str, Any]) -> str:
    return first + " " + " | ".join(f"{level} dB" for level in found) + " |"
