"""Out-of-fold statistics of detectors whose fit is cheap: from many folds, over features that are worked out once.

Who learns from four fifths of the recordings knows less than the whole will, and finds the last fifth odder: with
five folds a threshold for Mahalanobis distances of 256 numbers lies a third of a healthy spread too high even with 300
recordings, and a nominal 1% becomes half of it. With twenty folds, which leave out single recordings of up to
twenty, little of that is left. Where every fold trains anew for seconds, `detectors.folds` stays with five.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from detectors.folds import folds

MANY = 50


class Learner(Protocol):
    """A detector behind its features: it learns from rows of numbers and judges others."""

    def learn(self, values: Tensor, groups: Tensor, /) -> object:
        """Learn from healthy rows [batch, feature] of recordings numbered by groups [batch]."""

    def judge(self, values: Tensor) -> Tensor:
        """The statistic [batch] of rows [batch, feature]."""


def out_of_many(make: Callable[[], Learner], values: Tensor, groups: Tensor) -> Tensor:
    """The statistic [batch] of every row, each from a learner of values [batch, feature] without its recording.

    Raises ValueError for fewer than two recordings.
    """
    fold = folds(groups, MANY)
    if int(fold.max()) < 1:
        raise ValueError("healthy sound comes from one recording; give at least two, or one of several minutes")
    statistic = torch.empty(len(values), dtype=torch.float64)
    for number in range(int(fold.max()) + 1):
        held = fold == number
        learner = make()
        learner.learn(values[~held], groups[~held])
        statistic[held] = learner.judge(values[held])
    return statistic
