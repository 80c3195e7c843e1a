"""Windows to contexts, and a file's contexts to one score.

A detector sees a window together with the seconds before it: a context of whole, consecutive windows. In a stream, a
window whose context is not full is warming up and gets no score. A file shorter than the context uses what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from detectors.base import Evidence
from detectors.frontend import Features, FrontEnd


def join(contexts: Sequence[Sequence[Features]]) -> Evidence:
    """The evidence of a batch of contexts, each a sequence of consecutive windows (`Features.row`), oldest first.

    Raises ValueError for an empty batch and for contexts of different lengths: score those one by one.
    """
    frames = {sum(window.log_mel.shape[-1] for window in context) for context in contexts}
    if len(frames) != 1 or 0 in frames:
        raise ValueError(f"contexts have {sorted(frames)} frames, allowed is one length above 0 for a batch")
    return Evidence(
        torch.stack([torch.cat([window.log_mel for window in context], dim=-1) for context in contexts]),
        torch.stack([torch.cat([window.confidence for window in context], dim=-1) for context in contexts]),
        torch.stack([torch.cat([window.level_dbfs for window in context], dim=-1) for context in contexts]),
        _waveforms(contexts),
        _fine(contexts),
    )


def _waveforms(contexts: Sequence[Sequence[Features]]) -> Tensor | None:
    """The waveform values [batch, window, value]; None where a window was heard without."""
    found = [[window.waveform for window in context if window.waveform is not None] for context in contexts]
    whole = all(len(have) == len(context) for have, context in zip(found, contexts, strict=True))
    return torch.stack([torch.stack(context) for context in found]) if whole else None


def _fine(contexts: Sequence[Sequence[Features]]) -> Tensor | None:
    """The fine cells [batch, cell, frame]; None where a window was heard without."""
    found = [[window.fine for window in context if window.fine is not None] for context in contexts]
    whole = all(len(have) == len(context) for have, context in zip(found, contexts, strict=True))
    return torch.stack([torch.cat(context, dim=-1) for context in found]) if whole else None


def context_windows(context_s: float, window_s: float) -> int:
    """How many windows make a context, at least one."""
    return max(1, round(context_s / window_s))


def cut(samples: Tensor, size: int) -> Tensor:
    """Whole windows [window, size] of a recording [time]; sound shorter than one window is one short window."""
    count = len(samples) // size
    return samples[: count * size].reshape(count, size) if count else samples[None]


def context_starts(count: int, context: int) -> list[int]:
    """The first windows of contexts half a context apart that cover `count` windows, the last ones included."""
    last = count - context
    return sorted({*range(0, last + 1, (context + 1) // 2), last}) if last >= 0 else []


def clips_evidence(
    clips: Sequence[Tensor], front_end: FrontEnd, size: int, context: int, *, waveform: bool = False
) -> list[Evidence]:
    """For each recording [time]: contexts half a context apart that cover it; a shorter one gives one of all it has.

    All windows of all recordings go through the front end in one batch. Raises ValueError for sound shorter than one
    frame.
    """
    windows = [cut(clip, size) for clip in clips]
    whole = [part for part in windows if part.shape[1] == size]
    features = front_end(torch.cat(whole), waveform=waveform) if whole else None
    place = 0
    found = []
    for part in windows:
        if features is not None and part.shape[1] == size:
            rows = [features.row(number) for number in range(place, place + len(part))]
            place += len(part)
        else:
            rows = [front_end(part, waveform=waveform).row(0)]
        fitting = min(context, len(rows))
        found.append(join([rows[start : start + fitting] for start in context_starts(len(rows), fitting)]))
    return found


def _mean(statistic: Tensor) -> Tensor:
    return statistic.mean()


def _top3(statistic: Tensor) -> Tensor:
    return statistic.topk(min(3, len(statistic))).values.mean()


def _max(statistic: Tensor) -> Tensor:
    return statistic.max()


AGGREGATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"max": _max, "top-3 mean": _top3, "mean": _mean}
_STEADY = 4.0  # healthy files may scatter upwards by so many spreads before an aggregation counts as erratic


def choose_aggregation(files: Sequence[Tensor]) -> str:
    """How the statistics of a file's contexts make its score, from healthy out-of-fold statistics alone.

    A short event must not drown in a mean, so the most sensitive one is taken whose healthy scores still lie
    together: the upper 95% quantile within four robust spreads of the median. Files of one context decide
    nothing: mean.
    """
    if all(len(file) == 1 for file in files):
        return "mean"
    for name, combine in AGGREGATIONS.items():
        scores = torch.stack([combine(file) for file in files])
        middle = scores.quantile(0.5)
        spread = (scores - middle).abs().quantile(0.5) * 1.4826
        if scores.quantile(0.95) - middle <= _STEADY * spread:
            return name
    return "mean"
