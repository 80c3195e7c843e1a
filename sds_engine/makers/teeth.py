"""A broken tooth of a gear."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sds_engine.makers import tools
from sds_engine.makers.base import Bound, Draw, Physics, known_or
from sds_engine.makers.trains import PRE_S, Train


@dataclass(frozen=True)
class Tooth(Train):
    """A broken tooth: a blow a turn, a weaker one as the next pair takes the load, and the mesh with its sidebands.

    Randall, "A new method of modeling gear faults", J. Mechanical Design 104 (1982).
    """

    kinds: ClassVar[tuple[str, ...]] = ("broken_tooth",)
    contact: ClassVar[tuple[float, float]] = (0.1e-3, 1.5e-3)
    harmonics: ClassVar[int] = 5

    def _bounds(self) -> Mapping[str, Bound]:
        return {
            **self._train_bounds(),
            "phase": Bound(0.0, 1.0, "turns"),
            "second_turns": Bound(0.01, 0.08, "turns"),
            "second_share": Bound(0.05, 0.9, "of the first blow"),
            "mesh_db": Bound(-40.0, 0.0, "dB of the blows"),
            "mesh_harmonic_db": Bound(-30.0, 6.0, "dB", size=self.harmonics),
            "mesh_modulation": Bound(0.0, 1.0, "of the amplitude"),
        }

    def _draw(self, rng: np.random.Generator, physics: Physics) -> Draw:
        shaft = known_or(physics, "shaft_hz", lambda: rng.uniform(18.0, 30.0))
        teeth = known_or(physics, "teeth", lambda: float(rng.integers(19, 30)))
        turns = self._count(shaft)
        values, fixed = self._body(rng, physics, turns)
        values |= {
            "phase": rng.uniform(0.1, 0.9, 1),
            "second_turns": np.full(1, 0.03),
            "second_share": np.full(1, 0.4),
            "mesh_db": rng.uniform(-20.0, -12.0, 1),
            "mesh_harmonic_db": -3.5 * np.arange(self.harmonics) + rng.standard_normal(self.harmonics),
            "mesh_modulation": rng.uniform(0.2, 0.5, 1),
        }
        fixed |= {"shaft_hz": np.full(1, shaft), "teeth": np.full(1, teeth), "used": np.ones(turns)}
        fixed |= {"mesh_turns": rng.random(self.harmonics)}
        return values, fixed

    def _blows(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        shaft = fixed["shaft_hz"] * values["speed"]
        turn = torch.arange(fixed["used"].shape[-1], device=shaft.device)
        first = (turn + values["phase"]) / shaft - PRE_S
        instants = torch.stack([first, first + values["second_turns"] / shaft], dim=-1)
        strengths = torch.stack([fixed["used"], fixed["used"] * values["second_share"]], dim=-1)
        return instants.flatten(-2), strengths.flatten(-2)

    def _wave(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
        both = {**fixed, "uneven": fixed["uneven"].repeat_interleave(2, dim=-1)}
        blows = super()._wave(values, both)
        one = torch.ones_like(values["mesh_db"])
        return tools.share([(blows, one), (self._mesh(values, fixed), tools.db(values["mesh_db"]))])

    def _mesh(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
        """K N f with amplitude modulation by the shaft, `[batch, time]`: sidebands at k N f +- f."""
        shaft = fixed["shaft_hz"] * values["speed"]
        t = torch.arange(self.samples, device=shaft.device, dtype=shaft.dtype) / self.rate
        number = torch.arange(1, self.harmonics + 1, device=shaft.device)
        hz = number * fixed["teeth"] * shaft  # [batch, harmonic]
        amplitude = tools.db(values["mesh_harmonic_db"]) * tools.below(hz, 0.45 * self.rate, 0.02 * self.rate)
        turns = hz[..., None] * t + fixed["mesh_turns"][..., None]  # [batch, harmonic, time]
        tones = (amplitude[..., None] * torch.sin(2.0 * math.pi * turns)).sum(dim=-2)
        return tones * (1.0 + values["mesh_modulation"] * torch.cos(2.0 * math.pi * (shaft * t - values["phase"])))

    def _derived(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        shaft = fixed["shaft_hz"] * values["speed"]
        facts = {"shaft_hz": shaft, "blows_hz": shaft, "mesh_hz": shaft * fixed["teeth"]}
        return {**super()._derived(values, fixed), **facts}
