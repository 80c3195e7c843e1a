"""Enrolment recordings to the numbers that a mask network is asked with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sds_engine.separation.grid import analyse, log_mel, power
from sds_engine.separation.network import enrolment_statistics


def site_statistics(clips: Sequence[Tensor]) -> Tensor:
    """The enrolment statistics [2 * mel] of recordings [time]: one query for all of them.

    The mean over recordings is that of dB, so that one recording that holds something else counts as one and no more.

    Raises ValueError for no recordings.
    """
    if not clips:
        raise ValueError("no enrolment recordings: give at least one")
    each = torch.cat([enrolment_statistics(log_mel(power(analyse(clip[None])))) for clip in clips])
    return each.mean(0)
