"""`factory-ear score`: files against a trained machine, offline; a row per window, and a picture that shows where."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.aggregate import join
from detectors.frontend import Features
from detectors.model import Model
from detectors.store import load_models
from monitor.console import say, warn
from monitor.errors import WorkFailed
from streams import soundfiles

COLUMNS = (
    "file",
    "window",
    "start_s",
    "end_s",
    "status",
    "score",
    "extrapolated",
    "statistic",
    "band_low_hz",
    "band_high_hz",
    "band_db",
)
FORMATS = (".csv", ".parquet")


@dataclass(frozen=True)
class ScoredFile:
    """One file's rows, and what the picture needs: log-mel and residual heat [mel, frame]."""

    path: Path
    rows: list[dict[str, Any]]
    log_mel: NDArray[np.float32]
    heat: NDArray[np.float32]


def score_files(
    files: Sequence[Path],
    folder: Path,
    *,
    mic: str = "",
    channel: int = 0,
    out: Path | None = None,
    plot: bool = False,
    lang: str = "en",
) -> list[dict[str, Any]]:
    """Score `files` with the model in `folder`; returns the rows, and writes them where `out` says.

    Raises WorkFailed where no file could be scored, or where the question is not clear; ModelError for a damaged
    model. A file that cannot be read is named on standard error and stops no other.
    """
    if out is not None and out.suffix not in FORMATS:
        raise WorkFailed(f"--out is {out}, allowed is a name that ends in {' or '.join(FORMATS)}")
    model = choose(load_models(folder), mic, folder)
    rows: list[dict[str, Any]] = []
    good = 0
    for path in files:
        try:
            samples = soundfiles.read_clip(path, rate=model.rate, channel=channel)
        except soundfiles.SoundFileError as error:
            warn(str(error))
            continue
        if len(samples) < round(model.rate * model.window_s):
            warn(f"{path}: {len(samples) / model.rate:.2f} s long, at least {model.window_s:g} s are needed")
            continue
        good += 1
        scored = score_clip(path, samples, model)
        rows += scored.rows
        if plot:
            from monitor.pictures import draw_heat

            target = (out.parent if out else Path()) / f"{path.stem}.heat.png"
            draw_heat(scored, model, target, lang=lang)
            say(str(target), quiet=out is None)
    if not good:
        raise WorkFailed("no file could be scored")
    write_rows(rows, out)
    return rows


def choose(models: dict[str, Model], mic: str, folder: Path) -> Model:
    """The model of `mic`, or the only one. Raises WorkFailed where that is not clear."""
    if mic and (mic in models or "*" in models):
        return models.get(mic) or models["*"]
    if not mic and len(models) == 1:
        return next(iter(models.values()))
    raise WorkFailed(f"--mic is {mic!r}; {folder} has models for: {', '.join(sorted(models))}")


def score_clip(path: Path, samples: NDArray[np.float32], model: Model) -> ScoredFile:
    """Cut a clip into windows and score each with the seconds before it, as a stream would be.

    A clip shorter than the context is scored once, on all it has; windows before the first full context are warming up.
    """
    size = round(model.rate * model.window_s)
    count = len(samples) // size
    batch = torch.from_numpy(np.ascontiguousarray(samples[: count * size])).reshape(count, size)  # [window, time]
    features = model.front_end(batch)
    each = [features.row(number) for number in range(count)]
    whole = join([each])
    rows = [_row(path, number, model.window_s) for number in range(count)]
    context = min(model.context_windows, count)
    _fill(rows, each, context, model)
    return ScoredFile(path, rows, whole.log_mel[0].numpy(), model.heat(whole).numpy())


def _fill(rows: list[dict[str, Any]], each: Sequence[Features], context: int, model: Model) -> None:
    numbers = range(context - 1, len(each))
    scored = model.score(join([each[number - context + 1 : number + 1] for number in numbers]))
    for place, number in enumerate(numbers):
        rows[number] |= {
            "status": "ok",
            "score": float(scored.score[place]),
            "extrapolated": bool(scored.extrapolated[place]),
            "statistic": float(scored.statistic[place]),
            "band_low_hz": float(scored.band_hz[place, 0]),
            "band_high_hz": float(scored.band_hz[place, 1]),
            "band_db": float(scored.band_db[place]),
        }


def _row(path: Path, number: int, window_s: float) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    start = number * window_s
    return row | {
        "file": str(path),
        "window": number,
        "start_s": start,
        "end_s": start + window_s,
        "status": "warming_up",
    }


def write_rows(rows: Sequence[dict[str, Any]], out: Path | None) -> None:
    """CSV on standard output, or CSV or Parquet in a file."""
    if out is None:
        writer = csv.DictWriter(sys.stdout, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(rows)), out)
        return
    with out.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
