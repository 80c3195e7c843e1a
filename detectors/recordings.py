"""Training sound to contexts, with bounded memory: which contexts are used, and which recording each belongs to.

Contexts start half a context apart. A recording of over two minutes is cut into blocks of 60 s that count as
recordings of their own: neighbouring blocks still resemble each other more than separate recordings would, so
their number flatters, and the model card says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from detectors.aggregate import context_starts, cut, join
from detectors.base import Evidence
from detectors.frontend import FrontEnd

LONG_S = 120.0
BLOCK_S = 60.0
MOST_CONTEXTS = 1000  # 160 MB of log-mel frames


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Healthy sound [time], float32, full scale 1.0; clips with the same `recording` are never split between folds.

    `file` is the name to find it by; empty: the recording's.
    """

    samples: Tensor
    recording: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """One context: windows `first` up to before `last` of a clip, and its recording's number."""

    clip: int
    first: int
    last: int
    group: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """The contexts to learn from: how many windows each has, how many recordings they come from, and what was done."""

    spans: tuple[Span, ...]
    context: int
    recordings: int
    notes: tuple[str, ...]


def choose_contexts(clips: Sequence[Clip], size: int, rate: int, context: int, *, grouped: bool, seed: int) -> Chosen:
    """Which contexts of the clips to learn from; `size` is samples per window, `context` windows per context.

    grouped: the recordings are given by the caller and long ones stay whole. Where over half of the recordings are
    shorter than the context, it shrinks until half of them fill it; clips that still do not are left out.
    Raises ValueError for no clip as long as one window, and for clips that are not sound.
    """
    windows = [_windows(clip, size) for clip in clips]
    longest: dict[str, int] = {}
    for clip, count in zip(clips, windows, strict=True):
        longest[clip.recording] = max(count, longest.get(clip.recording, 0))
    notes: list[str] = []
    used = [count for count in longest.values() if count]
    if not used:
        raise ValueError(f"{len(clips)} clips, none as long as one window of {size / rate:g} s: give longer recordings")
    fitting = min(context, int(np.median(used)))
    if fitting < context:
        notes.append(f"most recordings are short: a context is {fitting * size / rate:g} s")
    short = sum(count < fitting for count in windows)
    if short:
        notes.append(
            f"{short} of {len(clips)} clips are shorter than the context of {fitting * size / rate:g} s: left out"
        )
    names = _block_names(clips, windows, size / rate, longest, notes, grouped=grouped)
    spans = _spans(windows, names, fitting)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for *_, name in spans))}
    if len(spans) > MOST_CONTEXTS:
        notes.append(f"{MOST_CONTEXTS} of {len(spans)} contexts, drawn evenly over recordings with seed {seed}")
        spans = _draw(spans, seed)
    chosen = tuple(Span(clip, first, last, numbers[name]) for clip, first, last, name in spans)
    return Chosen(chosen, fitting, len({span.group for span in chosen}), tuple(notes))


_Named = tuple[int, int, int, str]  # clip, first window, last window, recording or block


def _windows(clip: Clip, size: int) -> int:
    if clip.samples.ndim != 1 or not clip.samples.is_floating_point():
        raise ValueError(
            f"recording {clip.recording}: samples are {tuple(clip.samples.shape)} {clip.samples.dtype}, "
            "allowed is floating point [time]"
        )
    return len(clip.samples) // size


def _block_names(
    clips: Sequence[Clip],
    windows: Sequence[int],
    window_s: float,
    longest: dict[str, int],
    notes: list[str],
    *,
    grouped: bool,
) -> list[list[str]]:
    """The recording's or block's name of every window of every clip."""
    names = []
    cut_up = 0
    for clip, count in zip(clips, windows, strict=True):
        if grouped or longest[clip.recording] * window_s <= LONG_S:
            names.append([clip.recording] * count)
        else:
            cut_up += 1
            names.append([f"{clip.recording}\x1f{int(number * window_s // BLOCK_S)}" for number in range(count)])
    if cut_up:
        notes.append(
            f"{cut_up} recordings of over {LONG_S:g} s count as blocks of {BLOCK_S:g} s; neighbouring blocks resemble "
            "each other, so the effective n flatters"
        )
    return names


def _spans(windows: Sequence[int], names: Sequence[Sequence[str]], context: int) -> list[_Named]:
    """Contexts half a context apart, none across a block's border."""
    spans: list[_Named] = []
    for clip in range(len(windows)):
        for name, numbers in groupby(range(windows[clip]), key=lambda number: names[clip][number]):
            block = list(numbers)
            starts = [block[0] + start for start in context_starts(len(block), context)]
            spans += [(clip, start, start + context, name) for start in starts]
    return spans


def _draw(spans: Sequence[_Named], seed: int) -> list[_Named]:
    """Turn by turn one context of each recording, in a seeded order, until there are enough."""
    generator = np.random.default_rng(seed)
    turns: dict[str, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for place in generator.permutation(len(spans)):
        name = spans[place][3]
        turns[name] = turns.get(name, 0) + 1
        ranked.append((turns[name], len(ranked), int(place)))
    return [spans[place] for place in sorted(place for *_, place in sorted(ranked)[:MOST_CONTEXTS])]


def hear(
    clips: Sequence[Clip], chosen: Chosen, front_end: FrontEnd, size: int, *, waveform: bool = False
) -> tuple[Evidence, Tensor]:
    """The evidence of the chosen contexts and their recordings' numbers [batch]; one clip's features at a time."""
    contexts: list[Evidence] = []
    for clip, spans in groupby(chosen.spans, key=lambda span: span.clip):
        windows = cut(clips[clip].samples, size)
        if not bool(torch.isfinite(windows).all()):
            raise ValueError(f"recording {clips[clip].recording}: samples hold NaN or infinity; leave it out")
        features = front_end(windows, waveform=waveform)
        wanted = [[features.row(number) for number in range(span.first, span.last)] for span in spans]
        contexts.append(join(wanted))
    return stack(contexts), torch.tensor([span.group for span in chosen.spans])


def stack(parts: Sequence[Evidence]) -> Evidence:
    """Batches of contexts of one length as one batch."""
    waveforms = [part.waveform for part in parts if part.waveform is not None]
    fine = [part.fine for part in parts if part.fine is not None]
    return Evidence(
        torch.cat([part.log_mel for part in parts]),
        torch.cat([part.confidence for part in parts]),
        torch.cat([part.level_dbfs for part in parts]),
        torch.cat(waveforms) if len(waveforms) == len(parts) else None,
        torch.cat(fine) if len(fine) == len(parts) else None,
    )
