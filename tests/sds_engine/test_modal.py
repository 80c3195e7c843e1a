"""Modal frequencies and dampings from ringing: against known sines, and against the Cramer-Rao bound."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sds_engine.dsp.modal import Modes, find_modes
from sds_engine.dsp.strikes import find_onsets, find_strikes
from sds_engine.physics.taps import DESIGNS, draw_design, draw_station, make_part, tap

RATE = 16_000
HZ = np.array([450.0, 1210.0, 1260.0, 2500.0, 4300.0])  # two of them 4% apart
ZETA = np.array([0.002, 0.003, 0.003, 0.002, 0.0015])
F64 = NDArray[np.float64]


def ringing(rng: np.random.Generator, noise: float, gains: F64 | None = None, seconds: float = 0.5) -> F64:
    t = np.arange(round(seconds * RATE)) / RATE
    gains = rng.uniform(0.5, 1.0, len(HZ)) if gains is None else gains
    poles = 2 * np.pi * HZ * (1j - ZETA)
    clean = (gains * np.exp(1j * rng.uniform(0, 6, len(HZ)))) @ np.exp(np.outer(poles, t))
    return np.asarray(clean.imag + noise * rng.standard_normal(len(t)))


def cramer_rao(gains: F64, phases: F64, noise: float, seconds: float) -> tuple[F64, F64]:
    """Relative deviations of frequency and damping ratio, by differences: nothing shared with the estimator."""
    t = np.arange(round(seconds * RATE)) / RATE

    def model(values: F64) -> F64:
        hz, decay, a, b = values.reshape(4, -1)
        wave = np.exp(-np.outer(decay, t))
        return np.asarray(
            a @ (wave * np.sin(np.outer(2 * np.pi * hz, t))) + b @ (wave * np.cos(np.outer(2 * np.pi * hz, t)))
        )

    start = np.concatenate([HZ, 2 * np.pi * HZ * ZETA, gains * np.cos(phases), gains * np.sin(phases)])
    steps = np.maximum(np.abs(start), 0.1) * 1e-6
    slopes = np.stack([(model(start + step) - model(start - step)) / (2 * step.sum()) for step in np.diag(steps)])
    bound = np.sqrt(noise**2 * np.diag(np.linalg.inv(slopes @ slopes.T)))
    return bound[:5] / HZ, bound[5:10] / (2 * np.pi * HZ * ZETA)


def test_clean_sines_are_found_exactly() -> None:
    """Without noise, frequencies come out to a millionth and dampings to a thousandth."""
    found = find_modes([ringing(np.random.default_rng(0), 1e-9)], RATE)
    strong = found.pick(found.snr_db > found.snr_db.max() - 60)
    assert strong.hz == pytest.approx(HZ, rel=1e-6)
    assert strong.zeta == pytest.approx(ZETA, rel=1e-3)


def test_errors_reach_the_cramer_rao_bound() -> None:
    """In white noise the scatter over 40 trials is within 1.6 of the bound, which the estimate itself reports."""
    rng = np.random.default_rng(1)
    gains = np.array([0.6, 0.9, 0.7, 0.8, 1.0])
    found = [find_modes([ringing(rng, 0.02, gains)], RATE, hall=None) for _ in range(40)]
    assert all(len(modes) == len(HZ) for modes in found)
    bound_hz, bound_zeta = cramer_rao(gains, np.array([0.3, 1.0, 4.0, 2.0, 5.0]), 0.02, 0.5)
    error_hz = np.sqrt(np.mean([(modes.hz / HZ - 1) ** 2 for modes in found], axis=0))
    error_zeta = np.sqrt(np.mean([(modes.zeta / ZETA - 1) ** 2 for modes in found], axis=0))
    assert (error_hz < 1.6 * bound_hz).all()
    assert (error_zeta < 1.6 * bound_zeta).all()
    told = np.median([modes.zeta_sd for modes in found], axis=0)
    assert (np.abs(np.log(told / bound_zeta)) < 0.5).all()
    assert (error_zeta > 0.6 * bound_zeta).all()  # a bound that is beaten is a wrong bound


def test_more_strikes_tell_more() -> None:
    """Four strikes with the same poles halve the error of one."""
    rng = np.random.default_rng(2)
    one = [find_modes([ringing(rng, 0.03)], RATE).zeta_sd.mean() for _ in range(5)]
    four = [find_modes([ringing(rng, 0.03) for _ in range(4)], RATE).zeta_sd.mean() for _ in range(5)]
    assert np.mean(four) == pytest.approx(np.mean(one) / 2, rel=0.25)


def test_noise_hum_and_silence_have_no_modes() -> None:
    """Noise rings nowhere, steady tones do not decay, silence holds nothing."""
    rng = np.random.default_rng(3)
    t = np.arange(RATE // 2) / RATE
    assert len(find_modes([np.zeros(RATE // 2)], RATE)) == 0
    spurious = [len(find_modes([rng.standard_normal(RATE // 2)], RATE)) for _ in range(10)]
    assert np.mean(spurious) < 1.0
    hum = np.sin(2 * np.pi * 1000 * t) + 1e-3 * rng.standard_normal(len(t))
    found = find_modes([hum], RATE)
    assert not (np.abs(found.hz - 1000) < 1).any()


def test_a_gain_and_the_order_of_strikes_change_nothing() -> None:
    """Modes are of the part, not of the microphone's gain or of who came first."""
    rng = np.random.default_rng(4)
    strikes = [ringing(rng, 0.01) for _ in range(3)]
    plain = find_modes(strikes, RATE)
    for other in (find_modes([100 * one for one in strikes], RATE), find_modes(strikes[::-1], RATE)):
        assert other.hz == pytest.approx(plain.hz, rel=1e-9)
        assert other.zeta == pytest.approx(plain.zeta, rel=1e-6)


