"""Folds that never split a recording, and the out-of-fold statistic that calibration and fusion rest on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from detectors.base import Detector, Evidence

FOLDS = 5


def groups_of(healthy: Evidence, groups: Tensor | None) -> Tensor:
    """The recording's number of every context, 0, 1, ... [batch]; without groups each context is its own."""
    if groups is None:
        return torch.arange(len(healthy))
    if groups.shape != (len(healthy),):
        raise ValueError(f"groups are {tuple(groups.shape)}, allowed is one number for each of {len(healthy)} contexts")
    number: Tensor = torch.unique(groups, return_inverse=True)[1]
    return number


def folds(groups: Tensor, count: int = FOLDS) -> Tensor:
    """The fold [batch] of every context: recordings are dealt out in turn, the longest first."""
    sizes = torch.bincount(groups)
    order = torch.argsort(sizes, descending=True, stable=True)
    fold = torch.empty_like(sizes)
    fold[order] = torch.arange(len(sizes)) % min(count, len(sizes))
    return fold[groups]


def out_of_fold(make: Callable[[], Detector], healthy: Evidence, groups: Tensor | None) -> Tensor:
    """The statistic [batch] of every context, each from a detector that was fitted without its recording.

    Raises ValueError for fewer than two recordings.
    """
    groups = groups_of(healthy, groups)
    fold = folds(groups)
    if int(fold.max()) < 1:
        raise ValueError("healthy sound comes from one recording; give at least two, or one of several minutes")
    statistic = torch.empty(len(healthy), dtype=torch.float64)
    for number in range(int(fold.max()) + 1):
        held = fold == number
        learn = torch.nonzero(~held).squeeze(1)
        fitted = make().fit(healthy.rows(learn), groups[learn])
        statistic[held] = fitted.score(healthy.rows(torch.nonzero(held).squeeze(1)))
    return statistic
