"""Controls of separation by query: asking for something else must lose.

By prompt, by the enrolment of another machine, and by recordings of the background.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monitor.separation_gains import Gains, Item, figures, mean_interval, run_method
from sds_engine.physics.kinds import KINDS
from sds_engine.separation.base import Query, Separator
from sds_engine.separation.lineup import EX_DIFF
from sds_engine.separation.pool import machine_source

CONTROLS = ("swapped_prompt", "swapped_enrolment", "swapped_background")
STRANGERS = ("people talking", "a dog barking", "rain", "metal press")
STRANGER_SEED, STRANGER_RMS = 1002, 0.02


def swapped(
    ready: Mapping[str, Separator], found: Mapping[str, Gains], items: Sequence[Item], seed: int, notes: list[str]
) -> dict[str, Any]:
    """The controls of those that listen to the query."""
    asked = [name for name in ("extractor", EX_DIFF) if name in found]
    prompt = {name: _swapped_prompt(ready[name], items, seed, notes) for name in asked}
    enrolment = {name: _swapped_enrolment(ready[name], items, found[name], seed) for name in asked}
    background = {name: _swapped_background(ready[name], items, found[name], seed) for name in asked}
    if asked and not any(enrolment.values()):
        notes.append("swapped_enrolment: needs enrolment: training rows labelled clean")
    every = {"swapped_prompt": prompt, "swapped_enrolment": enrolment, "swapped_background": background}
    return {control: {name: one for name, one in by.items() if one} for control, by in every.items()}


def _swapped_prompt(method: Separator, items: Sequence[Item], seed: int, notes: list[str]) -> dict[str, Any]:
    """Asked by prompt alone, the right one and another one: the other must lose."""
    if not any(item.row.prompt for item in items):
        notes.append("swapped_prompt: no column prompt")
        return {}
    prompts = list(dict.fromkeys(item.row.prompt for item in items if item.row.prompt))
    vectors = {prompt: embedded(prompt) for prompt in (*prompts, *STRANGERS)}
    if any(vector is None for vector in vectors.values()):
        notes.append(
            "swapped_prompt: the prompts cannot be read; they need the sentence encoder and English or Japanese"
        )
        return {}
    asked = {prompt: _farthest(prompt, vectors) for prompt in prompts}
    named = [item for item in items if item.row.prompt]
    right = run_method(method, named, lambda item: Query(prompt=vectors[item.row.prompt]))
    wrong = run_method(method, named, lambda item: Query(prompt=vectors[asked[item.row.prompt]]))
    return _lost(right, wrong, seed) | {"asked": asked}


def _farthest(prompt: str, vectors: Mapping[str, Tensor | None]) -> str:
    """The prompt that resembles this one least."""
    known = {name: vector for name, vector in vectors.items() if vector is not None}
    return min((name for name in known if name != prompt), key=lambda name: float(known[prompt] @ known[name]))


def _swapped_enrolment(method: Separator, items: Sequence[Item], right: Gains, seed: int) -> dict[str, Any]:
    """Asked with the recordings of another machine of the manifest, or where there is none of six simulated ones."""
    if any(not item.query.enrolment for item in items):
        return {}
    enrolments = {item.row.machine: item.query.enrolment for item in items}
    if len(enrolments) > 1:
        others = {name: next(clips for other, clips in enrolments.items() if other != name) for name in enrolments}
        wrong = run_method(method, items, lambda item: Query(others[item.row.machine]))
        return _lost(right, wrong, seed) | {"asked": "another machine"}
    each = {kind: run_method(method, [replace(item, query=_stranger(kind)) for item in items]) for kind in KINDS}
    mean = replace(right, after=np.mean([one.after for one in each.values()], axis=0), unmasked=None)
    by = {kind: float((right.after - one.after).mean()) for kind, one in each.items()}
    return _lost(right, mean, seed) | {"asked": "simulated machines", "lost_db_by_kind": by}


def _swapped_background(method: Separator, items: Sequence[Item], right: Gains, seed: int) -> dict[str, Any]:
    """Asked with what is not the machine: recordings of its background."""
    if any(not item.query.enrolment or not item.query.background for item in items):
        return {}
    wrong = run_method(method, items, lambda item: Query(item.query.background))
    return _lost(right, wrong, seed) | {"asked": "the background"}


@functools.lru_cache(maxsize=len(KINDS))
def _stranger(kind: str) -> Query:
    clips = machine_source(kind, 0, STRANGER_SEED).clips.astype(np.float32)
    return Query(tuple(STRANGER_RMS * torch.from_numpy(clip) for clip in clips))


def _lost(right: Gains, wrong: Gains, seed: int) -> dict[str, Any]:
    lost = right.after - wrong.after
    return {
        "right": figures(right, seed),
        "swapped": figures(wrong, seed),
        "lost_db": float(lost.mean()),
        "lost_db_ci": mean_interval(lost, right.recording, seed),
    }


def embedded(prompt: str) -> Tensor | None:
    """The prompt's sentence embedding [384]; None where there is no prompt, no encoder, or nothing that it can read."""
    from sds_engine.priors.text import embed

    try:
        return embed([prompt])[0] if prompt else None
    except (ImportError, ValueError):
        return None
