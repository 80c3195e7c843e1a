"""Belt squeal: stick-slip of a belt's span, a line with harmonics that wanders, comes and goes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sds_engine.makers import tools
from sds_engine.makers.base import Bound, Draw, Maker, Physics
from sds_engine.makers.body import body_bounds, body_modes, body_response, draw_body
from sds_engine.physics.wander import F64, ornstein_uhlenbeck

HARMONICS = 20
_CONTROL_HZ = 100


def wander(seconds: float, rate: int, tau_s: float, rng: np.random.Generator) -> F64:
    """A slow random course `[time]` of mean 0 and deviation 1, straight between points of _CONTROL_HZ."""
    count = math.ceil(seconds * _CONTROL_HZ) + 2
    course = ornstein_uhlenbeck(count, 1.0 / _CONTROL_HZ, tau_s, 1.0, rng)
    t = np.arange(round(seconds * rate)) / rate
    return np.asarray(np.interp(t, np.arange(count) / _CONTROL_HZ, course))


@dataclass(frozen=True)
class Squeal(Maker):
    """A belt slips on its pulley as a bow on a string: a sawtooth at (1 / 2L) sqrt(T / mu), loudest near `focus_hz`.

    Fletcher and Rossing, The Physics of Musical Instruments, chapters 2 and 10. With every slip comes a little noise.
    """

    kinds: ClassVar[tuple[str, ...]] = ("belt_squeal",)
    start_db: ClassVar[float] = -24.0

    def _bounds(self) -> Mapping[str, Bound]:
        return {
            "length_m": Bound(0.05, 1.0, "m", log=True),
            "tension_N": Bound(50.0, 3000.0, "N", log=True),
            "mass_kg_m": Bound(0.01, 0.5, "kg/m", log=True),
            "focus_hz": Bound(800.0, 6000.0, "Hz", log=True),
            "focus_octaves": Bound(0.15, 1.5, "octaves", log=True),
            "wander": Bound(5e-4, 0.03, "of the pitch", log=True),
            "grip": Bound(-3.0, 3.0, "deviations"),
            "grip_depth": Bound(0.0, 1.0, "of the strength"),
            "rasp_db": Bound(-45.0, 3.0, "dB of the line"),
            **body_bounds(),
        }

    def _draw(self, rng: np.random.Generator, physics: Physics) -> Draw:
        values, fixed = draw_body("sheet", self.rate, rng, physics)
        values |= {
            "direct": np.full(1, 0.5),
            "length_m": rng.uniform(0.16, 0.28, 1),
            "tension_N": rng.uniform(350.0, 700.0, 1),
            "mass_kg_m": rng.uniform(0.04, 0.08, 1),
            "focus_hz": rng.uniform(1800.0, 3200.0, 1),
            "focus_octaves": np.full(1, 0.45),
            "wander": rng.uniform(3e-3, 7e-3, 1),
            "grip": np.full(1, 0.3),
            "grip_depth": np.full(1, 0.85),
            "rasp_db": rng.uniform(-26.0, -18.0, 1),
        }
        course = wander(self.seconds, self.rate, 0.1, rng)
        fixed |= {
            "drift_s": np.concatenate([[0.0], np.cumsum(course)[:-1]]) / self.rate,  # its integral over time
            "grip_course": wander(self.seconds, self.rate, 0.6, rng),
            "start_turns": rng.random(HARMONICS),
            "noise": rng.standard_normal(self.samples),
        }
        return values, fixed

    def _hz(self, values: Mapping[str, Tensor]) -> Tensor:
        return (values["tension_N"] / values["mass_kg_m"]).sqrt() / (2.0 * values["length_m"])

    def _wave(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
        hz = self._hz(values)  # [batch, 1]
        steady = tools.steady_turns(hz, self.rate, self.samples).squeeze(-2)
        turns = steady + hz * values["wander"] * fixed["drift_s"]  # [batch, time]
        # the harmonics nearest to the focus: a slow belt radiates its 10th as a fast one its 2nd
        first = ((values["focus_hz"] / hz).detach().round() - HARMONICS // 2).clamp_min(1.0)
        number = first + torch.arange(HARMONICS, device=hz.device)  # [batch, harmonic]
        octaves = torch.log2(number * hz / values["focus_hz"])
        weight = torch.exp(-0.5 * (octaves / values["focus_octaves"]).square())
        weight = weight * tools.below(number * hz, 0.46 * self.rate, 0.02 * self.rate)
        line = tools.orbit(tools.one_turn(number, weight, fixed["start_turns"]), turns)  # [batch, time]
        rasp = fixed["noise"] * torch.exp(2.0 * (torch.cos(2.0 * math.pi * turns) - 1.0))  # a burst at every slip
        grip = torch.sigmoid(4.0 * (fixed["grip_course"] + values["grip"]))
        strength = 1.0 - values["grip_depth"] * (1.0 - grip)
        both = tools.share([(line, torch.ones_like(hz)), (rasp, tools.db(values["rasp_db"]))]) * strength
        return tools.convolve(both, body_response(values, fixed, self.rate), self.rate)

    def _derived(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        hz, zeta, gains = body_modes(values, fixed)
        return {"line_hz": self._hz(values), "modes_hz": hz, "modes_zeta": zeta, "modes_gain": gains}

    def _doubts(self, facts: Mapping[str, Tensor]) -> list[str]:
        words = []
        if float(facts["line_hz"]) > 0.45 * self.rate:
            words.append(f"the line at {float(facts['line_hz']):.0f} Hz lies above what the rate can carry")
        speed = float((facts["tension_N"] / facts["mass_kg_m"]).sqrt())
        if not 20.0 <= speed <= 300.0:
            words.append(f"waves run along the belt at {speed:.0f} m/s, plausible is 20 to 300")
        return words
