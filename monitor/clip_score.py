"""One clip against a model: a row per window, and what a picture of it needs."""

from __future__ import annotations

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


@dataclass(frozen=True)
class ScoredFile:
    """One file's rows, and what the picture needs: log-mel and residual heat [mel, frame]."""

    path: Path
    rows: list[dict[str, Any]]
    log_mel: NDArray[np.float32]
    heat: NDArray[np.float32]


def score_clip(path: Path, samples: NDArray[np.float32], model: Model) -> ScoredFile:
    """Cut a clip into windows and score each with the seconds before it, as a stream would be.

    A clip shorter than the context is scored once, on all it has; windows before the first full context are warming up.
    """
    size = round(model.rate * model.window_s)
    count = len(samples) // size
    batch = torch.from_numpy(np.ascontiguousarray(samples[: count * size])).reshape(count, size)  # [window, time]
    features = model.front_end(batch, waveform=model.needs_waveform)
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
