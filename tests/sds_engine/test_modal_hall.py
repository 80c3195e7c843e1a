"""Ringing that a hall answers to: against reflections drawn by hand, and against plain least squares."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sds_engine.dsp.modal_hall import Hall, Ringing, fit_ringing

RATE, COUNT = 600.0, 200  # of complex samples of a band
TRUE = np.array([-25.0 + 300.0j, -40.0 - 500.0j])
HALL = Hall(early=4.0, early_s=0.008, late=0.004, late_s=0.13)
C128 = NDArray[np.complex128]


def answered(rng: np.random.Generator, hall: Hall, noise: float = 1e-3, strikes: int = 3) -> C128:
    """Two modes and the same reflections of them at every strike [time, strike], convolved sample by sample."""
    t = np.arange(COUNT) / RATE
    gaussian = (rng.standard_normal((2, COUNT)) + 1j * rng.standard_normal((2, COUNT))) / np.sqrt(2.0)
    echoes = np.sqrt(hall.density(t) / RATE) * gaussian  # [mode, time]
    y = noise * (rng.standard_normal((COUNT, strikes)) + 1j * rng.standard_normal((COUNT, strikes)))
    for strike in range(strikes):
        for pole, echo in zip(TRUE, echoes, strict=True):
            ring = np.exp(pole * t + 1j * rng.uniform(0, 6))
            y[:, strike] += ring + np.convolve(ring, echo)[:COUNT]
    return np.asarray(y)


def damping_errors(fits: list[Ringing]) -> NDArray[np.float64]:
    """Relative errors of both dampings [fit, mode]; every fit must have kept the two modes."""
    assert all(len(fit.poles) == 2 for fit in fits)
    found = np.stack([fit.poles[np.argsort(-fit.poles.imag)] for fit in fits])
    return np.asarray(found.real / TRUE.real - 1.0)


def test_reckoning_with_the_hall_steadies_the_damping() -> None:
    """Where reflections rule, dampings scatter by less than two thirds of what plain least squares make of them."""
    rng = np.random.default_rng(0)
    sounds = [answered(rng, HALL) for _ in range(40)]
    guess = TRUE * (1.0 + 0.002j)
    with_hall, without = (
        damping_errors([fit_ringing(y, RATE, guess, 1000.0, 0.0, hall) for y in sounds]) for hall in (HALL, None)
    )
    assert (np.square(with_hall).mean(0) < (2.0 / 3.0) ** 2 * np.square(without).mean(0)).all()


def test_the_told_deviation_is_the_one_that_is_seen() -> None:
    """With one strike, errors are within twice of what the fit says of them; plain least squares are five times off."""
    rng = np.random.default_rng(1)
    sounds = [answered(rng, HALL, strikes=1) for _ in range(60)]
    for hall, low, high in ((HALL, 0.6, 2.0), (None, 5.0, np.inf)):
        fits = [fit_ringing(y, RATE, TRUE, 1000.0, 0.0, hall) for y in sounds]
        told = np.stack([fit.spread[np.argsort(-fit.poles.imag)] for fit in fits]) / np.abs(TRUE.real)
        ratio = float(np.sqrt(np.mean(np.square(damping_errors(fits) / told))))
        assert low < ratio < high


def test_modes_that_reflections_explain_are_left_out() -> None:
    """A guess beside the true modes is dropped, and the others come out as if it had not been made."""
    rng = np.random.default_rng(2)
    y = answered(rng, HALL)
    alone = fit_ringing(y, RATE, TRUE, 1000.0, 0.0, HALL)
    more = fit_ringing(y, RATE, np.append(TRUE, -60.0 + 310.0j), 1000.0, 0.0, HALL)
    assert more.poles == pytest.approx(alone.poles, rel=1e-3)


def test_without_reflections_it_is_plain_least_squares() -> None:
    """No hall and hardly any noise: poles are exact, and a first guess beside them does not matter."""
    y = answered(np.random.default_rng(3), Hall(early=0.0, late=0.0), noise=1e-9)
    found = fit_ringing(y, RATE, TRUE * (1.0 + 0.002j), 1000.0, 0.0, None)
    assert found.poles == pytest.approx(TRUE, rel=1e-6)


def test_silence_and_no_guess_have_no_modes() -> None:
    """Nothing to polish gives nothing, and so does a guess where there is only noise."""
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((COUNT, 2)) + 1j * rng.standard_normal((COUNT, 2))
    assert len(fit_ringing(noise, RATE, np.zeros(0, dtype=np.complex128), 0.0, 0.0, HALL).poles) == 0
    assert len(fit_ringing(noise, RATE, TRUE, 1000.0, 0.0, HALL).poles) == 0
    assert len(fit_ringing(0.0 * noise, RATE, TRUE, 1000.0, 0.0, HALL).poles) == 0
