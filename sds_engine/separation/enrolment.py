"""Enrolment recordings to the numbers that a mask network is asked with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sds_engine.separation.grid import analyse, log_mel, power
from sds_engine.separation.network import enrolment_statistics


def site_statistics(clips: Sequence[Tensor]) -> Tensor:
    """The enrolment statistics [2 * mel] of recordings [time]: one query for all of them.

    Raises ValueError for no recordings.
    """
    if not clips:
        raise ValueError("no enrolment recordings: give at least one")
    frames = torch.cat([log_mel(power(analyse(clip[None])))[0] for clip in clips], dim=-1)  # [mel, frame]
    return enrolment_statistics(frames[None])[0]
