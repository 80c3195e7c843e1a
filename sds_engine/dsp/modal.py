"""Modal frequencies and damping from free ringing: sub-band ESPRIT, polished to maximum likelihood.

A struck part rings as sum c_k exp(s_k t), s_k = -2 pi zeta_k f_k + j 2 pi f_k. The sound is cut into bands, each
shifted to 0 Hz, low-passed by a FIR filter of which only the part that lies wholly inside the sound is kept (so
exponentials stay exponentials) and decimated: Sirdey, Derrien, Kronland-Martinet and Aramaki, "Modal analysis of impact
sounds with ESPRIT in Gabor transforms", DAFx-11 (2011). In each band the poles come from ESPRIT (Roy and Kailath, IEEE
Trans. ASSP 37(7), 1989) on Hankel matrices of all strikes side by side, since strikes of one part share their
poles and differ in amplitudes. `modal_hall` then polishes them to maximum likelihood in noise and in the reflections
of a hall, leaves out what those explain, and reports the Cramer-Rao bound with each mode.

numpy and scipy, float64. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sds_engine.dsp.modal_hall import Hall, fit_ringing

F64 = NDArray[np.float64]
C128 = NDArray[np.complex128]

LEAST_BAND_HZ = 300.0  # below, modes are sparse; above BAND_SHARE rules, since what rings high decays fast
BAND_SHARE = 0.12
OVERLAP = 1.1  # of neighbouring bands: a mode on an edge is found twice, and one of them is dropped
MOST_LAGS = 96  # rows of the Hankel matrix
MOST_MODES = 16  # in a band
NOISE_MARGIN = 16.0  # an eigenvalue this far above the median one is signal: noise alone reaches 6 to 10
SMALLEST = 1e-7  # of the greatest eigenvalue: 70 dB below the strongest mode of a band, reflections rule
LEAST_SNR_DB = 23.0  # of a mode's energy: there its damping is known to 14%, and noise alone rarely reaches it
MOST_ZETA = 0.1
LEAST_DECAY = 0.5  # 1/s; what decays slower was not struck: mains hum, a fan nearby
LEAKAGE = 1e-5  # of the loudest mode's energy: the filters let as much of it into other bands
AFTER_S = 0.005  # the ringing that `strikes` cuts out begins so long after the blow
HALL = Hall()
SAME = 0.002  # modes of neighbouring bands this close, relative, are one


@dataclass(frozen=True, slots=True)
class Modes:
    """Modes, rising in frequency; all fields `[mode]`.

    hz, and zeta the damping ratio (decay rate over 2 pi hz). snr_db: the mode's energy over the noise density, summed
    over strikes. hz_sd, zeta_sd: relative standard deviations by the Cramer-Rao bound in the noise and the reflections
    that were reckoned with.
    """

    hz: F64
    zeta: F64
    snr_db: F64
    hz_sd: F64
    zeta_sd: F64

    def __len__(self) -> int:
        return len(self.hz)

    def pick(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Modes:
        """The modes with these numbers."""
        return Modes(self.hz[index], self.zeta[index], self.snr_db[index], self.hz_sd[index], self.zeta_sd[index])


@dataclass(frozen=True, slots=True)
class _Band:
    """One band of all strikes: y [time, strike] at `rate` Hz, shifted down by `centre` Hz; `half` its half width.

    since_s: how long before y[0] the blows fell.
    """

    y: C128
    rate: float
    centre: float
    half: float
    since_s: float


def find_modes(
    strikes: Sequence[F64], rate: int, low_hz: float = 100.0, high_hz: float | None = None, hall: Hall | None = HALL
) -> Modes:
    """The modes between low_hz and high_hz (default: 0.45 rate) of free ringing [time] after each strike of one part.

    hall: the reflections to reckon with, None for none. Strikes are cut to the shortest. Raises ValueError for no
    strike, for less than 50 ms, and for NaN. Silence has no modes. What is not free ringing (contact of the hammer, a
    second blow) must be cut off before.
    """
    high_hz = 0.45 * rate if high_hz is None else min(high_hz, 0.45 * rate)
    least = min((len(strike) for strike in strikes), default=0)
    if least < 0.05 * rate:
        raise ValueError(f"{len(strikes)} strikes, the shortest of {least / rate:.3f} s: give one or more of 0.05 s")
    sound = np.stack([np.asarray(strike[:least], dtype=np.float64) for strike in strikes], axis=1)  # [time, strike]
    if not np.isfinite(sound).all():
        raise ValueError("the strikes hold NaN or infinity: leave them out")
    with threadpool_limits(1):  # the matrices are small: on a busy machine threads cost thirty times the work
        found = [_band_modes(band, hall) for band in _bands(sound, rate, low_hz, high_hz)]
    loudest = max((float(energy.max()) for _, energy in found if len(energy)), default=0.0)
    return _merge([modes.pick(energy > LEAKAGE * loudest) for modes, energy in found])


def _bands(sound: F64, rate: int, low_hz: float, high_hz: float) -> Iterator[_Band]:
    edge = low_hz
    while edge < high_hz:
        width = max(LEAST_BAND_HZ, BAND_SHARE * edge)
        centre, edge = edge + width / 2, edge + width
        step = max(1, int(rate / (2.1 * width)))  # what folds back is the filter's skirts, outside the band
        taps = min(int(3.8 * rate / width) | 1, len(sound) // 3 | 1)
        low_pass = scipy.signal.firwin(taps, width, window=("kaiser", 5.65), fs=rate)  # 60 dB
        shift = np.exp(-2j * np.pi * centre / rate * np.arange(len(sound)))[:, None]
        y = scipy.signal.oaconvolve(sound * shift, low_pass[:, None], mode="valid", axes=0)[::step]
        y = y[: _ringing(y, rate / step)]
        if len(y) >= 16 and np.abs(y).max() > 0.0:
            yield _Band(y, rate / step, centre, OVERLAP * width / 2, AFTER_S + 0.5 * taps / rate)


def _ringing(y: C128, rate: float) -> int:
    """How many samples the band rings before noise is all there is, and some more."""
    power = np.square(np.abs(y)).mean(1)
    smooth = np.convolve(power, np.ones(max(1, int(0.01 * rate))), "same")
    above = np.flatnonzero(smooth > 2.0 * np.median(smooth[-max(4, len(smooth) // 5) :]))
    last = int(above[-1]) if len(above) else 0
    return max(64, int(1.3 * last))


def _band_modes(band: _Band, hall: Hall | None) -> tuple[Modes, F64]:
    """The modes of one band that lie inside it, decay, and stand out of the noise; and their energies [mode]."""
    poles = _esprit(band.y) * band.rate
    poles = poles[(np.abs(poles.real) < 0.5 * band.rate) & (poles.real < 10.0)]
    ringing = fit_ringing(band.y, band.rate, poles, band.centre, band.since_s, hall)
    poles, spread = ringing.poles, ringing.spread
    if not len(poles):
        return _modes([]), np.zeros(0)
    energy = np.square(np.abs(ringing.amplitudes)).sum(1) * _lasting(poles, len(band.y) / band.rate) * band.rate
    hz, decay = band.centre + poles.imag / (2.0 * np.pi), -poles.real
    zeta = decay / (2.0 * np.pi * np.maximum(hz, 1e-9))
    snr_db = 10.0 * np.log10(np.maximum(energy / ringing.noise, 1e-12))
    good = (np.abs(hz - band.centre) <= band.half) & (hz > 0.0) & (zeta < MOST_ZETA) & (decay > LEAST_DECAY)
    good &= (snr_db >= LEAST_SNR_DB) & (spread < 0.3 * decay)
    found = Modes(hz, zeta, snr_db, spread / (2.0 * np.pi * np.maximum(hz, 1e-9)), spread / np.maximum(decay, 1e-9))
    return found.pick(good), energy[good] / band.rate


def _lasting(poles: C128, seconds: float) -> F64:
    """Integral of exp(2 Re s t) over the band's time, per pole, in s."""
    rate = np.where(np.abs(poles.real) < 1e-9, -1e-9, 2.0 * poles.real)
    return np.asarray(np.expm1(np.minimum(rate * seconds, 50.0)) / rate)


