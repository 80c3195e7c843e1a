"""Small seeded machines for the detectors' tests: a hum with harmonics, a hiss, and things that go wrong."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from detectors.aggregate import clips_evidence
from detectors.base import Evidence
from detectors.frontend import FrontEnd
from detectors.recordings import stack

RATE = 16_000
FRONT_END = FrontEnd.at(RATE)


def machine(seed: int, seconds: float = 1.0, *, gain_db: float = 0.0) -> Tensor:
    """Healthy sound [time]: four harmonics near 120 Hz and a hiss, each a little different every time."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * RATE)) / RATE
    wander = torch.randn(6, generator=generator)
    shaft = 120.0 * (1 + 0.01 * wander[0])
    hum = sum(torch.sin(2 * math.pi * shaft * k * time + wander[k]) * 10 ** (0.05 * wander[k]) / k for k in range(1, 5))
    hiss = torch.randn(len(time), generator=generator) * 10 ** (0.05 * wander[5])
    return 10 ** (gain_db / 20) * (0.05 * hum + 0.02 * hiss)


def whistle(sound: Tensor, level: float = 0.01) -> Tensor:
    """The same sound with a tone at 3 kHz, at the same RMS: loudness cannot tell."""
    time = torch.arange(len(sound)) / RATE
    faulty = sound + level * torch.sin(2 * math.pi * 3000.0 * time)
    return faulty * (sound.square().mean() / faulty.square().mean()).sqrt()


def evidence(sounds: list[Tensor]) -> Evidence:
    """One context per sound."""
    return stack(clips_evidence(sounds, FRONT_END, len(sounds[0]), 1, waveform=True))


def healthy(count: int = 16, first: int = 0, seconds: float = 1.0) -> Evidence:
    return evidence([machine(seed, seconds) for seed in range(first, first + count)])
