"""A struck object in a room: modes of its geometry and material, a Hertz contact, a reverberation.

The impact model of Audio-SDS (arXiv 2505.04621, 2025): an object impulse (damped sines) convolved with a reverb impulse
(band-passed noises that decay). Frequencies are exp(log a + log f0 + df) around textbook modes (AV-MSF, 2608.05145),
damping is Rayleigh's within the material's range, the strike is a sphere on a surface (Johnson 1985).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from sds_engine.makers import tools
from sds_engine.makers.base import Bound, Draw, Maker, Physics, known_or
from sds_engine.physics import modes
from sds_engine.physics.modes import Material
from sds_engine.physics.wander import F64

COUNT = 24
BODIES = ("beam", "plate", "ring")
# Usual values (Ashby, Materials Selection in Mechanical Design); glass and wood are controls, no machine is made so.
MATERIALS: Mapping[str, Material] = {
    **{name: modes.MATERIALS[name] for name in ("steel", "cast_iron", "aluminium", "brass")},
    "glass": Material(70e9, 2500.0, 0.22),
    "wood": Material(11e9, 600.0, 0.35),
}
# Rayleigh's alpha in 1/s and beta in s of parts that stand on or hang from something: within the spread of loss factors
# that Cremer, Heckl and Petersson tabulate (Structure-Borne Sound, chapter 3), placed by us.
_LOSSES: Mapping[str, tuple[float, float]] = {
    "steel": (8.0, 6e-8),
    "cast_iron": (25.0, 3e-7),
    "aluminium": (8.0, 8e-8),
    "brass": (8.0, 8e-8),
    "glass": (15.0, 1.5e-7),
    "wood": (90.0, 2e-6),
}
_REVERB_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0)
_REVERB_S = 0.6
_MOST_INDENTATION = 0.1  # of the striker's radius: beyond, a contact is no longer Hertz's


def shapes(body: str, size: float, thickness: float, material: Material, slim: float) -> tuple[F64, F64]:
    """Natural frequencies `[COUNT]` and the numbers `[COUNT, 7]` of each mode's shape, see `_shape_at`.

    A free-free beam (Blevins 1979, chapter 8; its shape to 1%), a simply supported plate of size x slim size (Leissa,
    NASA SP-160, chapter 4), a free ring of mean radius `size` (Blevins, chapter 9).
    """
    n = np.arange(COUNT)
    one, nil = np.ones(COUNT), np.zeros(COUNT)
    if body == "beam":
        k = modes.beam_roots("free-free", COUNT) / math.pi
        table = [k, 0.75 * math.pi * one, nil, 0.5 * math.pi * one, math.sqrt(2.0) * one, one, (-1.0) ** n]
        return modes.beam_frequencies(size, thickness, material, COUNT), np.stack(table, axis=1)
    if body == "ring":
        table = [2.0 * (n + 2), 0.5 * math.pi * one, nil, 0.5 * math.pi * one, math.sqrt(2.0) * one, nil, nil]
        return modes.ring_frequencies(size, thickness, material, COUNT), np.stack(table, axis=1)
    c = math.pi / 2.0 * math.sqrt(material.plane_modulus * thickness**2 / 12.0 / material.rho)
    m, k = (grid.ravel().astype(np.float64) for grid in np.mgrid[1:25, 1:25])
    hz = c * (m**2 + k**2 / slim**2) / size**2  # the same as physics.modes.plate_frequencies, with m and k kept
    order = np.argsort(hz, kind="stable")[:COUNT]
    return hz[order], np.stack([m[order], nil, k[order], nil, 2.0 * one, nil, nil], axis=1)


def _shape_at(table: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """A sin(pi k x + p) sin(pi l y + q) + b exp(-pi k x) + c exp(-pi k (1 - x)), `[batch, mode]`."""
    k, p, m, q, a, b, c = table.unbind(dim=-1)
    waves = a * torch.sin(math.pi * k * x + p) * torch.sin(math.pi * m * y + q)
    return waves + b * torch.exp(-math.pi * k * x) + c * torch.exp(-math.pi * k * (1.0 - x))


_SIZES: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {  # size, thickness in m
    "beam": ((0.15, 0.4), (0.006, 0.016)),
    "plate": ((0.2, 0.5), (0.0015, 0.006)),
    "ring": ((0.06, 0.16), (0.004, 0.009)),
}


@dataclass(frozen=True)
class Impact(Maker):
    """A sphere of steel strikes a beam, plate or ring of `material`, in a room."""

    kinds: ClassVar[tuple[str, ...]] = ("impact",)
    start_db: ClassVar[float] = -32.0  # one blow in two seconds: its peak lies 25 dB higher

    def _bounds(self) -> Mapping[str, Bound]:
        bands = len(_REVERB_HZ)
        return {
            "scale": Bound(0.5, 2.0, "of nominal frequencies", log=True),
            "mode_shift": Bound(0.94, 1.06, "of nominal", log=True, size=COUNT),
            "mode_gain_db": Bound(-18.0, 18.0, "dB", size=COUNT),
            "alpha_scale": Bound(0.2, 5.0, "of nominal", log=True),
            "beta_scale": Bound(0.2, 5.0, "of nominal", log=True),
            "damping_shift": Bound(0.5, 2.0, "of Rayleigh's", log=True, size=COUNT),
            "place_x": Bound(0.02, 0.98, "of the length"),
            "place_y": Bound(0.02, 0.98, "of the width"),
            "striker_radius_m": Bound(2e-3, 0.05, "m", log=True),
            "striker_kg": Bound(5e-4, 2.0, "kg", log=True),
            "speed_m_s": Bound(0.05, 5.0, "m/s", log=True),
            "onset_s": Bound(4e-3, 0.3, "s"),
            "reverb_db": Bound(-45.0, 6.0, "dB of the direct sound", size=bands),
            "t60_s": Bound(0.08, 2.0, "s", log=True, size=bands),
        }

    def _draw(self, rng: np.random.Generator, physics: Physics) -> Draw:
        body = str(physics.get("body", BODIES[rng.integers(len(BODIES))]))
        name = str(physics.get("material", "steel"))
        if body not in BODIES or name not in MATERIALS:
            raise ValueError(f"{body!r} of {name!r}: allowed are {', '.join(BODIES)} of {', '.join(MATERIALS)}")
        material, (alpha, beta) = MATERIALS[name], _LOSSES[name]
        sizes, walls = _SIZES[body]
        size = known_or(physics, "size_m", lambda: rng.uniform(*sizes))
        wall = known_or(physics, "thickness_m", lambda: rng.uniform(*walls))
        hz, shape = shapes(body, size, wall, material, rng.uniform(0.6, 0.9))
        if hz[0] >= 0.45 * self.rate:
            raise ValueError(f"a {body} of {size:g} m rings from {hz[0]:.0f} Hz: give a greater size_m")
        values = self._draw_values(rng)
        fixed = {
            "f0_hz": hz,
            "shape": shape,
            "heard": rng.choice(np.array([-1.0, 1.0]), COUNT) * rng.uniform(0.4, 1.0, COUNT),  # where one listens
            "losses": np.array([alpha, beta]),
            "E_star_Pa": np.array([modes.contact_modulus(modes.MATERIALS["steel"], material)]),
            "material": np.array([material.E, material.rho, material.nu]),
            "geometry_m": np.array([size, wall]),
            "tail": _band_noise(self.rate, rng),
        }
        return values, fixed

    def _draw_values(self, rng: np.random.Generator) -> dict[str, F64]:
        bands = len(_REVERB_HZ)
        radius = float(np.exp(rng.uniform(math.log(5e-3), math.log(0.02))))
        ball = 4.0 / 3.0 * math.pi * radius**3 * modes.MATERIALS["steel"].rho
        return {
            "scale": np.ones(1),
            "mode_shift": np.exp(0.005 * rng.standard_normal(COUNT)),
            "mode_gain_db": 2.0 * rng.standard_normal(COUNT),
            "alpha_scale": np.ones(1),
            "beta_scale": np.ones(1),
            "damping_shift": np.exp(0.15 * rng.standard_normal(COUNT)),
            "place_x": rng.uniform(0.1, 0.45, 1),
            "place_y": rng.uniform(0.1, 0.45, 1),
            "striker_radius_m": np.array([radius]),
            "striker_kg": np.array([ball * math.exp(rng.uniform(0.0, 1.0))]),  # a hammer weighs more than its tip
            "speed_m_s": np.exp(rng.uniform(math.log(0.3), math.log(2.0), 1)),
            "onset_s": rng.uniform(0.02, 0.08, 1),
            "reverb_db": rng.uniform(-30.0, -22.0, 1) + rng.uniform(-2.0, 2.0, bands),
            "t60_s": rng.uniform(0.4, 1.0, 1) * np.array([1.0, 1.0, 1.0, 0.95, 0.85, 0.65]),
        }

    def _modes(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """F = exp(log a + log f0 + df), zeta = (alpha / omega + beta omega) / 2, gains: `[batch, mode]` each."""
        hz = values["scale"] * fixed["f0_hz"] * values["mode_shift"]
        omega = 2.0 * math.pi * hz
        alpha = fixed["losses"][..., :1] * values["alpha_scale"]
        beta = fixed["losses"][..., 1:] * values["beta_scale"]
        zeta = (0.5 * (alpha / omega + beta * omega) * values["damping_shift"]).clamp(1e-5, 0.3)
        gains = _shape_at(fixed["shape"], values["place_x"], values["place_y"]) * fixed["heard"]
        return hz, zeta, gains * tools.db(values["mode_gain_db"])

    def _contact(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Contact time in s, 2.868 (m^2 / (R E*^2 v))^(1/5), and indentation over R (Johnson 1985, section 11.4)."""
        R, m, v = values["striker_radius_m"], values["striker_kg"], values["speed_m_s"]
        E = fixed["E_star_Pa"]
        contact = 2.868 * ((m / E).square() / (R * v)) ** 0.2
        k = 4.0 / 3.0 * E * R.sqrt()
        return contact, (1.25 * m * v.square() / k) ** 0.4 / R

    def _wave(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
        contact, _ = self._contact(values, fixed)
        ring = tools.ringing(*self._modes(values, fixed), self.rate, self.samples)
        t = torch.arange(fixed["tail"].shape[-1], device=ring.device, dtype=ring.dtype) / self.rate
        gains = tools.db(values["reverb_db"])[..., None] * torch.exp(-6.908 / values["t60_s"][..., None] * t)
        tail = (gains * fixed["tail"]).sum(dim=-2)  # [batch, taps]
        onset = math.ceil(self._bounds()["onset_s"].high * self.rate)
        length = tools.transform_length(self.samples + tail.shape[-1] + onset)
        hz = tools.bins(length, self.rate, ring)
        room = 1.0 + torch.fft.rfft(tail, length)
        pulse = tools.pulse_spectrum(contact, hz)
        turns = hz * values["onset_s"]
        late = torch.polar(pulse, -2.0 * math.pi * (turns - turns.detach().floor()))
        wave: Tensor = torch.fft.irfft(torch.fft.rfft(ring, length) * room * late, length)
        return wave

    def _derived(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        hz, zeta, gains = self._modes(values, fixed)
        contact, dent = self._contact(values, fixed)
        E, rho, nu = (fixed["material"][..., i : i + 1] for i in range(3))
        facts = {"modes_hz": hz, "modes_zeta": zeta, "modes_gain": gains, "contact_s": contact, "indentation": dent}
        size = {"E_Pa": E, "rho_kg_m3": rho, "nu": nu, "geometry_m": fixed["geometry_m"]}
        return {**facts, **size}

    def _doubts(self, facts: Mapping[str, Tensor]) -> list[str]:
        words = []
        if float(facts["indentation"]) > _MOST_INDENTATION:
            words.append(
                f"the striker sinks in by {float(facts['indentation']):.0%} of its radius: not an elastic blow"
            )
        if float(facts["modes_hz"].min()) > 0.45 * self.rate:
            words.append(f"no mode lies below {0.45 * self.rate:g} Hz")
        return words


def _band_noise(rate: int, rng: np.random.Generator) -> F64:
    """Noise in octave bands around _REVERB_HZ, energy 1 without decay, `[band, taps]`; bands cross over in log f."""
    taps = round(_REVERB_S * rate)
    spectrum = scipy.fft.rfft(rng.standard_normal(taps))
    octaves = np.log2(np.maximum(scipy.fft.rfftfreq(taps, 1.0 / rate), 1.0))
    centres = np.log2(np.array(_REVERB_HZ))
    weights = np.stack([np.interp(octaves, centres, row) for row in np.eye(len(centres))])  # [band, bin]
    noise = scipy.fft.irfft(spectrum * weights, taps)
    noise[:, : round(0.004 * rate)] = 0.0  # the first wall is more than a metre away
    noise *= np.minimum((1.0 - np.arange(taps) / taps) / 0.1, 1.0)  # and the end fades out
    return np.asarray(noise / np.sqrt(np.maximum(np.sum(noise**2, axis=1, keepdims=True), 1e-12)))
