"""What a self-supervised detector is asked while it learns: whose sound is this, and what was done to it?

Every example is a healthy context [mel, frame] in dB, or made from one or two of them:

- mixture: two recordings sounding together, powers added (mixup: Zhang et al., ICLR 2018), and both are the answer;
- exchanged statistics: each band of one takes the mean and deviation over time of another (StatEx: Chen et al., ICASSP
  2023), a class of its own for either recording (Wilkinghoff, "Self-supervised learning for anomalous sound
  detection", ICASSP 2024);
- an alteration that a fault might make: shifted up or down in frequency, tilted, a group of bands louder or weaker, a
  band held at a tone's level, stretched or reversed in time. Which one is a second question (outlier exposure:
  Hendrycks et al., ICLR 2019).

Batches are drawn from the global random state: call inside `training.learning`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

ALTERATIONS = ("none", "up", "down", "tilt", "louder", "weaker", "tone", "stretched", "reversed")
_MIXED, _EXCHANGED = 0.4, 0.25  # shares of a batch; an alteration may come on top of a mixture
_ALTERED = 0.5
_MOST_BANDS = 6  # that a shift moves
_TILT_DB = 6.0  # from the lowest band to the highest
_GAIN_DB = (2.0, 8.0)
_TONE_DB = 12.0  # at most over the band's mean
_DB_PER_NEPER = 10.0 / math.log(10.0)  # of power
_DEVIATION = 0.1  # dB; a band that stands still has none to exchange


class Task(NamedTuple):
    """Examples [batch, mel, frame]; whose [batch, 3 * recordings] sums to 1; altered [batch] numbers ALTERATIONS."""

    log_mel: Tensor
    whose: Tensor
    altered: Tensor


def make_task(log_mel: Tensor, owner: Tensor, other: Tensor, other_owner: Tensor, classes: int) -> Task:
    """A batch from contexts and as many partners, [batch, mel, frame] each, with their recordings' numbers [batch]."""
    count = len(log_mel)
    mine = functional.one_hot(owner, classes).float()
    theirs = functional.one_hot(other_owner, classes).float()
    none = torch.zeros_like(mine)
    kind = torch.rand(count, device=log_mel.device)
    mixed, exchanged = kind < _MIXED, kind > 1.0 - _EXCHANGED  # a batch may hold none of them
    share = torch.rand(count, device=log_mel.device)
    example = log_mel.clone()
    if bool(mixed.any()):
        example[mixed] = mixture(log_mel[mixed], other[mixed], share[mixed])
    if bool(exchanged.any()):
        example[exchanged] = exchange(log_mel[exchanged], other[exchanged])
    both = share[:, None] * mine + (1.0 - share[:, None]) * theirs
    whose = torch.cat([torch.where(mixed[:, None], both, mine), none, none], dim=1)
    whose = torch.where(exchanged[:, None], torch.cat([none, 0.5 * mine, 0.5 * theirs], dim=1), whose)
    altered = torch.randint(1, len(ALTERATIONS), (count,), device=log_mel.device)
    altered = torch.where(torch.rand(count, device=log_mel.device) < _ALTERED, altered, 0)
    for number in range(1, len(ALTERATIONS)):
        rows = torch.nonzero(altered == number).squeeze(1)
        if len(rows):
            example[rows] = alter(example[rows], ALTERATIONS[number])
    return Task(example, whose, altered)


def mixture(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Both sounding together, with these shares [batch] of their powers."""
    share = share[:, None, None].clamp(1e-3, 1.0 - 1e-3)
    first, second = one / _DB_PER_NEPER + share.log(), other / _DB_PER_NEPER + (1.0 - share).log()
    larger = torch.maximum(first, second)  # torch.logaddexp is several times slower on a CPU
    return (larger + torch.log1p(torch.exp(-(first - second).abs()))) * _DB_PER_NEPER


def moments(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over the last dimension, which stays. Two passes: torch.std takes five times as long."""
    mean = frames.mean(-1, keepdim=True)
    return mean, (frames - mean).square().mean(-1, keepdim=True)


def exchange(one: Tensor, other: Tensor) -> Tensor:
    """The course over time of one with the mean and deviation of the other, band by band."""
    (mean, variance), (wanted, theirs) = moments(one), moments(other)
    return (one - mean) / variance.sqrt().clamp_min(_DEVIATION) * theirs.sqrt() + wanted


def alter(log_mel: Tensor, how: str) -> Tensor:
    """The examples [batch, mel, frame] after one of ALTERATIONS, each by its own amount. ValueError for any other."""
    count, mels, frames = log_mel.shape
    place = torch.linspace(0.0, 1.0, mels, device=log_mel.device)[None, :, None]
    amount = torch.rand(count, 1, 1, device=log_mel.device)
    if how in ("up", "down"):
        bands = torch.randint(1, _MOST_BANDS + 1, (count, 1), device=log_mel.device)
        source = torch.arange(mels, device=log_mel.device) - (bands if how == "up" else -bands)
        return log_mel.gather(1, source.clamp(0, mels - 1)[:, :, None].expand(-1, -1, frames))
    if how == "tilt":
        side = torch.sign(amount - 0.5)
        return log_mel + side * _TILT_DB * (0.25 + (amount - 0.5).abs()) * 2.0 * (place - 0.5)
    if how in ("louder", "weaker"):
        centre = torch.rand(count, 1, 1, device=log_mel.device)
        width = 0.02 + 0.15 * torch.rand(count, 1, 1, device=log_mel.device)
        gain = _GAIN_DB[0] + (_GAIN_DB[1] - _GAIN_DB[0]) * amount
        return log_mel + (gain if how == "louder" else -gain) * torch.exp(-0.5 * ((place - centre) / width).square())
    if how == "tone":
        chosen = torch.randint(mels, (count, 1, 1), device=log_mel.device)
        band = torch.arange(mels, device=log_mel.device)[None, :, None] == chosen
        level = log_mel.mean(-1, keepdim=True) + _TONE_DB * amount
        return torch.where(band, torch.maximum(log_mel, level), log_mel)
    if how == "stretched":
        half = log_mel[..., : (frames + 1) // 2]
        return functional.interpolate(half, size=frames, mode="linear", align_corners=False)
    if how == "reversed":
        return log_mel.flip(-1)
    raise ValueError(f"alteration is {how!r}, allowed is one of {', '.join(ALTERATIONS[1:])}")
