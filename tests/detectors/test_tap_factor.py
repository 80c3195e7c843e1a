"""The factor model of a part's differences: against conditional normal laws worked out by matrix inversion."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.tap_factor import learn_factor, oddness

OWN = np.array([0.02, 0.03, 0.05, 0.02, 0.1])
COMMON = 0.04


def test_each_mode_is_judged_by_what_the_others_foretell() -> None:
    """A mode's z is its conditional one given all others, (C^-1 d)_m / sqrt((C^-1)_mm); the shared z is the mean's."""
    d = np.random.default_rng(0).standard_normal(5) * 0.05
    inverse = np.linalg.inv(np.diag(OWN**2) + COMMON**2)
    found = oddness(d, OWN, COMMON)
    assert found.own_z == pytest.approx((inverse @ d) / np.sqrt(np.diag(inverse)))
    ones = np.ones(5)
    assert found.shared_z == pytest.approx(ones @ inverse @ d / np.sqrt(ones @ inverse @ ones))


def test_spreads_come_back_from_drawn_parts() -> None:
    """Of 2000 drawn parts, a fifth of whose modes are missing, spreads are learned within 10%."""
    rng = np.random.default_rng(1)
    d = COMMON * rng.standard_normal(2000) + OWN[:, None] * rng.standard_normal((5, 2000))
    d[rng.random(d.shape) < 0.2] = np.nan
    learned = learn_factor(d, 1e-4)
    assert learned.common == pytest.approx(COMMON, rel=0.1)
    assert learned.own == pytest.approx(OWN, rel=0.1)


@pytest.mark.parametrize("mode", range(4))
def test_the_changed_mode_stands_out(mode: int) -> None:
    """One mode 10 of its spreads off is the oddest of all, though all modes are off together as well."""
    d = 0.06 * np.ones(5)
    d[mode] += 10 * OWN[mode]
    assert int(np.abs(oddness(d, OWN, COMMON).own_z).argmax()) == mode


def test_healthy_parts_are_as_odd_as_a_normal_law_says() -> None:
    """Of 60 parts, those not learned from have z-scores of deviation 1, the most precise mode as the others."""
    rng = np.random.default_rng(2)
    d = COMMON * rng.standard_normal(460) + OWN[:, None] * rng.standard_normal((5, 460))
    learned = learn_factor(d[:, :60], 1e-4)
    z = np.stack([oddness(one, learned.own, learned.common).own_z for one in d[:, 60:].T])
    assert z.std(0) == pytest.approx(np.ones(5), rel=0.25)


def test_an_unreliable_mode_is_made_dull_and_one_mode_is_enough() -> None:
    """One healthy part in twenty that is far off widens a mode's spread; a single mode can be learned and judged."""
    rng = np.random.default_rng(3)
    d = OWN[:, None] * rng.standard_normal((5, 40))
    steady = learn_factor(d, 1e-4).own[0]
    d[0, ::20] = 0.5
    assert learn_factor(d, 1e-4).own[0] > 3 * steady
    alone = learn_factor(d[:1], 1e-4)
    assert np.isfinite(oddness(d[:1, 0], alone.own, alone.common).own_z).all()
    assert learn_factor(np.zeros((2, 5)), 1e-4).own == pytest.approx(1e-4 * np.ones(2))
