"""The tones and the noise of a fan or pump with a bad blade."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sds_engine.makers import tools
from sds_engine.makers.base import Bound, Draw, Maker, Physics, known_or
from sds_engine.makers.body import body_bounds, body_modes, body_response, draw_body
from sds_engine.makers.flow import bell, no_rumble
from sds_engine.makers.friction import wander
from sds_engine.physics.wander import F64


@dataclass(frozen=True)
class Blade(Maker):
    """A bad blade: orders of the shaft, its sidebands around blade pass, and air noise that swells once a turn.

    Orders as in `sds_engine.physics.flow.imbalance_orders`: 1 to 3, and +- 1, +- 2 around `harmonics` of blade pass.
    """

    kinds: ClassVar[tuple[str, ...]] = ("blade_imbalance",)
    start_db: ClassVar[float] = -24.0
    harmonics: ClassVar[int] = 3

    def _bounds(self) -> Mapping[str, Bound]:
        return {
            "speed": Bound(0.96, 1.04, "of nominal"),
            "wander": Bound(1e-4, 0.01, "of the speed", log=True),
            "order_db": Bound(-40.0, 0.0, "dB", size=3),
            "pass_db": Bound(-40.0, 0.0, "dB", size=self.harmonics),
            "sideband_db": Bound(-40.0, 0.0, "dB", size=2 * self.harmonics),
            "air_db": Bound(-30.0, 20.0, "dB of the tones"),
            "air_hz": Bound(80.0, 3000.0, "Hz", log=True),
            "air_slope": Bound(0.2, 2.0, "of Powell's", log=True),
            "swell": Bound(0.0, 1.0, "of the strength"),
            "swell_phase": Bound(0.0, 1.0, "turns"),
            **body_bounds(),
        }

    def _draw(self, rng: np.random.Generator, physics: Physics) -> Draw:
        values, fixed = draw_body("sheet", self.rate, rng, physics)
        shaft = known_or(physics, "shaft_hz", lambda: rng.uniform(17.0, 29.0))
        blades = known_or(physics, "blades", lambda: float(rng.integers(5, 10)))
        k = np.arange(1, self.harmonics + 1)
        around = 20.0 * np.log10(np.stack([0.7 / k, 0.35 / k], axis=1).ravel())
        orders = 20.0 * np.log10(np.array([1.0, 0.5, 0.3]))
        values |= {
            "direct": np.full(1, 0.55),
            "speed": np.ones(1),
            "wander": np.full(1, 1e-3),
            "order_db": orders - 1.0 + rng.uniform(-3.0, 0.0, 3),
            "pass_db": rng.uniform(-16.0, -8.0, self.harmonics),
            "sideband_db": around - 1.0 + rng.uniform(-3.0, 0.0, 2 * self.harmonics),
            "air_db": rng.uniform(-3.0, 3.0, 1),
            "air_hz": rng.uniform(250.0, 700.0, 1),
            "air_slope": np.full(1, 0.7),
            "swell": np.full(1, 0.8),
            "swell_phase": rng.uniform(0.1, 0.9, 1),
        }
        course = wander(self.seconds, self.rate, 0.4, rng)
        fixed |= {
            "shaft_hz": np.full(1, shaft),
            "orders": _orders(blades, self.harmonics),
            "start_turns": rng.random(3 + 5 * self.harmonics),
            "drift_s": np.concatenate([[0.0], np.cumsum(course)[:-1]]) / self.rate,
            "noise": rng.standard_normal(self.samples),
        }
        return values, fixed

    def _wave(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
        shaft = fixed["shaft_hz"] * values["speed"]
        steady = tools.steady_turns(shaft, self.rate, self.samples).squeeze(-2)
        turns = steady + shaft * values["wander"] * fixed["drift_s"]  # [batch, time]
        tones = self._tones(values, fixed, shaft, turns)
        tones = tools.convolve(tones, body_response(values, fixed, self.rate), self.rate)
        hz = tools.bins(self.samples, self.rate, shaft)
        air = tools.shaped(fixed["noise"], bell(hz, values["air_hz"], values["air_slope"]) * no_rumble(hz))
        swell = 0.5 + 0.5 * torch.cos(2.0 * math.pi * (turns + values["swell_phase"]))
        air = air * (1.0 - values["swell"] + values["swell"] * swell)
        return tools.share([(tones, torch.ones_like(shaft)), (air, tools.db(values["air_db"]))])

    def _tones(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor], shaft: Tensor, turns: Tensor) -> Tensor:
        """All orders at random phases, `[batch, time]`."""
        sides = values["sideband_db"].reshape(-1, self.harmonics, 2)
        passes = torch.cat([sides.flip(-1), values["pass_db"][..., None], sides], dim=-1)  # -2 -1 0 +1 +2
        level = torch.cat([values["order_db"], passes.flatten(-2)], dim=-1)  # [batch, tone]
        hz = fixed["orders"] * shaft
        amplitude = tools.db(level) * tools.below(hz, 0.46 * self.rate, 0.02 * self.rate)
        return tools.orbit(tools.one_turn(fixed["orders"], amplitude, fixed["start_turns"]), turns)

    def _derived(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        hz, zeta, gains = body_modes(values, fixed)
        shaft = fixed["shaft_hz"] * values["speed"]
        tones = fixed["orders"] * shaft
        facts = {"shaft_hz": shaft, "tones_hz": tones, "pass_hz": tones[..., 5:6]}
        return {**facts, "modes_hz": hz, "modes_zeta": zeta, "modes_gain": gains}

    def _doubts(self, facts: Mapping[str, Tensor]) -> list[str]:
        blade_pass = float(facts["pass_hz"])
        return [] if blade_pass < 0.45 * self.rate else [f"blade pass at {blade_pass:.0f} Hz: the rate cannot carry it"]


def _orders(blades: float, harmonics: int) -> F64:
    """Orders of the shaft: 1, 2, 3, then k B - 2 .. k B + 2; what would be below 0 is mirrored."""
    around = [abs(k * blades + j) for k in range(1, harmonics + 1) for j in (-2, -1, 0, 1, 2)]
    return np.array([1.0, 2.0, 3.0, *around])
