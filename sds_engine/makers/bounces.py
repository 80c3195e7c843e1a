"""Loose parts: feet and bolts that are thrown up and bounce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sds_engine.makers.base import Bound, Draw, Physics, known_or
from sds_engine.makers.trains import PRE_S, Train


@dataclass(frozen=True)
class Bounce(Train):
    """A part that is thrown up and bounces until it rests or is thrown again (Goldsmith, Impact, 1960).

    "looseness": a foot, lifted by every great force, few heavy bounces; "rattle": a cover or bolt, many light ones.
    """

    kinds: ClassVar[tuple[str, ...]] = ("looseness", "rattle")
    contact: ClassVar[tuple[float, float]] = (0.1e-3, 3e-3)
    bounces: ClassVar[int] = 14

    def _bounds(self) -> Mapping[str, Bound]:
        return {
            **self._train_bounds(),
            "phase": Bound(0.0, 1.0, "cycles"),
            "jitter": Bound(0.002, 0.12, "cycles", log=True),
            "restitution": Bound(0.1, 0.9, "of the speed"),
            "flight_s": Bound(2e-3, 0.12, "s", log=True),
            "thrown_share": Bound(0.3, 1.0, "of cycles"),
            "throw_spread": Bound(0.02, 0.6, "of log speed"),
        }

    def _draw(self, rng: np.random.Generator, physics: Physics) -> Draw:
        rattle = self.kind == "rattle"
        shaft = known_or(physics, "shaft_hz", lambda: rng.uniform(8.0, 26.0))
        cycle = min(known_or(physics, "cycle_hz", lambda: shaft), 12.0 if rattle else 60.0)
        cycles = self._count(cycle)
        values, fixed = self._body(rng, physics, cycles * self.bounces)
        low, high = self.contact
        values |= {
            "contact_s": np.array([(0.2e-3 if rattle else 1.0e-3) * rng.uniform(0.8, 1.25)]).clip(low, high),
            "phase": rng.uniform(0.1, 0.9, 1),
            "jitter": np.full(1, 0.03),
            "restitution": np.full(1, 0.8 if rattle else 0.45) + rng.uniform(-0.04, 0.04),
            "flight_s": np.full(1, (0.03 if rattle else min(0.3 / cycle, 0.05)) * rng.uniform(0.8, 1.25)),
            "thrown_share": np.full(1, 0.8 if rattle else 0.97),
            "throw_spread": np.full(1, 0.3),
        }
        fixed |= {
            "cycle_hz": np.full(1, cycle),
            "late": rng.standard_normal(cycles).clip(-3.0, 3.0),
            "rank": rng.random(cycles),
            "throw": rng.standard_normal(cycles).clip(-3.0, 3.0),
            "used": np.ones(cycles),
        }
        return values, fixed

    @property
    def body_kind(self) -> str:
        """A cover is of thin sheet, a foot belongs to the housing."""
        return "cover" if self.kind == "rattle" else "casting"

    def _blows(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        hz = fixed["cycle_hz"] * values["speed"]
        cycle = torch.arange(fixed["used"].shape[-1], device=hz.device)
        throws = (cycle + values["phase"] + values["jitter"] * fixed["late"]) / hz - PRE_S  # [batch, cycle]
        speeds = torch.exp(values["throw_spread"] * fixed["throw"])
        thrown = torch.sigmoid((1.1 * values["thrown_share"] - fixed["rank"]) / 0.04)
        number = torch.arange(self.bounces, device=hz.device)
        flights = values["restitution"][..., None] ** number  # [batch, 1, bounce]
        after = (values["flight_s"] * speeds)[..., None] * torch.cumsum(flights, dim=-1)  # [batch, cycle, bounce]
        left = 1.0 / hz[..., None] - after  # s until about the next throw, which ends the series
        strengths = (speeds * thrown * fixed["used"])[..., None] * flights * torch.sigmoid(left / 1e-3)
        return (throws[..., None] + after).flatten(-2), strengths.flatten(-2)
