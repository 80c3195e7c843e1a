"""The arithmetic of `roi`, against a hand-worked example and by properties that must hold for any numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trialcosts import COSTS

from monitor.roi.chances import conservative, inputs_at, known_figures, monte_carlo, tornado
from monitor.roi.costs import Costs
from monitor.roi.measured import Figures, MachineFigures, Outcome
from monitor.roi.money import (
    Inputs,
    annuity,
    break_even_false_alarms,
    break_even_found,
    inspections_a_year,
    net_a_year,
    npv,
    payback_months,
    saved_a_year,
)
from monitor.roi.trial import Event

EXAMPLE = Inputs(
    machines=10,
    failures=0.5,
    found=0.8,
    early=0.75,
    acted_on=0.5,
    false_alarms=0.01,
    unplanned=1_000_000,
    planned=200_000,
    inspection=10_000,
    running_month=20_000,
    investment=1_000_000,
    discount=0.1,
    years=3,
)
SOME = settings(max_examples=30, deadline=None)
amounts = st.floats(0, 1e9)
shares = st.floats(0, 1)
inputs = st.builds(
    lambda planned, extra, **rest: Inputs(planned=planned, unplanned=planned + extra, **rest),
    planned=amounts,
    extra=amounts,
    machines=st.integers(1, 1000),
    failures=st.floats(0, 50),
    found=shares,
    early=shares,
    acted_on=shares,
    false_alarms=st.floats(0, 100),
    inspection=amounts,
    running_month=amounts,
    investment=amounts,
    discount=st.floats(0, 0.5),
    years=st.integers(1, 20),
)


def figures(found: int, events: int, false_alarms: int, weeks: float = 50.0) -> Figures:
    """A trial of one machine with so many events and false alarms."""
    outcomes = tuple(Outcome(Event("m", str(n), None), n < found, None, ()) for n in range(events))
    return Figures(
        outcomes, (MachineFigures("m", found, events, false_alarms, weeks * 168, weeks),), "trial", 24.0, 1.0
    )


def drawn_npv(trial: Figures, **changes: Any) -> np.ndarray:
    """The NPV of every draw."""
    costs = Costs(**(COSTS | changes))
    return np.asarray(npv(monte_carlo(trial, known_figures(trial, costs), costs, 10, seed=0)))


def test_the_hand_worked_example() -> None:
    """docs/roi.md works this example by hand: 10 x 0.5 x 0.8 x 0.75 x 0.5 x 800,000 and so on."""
    assert saved_a_year(EXAMPLE) == pytest.approx(1_200_000)
    assert inspections_a_year(EXAMPLE) == pytest.approx(52_178.57, abs=0.01)
    assert net_a_year(EXAMPLE) == pytest.approx(907_821.43, abs=0.01)
    assert annuity(0.1, 3) == pytest.approx(1 / 1.1 + 1 / 1.21 + 1 / 1.331)
    assert npv(EXAMPLE) == pytest.approx(1_257_617.19, abs=0.5)
    assert payback_months(EXAMPLE) == pytest.approx(13.2185, abs=1e-3)
    assert break_even_false_alarms(EXAMPLE) == pytest.approx(0.10692, abs=1e-5)
    assert break_even_found(EXAMPLE) == pytest.approx((52_178.571 + 240_000 + 402_114.80) / 1_500_000, abs=1e-6)


def test_break_even_is_where_nothing_is_left() -> None:
    """At either break-even the net present value is zero."""
    assert npv(EXAMPLE.at(false_alarms=break_even_false_alarms(EXAMPLE))) == pytest.approx(0, abs=1e-6)
    assert npv(EXAMPLE.at(found=break_even_found(EXAMPLE))) == pytest.approx(0, abs=1e-6)


def test_what_costs_nothing_sets_no_limit() -> None:
    """Free inspections bear any number of false alarms; failures that cost nothing give no share to break even."""
    assert break_even_false_alarms(EXAMPLE.at(inspection=0.0)) is None
    assert break_even_found(EXAMPLE.at(unplanned=200_000)) is None
    assert payback_months(EXAMPLE.at(found=0.0)) is None


@SOME
@given(inputs, st.floats(0, 100))
def test_more_false_alarms_never_pay_better(one: Inputs, more: float) -> None:
    """Every false alarm costs an inspection, or nothing."""
    assert npv(one.at(false_alarms=one.false_alarms + more)) <= npv(one)


@SOME
@given(inputs, shares)
def test_more_found_never_pays_worse(one: Inputs, share: float) -> None:
    """A fault that is found saves something, or nothing."""
    assert npv(one.at(found=max(one.found, share))) >= npv(one)


@SOME
@given(inputs, amounts)
def test_dearer_never_pays_better(one: Inputs, more: float) -> None:
    """Inspections, service, investment and planned repairs that cost more leave less, dearer failures leave more."""
    for name in ("inspection", "running_month", "investment", "planned"):
        assert npv(one.at(**{name: getattr(one, name) + more})) <= npv(one)
    assert npv(one.at(unplanned=one.unplanned + more)) >= npv(one)


@SOME
@given(inputs, st.floats(0.01, 100))
def test_the_currency_does_not_matter(one: Inputs, scale: float) -> None:
    """Yen or dollars: the money scales, payback and break-even stay."""
    names = ("planned", "unplanned", "inspection", "running_month", "investment")
    other = one.at(**{name: getattr(one, name) * scale for name in names})
    largest = max(float(getattr(one, name)) for name in names) * 1e6 + 1  # what large costs leave rounds as they do
    assert npv(other) == pytest.approx(npv(one) * scale, rel=1e-6, abs=1e-9 * largest * scale)
    assert saved_a_year(other) == pytest.approx(saved_a_year(one) * scale, rel=1e-9, abs=1e-15 * largest * scale)


@SOME
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 60), st.integers(0, 60))
def test_every_draw_is_monotone(first: int, second: int, alarms: int, more: int) -> None:
    """With the same seed, a trial that found more or alarmed less is at least as good in each simulated outcome."""
    fewer, many = sorted((first, second))
    assert (drawn_npv(figures(many, 12, alarms)) >= drawn_npv(figures(fewer, 12, alarms))).all()
    assert (drawn_npv(figures(first, 12, alarms + more)) <= drawn_npv(figures(first, 12, alarms))).all()


def test_dearer_inspections_in_every_draw() -> None:
    """The simulated outcomes keep the order of the arithmetic."""
    trial = figures(8, 10, 3)
    assert (drawn_npv(trial, inspection=30_000) <= drawn_npv(trial)).all()
    assert (drawn_npv(trial, unplanned_failure=3_000_000) >= drawn_npv(trial)).all()


def test_draws_lie_around_the_expected_case() -> None:
    """With much evidence and sure costs the draws close in on the plain arithmetic."""
    costs = Costs(**(COSTS | {"uncertainty": 0.0}))
    trial = figures(8000, 10_000, 300, weeks=30_000.0)
    known = known_figures(trial, costs)
    value = np.asarray(npv(monte_carlo(trial, known, costs, 10, seed=1)))
    assert np.median(value) == pytest.approx(npv(inputs_at(known, costs, 10)), rel=0.01)
    assert np.std(value) < 0.1 * abs(np.median(value))


def test_the_same_seed_draws_the_same() -> None:
    """A report repeats; another seed differs."""
    costs, trial = Costs(**COSTS), figures(8, 10, 3)
    known = known_figures(trial, costs)

    def value(seed: int) -> np.ndarray:
        return np.asarray(npv(monte_carlo(trial, known, costs, 10, seed)))

    assert (value(0) == value(0)).all()
    assert (value(0) != value(1)).any()


def test_conservative_is_never_better() -> None:
    """The bad ends of the intervals leave less than the figures themselves."""
    costs, trial = Costs(**COSTS), figures(8, 10, 3)
    known = known_figures(trial, costs)
    base = inputs_at(known, costs, 10)
    assert npv(base.at(**conservative(known))) < npv(base)


def test_the_tornado_is_sorted_and_shows_each_figure_alone() -> None:
    """The strongest bar first; each end is the arithmetic with that one figure moved."""
    costs, trial = Costs(**COSTS), figures(8, 10, 3)
    known = known_figures(trial, costs)
    base = inputs_at(known, costs, 10)
    bars = tornado(known, base)
    assert [bar.swing for bar in bars] == sorted((bar.swing for bar in bars), reverse=True)
    found = next(bar for bar in bars if bar.name == "found")
    assert found.npv_low == pytest.approx(npv(replace(base, found=known["found"].low)))
