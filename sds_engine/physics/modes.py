"""How solids ring: natural frequencies, damping, and the short force of a blow. SI units throughout."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Material:
    """Young's modulus `E` in Pa, density `rho` in kg/m^3, Poisson's ratio `nu`."""

    E: float
    rho: float
    nu: float

    @property
    def plane_modulus(self) -> float:
        """E / (1 - nu^2) in Pa, what a plate or a contact sees of E."""
        return self.E / (1.0 - self.nu**2)


# Usual room-temperature values, within the ranges that Ashby tables (Materials Selection in Mechanical Design,
# appendix on material properties); single alloys differ by several percent.
MATERIALS = {
    "steel": Material(210e9, 7850.0, 0.30),
    "stainless": Material(195e9, 7900.0, 0.28),
    "cast_iron": Material(110e9, 7200.0, 0.26),
    "aluminium": Material(70e9, 2700.0, 0.33),
    "brass": Material(105e9, 8500.0, 0.34),
    "polyamide": Material(2.8e9, 1140.0, 0.39),
    "rubber": Material(0.01e9, 1100.0, 0.49),
}

# Roots b_n of cos b cosh b = 1 (free-free, clamped-clamped) and of cos b cosh b = -1 (cantilever); Blevins,
# Formulas for Natural Frequency and Mode Shape, 1979, chapter 8.
# Beyond the table they are (2n + 1) pi / 2 and (2n - 1) pi / 2 to eight digits.
_FREE_FREE = (4.73004074, 7.85320462, 10.9956078, 14.1371655, 17.2787597)
_CANTILEVER = (1.87510407, 4.69409113, 7.85475744, 10.9955407, 14.1371684)


def beam_roots(ends: str, count: int) -> F64:
    """The first `count` roots b_n `[count]` for `ends` "free-free" or "cantilever" (Blevins 1979, chapter 8)."""
    if ends not in ("free-free", "cantilever"):
        raise ValueError(f"ends is {ends!r}, allowed is free-free or cantilever")
    n = np.arange(1, count + 1)
    roots = np.asarray((2 * n + (1 if ends == "free-free" else -1)) * (math.pi / 2), dtype=np.float64)
    table = _FREE_FREE if ends == "free-free" else _CANTILEVER
    known = min(count, len(table))
    roots[:known] = table[:known]
    return roots


def beam_frequencies(length: float, height: float, material: Material, count: int, ends: str = "free-free") -> F64:
    """Bending modes in Hz `[count]` of a beam of rectangular section, `height` in the direction of bending.

    Euler-Bernoulli: f_n = b_n^2 / (2 pi L^2) sqrt(E I / (rho A)), I / A = h^2 / 12 (Blevins 1979, chapter 8).
    """
    stiffness = math.sqrt(material.E * height**2 / 12.0 / material.rho)
    return beam_roots(ends, count) ** 2 / (2.0 * math.pi * length**2) * stiffness


def plate_frequencies(a: float, b: float, thickness: float, material: Material, highest_hz: float) -> F64:
    """All bending modes in Hz below `highest_hz`, rising, of a simply supported plate of a x b metres.

    f_mn = pi/2 sqrt(D / (rho h)) (m^2/a^2 + n^2/b^2), D = E h^3 / (12 (1 - nu^2)) (Leissa, Vibration of Plates,
    NASA SP-160, 1969, chapter 4).
    """
    D = material.plane_modulus * thickness**3 / 12.0
    c = math.pi / 2.0 * math.sqrt(D / (material.rho * thickness))
    m = np.arange(1, int(a * math.sqrt(highest_hz / c)) + 2)[:, None]
    n = np.arange(1, int(b * math.sqrt(highest_hz / c)) + 2)[None, :]
    f = np.sort((c * (m**2 / a**2 + n**2 / b**2)).ravel())
    return f[f < highest_hz]


def ring_frequencies(radius: float, thickness: float, material: Material, count: int) -> F64:
    """In-plane bending modes in Hz `[count]`, n = 2, 3, ..., of a ring of rectangular section and mean `radius`.

    f_n = n (n^2 - 1) / (2 pi sqrt(n^2 + 1)) sqrt(E I / (rho A R^4)), I / A = h^2 / 12 (Love, Mathematical Theory
    of Elasticity, on circular rings; Blevins 1979, chapter 9). A bearing's outer ring or a gear's rim.
    """
    n = np.arange(2, count + 2)
    section = math.sqrt(material.E * thickness**2 / 12.0 / (material.rho * radius**4))
    return n * (n**2 - 1) / (2.0 * math.pi * np.sqrt(n**2 + 1)) * section


def rayleigh_damping(hz: F64, alpha: float, beta: float) -> F64:
    """The damping ratio of each mode: zeta = (alpha / omega + beta omega) / 2 (Bathe, Finite Element Procedures).

    alpha in 1/s (mass-proportional), beta in s (stiffness-proportional).
    """
    omega = 2.0 * math.pi * hz
    return (alpha / omega + beta * omega) / 2.0


def damped_modes(hz: F64, zeta: F64, gains: F64, rate: int, taps: int) -> F32:
    """The answer of a structure to a unit blow: sum a_n exp(-2 pi zeta_n f_n t) sin(2 pi f_n t) -> `[taps]`.

    The impulse response of modes in parallel (Meirovitch, Fundamentals of Vibrations); the damped
    frequency is taken as f_n, which is right to zeta^2 / 2. Modes at or above Nyquist are left out.
    """
    below = hz < rate / 2
    omega = 2.0 * math.pi * hz[below]
    t = np.arange(taps) / rate
    poles = (-zeta[below] * omega + 1j * omega)[:, None]
    sines: F64 = np.exp(poles * t).imag  # [mode, taps]
    ringing: F64 = gains[below] @ sines
    return ringing.astype(np.float32)


def contact_modulus(one: Material, other: Material) -> float:
    """The contact modulus in Pa: 1 / E* = (1 - nu1^2) / E1 + (1 - nu2^2) / E2 (Johnson 1985, chapter 4)."""
    return 1.0 / (1.0 / one.plane_modulus + 1.0 / other.plane_modulus)


def hertz_stiffness(radius: float, E_star: float) -> float:
    """The k of F = k d^1.5, sphere of `radius` on a flat, in N/m^1.5: 4/3 E* sqrt R (Johnson 1985, chapter 4)."""
    return 4.0 / 3.0 * E_star * math.sqrt(radius)


def hertz_contact_time(mass: float, radius: float, E_star: float, speed: float) -> float:
    """How long an elastic blow lasts, in s: 2.868 (m^2 / (R E*^2 v))^(1/5).

    Johnson, Contact Mechanics, 1985, section 11.4. A 10 mm steel ball at 1 m/s: 34.6 us.
    """
    return float(2.868 * (mass**2 / (radius * E_star**2 * speed)) ** 0.2)


def hertz_peak_force(mass: float, radius: float, E_star: float, speed: float) -> float:
    """The greatest force of an elastic blow in N: k d^1.5, d = (5 m v^2 / (4 k))^(2/5) (Johnson 1985, section 11.4)."""
    k = hertz_stiffness(radius, E_star)
    return float(k * (1.25 * mass * speed**2 / k) ** 0.6)


def hertz_pulse(contact_s: float, rate: int) -> F32:
    """The force of a blow over time, sum 1: F ~ sin^1.5(pi t / T) (after Johnson 1985, section 11.4), `[time]`.

    Sampled at 32 times the rate and averaged, so that contacts shorter than a sample keep their place.
    """
    taps = max(1, math.ceil(contact_s * rate))
    fine = (np.arange(taps * 32) + 0.5) / (32.0 * rate)
    force = np.where(fine < contact_s, np.sin(np.pi * np.minimum(fine / contact_s, 1.0)).clip(0.0) ** 1.5, 0.0)
    pulse = force.reshape(taps, 32).mean(axis=1)
    return np.asarray(pulse / pulse.sum(), dtype=np.float32)
