"""Poles of ringing that a room answers to: maximum likelihood, with the reverberation as noise.

A mode c exp(s t) is followed at the microphone by reflections of itself: y = (delta + h) * sum c_i exp(s_i t) + noise.
Plain least squares take them for white noise and, worse, for more modes beside the true ones, which halve or double a
damping. Here h is white noise under a falling density (Moorer, Computer Music J. 3:2, 1979). A reflection rings on with
the mode's own pole, so what reflections add is a Gauss-Markov process that h drives, with a known covariance: poles and
amplitudes follow by generalised least squares, Gauss-Newton with the amplitudes projected out (variable projection:
Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973). Modes that noise and reflections explain are left out, weakest first.

Notation: y [time, strike], poles s [mode] in 1/s, basis B = exp(s t) [time, mode], covariance C = L L^H [time, time].
Reflections of different modes are taken as independent, those of all strikes as alike. numpy and scipy, float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.signal
from numpy.typing import NDArray

F64 = NDArray[np.float64]
C128 = NDArray[np.complex128]

SURE = 40.0  # a mode's energy over its own variance; of noise and reflections alone it is the number of strikes
NEAR = 0.05  # beside a stronger mode, reflections make weak ones at random places ...
NEAR_DB = 20.0  # ... this far below it
ROUNDS = 3  # of covariance from poles and poles from covariance
STEPS = 3  # of Gauss-Newton in a round
SMALLEST = 1e-30  # power: below any sound


@dataclass(frozen=True, slots=True)
class Hall:
    """Power that comes back per second, relative to the direct: early exp(-t / early_s) + late exp(-t / late_s).

    The default, chosen on simulated parts, is that of a microphone some 0.3 m away in a hall. Nearer it is too much, at
    little loss: what counts is how early and late compare. Without any reflections errors are up to twice the bound.
    """

    early: float = 4.0
    early_s: float = 0.005
    late: float = 0.04
    late_s: float = 0.13

    def density(self, seconds: F64) -> F64:
        """The density in 1/s at times [time] after the direct sound."""
        return np.asarray(self.early * np.exp(-seconds / self.early_s) + self.late * np.exp(-seconds / self.late_s))


@dataclass(frozen=True, slots=True)
class Ringing:
    """The fit: poles [mode] in 1/s, amplitudes [mode, strike], the noise's power per complex sample.

    spread [mode] in 1/s: the deviation of a pole's real part, and of its imaginary part, as if each strike had its own
    reflections; where all share them it is too small, by up to the root of the number of strikes.
    """

    poles: C128
    amplitudes: C128
    spread: F64
    noise: float


@dataclass(frozen=True, slots=True)
class _Solved:
    """Poles and amplitudes, and the summed power of the white residual.

    information [mode, mode]: Fisher's, of the poles; certainty [mode]: each mode's energy over its variance.
    """

    poles: C128
    amplitudes: C128
    information: C128
    certainty: F64
    power: float


def fit_ringing(y: C128, rate: float, poles: C128, centre: float, since_s: float, hall: Hall | None) -> Ringing:
    """Polish `poles`, first guesses, on y [time, strike], which was shifted down by `centre` Hz.

    since_s: how long before y the blows fell; hall: what comes back, None for a place without reflections.
    """
    t = np.arange(len(y)) / rate
    density = np.zeros(len(y)) if hall is None else hall.density(t + since_s)
    poles = _without_satellites(y, t, poles, centre)
    amplitudes = _plain(y, t, poles)
    noise = float(np.median(np.square(np.abs(y[-max(4, len(y) // 5) :])))) / np.log(2.0)  # |y|^2 is exponential
    solved, settled = None, 0
    while len(poles) and settled < ROUNDS:
        rest = np.square(np.abs(y - np.exp(np.outer(t, poles)) @ amplitudes))
        noise = max(min(noise, float(rest[-max(4, len(y) // 3) :].mean())), SMALLEST)
        power = np.square(np.abs(amplitudes)).mean(1) * np.exp(-2.0 * poles.real * since_s)  # when the blow fell
        lower = scipy.linalg.cholesky(_covariance(poles, power, noise, density, rate), lower=True, check_finite=False)
        solved = _solve(y, t, poles, lower)
        weakest = int(np.argmin(solved.certainty))
        poles, amplitudes = solved.poles, solved.amplitudes
        if solved.certainty[weakest] >= SURE:
            settled += 1
        else:
            poles = np.delete(poles, weakest)
            amplitudes = _plain(y, t, poles)
    if solved is None or not len(poles):
        nothing = np.zeros((0, y.shape[1]), dtype=np.complex128)
        return Ringing(nothing[:, 0], nothing, np.zeros(0), noise)
    scale = solved.power / (y.shape[1] * max(1, len(y) - len(poles)))  # 1 where noise and hall are as assumed
    variance = np.abs(np.diag(np.linalg.pinv(solved.information, hermitian=True)))
    # complex parameters: half of the variance is real, half imaginary
    return Ringing(poles, amplitudes, np.asarray(np.sqrt(0.5 * scale * variance)), noise)


def _plain(y: C128, t: F64, poles: C128) -> C128:
    """Amplitudes [mode, strike] by plain least squares."""
    return np.asarray(np.linalg.lstsq(np.exp(np.outer(t, poles)), y, rcond=1e-12)[0], dtype=np.complex128)


def _without_satellites(y: C128, t: F64, poles: C128, centre: float) -> C128:
    """Without the weak poles beside strong ones: reflections make them, and they spoil the strong ones' damping."""
    if len(poles) < 2:
        return poles
    energy = np.square(np.abs(_plain(y, t, poles))).sum(1) / np.maximum(-poles.real, 0.5)
    level = 10.0 * np.log10(energy + SMALLEST)
    hz = centre + poles.imag / (2.0 * np.pi)
    near = np.abs(hz[:, None] - hz[None, :]) < NEAR * np.abs(hz[None, :])
    return np.asarray(poles[~(near & (level[:, None] < level[None, :] - NEAR_DB)).any(1)])


