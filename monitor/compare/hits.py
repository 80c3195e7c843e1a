"""Two yes-or-no answers to the same questions: the paired table, and McNemar's exact test of it.

Q. McNemar, Psychometrika 12 (1947) 153-157; the exact form is a sign test of the pairs that differ: under the
hypothesis that neither side is better, each such pair is a fair coin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many were answered yes by both, by one side only, by neither; `p` is McNemar's, two-sided and exact."""

    both: int
    a_only: int
    b_only: int
    neither: int
    p: float

    @property
    def of(self) -> int:
        """How many questions there were."""
        return self.both + self.a_only + self.b_only + self.neither


def mcnemar(a_only: int, b_only: int) -> float:
    """Two-sided exact p-value; 1 where no pair differs. Raises ValueError for negative counts."""
    if a_only < 0 or b_only < 0:
        raise ValueError(f"{a_only} and {b_only} pairs differ, allowed are counts from 0")
    trials = a_only + b_only
    tail = sum(math.comb(trials, count) for count in range(min(a_only, b_only) + 1))
    return min(1.0, 2.0 * tail / 2.0**trials) if trials else 1.0


def pairs(a: Mapping[str, bool], b: Mapping[str, bool]) -> Pairs:
    """The table of two answers to the same keys. Raises ValueError where the keys differ."""
    if a.keys() != b.keys():
        raise ValueError(f"the sides answered different questions: {sorted(a.keys() ^ b.keys())[:5]}")
    counts = {(first, second): 0 for first in (True, False) for second in (True, False)}
    for key, answer in a.items():
        counts[bool(answer), bool(b[key])] += 1
    both, a_only, b_only, neither = counts[True, True], counts[True, False], counts[False, True], counts[False, False]
    return Pairs(both, a_only, b_only, neither, mcnemar(a_only, b_only))
