"""Intervals of a share, of a rate and of a median, and how much more a trial must see to narrow them.

- Wilson's score interval for a share: E. B. Wilson, JASA 22 (1927) 209-212.
- The exact interval of a Poisson rate from chi-squared quantiles: F. Garwood, Biometrika 28 (1936) 437-442.
- Draws that carry both into the money: Jeffreys' posteriors Beta(k + 1/2, n - k + 1/2) and Gamma(k + 1/2); Brown, Cai
  and DasGupta, Statistical Science 16 (2001) 101-133, show that Wilson's and Jeffreys' intervals agree closely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054  # the normal law's 97.5% quantile
REPLICATES = 2000
MOST = 500  # further faults, or weeks, beyond which "more of the same" is no advice

Pair = tuple[float, float]
Array = NDArray[np.float64]


def wilson(found: float, of: float) -> Pair:
    """The 95% interval of a share; 0..1 where nothing was tried. `found` may be an expected number."""
    if of <= 0:
        return 0.0, 1.0
    share = found / of
    middle = (share + Z * Z / (2 * of)) / (1 + Z * Z / of)
    half = Z / (1 + Z * Z / of) * math.sqrt(share * (1 - share) / of + Z * Z / (4 * of * of))
    low = 0.0 if found == 0 else middle - half
    return max(0.0, low), 1.0 if found == of else min(1.0, middle + half)


def poisson(count: float, exposure: float) -> tuple[float, float | None]:
    """The exact 95% interval of a rate per unit of exposure; no upper end where there was no exposure."""
    from scipy.stats import chi2

    if exposure <= 0:
        return 0.0, None
    low = 0.0 if count <= 0 else float(chi2.ppf(0.025, 2 * count)) / 2
    return low / exposure, float(chi2.ppf(0.975, 2 * count + 2)) / 2 / exposure


def bootstrap_median(values: Sequence[float], seed: int) -> Pair | None:
    """The 95% interval of the median, drawing recordings anew; None for fewer than two."""
    if len(values) < 2:
        return None
    generator = np.random.default_rng(seed)
    drawn = generator.choice(np.asarray(values, dtype=np.float64), size=(REPLICATES, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)


def draw_share(found: int, of: int, uniform: Array) -> Array:
    """Draws of a share [draw] from Jeffreys' posterior, by inversion: more found never draws a smaller share."""
    from scipy.stats import beta

    return np.asarray(beta.ppf(uniform, found + 0.5, of - found + 0.5))


def draw_rate(count: int, exposure: float, uniform: Array) -> Array:
    """Draws of a rate [draw] from Jeffreys' posterior, by inversion: more alarms never draw a smaller rate.

    Raises ValueError without exposure: nothing is known of the rate then.
    """
    from scipy.stats import gamma

    if exposure <= 0:
        raise ValueError("no healthy machine was listened to: there is no false-alarm rate to draw")
    return np.asarray(gamma.ppf(uniform, count + 0.5)) / exposure


def faults_needed(found: int, of: int, threshold: float) -> int | None:
    """How many more faults, found at the same share, take `threshold` out of the share's interval.

    The share is shrunk as Jeffreys does, (k + 1/2) / (n + 1), so that one of one is not taken for certainty. None where
    `MOST` would not be enough: the share lies too close to the threshold.
    """
    share = (found + 0.5) / (of + 1)
    for more in range(MOST + 1):
        low, high = wilson(found + share * more, of + more)
        if low > threshold or high < threshold:
            return more
    return None


def exposure_needed(count: int, exposure: float, threshold: float) -> float | None:
    """How much more exposure, at the same rate, takes `threshold` out of the rate's interval; None beyond `MOST`.

    In steps of a tenth of a unit below ten, else of one. The rate is the measured one, count / exposure: a trial of
    minutes without an alarm must not be told that minutes more would settle it.
    """
    rate = count / exposure if exposure > 0 else 0.0
    for more in [*(step / 10 for step in range(100)), *range(10, MOST + 1)]:
        low, high = poisson(count + rate * more, exposure + more)
        if high is not None and (high < threshold or low > threshold):
            return float(more)
    return None
