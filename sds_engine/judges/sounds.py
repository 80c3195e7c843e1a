"""The sounds that the gate's judge learns from: `physics`, with seeds from FIRST_SEED on, which nothing else uses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sds_engine.judges import augment
from sds_engine.judges.features import RATE, SAMPLES
from sds_engine.physics.faults import FAULT_KINDS, FAULTS, Fault, fault_parts
from sds_engine.physics.kinds import draw_machine
from sds_engine.physics.machines import draw_take, render_parts, render_take
from sds_engine.physics.room import Room

FIRST_SEED = 9_000_000
HELD_OUT_SEED = 9_500_000
CLASSES = (*FAULT_KINDS, "healthy")
_KINDS = tuple(FAULTS)
_TAKE_S = 8.0
_PER_CLASS = 10  # windows of each class from one machine of each kind, shared among the kinds that have the fault
F32 = NDArray[np.float32]


def one_machine(seed: int) -> Iterator[tuple[F32, int]]:
    """Windows [time] with their class, of one individual with all of its faults, in one room. Not yet rephased."""
    rng = np.random.default_rng(seed)
    kind = _KINDS[seed % len(_KINDS)]
    machine = draw_machine(kind, rng)
    room = Room(float(np.exp(rng.uniform(np.log(300.0), np.log(20_000.0)))), rng.uniform(0.3, 1.5), rng.uniform(0, 0.8))
    take = draw_take(
        machine, _TAKE_S, RATE, rng, distance=float(np.exp(rng.uniform(np.log(0.4), np.log(4.0)))), room=room
    )
    healthy = render_take(take)
    for _ in range(round(1.3 * _PER_CLASS / len(_KINDS))):
        yield _window(healthy, rng), CLASSES.index("healthy")
    for fault in FAULTS[kind]:
        part = render_parts(take, fault_parts(machine, Fault(fault, 0.0), take.motion, seed))
        owners = sum(fault in faults for faults in FAULTS.values())
        for _ in range(max(1, round(_PER_CLASS / owners))):
            alone = rng.random() < 0.35
            gain = np.float32(10.0 ** (rng.uniform(-6.0, 20.0) / 20.0))
            yield _window(part if alone else healthy + gain * part, rng), CLASSES.index(fault)


def _window(sound: F32, rng: np.random.Generator) -> F32:
    """2 s from somewhere, at another speed half of the time, with colour and noise."""
    ratio = float(np.exp(rng.uniform(-0.25, 0.25))) if rng.random() < 0.5 else 1.0
    start = int(rng.integers(0, len(sound) - int(SAMPLES * ratio) - 200))
    wave = augment.at_speed(sound[start:], ratio, SAMPLES)
    if rng.random() < 0.6:
        wave = augment.coloured(wave, rng)
    if rng.random() < 0.7:
        wave = augment.noisy(wave, rng.uniform(5.0, 45.0), rng)
    return wave


def batch_of(seeds: range) -> tuple[Tensor, Tensor]:
    """Windows [batch, time] and their classes [batch] of the machines with these seeds; a third without true phase."""
    waves, labels = zip(*(row for seed in seeds for row in one_machine(seed)), strict=True)
    wave = torch.from_numpy(np.stack(waves))
    rng = np.random.default_rng((1, seeds.start))
    generator = torch.Generator().manual_seed(seeds.start)
    parts = torch.from_numpy(rng.integers(0, 12, len(wave)))
    settings = ((0, 0), (8, 64), (16, 128), (32, 0))
    for number, (steps, bands) in enumerate(settings):
        rows = torch.nonzero(parts == number)[:, 0]
        if len(rows):
            wave[rows] = augment.rephased(wave[rows], generator, steps, bands)
    return wave, torch.tensor(labels)
