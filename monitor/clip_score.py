"""One clip against a model: a row per window, and what a picture of it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.aggregate import join
from detectors.base import Evidence
from detectors.frontend import Features
from detectors.model import Model
from detectors.paths import PATHS
from monitor.enhancing import separator_of
from monitor.stages import BATCH, Separator

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
    "path",
)


@dataclass(frozen=True)
class ScoredFile:
    """One file's rows, and what the picture needs: log-mel and residual heat [mel, frame]."""

    path: Path
    rows: list[dict[str, Any]]
    log_mel: NDArray[np.float32]
    heat: NDArray[np.float32]


def score_clip(path: Path, samples: NDArray[np.float32], model: Model, *, full: bool = False) -> ScoredFile:
    """Cut a clip into windows and score each with the seconds before it, as a stream would be.

    A clip shorter than the context is scored once, on all it has; windows before the first full context are warming up.
    With `full` the score is that of the worst path behind the model's separator. Raises ValueError where it has none.
    """
    if full and model.paths is None:
        raise ValueError("this model has no separator: score the sound as it is, or train it with a separating chain")
    stage = separator_of(model.paths.separator) if full and model.paths is not None else None
    size = round(model.rate * model.window_s)
    count = len(samples) // size
    batch = torch.from_numpy(np.ascontiguousarray(samples[: count * size])).reshape(count, size)  # [window, time]
    front_end = replace(model.front_end, fine=stage is not None and stage.needs_fine)
    features = front_end(batch, waveform=model.needs_waveform)
    each = [features.row(number) for number in range(count)]
    whole = join([each])
    rows = [_row(path, number, model.window_s) for number in range(count)]
    context = min(model.context_windows, count)
    _fill(rows, each, context, model)
    if stage is not None:
        _fill_worst(rows, each, context, model, stage)
    return ScoredFile(path, rows, whole.log_mel[0].numpy(), model.heat(whole).numpy())


def _contexts(each: Sequence[Features], context: int) -> Evidence:
    return join([each[number - context + 1 : number + 1] for number in range(context - 1, len(each))])


def _fill_worst(
    rows: list[dict[str, Any]], each: Sequence[Features], context: int, model: Model, stage: Separator
) -> None:
    """Write the worst path's score over the raw one."""
    numbers = range(context - 1, len(each))
    for start in range(0, len(numbers), BATCH):
        some = numbers[start : start + BATCH]
        judged = model.score_paths(stage(_contexts(each[some[0] - context + 1 : some[-1] + 1], context)))
        for place, number in enumerate(some):
            rows[number] |= {
                "score": float(judged.score[place]),
                "extrapolated": bool(judged.extrapolated[place]),
                "path": PATHS[int(judged.path[place])],
            }


def _fill(rows: list[dict[str, Any]], each: Sequence[Features], context: int, model: Model) -> None:
    numbers = range(context - 1, len(each))
    scored = model.score(_contexts(each, context))
    for place, number in enumerate(numbers):
        rows[number] |= {
            "status": "ok",
            "score": float(scored.score[place]),
            "extrapolated": bool(scored.extrapolated[place]),
            "statistic": float(scored.statistic[place]),
            "band_low_hz": float(scored.band_hz[place, 0]),
            "band_high_hz": float(scored.band_hz[place, 1]),
            "band_db": float(scored.band_db[place]),
            "path": PATHS[0],
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
