"""What all modes of a part have in common, and what each has alone: a factor model of healthy differences.

d_m = u + e_m: u (size, temperature, how it is held) is common to the modes of a part, e_m is a mode's own (the piece,
the estimate's error); both are normal, with spreads learned by expectation maximisation (one factor whose loadings are
all one: Rubin and Thayer, Psychometrika 47, 1982). Deviations are plain ones, not robust: what an unreliable mode does
now and then in healthy parts is to make it dull. A changed mode is the one that the others foretell worst.

d [mode, part] with NaN where a part has not got the mode; one kind of difference (frequency or damping) at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

POOLED = 5.0  # how many parts the spread of all modes is worth beside a mode's own: few parts make a poor guess
ROUNDS = 30


class Factor(NamedTuple):
    """The spread of what is common, and of each mode alone [mode]."""

    common: float
    own: F64


class Oddness(NamedTuple):
    """Of one part: what is common to its modes, with its deviation; that as a z-score; each mode's z [mode], signed."""

    shared: float
    shared_sd: float
    shared_z: float
    own_z: F64


def learn_factor(differences: F64, least: float) -> Factor:
    """The spreads of healthy differences [mode, part] from their centres; none is under `least`."""
    has = np.isfinite(differences)
    d = np.where(has, differences, 0.0)
    count = np.maximum(has.sum(1), 1)
    common = max(float(np.mean(np.square(np.nanmedian(differences[:, has.any(0)], axis=0)))), least**2)
    own = np.maximum(np.square(d).sum(1) / count, least**2)
    for _ in range(ROUNDS):
        weight = has / own[:, None]
        precision = weight.sum(0) + 1.0 / common  # [part]
        shared = (weight * d).sum(0) / precision
        common = max(float(np.mean(np.square(shared) + 1.0 / precision)), least**2)
        alone = np.where(has, np.square(d - shared) + 1.0 / precision, 0.0).sum(1) / count
        pool = float(np.median(alone))
        own = np.maximum((count * alone + POOLED * pool) / (count + POOLED), least**2)
    return Factor(float(np.sqrt(common)), np.asarray(np.sqrt(own)))


def oddness(differences: F64, own: F64, common: float) -> Oddness:
    """How odd the differences [mode] of one part are, given each mode's spread [mode] and the common one."""
    weight = 1.0 / np.square(own)
    precision = float(weight.sum()) + 1.0 / common**2
    total = float((weight * differences).sum())
    if not len(own):
        return Oddness(0.0, common, 0.0, np.zeros(0))
    shared = total / precision
    # of all modes together against their centres: the mean that the modes give, without what healthy parts tell of it
    shared_z = total / weight.sum() / np.sqrt(common**2 + 1.0 / weight.sum())
    rest = precision - weight  # what is known of u without each mode
    foretold = (total - weight * differences) / rest
    own_z = (differences - foretold) / np.sqrt(np.square(own) + 1.0 / rest)
    return Oddness(shared, precision**-0.5, float(shared_z), np.asarray(own_z))
