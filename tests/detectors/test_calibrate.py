"""Conformal scores against a slow reference, closed forms and simulation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detectors.calibrate import Calibration, calibrate

finite = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
recordings = st.lists(st.lists(finite, min_size=1, max_size=5), min_size=1, max_size=12)


def calibration_of(healthy: list[list[float]]) -> Calibration:
    values = torch.tensor([value for one in healthy for value in one], dtype=torch.float64)
    groups = torch.tensor([number for number, one in enumerate(healthy) for _ in one])
    return calibrate(values, groups)


def reference_p(healthy: list[list[float]], value: float) -> float:
    """Straight from the definition: a recording's windows together weigh as one."""
    count = sum(sum(one >= value for one in recording) / len(recording) for recording in healthy)
    return (1 + count) / (len(healthy) + 1)


@given(recordings, finite)
def test_p_is_the_definitions(healthy: list[list[float]], value: float) -> None:
    """Within the healthy range the score is -log10 (1 + healthy at least as odd) / (n + 1)."""
    top = max(max(one) for one in healthy)
    score, extrapolated = calibration_of(healthy)(torch.tensor([value], dtype=torch.float64))
    assert bool(extrapolated[0]) == (value > top)
    if value <= top:
        assert float(score[0]) == pytest.approx(-math.log10(reference_p(healthy, value)), abs=1e-9)
    else:
        assert float(score[0]) >= math.log10(len(healthy) + 1) - 1e-9


@given(recordings, st.lists(finite, min_size=2, max_size=20))
def test_scores_never_fall_and_are_finite(healthy: list[list[float]], values: list[float]) -> None:
    """Odder is never scored lower, in the counted range, at the joint and in the tail; no score is infinite."""
    top = max(max(one) for one in healthy)
    asked = (
        torch.tensor([*values, top, math.nextafter(top, math.inf), top + 1.0, 1e9], dtype=torch.float64).sort().values
    )
    score, _ = calibration_of(healthy)(asked)
    assert torch.isfinite(score).all()
    assert bool((score.diff() >= -1e-12).all())


def test_the_tail_starts_where_counting_ends() -> None:
    """Right beyond the oddest healthy value p is 1 / (n + 1), without a jump, and falls from there."""
    calibration = calibration_of([[float(value)] for value in range(20)])
    score, extrapolated = calibration(torch.tensor([19.0 + 1e-9, 25.0, 60.0], dtype=torch.float64))
    assert float(score[0]) == pytest.approx(math.log10(21), abs=1e-6)
    assert bool((score.diff() > 0).all())
    assert extrapolated.tolist() == [True, True, True]


def test_copies_of_windows_add_no_evidence() -> None:
    """Ten copies of every window of every recording change no score: n counts recordings."""
    healthy = [[1.0, 2.0], [1.5], [0.5, 3.0, 2.5]]
    asked = torch.tensor([0.0, 1.2, 2.0, 2.9, 3.5])
    once, many = calibration_of(healthy), calibration_of([one * 10 for one in healthy])
    torch.testing.assert_close(once(asked).score, many(asked).score)
    assert many.recordings == 3


def test_what_n_can_support() -> None:
    """Twelve recordings support 10% and not 5%: their floor is 1 in 13."""
    calibration = calibration_of([[float(value)] for value in range(12)])
    assert calibration.floor == pytest.approx(1 / 13)
    assert [calibration.supports(alpha) for alpha in (0.01, 0.05, 0.1)] == [False, False, True]


