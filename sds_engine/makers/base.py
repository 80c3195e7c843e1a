"""What every maker of sound is: bounded physical values from unconstrained tensors, and a pure render.

A maker turns `Params` into sound `[batch, time]`. What is free in them is unconstrained; each value reaches the
synthesis through the sigmoid of its `Bound`, so no gradient step can leave physics. All randomness (noise, slip,
jitter) is drawn once per item in `start`, from the item's own seed, and kept in `Params.fixed`: `render` is a pure
function, and no item depends on its batch mates.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from sds_engine.makers.resonances import Resonances
from sds_engine.makers.tools import limited, to_level
from sds_engine.physics.bearings import Bearing
from sds_engine.physics.wander import F64, generator

EDGE = 0.02  # a start keeps this share of the way from either bound: at the bound itself the sigmoid has no slope
FARTHEST = 30.0  # beyond, the sigmoid is 0 or 1 in float32 anyway; infinity stays finite
Draw = tuple[dict[str, F64], dict[str, F64]]


class Physics(TypedDict, total=False):
    """What is known of a machine, in SI units; what is left out is drawn from the usual ranges.

    One table serves all faults of a machine: a maker takes what it can use and leaves the rest.
    """

    shaft_hz: float  # turns a second
    cycle_hz: float  # how often the greatest force comes; default: shaft_hz
    bearing: Bearing
    teeth: int
    blades: int
    resonances: Resonances  # of the machine's own body
    material: str  # of a struck object, see impact.MATERIALS
    body: str  # plate, beam, ring
    size_m: float  # length, longer edge or mean radius of a struck object
    thickness_m: float
    f0_hz: float  # the fundamental of an FM voice
    level_db: float  # RMS over the whole sound, dB relative to full scale


@dataclass(frozen=True, slots=True)
class Bound:
    """`size` values between low and high, in `unit`; spaced evenly in their logarithm where `log`."""

    low: float
    high: float
    unit: str
    log: bool = False
    size: int = 1

    def physical(self, free: Tensor) -> Tensor:
        """Unconstrained -> low..high: low + (high - low) sigmoid, or the same of logarithms. Infinity gives a bound."""
        share = torch.sigmoid(free.clamp(-FARTHEST, FARTHEST))
        if self.log:
            return torch.exp(math.log(self.low) + math.log(self.high / self.low) * share).clamp(self.low, self.high)
        return (self.low + (self.high - self.low) * share).clamp(self.low, self.high)

    def free(self, physical: F64) -> F64:
        """The unconstrained value behind a physical one, which is first moved off the bounds by EDGE of the way."""
        if self.log:
            share = np.log(np.maximum(physical, 1e-300) / self.low) / math.log(self.high / self.low)
        else:
            share = (physical - self.low) / (self.high - self.low)
        share = np.clip(share, EDGE, 1.0 - EDGE)
        return np.asarray(np.log(share / (1.0 - share)))

    def draw(self, rng: np.random.Generator, low: float = 0.2, high: float = 0.8) -> F64:
        """Values `[size]` drawn evenly between these shares of the way from low to high."""
        share = rng.uniform(low, high, self.size)
        if self.log:
            return np.asarray(self.low * (self.high / self.low) ** share)
        return np.asarray(self.low + (self.high - self.low) * share)


@dataclass(frozen=True, slots=True, eq=False)
class Params:
    """The state of a batch of sounds: `free` (unconstrained, `[batch, size]` each), `fixed` (draws and nominal values).

    Item i was drawn from `seeds[i]` and from nothing else.
    """

    free: Mapping[str, Tensor]
    fixed: Mapping[str, Tensor]
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.seeds)

    def tensors(self) -> list[Tensor]:
        """The free tensors, for an optimiser."""
        return list(self.free.values())

    def with_free(self, free: Mapping[str, Tensor]) -> Params:
        """The same sounds with other free values. Raises ValueError where names or shapes differ."""
        wrong = [n for n in {*free, *self.free} if n not in free or n not in self.free]
        if wrong or any(free[name].shape != self.free[name].shape for name in free):
            raise ValueError(f"free tensors {sorted(free)} do not fit {sorted(self.free)}: give the same names, shapes")
        return replace(self, free={name: free[name] for name in self.free})

    def leaves(self) -> Params:
        """A copy whose free tensors are new leaves that gather gradients."""
        return self.with_free({name: value.detach().clone().requires_grad_() for name, value in self.free.items()})

    def detached(self) -> Params:
        """A copy of the values now, without gradients: what a search keeps as its best."""
        return self.with_free({name: value.detach().clone() for name, value in self.free.items()})

    def pick(self, items: Sequence[int]) -> Params:
        """Some items, in that order, as new leaves."""
        rows = list(items)
        free = {name: value.detach()[rows].clone().requires_grad_() for name, value in self.free.items()}
        fixed = {name: value[rows] for name, value in self.fixed.items()}
        return Params(free, fixed, tuple(self.seeds[row] for row in rows))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Params:
        """Everything on that device and in that precision, as new leaves."""
        free = {n: v.detach().to(device=device, dtype=dtype).clone().requires_grad_() for n, v in self.free.items()}
        return replace(self, free=free, fixed={n: v.to(device=device, dtype=dtype) for n, v in self.fixed.items()})


@dataclass(frozen=True)
class Maker(ABC):
    """Sounds of one kind at `rate` Hz, `seconds` long. Subclasses add `bounds`, `_draw` and `_wave`.

    `kinds` are the names that a subclass answers to; the first is its default.
    """

    rate: int = 16_000
    seconds: float = 2.0
    kind: str = ""
    kinds: ClassVar[tuple[str, ...]] = ()
    level_db: ClassVar[Bound] = Bound(-50.0, -12.0, "dBFS")
    start_db: ClassVar[float] = -26.0

    def __post_init__(self) -> None:
        if not self.kind:
            object.__setattr__(self, "kind", self.kinds[0])
        if self.kind not in self.kinds:
            raise ValueError(f"kind is {self.kind!r}, allowed is one of {', '.join(self.kinds)}")
        if self.rate < 4000 or not 0.05 <= self.seconds <= 30.0:
            raise ValueError(
                f"rate {self.rate} Hz and {self.seconds} s: allowed is 4000 Hz or more, and 0.05 to 30 s at a time"
            )

    @property
    def samples(self) -> int:
        """Samples of one sound."""
        return round(self.rate * self.seconds)

    @property
    def bounds(self) -> Mapping[str, Bound]:
        """The bounds of every free value by name; names end in their unit where they have one."""
        return {**self._bounds(), "level_db": self.level_db}

    def start(self, batch: int, seeds: int | Sequence[int] | np.random.Generator, **physics: Unpack[Physics]) -> Params:
        """Sounds as physics would have them, varied within the usual ranges: leaves, ready for an optimiser.

        `seeds`: one per item; a single number counts up from there; a generator draws them. Raises ValueError for
        physics that is unknown or outside what is allowed.
        """
        unknown = sorted(set(physics) - set(Physics.__annotations__))
        if unknown:
            raise ValueError(
                f"physics {', '.join(unknown)} is unknown, allowed is {', '.join(Physics.__annotations__)}"
            )
        _check_physics(physics)
        every = seeds_of(batch, seeds)
        drawn = []
        for seed in every:
            values, fixed = self._draw(generator(seed, 31), physics)
            values["level_db"] = np.array([physics.get("level_db", self.start_db)])
            drawn.append((values, fixed))
        free = {
            name: _stacked([bound.free(values[name]) for values, _ in drawn]).requires_grad_()
            for name, bound in self.bounds.items()
        }
        return Params(free, {name: _stacked([fixed[name] for _, fixed in drawn]) for name in drawn[0][1]}, every)

    def values(self, params: Params) -> dict[str, Tensor]:
        """The bounded values `[batch, size]`, by name."""
        return {name: bound.physical(params.free[name]) for name, bound in self.bounds.items()}

    def render(self, params: Params) -> Tensor:
        """The sound `[batch, time]`, at its level, peaks bent softly so that none reaches full scale.

        Differentiable in every free tensor. A sound of nothing (all strengths 0) is silence, not NaN.
        """
        values = self.values(params)
        wave = self._wave(values, params.fixed)[..., : self.samples]  # [batch, time]
        return limited(to_level(wave, values["level_db"]))

    def physical(self, params: Params) -> dict[str, Tensor]:
        """The values in SI units and what follows from them (fault frequencies, modes), detached, `[batch, size]`."""
        with torch.no_grad():
            values = self.values(params)
            return {name: value.detach() for name, value in {**values, **self._derived(values, params.fixed)}.items()}

    def check(self, params: Params) -> list[list[str]]:
        """What is implausible about each item, in words; empty lists where nothing is. Bounds hold anyway."""
        with torch.no_grad():
            wave = self.render(params)
            facts = self.physical(params)
        found: list[list[str]] = []
        for item in range(len(params)):
            words = [f"{n} is not a number" for n, v in params.free.items() if not torch.isfinite(v[item]).all()]
            if not torch.isfinite(wave[item]).all() or float(wave[item].abs().max()) < 1e-6:
                words.append("there is no sound")
            words += self._doubts({name: value[item] for name, value in facts.items()})
            found.append(words)
        return found

    @abstractmethod
    def _bounds(self) -> Mapping[str, Bound]:
        """Bounds of the maker's own values."""

    @abstractmethod
    def _draw(self, rng: np.random.Generator, physics: Physics) -> Draw:
        """Physical start values `[size]` and fixed arrays of one item."""

    @abstractmethod
    def _wave(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
        """The sound `[batch, time or more]`, at any level."""

    def _derived(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:  # noqa: ARG002 (most makers override it)
        """What follows from the values, in SI units."""
        return {}

    def _doubts(self, facts: Mapping[str, Tensor]) -> list[str]:  # noqa: ARG002 (as above)
        """What is implausible in one item's physical values."""
        return []


def seeds_of(batch: int, seeds: int | Sequence[int] | np.random.Generator) -> tuple[int, ...]:
    """One seed per item. Raises ValueError for an empty batch, and where their number is not the batch's."""
    if batch < 1:
        raise ValueError(f"batch is {batch}, allowed is 1 or more")
    if isinstance(seeds, np.random.Generator):
        return tuple(int(seed) for seed in seeds.integers(2**62, size=batch))
    every = tuple(range(seeds, seeds + batch)) if isinstance(seeds, int) else tuple(int(seed) for seed in seeds)
    if len(every) != batch or min(every) < 0:
        raise ValueError(f"{len(every)} seeds for {batch} sounds: give one for each, 0 or more")
    return every


_ALLOWED: Mapping[str, tuple[float, float, str]] = {
    "shaft_hz": (0.5, 400.0, "Hz"),
    "cycle_hz": (0.2, 400.0, "Hz"),
    "teeth": (5, 400, ""),
    "blades": (2, 60, ""),
    "size_m": (0.005, 5.0, "m"),
    "thickness_m": (2e-4, 0.5, "m"),
    "f0_hz": (20.0, 4000.0, "Hz"),
    "level_db": (-50.0, -12.0, "dBFS"),
}


def _check_physics(physics: Physics) -> None:
    for name, (low, high, unit) in _ALLOWED.items():
        value = physics.get(name)
        if isinstance(value, int | float) and not low <= value <= high:
            raise ValueError(f"{name} is {value}, allowed is {low:g} to {high:g} {unit}".rstrip())


def known_or(physics: Physics, name: str, draw: Callable[[], float]) -> float:
    """The number that is known, or a draw (which is made in any case: the rest of the draws must not shift)."""
    drawn = draw()
    value = physics.get(name)
    return float(value) if isinstance(value, int | float) else drawn


def _stacked(arrays: Sequence[F64]) -> Tensor:
    """Arrays of one rank, padded with zeros at their ends to one shape -> float32 `[item, ...]`."""
    shape = tuple(max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True))
    full = np.zeros((len(arrays), *shape), dtype=np.float32)
    for row, array in zip(full, arrays, strict=True):
        row[tuple(slice(size) for size in array.shape)] = array
    return torch.from_numpy(full)
