"""AUC, partial AUC and the official score of DCASE Task 2, with bootstrap intervals over recordings.

Everything takes weights per file, [replicate, file], so that one pass serves a thousand bootstrap replicates; a test
holds the plain case equal to scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_FPR = 0.1
REPLICATES = 1000
_CELLS = 2_000_000  # replicates times files at a time


@dataclass(frozen=True, slots=True)
class TestSet:
    """What is known of the test files of one machine [file]; domain is '' where unknown."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    anomaly: NDArray[np.bool_]
    domain: NDArray[np.str_]
    recording: NDArray[np.str_]

    @property
    def two_classes(self) -> bool:
        """Whether there is anything to tell apart."""
        return bool(self.anomaly.any() and not self.anomaly.all())


@dataclass(frozen=True, slots=True)
class Ranking:
    """Figures per replicate [replicate]; NaN where a class is missing. domains: AUC of each domain that there is."""

    auc: Array
    pauc: Array
    domains: tuple[Array, ...]


def curve(scores: Array, anomaly: NDArray[np.bool_], weight: Array) -> tuple[Array, Array]:
    """False and true positive rates [replicate, point], from (0, 0) to (1, 1); equal scores make one point."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last always ends
    sorted_weight = weight[:, order]
    faulty = anomaly[order]
    rates = []
    for chosen in (~faulty, faulty):
        cumulative = np.cumsum(np.where(chosen, sorted_weight, 0.0), axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):  # a missing class is NaN, on purpose
            rate = cumulative[:, ends] / cumulative[:, -1:]
        rates.append(np.concatenate([np.zeros((len(weight), 1)), rate], axis=1))
    return rates[0], rates[1]


def area(fpr: Array, tpr: Array, up_to: float = 1.0) -> Array:
    """Area under the curves [replicate] from fpr 0 to `up_to`, the last piece by straight interpolation."""
    left, right = fpr[:, :-1], fpr[:, 1:]
    cut = np.minimum(right, up_to)
    width = np.maximum(cut - left, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(right > left, (tpr[:, 1:] - tpr[:, :-1]) / (right - left), 0.0)
    return np.asarray((width * (tpr[:, :-1] + slope * width / 2)).sum(axis=1)) + 0.0 * fpr[:, -1] * tpr[:, -1]


def rank(scores: Array, test: TestSet, weight: Array) -> Ranking:
    """AUC, pAUC (standardised: McClish 1989, as scikit-learn's max_fpr) and AUC per domain of one machine."""
    fpr, tpr = curve(scores, test.anomaly, weight)
    least = MAX_FPR**2 / 2
    pauc = 0.5 * (1.0 + (area(fpr, tpr, MAX_FPR) - least) / (MAX_FPR - least))
    domains = []
    for name in sorted(set(test.domain[~test.anomaly]) - {""}):
        own = weight * (test.anomaly | (test.domain == name))  # that domain's normals against all anomalies
        domains.append(area(*curve(scores, test.anomaly, own)))
    auc = area(fpr, tpr)
    return Ranking(auc, pauc, tuple(domains) or (auc, auc))


def harmonic(parts: Sequence[Array]) -> Array:
    """Harmonic mean over the parts [replicate]; 0 where a part is 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(len(parts) / sum(1.0 / part for part in parts))


def official(ranking: Ranking) -> tuple[Array, ...]:
    """The parts whose harmonic mean is the official score: AUC of each domain, and pAUC."""
    return (*ranking.domains, ranking.pauc)


def bootstrap_weights(test: TestSet, replicates: int, generator: np.random.Generator) -> Array:
    """How often each file is drawn [replicate, file]: recordings drawn anew, healthy and faulty ones apart."""
    weight = np.zeros((replicates, len(test.anomaly)))
    for kind in (False, True):
        files = np.flatnonzero(test.anomaly == kind)
        names, number = np.unique(test.recording[files], return_inverse=True)
        if len(names):
            drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
            weight[:, files] = drawn[:, number]
    return weight


def enough_recordings(test: TestSet) -> bool:
    """Whether both classes have the two recordings that an interval needs at the very least."""
    return all(len(set(test.recording[test.anomaly == kind])) >= 2 for kind in (False, True))


def over_machines(
    scores: Sequence[Array], tests: Sequence[TestSet], weights: Sequence[Array]
) -> tuple[Array, Array, Array]:
    """AUC, pAUC and official score [replicate], harmonic means over the machines (one: its own)."""
    rankings = [_in_parts(*each) for each in zip(scores, tests, weights, strict=True)]
    return (
        harmonic([one.auc for one in rankings]),
        harmonic([one.pauc for one in rankings]),
        harmonic([value for one in rankings for value in official(one)]),
    )


def _in_parts(scores: Array, test: TestSet, weight: Array) -> Ranking:
    step = max(1, _CELLS // max(1, weight.shape[1]))
    parts = [rank(scores, test, weight[start : start + step]) for start in range(0, len(weight), step)]
    return Ranking(
        np.concatenate([part.auc for part in parts]),
        np.concatenate([part.pauc for part in parts]),
        tuple(np.concatenate(columns) for columns in zip(*(part.domains for part in parts), strict=True)),
    )


def interval(values: Array) -> list[float] | None:
    """The middle 95% of the replicates that could be computed; None where hardly any could."""
    good = values[np.isfinite(values)]
    if len(good) < len(values) / 2:
        return None
    low, high = np.quantile(good, [0.025, 0.975])
    return [float(low), float(high)]