def _esprit(y: C128) -> C128:
    """Poles in nepers and radians per sample [mode] that all columns of y [time, strike] share."""
    n, strikes = y.shape
    lags = min(n // 2, MOST_LAGS)
    hankel = np.concatenate(
        [np.lib.stride_tricks.sliding_window_view(y[:, strike], n - lags + 1) for strike in range(strikes)], axis=1
    )  # [lags, strike * (n - lags + 1)]
    values, vectors = np.linalg.eigh(hankel @ hankel.conj().T)  # rising
    floor = max(NOISE_MARGIN * float(np.median(values[: lags // 2])), SMALLEST * float(values[-1]))
    order = min(int((values > floor).sum()), MOST_MODES, lags // 3)
    if order == 0:
        return np.zeros(0, dtype=np.complex128)
    space = vectors[:, -order:]
    rotation = np.linalg.lstsq(space[:-1], space[1:], rcond=None)[0]
    poles = np.linalg.eigvals(rotation)
    return np.asarray(np.log(poles[np.abs(poles) > 1e-3]), dtype=np.complex128)


def _modes(parts: Sequence[Modes]) -> Modes:
    if not parts:
        return Modes(*(np.zeros(0) for _ in range(5)))
    names = ("hz", "zeta", "snr_db", "hz_sd", "zeta_sd")
    return Modes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _merge(parts: Sequence[Modes]) -> Modes:
    """All bands' modes in one, rising; of two that neighbouring bands both found the better known stays."""
    every = _modes(parts)
    band = np.concatenate([np.full(len(part), number) for number, part in enumerate(parts)]) if parts else np.zeros(0)
    order = np.argsort(every.hz)
    kept: list[int] = []
    for number in order:
        twin = kept and band[kept[-1]] != band[number]
        if twin and math.log(every.hz[number] / every.hz[kept[-1]]) < SAME:
            if every.zeta_sd[number] < every.zeta_sd[kept[-1]]:
                kept[-1] = int(number)
            continue
        kept.append(int(number))
    return every.pick(np.array(kept, dtype=np.intp))
