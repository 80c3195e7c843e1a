"""Tapped parts: their modes are the formulas', and a recording is what its numbers say."""

from __future__ import annotations

import numpy as np
import pytest

from sds_engine.physics.modes import beam_roots
from sds_engine.physics.taps import DESIGNS, Scatter, draw_design, draw_station, make_part, tap


def test_a_free_bar_has_the_ratios_of_its_roots() -> None:
    """Bending modes of a free bar stand as the squares of b_n, whatever its size."""
    design = draw_design("beam", np.random.default_rng(0))
    roots = beam_roots("free-free", len(design.nominal.hz))
    assert design.nominal.hz / design.nominal.hz[0] == pytest.approx((roots / roots[0]) ** 2)


def test_a_ring_has_pairs() -> None:
    """Every mode of the ring comes twice, a percent apart, and a blow at a node of one rings the other."""
    design = draw_design("ring", np.random.default_rng(1))
    pairs = design.nominal.hz.reshape(-1, 2)
    assert ((pairs[:, 1] / pairs[:, 0] - 1 > 0.003) & (pairs[:, 1] / pairs[:, 0] - 1 < 0.013)).all()
    shape = design.nominal.shape(0.0).reshape(-1, 2)
    assert np.abs(shape[:, 1]) == pytest.approx(0.0, abs=1e-9)
    assert (np.abs(shape[:, 0]) > 1).all()


@pytest.mark.parametrize("kind", DESIGNS)
def test_parts_scatter_as_told(kind: str) -> None:
    """Over 300 pieces sizes and dampings have the stated deviations; without scatter all pieces are one."""
    rng = np.random.default_rng(2)
    design = draw_design(kind, rng)
    parts = [make_part(design, rng, Scatter(0.01, 0.002, 0.05, 0.0, 0.0)) for _ in range(300)]
    together = np.array([np.mean(part.hz / design.nominal.hz) for part in parts])
    assert together.std() == pytest.approx(0.01, rel=0.2)
    damped = np.array([part.zeta[0] / part.zeta[1] for part in parts])
    assert damped == pytest.approx(design.nominal.zeta[0] / design.nominal.zeta[1])
    same = make_part(design, rng, Scatter(0.0, 0.0, 0.0, 0.0, 0.0))
    assert same.hz == pytest.approx(design.nominal.hz)


def test_a_fault_changes_one_mode() -> None:
    """with_fault multiplies one frequency and one damping, and leaves the healthy piece as it was."""
    design = draw_design("plate", np.random.default_rng(3))
    part = make_part(design, np.random.default_rng(4))
    hz, zeta = part.hz.copy(), part.zeta.copy()
    faulty = part.with_fault(2, hz=0.99, zeta=1.2)
    assert (np.flatnonzero(faulty.hz != hz).tolist(), np.flatnonzero(faulty.zeta != zeta).tolist()) == ([2], [2])
    assert faulty.hz[2] == pytest.approx(0.99 * hz[2])
    assert (part.hz == hz).all()


def test_a_recording_is_a_function_of_its_seed() -> None:
    """The same generator gives the same samples; within full scale, quiet before the first blow, loudest at -6 dBFS."""
    design = draw_design("plate", np.random.default_rng(5))
    station = draw_station(16_000, np.random.default_rng(6), noise_dbfs=-80.0)

    def record(seed: int) -> np.ndarray:
        return tap(design, design.nominal, station, np.random.default_rng(seed), strikes=2)

    sound = record(7)
    assert np.array_equal(sound, record(7))
    assert not np.array_equal(sound, record(8))
    assert np.abs(sound).max() == pytest.approx(0.5, rel=0.01)
    assert np.abs(sound[:3000]).max() < 0.001


def test_an_unknown_kind_is_refused() -> None:
    """The error lists the kinds."""
    with pytest.raises(ValueError, match="beam, plate, ring"):
        draw_design("bell", np.random.default_rng(0))
