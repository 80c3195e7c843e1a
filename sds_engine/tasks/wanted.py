"""Which maker a prompt asks for: the kind whose phrases lie nearest to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from sds_engine.physics.faults import FAULT_KINDS
from sds_engine.priors import text
from sds_engine.priors.captions import phrases

NEAREST = 3  # phrases of a kind that are averaged
LEAST = 0.30  # similarity below which a prompt is about something else


@dataclass(frozen=True, slots=True)
class Wanted:
    """A maker's kind, and how near its phrases lie to the prompt (cosine); `runner_up` is the next kind."""

    kind: str
    similarity: float
    runner_up: str


def kinds() -> Mapping[str, tuple[str, ...]]:
    """Each maker's kind and the subjects of captions that describe it."""
    found: dict[str, tuple[str, ...]] = {kind: (kind,) for kind in FAULT_KINDS}
    found["impact"] = (*(s for s in phrases() if s.startswith("struck_")), "tap", "event_clank")
    found["fm"] = tuple(s for s in phrases() if s.startswith("tone_"))
    return found


def wanted(prompt: str) -> Wanted:
    """The kind that a prompt in English or Japanese asks for.

    Raises ValueError for a prompt without known words, or one that is near to no kind.
    """
    asked = text.embed([prompt])[0]
    table = kinds()
    lists = {kind: [phrase for subject in table[kind] for phrase in phrases()[subject]] for kind in table}
    vectors = text.embed([phrase for several in lists.values() for phrase in several])
    nearness, at = {}, 0
    for kind, several in lists.items():
        near = vectors[at : at + len(several)] @ asked
        at += len(several)
        nearness[kind] = float(torch.topk(near, min(NEAREST, len(near))).values.mean())
    first, second = sorted(nearness, key=lambda kind: -nearness[kind])[:2]
    if nearness[first] < LEAST:
        raise ValueError(
            f"the prompt {prompt!r} is near to no maker (nearest: {first}, {nearness[first]:.2f}): "
            f"name a fault, or choose with --kind one of {', '.join(table)}"
        )
    return Wanted(first, nearness[first], second)