def _covariance(poles: C128, power: F64, noise: float, density: F64, rate: float) -> C128:
    """C [time, time] of noise and of the reflections of modes with `power` [mode] at the blow."""
    n = len(density)
    c = np.zeros((n, n), dtype=np.complex128)
    for pole, strength in zip(poles, power, strict=True):
        if not density.any():
            break
        kept = np.exp(min(2.0 * pole.real / rate, 0.0))  # of the power, from sample to sample
        variance = strength * scipy.signal.lfilter([1.0], [1.0, -kept], density / rate)
        fall = np.concatenate([np.zeros(n - 1), np.exp(pole * np.arange(n) / rate)])
        lagged = np.lib.stride_tricks.sliding_window_view(fall, n)[:, ::-1]  # [i, j] = exp(s (t_i - t_j)), 0 above
        c += lagged * variance
    below = np.tril(c, -1)
    c = below + below.conj().T + np.diag(np.diag(c).real + noise)
    return np.asarray(c, dtype=np.complex128)


def _solve(y: C128, t: F64, poles: C128, lower: C128) -> _Solved:
    """Gauss-Newton on the poles where C is known; a step that does not lower the residual ends it."""
    white = scipy.linalg.solve_triangular(lower, y, lower=True, check_finite=False)
    nothing = np.zeros((0, 0), dtype=np.complex128)
    best = _Solved(poles, nothing, nothing, np.zeros(0), np.inf)
    for _ in range(STEPS):
        basis = np.exp(np.outer(t, poles))
        both = scipy.linalg.solve_triangular(
            lower, np.hstack([basis, t[:, None] * basis]), lower=True, check_finite=False
        )
        basis, slopes = both[:, : len(poles)], both[:, len(poles) :]
        q, r = np.linalg.qr(basis)
        amplitudes = np.linalg.lstsq(r, q.conj().T @ white, rcond=1e-12)[0]
        residual = white - basis @ amplitudes
        power = float(np.square(np.abs(residual)).sum())
        if not power < best.power:
            break
        free = slopes - q @ (q.conj().T @ slopes)  # what the amplitudes cannot take up
        information = (free.conj().T @ free) * (amplitudes.conj() @ amplitudes.T)  # summed over strikes
        certainty = np.square(np.abs(amplitudes)).sum(1) / np.square(np.abs(np.linalg.pinv(r))).sum(1)
        best = _Solved(poles, amplitudes, information, certainty, power)
        gradient = (amplitudes.conj() * (slopes.conj().T @ residual)).sum(1)
        step = np.linalg.pinv(information, rcond=1e-10, hermitian=True) @ gradient
        longest = 0.5 * np.abs(poles.real) + 1.0
        step = step * np.minimum(1.0, longest / np.maximum(np.abs(step), SMALLEST))
        if not np.isfinite(step).all() or float((poles + step).real.max()) > 10.0:
            break
        poles = poles + step
    return best
