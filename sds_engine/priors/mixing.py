"""Endless training examples from a pool of clips: crops mixed by power, coloured, captioned.

What an example is drawn as follows SHARES: a fault alone or over its machine, a healthy machine, something else; each
may stand before other sounds of a hall. The caption names the subject; louder background is said as often as not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sds_engine.priors import logmel
from sds_engine.priors.corpus import Pool

FAULT, HEALTHY, OTHER = 0.62, 0.2, 0.18  # shares of the examples
ALONE = 0.35  # of the faults without their machine
FAULT_DB = (-3.0, 18.0)  # fault over machine, by power
BEHIND, BEHIND_DB = 0.35, (-30.0, -8.0)  # share with background, its level relative to the example
FLOOR_DB = (-60.0, -25.0)  # a microphone's noise
TILT_DB = 5.0  # deviation of a smooth colouring
JITTER = 0.25  # length of the random vector added to a caption's unit vector


@dataclass(frozen=True, slots=True)
class Captions:
    """Sentence vectors `[caption, feature]` and where each subject-machine pair's lie: key -> (start, stop)."""

    vectors: Tensor
    where: dict[tuple[str, str], tuple[int, int]]

    def draw(self, keys: list[tuple[str, str]], rng: np.random.Generator) -> Tensor:
        """One vector for each key, `[key, feature]`, with a little noise, of length 1."""
        rows = torch.from_numpy(np.array([rng.integers(*self.where[key]) for key in keys]))
        width = self.vectors.shape[1]
        noise = torch.from_numpy(rng.standard_normal((len(keys), width), dtype=np.float32))
        strength = torch.from_numpy(rng.uniform(0, JITTER, (len(keys), 1)).astype(np.float32))
        jittered: Tensor = self.vectors[rows] + noise * (strength / width**0.5)
        return torch.nn.functional.normalize(jittered, dim=-1)


