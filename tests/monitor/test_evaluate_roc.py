"""AUC, pAUC, official score and intervals against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from monitor import roc


def files(anomaly: list[bool], domain: list[str] | None = None, recording: list[str] | None = None) -> roc.TestSet:
    n = len(anomaly)
    return roc.TestSet(
        np.array(anomaly), np.array(domain or [""] * n), np.array(recording or [str(number) for number in range(n)])
    )


@given(st.integers(0, 2**32 - 1), st.integers(4, 60), st.integers(0, 3))
def test_areas_are_scikit_learns(seed: int, n: int, decimals: int) -> None:
    """AUC and pAUC equal scikit-learn's, with ties and with weights."""
    generator = np.random.default_rng(seed)
    scores = np.round(generator.normal(size=n), decimals)
    anomaly = generator.random(n) < 0.5
    anomaly[:2] = True, False
    weight = np.vstack([np.ones(n), generator.integers(0, 3, n) + 0.01])
    ranking = roc.rank(scores, files(list(anomaly)), weight)
    for row in range(2):
        own = {"sample_weight": weight[row]}
        assert ranking.auc[row] == pytest.approx(roc_auc_score(anomaly, scores, **own), abs=1e-9)
        assert ranking.pauc[row] == pytest.approx(roc_auc_score(anomaly, scores, max_fpr=0.1, **own), abs=1e-9)


def test_domains_are_normals_of_one_against_all_anomalies() -> None:
    """AUC per domain and their harmonic mean with pAUC, straight from the definition."""
    generator = np.random.default_rng(0)
    anomaly = np.arange(60) % 3 == 0
    domain = np.where(generator.random(60) < 0.4, "target", "source")
    scores = generator.normal(size=60) + anomaly
    test = files(list(anomaly), list(domain))
    parts = [
        roc_auc_score(anomaly[keep], scores[keep])
        for keep in (anomaly | (domain == name) for name in ("source", "target"))
    ]
    parts.append(roc_auc_score(anomaly, scores, max_fpr=0.1))
    expected = 3 / sum(1 / part for part in parts)
    *_, official = roc.over_machines([scores], [test], [np.ones((1, 60))])
    assert official[0] == pytest.approx(expected)


def test_without_domains_the_auc_stands_for_both() -> None:
    """No domain column: source and target are the one AUC."""
    anomaly = [True, True, False, False, False]
    scores = np.array([3.0, 1.0, 2.0, 0.5, 0.1])
    auc, pauc, official = roc.over_machines([scores], [files(anomaly)], [np.ones((1, 5))])
    assert official[0] == pytest.approx(3 / (2 / auc[0] + 1 / pauc[0]))


def test_several_machines_are_joined_by_the_harmonic_mean() -> None:
    """A machine on which a detector fails is not hidden by one on which it shines."""
    test = files([True, True, False, False])
    good, poor = np.array([4.0, 3.0, 2.0, 1.0]), np.array([4.0, 1.0, 2.0, 3.0])
    both, *_ = roc.over_machines([good, poor], [test, test], [np.ones((1, 4))] * 2)
    assert both[0] == pytest.approx(2 / (1 / 1.0 + 1 / 0.5))


def test_bootstrap_draws_whole_recordings_of_each_class() -> None:
    """Files of a recording are drawn together, and a class keeps its number of recordings in every replicate."""
    anomaly = [False] * 6 + [True] * 4
    recording = ["a", "a", "b", "b", "c", "c", "x", "x", "y", "y"]
    weight = roc.bootstrap_weights(files(anomaly, recording=recording), 200, np.random.default_rng(0))
    assert np.array_equal(weight[:, 0::2], weight[:, 1::2])
    assert set(weight[:, 0:6:2].sum(1)) == {3.0}
    assert set(weight[:, 6::2].sum(1)) == {2.0}


def test_intervals_cover_the_truth() -> None:
    """Over 100 simulated test sets with grouped files, 95% intervals hold the true AUC about that often."""
    generator = np.random.default_rng(1)
    truth = 0.7602  # P(N(1, 1) > N(0, 1)): Phi(1 / sqrt 2)
    anomaly = np.repeat([False, True], 60)
    recording = np.repeat(np.arange(40), 3)
    hits = 0
    for _ in range(100):
        own = np.repeat(generator.normal(size=40), 3) * 0.9 + generator.normal(size=120) * np.sqrt(1 - 0.81)
        test = roc.TestSet(anomaly, np.full(120, ""), recording.astype(str))
        auc, *_ = roc.over_machines([own + anomaly], [test], [roc.bootstrap_weights(test, 200, generator)])
        low, high = roc.interval(auc) or (0.0, 0.0)
        hits += low <= truth <= high
    assert 85 <= hits <= 100


def test_what_cannot_be_ranked_is_not_invented() -> None:
    """One class gives NaN and no interval, never a number."""
    test = files([False] * 5)
    ranking = roc.rank(np.arange(5.0), test, np.ones((3, 5)))
    assert np.isnan(ranking.auc).all()
    assert np.isnan(ranking.pauc).all()
    assert roc.interval(ranking.auc) is None
    assert not test.two_classes
    assert not roc.enough_recordings(test)
