"""A sound that separators are asked for, the same in every test of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sds_engine.separation.grid import RATE

SECONDS = 2


def hum(seed: int, seconds: float = SECONDS) -> Tensor:
    """A machine: harmonics of 120 Hz, [time]."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(round(seconds * RATE)) / RATE
    tones = [torch.cos(2 * math.pi * (120 * k * t + torch.rand(1, generator=generator))) / k for k in range(1, 12)]
    return 0.02 * torch.stack(tones).sum(0)
