"""Trains of blows through a body's own resonances; first of all those of a damaged rolling bearing.

Each blow is a Hertz contact at its instant; the train, the pulse and the body are joined by one fast convolution.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sds_engine.makers import tools
from sds_engine.makers.base import Bound, Draw, Maker, Physics, known_or
from sds_engine.makers.body import body_bounds, body_modes, body_response, draw_body
from sds_engine.physics.bearings import Bearing
from sds_engine.physics.rotating import draw_bearing

PRE_S = 0.12  # blows before the sound begins: the body is already ringing
SPEED = Bound(0.96, 1.04, "of nominal")


@dataclass(frozen=True)
class Train(Maker):
    """What all trains share: `_blows` says when and how hard, the body rings."""

    start_db: ClassVar[float] = -30.0  # impulsive: peaks lie 15 to 25 dB higher
    contact: ClassVar[tuple[float, float]] = (0.05e-3, 0.6e-3)

    @property
    def body_kind(self) -> str:
        """What body to draw where the machine's own resonances are not known."""
        return "casting"

    @abstractmethod
    def _blows(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Instants in s and strengths, `[batch, blow]`."""

    def _train_bounds(self) -> dict[str, Bound]:
        return {
            "speed": SPEED,
            "contact_s": Bound(*self.contact, "s", log=True),
            "uneven_db": Bound(0.0, 6.0, "dB"),
            **body_bounds(),
        }

    def _wave(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
        pre = round(PRE_S * self.rate)
        instants, strengths = self._blows(values, fixed)
        strengths = strengths * tools.db(values["uneven_db"] * fixed["uneven"])
        train = tools.place(instants + PRE_S, strengths, self.rate, pre + self.samples)
        body = body_response(values, fixed, self.rate)
        return tools.convolve(train, body, self.rate, values["contact_s"])[..., pre:]

    def _body(self, rng: np.random.Generator, physics: Physics, blows: int) -> Draw:
        """Start values and fixed numbers that every train has."""
        values, fixed = draw_body(self.body_kind, self.rate, rng, physics)
        values["speed"] = np.ones(1)
        low, high = self.contact
        values["contact_s"] = np.array([low * (high / low) ** rng.uniform(0.25, 0.55)])
        values["uneven_db"] = rng.uniform(0.7, 1.6, 1)
        fixed["uneven"] = rng.standard_normal(blows)
        return values, fixed

    def _count(self, hz: float) -> int:
        """Blows that cover the sound and what lies before it, at the fastest speed and with slip."""
        return math.ceil((self.seconds + PRE_S) * hz * 1.08) + 4

    def _derived(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        hz, zeta, gains = body_modes(values, fixed)
        return {"modes_hz": hz, "modes_zeta": zeta, "modes_gain": gains}

    def _doubts(self, facts: Mapping[str, Tensor]) -> list[str]:
        hz, gains = facts["modes_hz"], facts["modes_gain"].abs()
        heard = bool((gains[hz < 0.45 * self.rate] > 0.0).any())
        return [] if heard else [f"no mode of the body lies below {0.45 * self.rate:g} Hz"]


@dataclass(frozen=True)
class Race(Train):
    """A spot on a bearing's outer race, inner race or ball (Randall and Antoni, MSSP 25, 2011).

    Intervals slip at random; the inner race's blows swell with the shaft, the ball's with the cage, as the spot passes
    the load zone (Stribeck). A ball strikes both races in turn, the inner one more weakly.
    """

    kinds: ClassVar[tuple[str, ...]] = ("outer_race", "inner_race", "ball")
    contact: ClassVar[tuple[float, float]] = (0.04e-3, 0.4e-3)

    @property
    def body_kind(self) -> str:
        """The ring that the bearing sits in."""
        return "seat"

    def order(self, bearing: Bearing) -> float:
        """Blows per turn of the shaft."""
        return {"outer_race": bearing.bpfo, "inner_race": bearing.bpfi, "ball": 2.0 * bearing.bsf}[self.kind]

    def _bounds(self) -> Mapping[str, Bound]:
        return {
            **self._train_bounds(),
            "slip": Bound(0.001, 0.03, "of an interval", log=True),
            "phase": Bound(0.0, 1.0, "intervals"),
            "zone_depth": Bound(0.0, 1.0, "of the strength"),
            "zone_turns": Bound(0.25, 0.95, "of a turn"),
            "other_race": Bound(0.3, 1.0, "of the strength"),
        }

    def _draw(self, rng: np.random.Generator, physics: Physics) -> Draw:
        drawn, known = draw_bearing(rng), physics.get("bearing")
        bearing = known if isinstance(known, Bearing) else drawn
        shaft = known_or(physics, "shaft_hz", lambda: rng.uniform(17.0, 49.0))
        blows = self._count(shaft * self.order(bearing))
        values, fixed = self._body(rng, physics, blows)
        values |= {
            "slip": rng.uniform(0.008, 0.015, 1),
            "phase": rng.uniform(0.1, 0.9, 1),
            "zone_depth": np.full(1, 0.06 if self.kind == "outer_race" else rng.uniform(0.75, 0.95)),
            "zone_turns": rng.uniform(0.4, 0.6, 1),
            "other_race": np.full(1, 0.7 if self.kind == "ball" else 0.95),
        }
        zone = {"outer_race": 1.0, "inner_race": 1.0, "ball": bearing.ftf}[self.kind]
        fixed |= {
            "shaft_hz": np.full(1, shaft),
            "order": np.full(1, self.order(bearing)),
            "zone_order": np.full(1, zone),
            "zone_start": rng.random(1),
            "bearing": np.array([bearing.bpfo, bearing.bpfi, bearing.bsf, bearing.ftf]),
            "walk": np.concatenate([[0.0], np.cumsum(rng.standard_normal(blows - 1))]),
            "used": np.ones(blows),
        }
        return values, fixed

    def _blows(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        shaft = fixed["shaft_hz"] * values["speed"]
        number = torch.arange(fixed["walk"].shape[-1], device=shaft.device)
        # T_i = T_(i-1) + (1 + slip N(0, 1)) / hz
        instants = (number + values["phase"] + values["slip"] * fixed["walk"]) / (shaft * fixed["order"]) - PRE_S
        turns = shaft * fixed["zone_order"] * instants + fixed["zone_start"]
        width = 1.0 - torch.cos(math.pi * values["zone_turns"])  # 2 epsilon of Harris, Rolling Bearing Analysis, ch. 7
        zone = (1.0 - (1.0 - torch.cos(2.0 * math.pi * turns)) / width).clamp_min(0.0).pow(1.5)
        every_other = torch.where(number % 2 == 0, torch.ones_like(values["other_race"]), values["other_race"])
        strength = 1.0 - values["zone_depth"] + values["zone_depth"] * zone
        return instants, strength * every_other * fixed["used"]

    def _derived(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        shaft = fixed["shaft_hz"] * values["speed"]
        rates = fixed["bearing"] * shaft  # [batch, 4]
        names = ("bpfo_hz", "bpfi_hz", "bsf_hz", "ftf_hz")
        facts = {name: rates[..., i : i + 1] for i, name in enumerate(names)}
        return {**super()._derived(values, fixed), **facts, "shaft_hz": shaft, "blows_hz": shaft * fixed["order"]}

    def _doubts(self, facts: Mapping[str, Tensor]) -> list[str]:
        words = super()._doubts(facts)
        if float(facts["contact_s"]) * float(facts["blows_hz"]) > 0.5:
            words.append("blows last longer than half of what lies between them")
        return words
