"""Fluids: a leak's jet, cavitation behind vanes."""

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
from sds_engine.makers.friction import wander
from sds_engine.physics.flow import WATER
from sds_engine.physics.wander import F64

_SOUND = 343.0  # m/s


def bell(hz: Tensor, peak_hz: Tensor, slope: Tensor) -> Tensor:
    """(2 x / (1 + x^2))^slope, x = f / peak: amplitude 1 at the peak; slope 1 is Powell's jet, f^2, f^-2 in power."""
    x = (hz / peak_hz).clamp_min(1e-6)
    return (2.0 * x / (1.0 + x.square())) ** slope


@dataclass(frozen=True)
class Leak(Maker):
    """A jet from a crack: noise that peaks at 0.2 U / D (Bies and Hansen, chapter 10), flickering a little.

    Lighthill's U^8 sets how loud one leak is beside another; here the level is a value of its own.
    """

    kinds: ClassVar[tuple[str, ...]] = ("leak",)
    start_db: ClassVar[float] = -24.0

    def _bounds(self) -> Mapping[str, Bound]:
        return {
            "jet_m_s": Bound(20.0, 0.95 * _SOUND, "m/s", log=True),
            "diameter_m": Bound(1e-3, 0.03, "m", log=True),
            "slope": Bound(0.5, 2.0, "of Powell's", log=True),
            "whistle_db": Bound(-50.0, 0.0, "dB of the noise"),
            "whistle_hz": Bound(800.0, 6500.0, "Hz", log=True),
            "whistle_q": Bound(4.0, 60.0, "hz/width", log=True),
            "flicker": Bound(0.0, 0.6, "of the amplitude"),
        }

    def _draw(self, rng: np.random.Generator, physics: Physics) -> Draw:  # noqa: ARG002 (a leak knows nothing of the shaft)
        values = {
            "jet_m_s": rng.uniform(90.0, 220.0, 1),
            "diameter_m": rng.uniform(4e-3, 10e-3, 1),
            "slope": np.ones(1),
            "whistle_db": rng.uniform(-35.0, -20.0, 1),
            "whistle_hz": rng.uniform(1500.0, 5000.0, 1),
            "whistle_q": rng.uniform(10.0, 30.0, 1),
            "flicker": rng.uniform(0.05, 0.15, 1),
        }
        noise = rng.standard_normal((2, self.samples))
        fixed = {"noise": noise[0], "edge_noise": noise[1], "course": wander(self.seconds, self.rate, 0.05, rng)}
        return values, fixed

    def _wave(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
        hz = tools.bins(fixed["noise"].shape[-1], self.rate, fixed["noise"])
        peak = 0.2 * values["jet_m_s"] / values["diameter_m"]
        jet = tools.shaped(fixed["noise"], bell(hz, peak, values["slope"]) * no_rumble(hz))
        off = (hz / values["whistle_hz"] - values["whistle_hz"] / hz.clamp_min(1.0)) * values["whistle_q"]
        whistle = tools.shaped(fixed["edge_noise"], (1.0 + off.square()).rsqrt() * no_rumble(hz))
        both = tools.share([(jet, torch.ones_like(peak)), (whistle, tools.db(values["whistle_db"]))])
        return both * torch.exp(values["flicker"] * fixed["course"])

    def _derived(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:  # noqa: ARG002 (one signature for all makers)
        return {"peak_hz": 0.2 * values["jet_m_s"] / values["diameter_m"], "mach": values["jet_m_s"] / _SOUND}

    def _doubts(self, facts: Mapping[str, Tensor]) -> list[str]:
        peak = float(facts["peak_hz"])
        return [] if peak < 6.0 * self.rate else [f"the jet peaks at {peak:.0f} Hz, far above what the rate can carry"]


def no_rumble(hz: Tensor) -> Tensor:
    """0 at 0 Hz, 1 from about 60 Hz: below, wind would hide what a microphone could hear."""
    return (hz / 40.0).square() / (1.0 + (hz / 40.0).square())


@dataclass(frozen=True)
class Cavitation(Maker):
    """Bubbles that collapse behind the vanes: clicks in bursts at vane pass, and the ring of what is left of them.

    Collapse in 0.915 R sqrt(rho / dp) (Rayleigh 1917), ring at sqrt(3 gamma p / rho) / (2 pi R) (Minnaert 1933). Three
    classes of radius; in each a dense shower of small collapses and a sparse one of great ones, mixed by `sparse`.
    """

    kinds: ClassVar[tuple[str, ...]] = ("cavitation",)
    start_db: ClassVar[float] = -28.0
    classes: ClassVar[int] = 3
    per_second: ClassVar[tuple[float, float]] = (1400.0, 60.0)

    def _bounds(self) -> Mapping[str, Bound]:
        return {
            "radius_m": Bound(4.2e-4, 3e-3, "m", log=True, size=self.classes),
            "pressure_Pa": Bound(5e4, 5e5, "Pa", log=True),
            "ring_zeta": Bound(0.01, 0.3, "of critical", log=True),
            "click": Bound(0.0, 2.0, "of the ring"),
            "class_db": Bound(-30.0, 0.0, "dB", size=self.classes),
            "sparse": Bound(0.0, 1.0, "of the amplitude"),
            "speed": Bound(0.96, 1.04, "of nominal"),
            "burst_depth": Bound(0.0, 1.0, "of the strength"),
            "burst_sharpness": Bound(0.5, 8.0, "power", log=True),
            "phase": Bound(0.0, 1.0, "turns"),
            **body_bounds(),
        }

    def _draw(self, rng: np.random.Generator, physics: Physics) -> Draw:
        values, fixed = draw_body("casting", self.rate, rng, physics)
        shaft = known_or(physics, "shaft_hz", lambda: rng.uniform(24.0, 49.5))
        vanes = known_or(physics, "blades", lambda: float(rng.integers(5, 8)))
        values |= {
            "direct": np.full(1, 0.5),
            "radius_m": np.array([1.6e-3, 0.9e-3, 0.5e-3]) * rng.uniform(0.85, 1.15, 3),
            "pressure_Pa": np.full(1, 101_325.0),
            "ring_zeta": np.full(1, 0.04),
            "click": np.ones(1),
            "class_db": rng.uniform(-6.0, -1.0, 3),
            "sparse": np.full(1, 0.3),
            "speed": np.ones(1),
            "burst_depth": np.full(1, 0.7),
            "burst_sharpness": np.ones(1),
            "phase": rng.uniform(0.1, 0.9, 1),
        }
        fixed |= {"pass_hz": np.full(1, shaft * vanes), "shaft_hz": np.full(1, shaft), "showers": self._showers(rng)}
        return values, fixed

    def _showers(self, rng: np.random.Generator) -> F64:
        """Poisson in number, exponential in strength, either sign, RMS 1: `[class, dense or sparse, time]`."""
        showers = np.zeros((self.classes, 2, self.samples))
        for row, rate in zip(showers.reshape(-1, self.samples), self.per_second * self.classes, strict=True):
            where = rng.integers(self.samples, size=max(1, rng.poisson(rate * self.seconds)))
            np.add.at(row, where, rng.standard_exponential(len(where)) * rng.choice(np.array([-1.0, 1.0]), len(where)))
        rms: F64 = np.sqrt(np.mean(showers**2, axis=-1, keepdims=True))
        return showers / np.maximum(rms, 1e-9)

    def _wave(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
        t = torch.arange(self.samples, device=values["phase"].device, dtype=values["phase"].dtype) / self.rate
        passing = 2.0 * math.pi * (fixed["pass_hz"] * values["speed"] * t + values["phase"])
        burst = (0.5 + 0.5 * torch.cos(passing)).clamp_min(1e-4) ** values["burst_sharpness"]  # [batch, time]
        strength = 1.0 - values["burst_depth"] + values["burst_depth"] * burst
        sparse = values["sparse"][..., None]
        drops = (1.0 - sparse) * fixed["showers"][..., 0, :] + sparse * fixed["showers"][..., 1, :]
        drops = drops * strength[..., None, :] * tools.db(values["class_db"])[..., None]  # [batch, class, time]
        taps = round(0.02 * self.rate)
        zeta = values["ring_zeta"].expand(-1, self.classes)
        ones = torch.ones_like(zeta)[..., None]
        ring = tools.ringing(self._minnaert(values)[..., None], zeta[..., None], ones, self.rate, taps)
        first = torch.zeros_like(ring)
        first[..., 0] = 1.0  # the collapse itself lasts microseconds: at audio rates one sample
        click = ring + values["click"][..., None] * first
        click = click / (click.square().sum(dim=-1, keepdim=True) + tools.TINY).sqrt()
        length = tools.transform_length(self.samples + taps)
        heard = (torch.fft.rfft(drops, length) * torch.fft.rfft(click, length)).sum(dim=-2)
        wave: Tensor = torch.fft.irfft(heard, length)[..., : self.samples]
        return tools.convolve(wave, body_response(values, fixed, self.rate), self.rate)

    def _minnaert(self, values: Mapping[str, Tensor]) -> Tensor:
        """`[batch, class]` in Hz, gamma 1.4."""
        return (4.2 * values["pressure_Pa"] / WATER).sqrt() / (2.0 * math.pi * values["radius_m"])

    def _derived(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        hz, zeta, gains = body_modes(values, fixed)
        collapse = 0.915 * values["radius_m"] * (WATER / values["pressure_Pa"]).sqrt()
        facts = {"minnaert_hz": self._minnaert(values), "collapse_s": collapse}
        speed = {"pass_hz": fixed["pass_hz"] * values["speed"], "shaft_hz": fixed["shaft_hz"] * values["speed"]}
        return {**facts, **speed, "modes_hz": hz, "modes_zeta": zeta, "modes_gain": gains}

    def _doubts(self, facts: Mapping[str, Tensor]) -> list[str]:
        slow = float(facts["collapse_s"].max()) * float(facts["pass_hz"])
        if slow > 0.5:
            return ["bubbles collapse more slowly than vanes pass"]
        return []
