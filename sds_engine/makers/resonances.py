"""The resonances of a machine's own body: drawn from physics, or heard in recordings of it. numpy, float64.

From recordings: the mean spectrum, with the lines of rotation taken out, is fitted by an all-pole model; its poles are
frequencies and dampings and whose residues are gains (Makhoul, "Linear prediction: a tutorial review", Proc. IEEE 63,
1975, on fitting a power spectrum rather than a sound).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.ndimage
import scipy.signal

from sds_engine.physics.structure import Structure, bearing_seat, casting, sheet
from sds_engine.physics.wander import F64

COUNT = 24  # modes of a body that a maker rings
LEAST_ZETA, MOST_ZETA = 0.002, 0.2
_BODIES = ("seat", "casting", "sheet", "cover")


@dataclass(frozen=True, slots=True, eq=False)
class Resonances:
    """Modes in parallel: hz, damping ratio zeta, gains (any scale), `[mode]` each, rising in frequency."""

    hz: F64
    zeta: F64
    gains: F64

    def __post_init__(self) -> None:
        if not (self.hz.shape == self.zeta.shape == self.gains.shape) or self.hz.ndim != 1 or not len(self.hz):
            raise ValueError(f"hz {self.hz.shape}, zeta {self.zeta.shape}, gains {self.gains.shape}: one each a mode")
        if not (np.isfinite(self.gains).all() and (self.hz > 0.0).all() and ((self.zeta > 0) & (self.zeta < 1)).all()):
            raise ValueError("hz must be above 0, zeta between 0 and 1, gains finite: leave out what is not")

    def strongest(self, rate: int, count: int = COUNT) -> Resonances:
        """The `count` modes below 0.47 of the rate that carry most energy, gains scaled so that it is 1 in all.

        Raises ValueError where no mode is that low.
        """
        inside = np.flatnonzero(self.hz < 0.47 * rate)
        if not len(inside):
            raise ValueError(f"no mode lies below {0.47 * rate:g} Hz: give others, or a higher rate")
        energy = self.gains[inside] ** 2 / (self.zeta[inside] * self.hz[inside])
        kept = np.sort(inside[np.argsort(-energy, kind="stable")[:count]])
        scale = np.sqrt(max(float(np.sum(self.gains[kept] ** 2 / (self.zeta[kept] * self.hz[kept]))), 1e-30))
        return Resonances(self.hz[kept], self.zeta[kept], self.gains[kept] / scale)


def from_structure(structure: Structure) -> Resonances:
    """The resonances of a body of `sds_engine.physics.structure`."""
    order = np.argsort(structure.hz)
    return Resonances(*(np.array(values)[order] for values in (structure.hz, structure.zeta, structure.gains)))


def draw_resonances(body: str, rng: np.random.Generator) -> Resonances:
    """A body as machines have them: "seat" (a bearing's), "casting" (a housing), "sheet" (a casing), "cover" (thin)."""
    if body == "seat":
        return from_structure(bearing_seat(rng.uniform(0.03, 0.06), rng.uniform(6e-3, 1e-2), rng))
    if body == "casting":
        return from_structure(casting(rng.uniform(0.11, 0.3), rng.uniform(7e-3, 2e-2), "cast_iron", rng))
    if body == "sheet":
        a, b = rng.uniform(0.4, 0.9), rng.uniform(0.4, 0.9)
        return from_structure(sheet(a, b, rng.uniform(1.2e-3, 3e-3), "steel", rng))
    if body == "cover":
        return from_structure(sheet(0.35, 0.25, rng.uniform(1.0e-3, 1.5e-3), "steel", rng, tilt=0.5))
    raise ValueError(f"body is {body!r}, allowed is one of {', '.join(_BODIES)}")


def heard_resonances(sounds: Sequence[F64], rate: int, count: int = COUNT) -> Resonances:
    """The broad resonances that recordings `[time]` of a healthy machine have in common, at most `count`.

    They shape the noise that it makes; narrow lines (mesh, blade pass, hum) are cut down to their surroundings before.
    Raises ValueError for less than half a second in all, for silence, and for NaN.
    """
    size = 2048
    usable = [np.asarray(sound, dtype=np.float64) for sound in sounds if len(sound) >= size]
    if sum(map(len, usable)) < rate / 2:
        raise ValueError(f"{len(sounds)} sounds of too little length: give half a second or more in all")
    if not all(np.isfinite(sound).all() for sound in usable):
        raise ValueError("the recordings hold NaN or infinity: leave them out")
    power = np.mean([scipy.signal.welch(sound, rate, nperseg=size)[1] for sound in usable], axis=0)
    if not power.max() > 0.0:
        raise ValueError("the recordings are silent: give sound")
    width = max(3, round(120.0 * size / rate) | 1)
    smooth = np.minimum(power, 1.5 * scipy.ndimage.median_filter(power, width, mode="nearest"))
    lags = np.fft.irfft(smooth + 1e-7 * smooth.max())
    order = 2 * count
    lags[0] *= 1.0 + 1e-6
    predictor = scipy.linalg.solve_toeplitz(lags[:order], lags[1 : order + 1])
    return _from_poles(np.concatenate([[1.0], -predictor]), rate).strongest(rate, count)


def _from_poles(denominator: F64, rate: int) -> Resonances:
    """The modes of 1 / A(z): residue r and pole p in the upper half plane ring as 2 |r| |p|^n cos(n angle + ...)."""
    poles = np.roots(denominator)
    slopes = np.array([np.prod(1.0 - np.delete(poles, i) / pole) for i, pole in enumerate(poles)])
    gains = 2.0 * np.abs(1.0 / slopes)
    s = np.log(poles.astype(np.complex128)) * rate
    upper = (s.imag > 2.0 * np.pi * 40.0) & (s.imag < np.pi * rate * 0.94) & (np.abs(poles) < 1.0)
    s, gains = s[upper], gains[upper]
    order = np.argsort(s.imag)
    s, gains = s[order], gains[order]
    hz = s.imag / (2.0 * np.pi)
    zeta = np.clip(-s.real / np.maximum(np.abs(s), 1e-9), LEAST_ZETA, MOST_ZETA)
    signs = np.where(np.arange(len(hz)) % 2 == 0, 1.0, -1.0)  # neighbours add up between their peaks, as in real bodies
    return Resonances(hz, zeta, gains * signs)
