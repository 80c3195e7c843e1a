"""`factory-ear score`: files against a trained machine, offline; a row per window, and a picture that shows where."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detectors.model import Model
from detectors.store import load_models
from monitor.clip_score import COLUMNS, ScoredFile, score_clip
from monitor.console import say, warn
from monitor.errors import WorkFailed
from streams import soundfiles

FORMATS = (".csv", ".parquet")
ChainName = Literal["raw", "full"]


def score_files(
    files: Sequence[Path],
    folder: Path,
    *,
    mic: str = "",
    channel: int = 0,
    out: Path | None = None,
    plot: bool = False,
    lang: str = "en",
    chain: ChainName | None = None,
) -> list[dict[str, Any]]:
    """Score `files` with the model in `folder`; returns the rows, and writes them where `out` says.

    By default as the model's line does: behind its separator where it was trained with one. Raises WorkFailed where no
    file could be scored, or where the question is not clear; ModelError for a damaged model. A file that cannot be read
    is named on standard error and stops no other.
    """
    if out is not None and out.suffix not in FORMATS:
        raise WorkFailed(f"--out is {out}, allowed is a name that ends in {' or '.join(FORMATS)}")
    model = choose(load_models(folder), mic, folder)
    full = chain != "raw" and model.paths is not None
    if chain == "full" and not full:
        raise WorkFailed(f"--chain is full, but {folder} was trained without a separator; allowed is raw")
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
        scored = score_clip(path, samples, model, full=full)
        rows += scored.rows
        if plot:
            target = (out.parent if out else Path()) / f"{path.stem}.heat.png"
            _picture(samples, model, scored, target, lang)
            say(str(target), quiet=out is None)
    if not good:
        raise WorkFailed("no file could be scored")
    write_rows(rows, out)
    return rows


def _picture(samples: NDArray[np.float32], model: Model, scored: ScoredFile, target: Path, lang: str) -> None:
    """The heat map with its caption, and the same explanation as JSON beside it."""
    from monitor.guesses import explain_clip
    from monitor.pictures import draw_heat

    explained = explain_clip(samples, model, scored)
    draw_heat(scored, model, target, lang=lang, explained=explained)
    text = json.dumps({"file": str(scored.path), **explained.plain()}, ensure_ascii=False, indent=1, allow_nan=False)
    target.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def choose(models: dict[str, Model], mic: str, folder: Path) -> Model:
    """The model of `mic`, or the only one. Raises WorkFailed where that is not clear."""
    if mic and (mic in models or "*" in models):
        return models.get(mic) or models["*"]
    if not mic and len(models) == 1:
        return next(iter(models.values()))
    raise WorkFailed(f"--mic is {mic!r}; {folder} has models for: {', '.join(sorted(models))}")


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
