"""Two sounds that nobody takes for one another, for tests of separation by prompts."""

from __future__ import annotations

import torch
from torch import Tensor


def hum_and_knocks(time: int) -> tuple[Tensor, Tensor]:
    """A hum and two knocks [time] at 16 kHz, RMS of their sum about 1."""
    t = torch.arange(time) / 16_000
    hum = torch.sin(2 * torch.pi * 300 * t) + 0.5 * torch.sin(2 * torch.pi * 900 * t)
    knock = torch.zeros(time)
    for start in (700, 2300):
        ring = torch.arange(time - start) / 16_000
        knock[start:] += 2 * torch.exp(-400 * ring) * torch.sin(2 * torch.pi * 2500 * ring)
    return hum, knock
