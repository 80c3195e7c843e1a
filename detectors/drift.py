"""Whether healthy scores have drifted: a conformal test martingale, one value per recording.

Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005), chapter 7: while recordings come from one
and the same healthy machine, the smoothed conformal p-values of their statistics are independent and uniform. A
gambler who starts with 1 and bets on them has a fortune that is a martingale, so the chance that it ever reaches 1 /
alpha is at most alpha (Ville, 1939). A drift makes the p-values crowd, and the fortune grows. The bets are power
martingales e p^(e - 1), mixed over e, on small p-values (odder) and on great ones (calmer) alike: half each.

Pure functions; recordings, not windows: windows of one recording resemble each other and would be no fair coin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

ALPHA = 0.01  # the chance, once and for all time, that a machine that has not changed is said to have drifted
_POWERS = np.linspace(0.02, 0.98, 49)


@dataclass(frozen=True, slots=True)
class Drift:
    """p and log10_fortune [recording]; first: the recording at which the fortune reached 1 / alpha, or None."""

    p: F64
    log10_fortune: F64
    alpha: float
    first: int | None

    @property
    def drifted(self) -> bool:
        """Whether the test has said so, at any time."""
        return self.first is not None

    @property
    def direction(self) -> str:
        """Where the statistics went up to the answer: "odder" or "calmer"."""
        heard = self.p if self.first is None else self.p[: self.first + 1]
        heard = np.clip(heard, 1e-12, 1.0 - 1e-12)
        return "odder" if np.log(heard).sum() < np.log1p(-heard).sum() else "calmer"


def conformal_p_values(healthy: Sequence[float], later: Sequence[float], seed: int = 0) -> F64:
    """The smoothed p-value of each later statistic among the healthy ones and all later ones before it [recording].

    Ties are broken by a coin, seeded. Higher statistics have smaller p. Raises ValueError for values not finite.
    """
    known = sorted(float(value) for value in healthy)
    if not known or not np.isfinite([*known, *later]).all():
        raise ValueError(f"{len(known)} healthy and {len(later)} later statistics: give at least one, all finite")
    coin = np.random.default_rng(seed)
    p = np.empty(len(later))
    for number, value in enumerate(later):
        left, right = np.searchsorted(known, [value], "left")[0], np.searchsorted(known, [value], "right")[0]
        above, same = len(known) - right, right - left
        p[number] = (above + coin.uniform() * (same + 1)) / (len(known) + 1)
        known.insert(int(left), float(value))
    return p


def log10_fortune(p: F64) -> F64:
    """log10 of the mixture power martingale after each p-value, betting on both ends [recording]."""
    p = np.clip(np.asarray(p, dtype=np.float64), 1e-12, 1.0 - 1e-12)
    sides = [np.log(_POWERS)[:, None] + (_POWERS - 1.0)[:, None] * np.log(side) for side in (p, 1.0 - p)]
    wealth = np.concatenate([np.cumsum(side, axis=1) for side in sides])  # [bet, recording], natural logarithm
    most = wealth.max(axis=0, initial=0.0)
    mean = np.exp(wealth - most).mean(axis=0)
    return np.asarray((most + np.log(mean)) / math.log(10.0))


def drift_of(healthy: Sequence[float], later: Sequence[float], *, alpha: float = ALPHA, seed: int = 0) -> Drift:
    """Have the statistics of later recordings drifted from the healthy ones' (out of fold, one per recording)?

    Sequential: look after every recording, for ever, and the chance of a false answer stays below alpha. Raises
    ValueError for an alpha outside 0..1 and for values that are not finite.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is {alpha}, allowed is above 0 and below 1")
    p = conformal_p_values(healthy, later, seed)
    fortune = log10_fortune(p)
    reached = np.flatnonzero(fortune >= -math.log10(alpha))
    return Drift(p, fortune, alpha, int(reached[0]) if len(reached) else None)


def drift_of_scores(recordings: int, scores: Sequence[float], *, alpha: float = ALPHA, seed: int = 0) -> Drift:
    """The same from calibrated scores (-log10 p), of which `recordings` healthy ones are known to rank evenly.

    A score says how many of the n healthy recordings are at least as odd: p = (1 + count) / (n + 1), count 0 .. n. The
    healthy ones themselves lie between these steps. Raises ValueError as `drift_of`, and for no healthy recording.
    """
    if recordings < 1:
        raise ValueError(f"recordings is {recordings}, allowed is 1 or more")
    ranks = np.arange(1, recordings + 1)
    return drift_of((-np.log10((ranks + 0.5) / (recordings + 1))).tolist(), scores, alpha=alpha, seed=seed)
