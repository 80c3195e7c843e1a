from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sound_makers import NOW_NS, RATE, noise

from streams.gate import (
    REASONS,
    GateLimits,
    SoundLevels,
    check_samples,
    check_window,
    is_clipped,
    is_silent,
    level_dbfs,
    sound_flags,
)
from streams.records import AudioWindow

LIMITS = GateLimits()
TIME = np.arange(2 * RATE) / RATE


def sine(hz: float, peak: float) -> NDArray[np.float32]:
    return (peak * np.sin(2 * np.pi * hz * TIME)).astype(np.float32)


def as_int16(samples: NDArray[np.floating]) -> NDArray[np.float32]:
    return (np.round(samples * 32_767) / 32_768).astype(np.float32)


def test_a_good_window_passes() -> None:
    """Sound within the limits passes, at full scale too."""
    window = AudioWindow("press", "m1", "s", 0, NOW_NS, RATE, noise(2.0))
    assert check_window(window, LIMITS).ok
    assert check_samples(sine(440, 1.0), RATE, LIMITS).ok


@pytest.mark.parametrize(
    ("samples", "rate", "reason", "words"),
    [
        (noise(2.0), 8_000, "wrong_rate", "8000 Hz, the line runs at 16000 Hz"),
        (noise(1.9), RATE, "wrong_length", "30400 samples, a window has 32000"),
        (np.zeros(0, np.float32), RATE, "wrong_length", "0 samples"),
        (np.zeros((2, 32_000), np.float32), RATE, "wrong_shape", "allowed is"),
        (np.full(32_000, np.nan, np.float32), RATE, "not_finite", "32000 of 32000"),
        (np.where(np.arange(32_000) == 5, -np.inf, 0.0), RATE, "not_finite", "1 of 32000"),
        (np.where(np.arange(32_000) == 9, -1.01, 0.0), RATE, "over_range", "reach 1.01"),
        (noise(2.0) * 32_768, RATE, "over_range", "scale them"),
    ],
)
def test_what_nobody_can_score_is_refused(samples: NDArray[np.floating], rate: int, reason: str, words: str) -> None:
    """Each refusal has its reason and says what was given."""
    verdict = check_samples(samples, rate, LIMITS)
    assert not verdict.ok
    assert verdict.reason == reason
    assert reason in REASONS
    assert words in verdict.text


def test_the_gate_does_not_touch_the_samples() -> None:
    """Checking is pure: read-only samples will do, and nothing changes."""
    samples = noise(2.0)
    before = samples.copy()
    samples.flags.writeable = False
    assert check_samples(samples, RATE, LIMITS) == check_samples(samples, RATE, LIMITS)
    assert sound_flags(samples) == frozenset()
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize(
    "samples",
    [
        sine(440, 3.0).clip(-1, 1),
        as_int16(sine(440, 3.0).clip(-1, 1)),
        (4 * noise(2.0, level=0.3)).clip(-1, 1),
        sine(440, 3.0).clip(-0.5, 0.5),
        as_int16(sine(97, 1.0).clip(-0.4, 2.0)),
        0.3 + sine(440, 2.0).clip(-0.2, 0.2),
    ],
)
def test_cut_tops_are_clipped(samples: NDArray[np.float32]) -> None:
    """At full scale, below it, on one side only, and off centre."""
    assert is_clipped(samples)
    assert sound_flags(samples) == {"clipped"}


@pytest.mark.parametrize(
    "samples",
    [
        sine(440, 0.9),
        as_int16(sine(50, 0.5)),
        as_int16(sine(20, 0.5)),
        as_int16(noise(2.0, level=0.001)),
        as_int16(noise(2.0, level=0.2)),
        np.where(np.arange(32_000) == 77, 1.0, noise(2.0)).astype(np.float32),
    ],
)
def test_whole_tops_are_not_clipped(samples: NDArray[np.float32]) -> None:
    """Tones rest at their peak for a moment, faint sound has few steps, and one knock may touch full scale."""
    assert sound_flags(samples) == frozenset()


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(32_000, np.float32),
        np.full(32_000, 0.25, np.float32),
        np.full(32_000, -1.0, np.float32),
        as_int16(noise(2.0, level=1e-5)),
        np.concatenate([noise(0.9), np.zeros(17_600, np.float32)]),
    ],
)
def test_dead_sound_is_silent(samples: NDArray[np.float32]) -> None:
    """Zeros, a stuck value, less than a step of 16 bits, and a cable that fell out on the way."""
    assert is_silent(samples)
    assert sound_flags(samples) == {"silent"}


def test_quiet_sound_is_not_silent() -> None:
    """A quiet room at -80 dBFS lives."""
    assert not is_silent(noise(2.0, level=1e-4))


def test_the_thresholds_can_be_set() -> None:
    """Each threshold moves its own verdict."""
    assert is_silent(noise(2.0, level=1e-3), SoundLevels(silent_dbfs=-50.0))
    assert not is_clipped(sine(440, 3.0).clip(-1, 1), SoundLevels(full_scale=1.5, flat_run=50))
    assert not is_silent(np.concatenate([noise(0.9), np.zeros(17_600, np.float32)]), SoundLevels(stuck_share=0.9))


def test_flags_of_what_is_no_sound_are_none() -> None:
    """Refusing is the gate's business; flags of nothing and of NaN are empty."""
    assert sound_flags(np.zeros(0, np.float32)) == frozenset()
    assert sound_flags(np.full(100, np.nan, np.float32)) == frozenset()


@given(db=st.floats(-80.0, -3.0))
def test_the_level_of_a_sine_is_known(db: float) -> None:
    """A sine's RMS is 3.01 dB below its peak."""
    peak = 10 ** (db / 20)
    assert level_dbfs(sine(1_000, peak)) == pytest.approx(db - 3.0103, abs=1e-3)


def test_the_level_of_nothing_is_minus_infinity() -> None:
    """Digital silence has no level, and that is no error."""
    assert level_dbfs(np.zeros(10, np.float32)) == -np.inf
    assert level_dbfs(np.zeros(0, np.float32)) == -np.inf