def test_what_cannot_be_used_is_said() -> None:
    """No strike, too short a one, and NaN raise ValueError."""
    with pytest.raises(ValueError, match="0 strikes"):
        find_modes([], RATE)
    with pytest.raises(ValueError, match=r"0\.05"):
        find_modes([np.zeros(100)], RATE)
    with pytest.raises(ValueError, match="NaN"):
        find_modes([np.full(RATE, np.nan)], RATE)


@pytest.mark.parametrize("kind", DESIGNS)
def test_strong_modes_of_struck_parts_are_found(kind: str) -> None:
    """Of a struck beam, plate or ring in a hall, what is found within 20 dB of the strongest is really there."""
    rng = np.random.default_rng(5)
    design = draw_design(kind, rng)
    part = make_part(design, rng)
    strikes = find_strikes(tap(design, part, draw_station(32_000, rng), rng), 32_000)
    assert len(strikes.ringing) == 3
    found: Modes = find_modes(strikes.ringing, 32_000)
    strong = found.pick(found.snr_db > found.snr_db.max() - 20)
    assert len(strong) >= 1
    apart = np.abs(strong.hz[:, None] / part.hz[None, :] - 1)
    assert apart.min(1).max() < 1e-3
    assert strong.zeta == pytest.approx(part.zeta[apart.argmin(1)], rel=0.15)


def test_strikes_are_found_where_they_fell() -> None:
    """Onsets come within 5 ms; a bounce, clipping and a strike at the very end are dropped with their reasons."""
    rng = np.random.default_rng(6)
    sound = 1e-3 * rng.standard_normal(5 * RATE)
    ring = ringing(rng, 0.0, np.full(5, 0.05))
    for start_s, gain in ((0.5, 1.0), (1.5, 0.5), (1.53, 1.0), (2.5, 1.0), (4.97, 1.0)):
        begin = round(start_s * RATE)
        sound[begin : begin + len(ring)] += gain * ring[: len(sound) - begin]
    sound[round(2.52 * RATE)] = 1.0
    onsets = np.array(find_onsets(sound, RATE)) / RATE
    for start_s in (0.5, 1.5, 1.53, 2.5, 4.97):
        assert np.abs(onsets - start_s).min() < 0.005
    strikes = find_strikes(sound, RATE)
    assert [round(start, 1) for start in strikes.start_s][:2] == [0.5, 1.5]
    assert any("bounced" in why for why in strikes.dropped)
    assert any("end of the recording" in why for why in strikes.dropped)


def test_a_clipped_strike_is_dropped() -> None:
    """Ringing that reaches full scale is not ringing any more."""
    sound = np.zeros(RATE)
    sound[RATE // 4 : RATE // 4 + RATE // 2] = np.clip(3 * ringing(np.random.default_rng(7), 0.0), -1, 1)
    strikes = find_strikes(sound, RATE)
    assert not strikes.ringing
    assert "clipped" in strikes.dropped[0]


@pytest.mark.parametrize("sound", [np.zeros(RATE), np.zeros(3), 0.1 * np.ones(RATE)])
def test_where_nobody_strikes_there_is_no_strike(sound: F64) -> None:
    """Silence, too little sound and a constant hold no blow; neither does steady noise."""
    assert find_onsets(sound, RATE) == []
    assert find_onsets(0.1 * np.random.default_rng(8).standard_normal(2 * RATE), RATE) == []
