"""`factory-ear score --tap`: recordings of hammer strikes on parts, each against the modes of healthy parts."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectors.card import Source
from detectors.tap import Heard, TapModel, TapScore, fit_taps, hear_taps
from detectors.tap_store import load_tap, modes_in_words, save_tap
from monitor.console import progress, say, warn
from monitor.errors import WorkFailed
from sds_engine.dsp.modal import Modes
from streams import soundfiles

COLUMNS = (
    "file",
    "strikes",
    "status",
    "score",
    "extrapolated",
    "odd",
    "statistic",
    "what",
    "healthy_hz",
    "shift_percent",
    "damping_percent",
    "finding",
)
LEAST_RATE = 8_000


def score_taps(
    files: Sequence[Path],
    *,
    model: Path | None = None,
    reference: Path | None = None,
    channel: int = 0,
    out: Path | None = None,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """A row per recording (a part), by the model in `model`.

    With `reference` learn from that folder of healthy taps first, and keep the model in `model` where that is given.
    Raises WorkFailed where nothing can be learned or scored; ModelError for a damaged model.
    """
    if out is not None and out.suffix != ".csv":
        raise WorkFailed(f"--out is {out}, allowed with --tap is a name that ends in .csv")
    if reference is not None:
        fitted = learn_taps(reference, model, channel=channel, quiet=quiet or out is None)
    elif model is not None:
        fitted = load_tap(model)
    else:
        raise WorkFailed("--tap needs --model DIR (a tap model) or --reference DIR (a folder of healthy taps)")
    rows = [_score_file(path, fitted, channel) for path in files]
    if not any(row["status"] == "ok" for row in rows):
        raise WorkFailed("no file could be scored: " + "; ".join(f"{row['file']}: {row['finding']}" for row in rows))
    if out is not None or not quiet:
        _write(rows, out)
    return rows


def learn_taps(folder: Path, target: Path | None = None, *, channel: int = 0, quiet: bool = False) -> TapModel:
    """Learn from a folder of healthy taps: a file is a part, or a sub-folder is one with several recordings.

    The rate is the lowest of the files'. Raises WorkFailed for fewer than five parts that ring.
    """
    paths = soundfiles.list_sounds(folder)
    rate = max(LEAST_RATE, min(soundfiles.inspect(path).rate for path in paths))
    modes: list[Modes] = []
    parts: list[str] = []
    sources: list[Source] = []
    with progress("tap", quiet=quiet) as step:
        for path in step(paths):
            heard = _hear(path, rate, channel)
            if isinstance(heard, str):
                warn(f"{path}: left out: {heard}")
                continue
            name = path.relative_to(folder)
            modes.append(heard)
            parts.append(name.parts[0] if len(name.parts) > 1 else name.as_posix())
            sources.append(Source(name.as_posix(), soundfiles.content_hash(path), soundfiles.inspect(path).duration_s))
    try:
        fitted = fit_taps(modes, parts, rate)
    except ValueError as error:
        raise WorkFailed(f"{folder}: {error}") from error
    if target is not None:
        save_tap(target, fitted, sources)
    for text in _words(fitted):
        say(text, quiet=quiet)
    return fitted


def _hear(path: Path, rate: int, channel: int) -> Modes | str:
    """The modes of a recording, or why there are none."""
    try:
        heard = hear_taps(soundfiles.read_clip(path, rate=rate, channel=channel), rate)
    except soundfiles.SoundFileError as error:
        return str(error)
    return heard.modes if heard.modes is not None and len(heard.modes) else _why(heard)


def _why(heard: Heard) -> str:
    if heard.strikes:
        return "nothing rings: no mode stands out of the noise; strike harder or hold the microphone closer"
    return "no usable strike" + (
        f" ({'; '.join(heard.dropped)})" if heard.dropped else "; strike the part with a hammer"
    )


def _words(model: TapModel) -> list[str]:
    known = f"learned {len(model.reference.level)} modes from {model.effective_n} healthy parts; the smallest p-value"
    lines = [f"{known} that they can count is {model.calibration.floor:.3f}"]
    lines += [
        f"  {mode['hz']:8.1f} Hz, damping ratio {mode['zeta']:.4f}: sure of changes above {mode['smallest_shift']:.2%} "
        f"and of damping above {mode['smallest_damping']:.0%}"
        for mode in modes_in_words(model)
    ]
    return lines


def _score_file(path: Path, model: TapModel, channel: int) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"file": str(path), "status": "bad_input"}
    try:
        heard = hear_taps(soundfiles.read_clip(path, rate=model.rate, channel=channel), model.rate)
    except soundfiles.SoundFileError as error:
        warn(str(error))
        return row | {"finding": str(error)}
    row["strikes"] = heard.strikes
    if heard.modes is None:
        warn(f"{path}: {_why(heard)}")
        return row | {"finding": _why(heard)}
    scored = model.score(heard.modes)
    departure = scored.departure
    return row | {
        "status": "ok",
        "score": scored.score,
        "extrapolated": scored.extrapolated,
        "odd": scored.score >= model.threshold,
        "statistic": departure.statistic,
        "what": departure.what,
        "healthy_hz": departure.hz,
        "shift_percent": 100.0 * departure.shift,
        "damping_percent": 100.0 * departure.damping,
        "finding": _finding(scored),
    }


def _finding(scored: TapScore) -> str:
    """What departs most, in words; said of healthy parts too, since something always departs most."""
    off = scored.departure
    direction = "higher" if off.shift > 0 else "lower"
    more = "more" if off.damping > 0 else "less"
    return {
        "mode": f"the mode at {off.hz:.0f} Hz is {abs(off.shift):.2%} {direction}",
        "damping": f"the mode at {off.hz:.0f} Hz is damped {abs(off.damping):.0%} {more}",
        "all modes": f"all modes together are {abs(off.shift):.2%} {direction}",
        "all damping": f"all modes together are damped {abs(off.damping):.0%} {more}",
        "missing": f"the mode at {off.hz:.0f} Hz is missing" if off.hz else "no mode is missing, none departs",
    }[off.what]


def _write(rows: Sequence[dict[str, Any]], out: Path | None) -> None:
    if out is None:
        writer = csv.DictWriter(sys.stdout, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
