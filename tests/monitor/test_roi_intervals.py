"""Intervals of `roi` against scipy's and against their definitions; how much more a trial must see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monitor.roi.intervals import (
    MOST,
    bootstrap_median,
    draw_rate,
    draw_share,
    exposure_needed,
    faults_needed,
    poisson,
    wilson,
)


@pytest.mark.parametrize(("found", "of"), [(0, 1), (1, 1), (0, 20), (17, 20), (20, 20), (3, 1000)])
def test_wilson_is_scipys(found: int, of: int) -> None:
    """The same interval as scipy's, to the last digits."""
    ci = stats.binomtest(found, of).proportion_ci(method="wilson")
    assert wilson(found, of) == pytest.approx((ci.low, ci.high), abs=1e-12)


def test_nothing_tried_is_nothing_known() -> None:
    """No events: any share is possible; no exposure: any rate."""
    assert wilson(0, 0) == (0.0, 1.0)
    assert poisson(3, 0) == (0.0, None)
    with pytest.raises(ValueError, match="no healthy machine"):
        draw_rate(0, 0.0, np.array([0.5]))


@pytest.mark.parametrize(("count", "exposure"), [(0, 2.0), (1, 1.0), (7, 3.5), (120, 52.0)])
def test_poisson_is_exact(count: int, exposure: float) -> None:
    """At either end the data would be among the 2.5% most extreme: Garwood's definition."""
    low, high = poisson(count, exposure)
    assert high is not None
    assert stats.poisson.cdf(count, high * exposure) == pytest.approx(0.025)
    if count:
        assert stats.poisson.sf(count - 1, low * exposure) == pytest.approx(0.025)
    else:
        assert low == 0.0


def test_draws_agree_with_the_intervals() -> None:
    """The middle 95% of the draws lie close to Wilson's and Garwood's intervals."""
    uniform = np.random.default_rng(0).random(20_000)
    assert np.quantile(draw_share(17, 20, uniform), [0.025, 0.975]) == pytest.approx(wilson(17, 20), abs=0.03)
    assert np.quantile(draw_rate(7, 3.5, uniform), [0.025, 0.975]) == pytest.approx(poisson(7, 3.5), abs=0.25)


def test_the_bootstrap_of_lead_times() -> None:
    """It holds the median, widens with scatter, and says nothing of a single event."""
    pair = bootstrap_median([10, 20, 30, 40, 50], seed=0)
    assert pair is not None
    assert 10 <= pair[0] <= 30 <= pair[1] <= 50
    assert bootstrap_median([5.0], seed=0) is None


def test_enough_more_faults_settle_it() -> None:
    """With the answer's number of further faults, found at the same rate, the interval is clear of the threshold."""
    more = faults_needed(4, 5, 0.5)
    assert more is not None
    assert more > 0
    share = 4.5 / 6
    assert wilson(4 + share * more, 5 + more)[0] > 0.5
    assert wilson(4 + share * (more - 1), 5 + more - 1)[0] <= 0.5
    assert faults_needed(4, 5, 4.5 / 6) is None  # the share is the threshold: more of the same never tells
    assert faults_needed(20, 20, 0.1) == 0


def test_enough_more_weeks_settle_it() -> None:
    """The same for false alarms: further exposure at the same rate, none where the rate is the threshold itself."""
    more = exposure_needed(1, 4.0, 1.0)
    assert more is not None
    assert 0 < more < MOST
    high = poisson(1 + 1 / 4 * more, 4 + more)[1]
    assert high is not None
    assert high < 1.0
    assert exposure_needed(1, 4.0, 1 / 4) is None
    assert exposure_needed(0, 1000.0, 1.0) == 0.0