class Mixer:
    """Draws batches from a pool. Deterministic: batch number n of a seed is always the same."""

    def __init__(
        self,
        pool: Pool,
        captions: Captions,
        seed: int,
        emphasise: Mapping[str, float] | None = None,
        fault_db: tuple[float, float] = FAULT_DB,
    ) -> None:
        """Emphasise: subject of a fault -> its weight, 1 where it is not named. fault_db: fault over machine, from, to.

        Raises ValueError for a subject that is no fault of the pool, a weight that is not above 0, levels that fall.
        """
        self.pool, self.captions, self.seed, self.fault_db = pool, captions, seed, fault_db
        if not fault_db[0] <= fault_db[1]:
            raise ValueError(f"faults from {fault_db[0]} to {fault_db[1]} dB: the first must not be above the second")
        self.db = torch.from_numpy(pool.db)  # [clip, frame, band] float16
        subjects = pool.subjects
        on_machine = pool.machine_of >= 0
        self.healthy = np.flatnonzero(subjects == "healthy")
        self.other = np.flatnonzero(~on_machine)
        faults = np.flatnonzero(on_machine & (subjects != "healthy"))
        kinds = [str(kind) for kind in np.unique(subjects[faults])]
        self.faults = [faults[subjects[faults] == kind] for kind in kinds]
        self.share = _shares(kinds, emphasise or {})
        names = np.unique(subjects[self.other])
        self.others = [self.other[subjects[self.other] == name] for name in names]

    def batch(self, number: int, size: int) -> tuple[Tensor, Tensor]:
        """Relative dB `[size, frame, band]` and prompt vectors `[size, feature]`."""
        rng = np.random.default_rng((self.seed, number))
        main, machine, alone = self._subjects(size, rng)
        power = self._crop(main, rng)
        level = power.mean(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        power = power / level
        under = np.flatnonzero((machine >= 0) & ~alone)
        if len(under):
            bed = self._crop(machine[under], rng)
            bed = bed / bed.mean(dim=(1, 2), keepdim=True).clamp_min(1e-12)
            power[under] = power[under] + bed * _gain(rng.uniform(-self.fault_db[1], -self.fault_db[0], len(under)))
        behind = np.flatnonzero(rng.random(size) < BEHIND)
        if len(behind):
            bed = self._crop(self._background(len(behind), rng), rng)
            bed = bed / bed.mean(dim=(1, 2), keepdim=True).clamp_min(1e-12)
            loud = rng.uniform(*BEHIND_DB, len(behind))
            power[behind] = power[behind] + power[behind].mean(dim=(1, 2), keepdim=True) * bed * _gain(loud)
        power = power * _colour(size, rng) + _gain(rng.uniform(*FLOOR_DB, size)) * power.mean(dim=(1, 2), keepdim=True)
        return logmel.relative_db(power), self.captions.draw(self._keys(main, rng), rng)

    def _subjects(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The clip of each example's subject, its machine's healthy clip or -1, whether the subject is alone."""
        main = np.empty(size, dtype=np.int64)
        drawn = rng.random(size)
        for i, u in enumerate(drawn):
            if u < FAULT:
                group = self.faults[self._fault(rng)]
            elif u < FAULT + HEALTHY or not self.others:
                group = self.healthy
            else:
                group = self.others[int(rng.integers(len(self.others)))]
            main[i] = group[int(rng.integers(len(group)))]
        machine = np.where(drawn < FAULT, self.pool.machine_of[main], -1)
        return main, machine, rng.random(size) < ALONE

    def _fault(self, rng: np.random.Generator) -> int:
        """The number of a kind of fault, each as often as its share says."""
        if self.share is None:
            return int(rng.integers(len(self.faults)))  # as ever: the same numbers drawn, the same examples
        return int(np.searchsorted(np.cumsum(self.share), rng.random() * (1.0 - 1e-12)))

    def _background(self, count: int, rng: np.random.Generator) -> np.ndarray:
        either = self.healthy if not len(self.other) else np.concatenate([self.other, self.healthy])
        return either[rng.integers(len(either), size=count)]

    def _keys(self, main: np.ndarray, rng: np.random.Generator) -> list[tuple[str, str]]:
        """Subject and machine of each example; every second time the machine is not named."""
        named = rng.random(len(main)) < 0.5
        return [
            (str(self.pool.subjects[i]), str(self.pool.machines[i]) if name else "")
            for i, name in zip(main, named, strict=True)
        ]

    def _crop(self, clips: np.ndarray, rng: np.random.Generator) -> Tensor:
        """2 s of each clip from a random frame on, as power `[clip, frame, band]`."""
        starts = rng.integers(self.db.shape[1] - logmel.FRAMES + 1, size=len(clips))
        db = torch.stack([self.db[i, s : s + logmel.FRAMES] for i, s in zip(clips, starts, strict=True)])
        return torch.exp(db.float() * (np.log(10.0) / 10.0))


def _shares(kinds: list[str], emphasise: Mapping[str, float]) -> np.ndarray | None:
    """Each kind's share of the faults, None where all have the same."""
    for kind, weight in emphasise.items():
        if kind not in kinds:
            raise ValueError(f"no fault {kind!r} to emphasise, allowed is one of {', '.join(kinds)}")
        if not 0.0 < weight < float("inf"):
            raise ValueError(f"weight {weight} of {kind}: allowed is a number above 0")
    if not emphasise:
        return None
    weights = np.array([emphasise.get(kind, 1.0) for kind in kinds])
    return np.asarray(weights / weights.sum())


def _gain(db: np.ndarray) -> Tensor:
    return torch.from_numpy(10.0 ** (db / 10.0)).float()[:, None, None]


def _colour(size: int, rng: np.random.Generator) -> Tensor:
    """A smooth gain over the bands for each example: `[size, 1, band]`."""
    knots = torch.from_numpy(rng.normal(0, TILT_DB * 0.7, (size, 1, 5))).float()
    db = torch.nn.functional.interpolate(knots, logmel.BANDS, mode="linear", align_corners=True)
    return 10.0 ** (db / 10.0)