def test_achieved_is_nominal_on_grouped_data() -> None:
    """Windows of a recording resemble each other; over 600 lines the share of false alarms is the nominal one."""
    generator = torch.Generator().manual_seed(0)
    hits = {0.05: 0, 0.1: 0, 0.2: 0}
    trials = 600
    for _ in range(trials):
        own = torch.randn(41, 1, generator=generator)  # what a recording's windows share
        windows = own + 0.3 * torch.randn(41, 6, generator=generator)
        calibration = calibrate(windows[:40].flatten(), torch.arange(40).repeat_interleave(6))
        p = 10 ** -float(calibration(windows[40:, 0]).score[0])
        for alpha in hits:
            hits[alpha] += p <= alpha
    for alpha, count in hits.items():
        noise = 3 * math.sqrt(alpha * (1 - alpha) / trials)
        assert alpha - noise - 1 / 41 <= count / trials <= alpha + noise


def test_counting_windows_instead_would_cheat() -> None:
    """The same data with windows counted as recordings claims rarer events than it can know."""
    own = torch.randn(8, 1, generator=torch.Generator().manual_seed(1)).expand(8, 50).flatten()
    honest = calibrate(own, torch.arange(8).repeat_interleave(50))
    naive = calibrate(own, torch.arange(400))
    beyond = own.max() + 1e-6
    assert float(honest(beyond[None]).score[0]) == pytest.approx(math.log10(9), abs=1e-3)
    assert float(naive(beyond[None]).score[0]) > 2.0


def test_the_extrapolated_tail_holds_for_exponential_scores() -> None:
    """With 25 recordings, an extrapolated one-in-a-hundred happens about once in a hundred, not ten times as often."""
    generator = torch.Generator().manual_seed(2)
    hits = trials = 0
    for _ in range(300):
        healthy = torch.empty(25).exponential_(generator=generator)
        fresh = torch.empty(100).exponential_(generator=generator)
        score = calibrate(healthy, torch.arange(25))(fresh).score
        hits += int((score >= 2.0).sum())
        trials += len(fresh)
    assert 0.004 <= hits / trials <= 0.016


def test_a_heavy_tail_is_recognised() -> None:
    """The moments fit finds shape and scale of a generalised Pareto law; a light tail gets shape 0, never below."""
    generator = torch.Generator().manual_seed(3)
    uniform = torch.rand(20_000, generator=generator, dtype=torch.float64)
    heavy = (uniform**-0.3 - 1.0) / 0.3  # shape 0.3, scale 1
    calibration = calibrate(heavy, torch.arange(len(heavy)))
    assert calibration.shape == pytest.approx(0.3, abs=0.05)
    assert calibration.scale == pytest.approx(1.0 + 0.3 * calibration.threshold, rel=0.05)
    light = calibrate(uniform, torch.arange(len(uniform)))
    assert light.shape == 0.0


def test_few_recordings_make_the_tail_more_cautious() -> None:
    """The same distance beyond healthy sound scores lower the fewer recordings there are."""
    generator = torch.Generator().manual_seed(4)
    many = torch.randn(200, generator=generator)
    scores = [float(calibrate(many[:n], torch.arange(n))(torch.tensor([8.0])).score[0]) for n in (4, 20, 200)]
    assert scores == sorted(scores)


@given(recordings)
def test_a_restored_calibration_scores_the_same(healthy: list[list[float]]) -> None:
    """Its tensors hold all of it."""
    calibration = calibration_of(healthy)
    asked = torch.linspace(-10, 10, 50).double()
    assert torch.equal(calibration(asked).score, Calibration.restore(calibration.state())(asked).score)


def test_nonsense_is_refused() -> None:
    """No values, NaN, or values without recordings raise ValueError; a NaN statistic stays NaN."""
    for values, groups in ((torch.empty(0), torch.empty(0)), (torch.tensor([math.nan]), torch.zeros(1))):
        with pytest.raises(ValueError, match="finite"):
            calibrate(values, groups)
    with pytest.raises(ValueError, match="no calibration"):
        Calibration.restore(
            {"healthy": torch.tensor([2.0, 1.0]), "at_least": torch.ones(2), "numbers": torch.tensor([2.0, 0, 1, 0])}
        )
    assert math.isnan(float(calibration_of([[1.0], [2.0]])(torch.tensor([math.nan])).score[0]))
