"""In what kinds of surroundings the healthy recordings were made, told from how they sound; nobody labels that.

Healthy sound is a mix: the machine beside a busy neighbour, in rain, at another speed. What comes later is another mix,
and then two things go wrong that one can see coming in healthy sound alone. A member of a fusion whose score follows
the surroundings hears them and not the machine (`share_within`). And a threshold that holds for the mix of training
is passed too often where a kind becomes frequent that was rare there, or was not there at all (`doubted`).
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from detectors.base import Evidence
from detectors.statistics import band_statistics, standardise

KINDS = 6  # at most; 4 to 8 do about as well on development evidence
PER_KIND = 16  # contexts on average that a kind must have to be told apart
DOUBT = 1.0 / 3.0  # of later sound is taken for another mix where few recordings were heard
SETTLED = 100  # recordings from which on the mix of training counts as that of later
_STEPS = 19  # quantiles that stand for Student's t
_AXES = 8


def kinds_of(healthy: Evidence) -> Tensor:
    """The number of its kind [batch] for every healthy context; all 0 where there are too few to tell kinds apart.

    k-means on the first principal components of the bands' levels and deviations, each in its healthy deviation.
    """
    count = min(KINDS, len(healthy) // PER_KIND)
    device = healthy.log_mel.device
    if count < 2:
        return torch.zeros(len(healthy), dtype=torch.long, device=device)
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    values = standardise(band_statistics(healthy))[2].cpu()
    left, size, _ = torch.linalg.svd(values, full_matrices=False)
    with warnings.catch_warnings():  # fewer different contexts than kinds: then there are fewer kinds
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(count, n_init=10, random_state=0).fit_predict((left * size)[:, :_AXES].numpy())
    return torch.from_numpy(found).long().to(device)


def share_within(statistics: Tensor, kinds: Tensor) -> Tensor:
    """The share of variance [part] that healthy statistics [part, batch] have within kinds [batch]; 1 for one kind."""
    number = torch.unique(kinds, return_inverse=True)[1]
    member = torch.nn.functional.one_hot(number).to(statistics)  # [batch, kind]
    mean = (statistics @ member / member.sum(0)) @ member.T
    total = (statistics - statistics.mean(1, keepdim=True)).square().sum(1)
    return ((statistics - mean).square().sum(1) / total.clamp_min(1e-12)).clamp(0.0, 1.0).where(total > 0, 1.0)


class Doubted(NamedTuple):
    """Calibration values under doubt [value], their weights [value], and the place that each comes from [value]."""

    statistic: Tensor
    weight: Tensor
    place: Tensor


def doubted(statistic: Tensor, weight: Tensor, kinds: Tensor) -> Doubted:
    """Healthy statistics [value] with weights that sum to the number of recordings, and what later mixes may add.

    A share of later sound, DOUBT (1 - recordings / SETTLED), is taken for another mix: all kinds alike often, and each
    of them as one of its sort that training had not would be. What that does is told by how much the kinds at hand
    differ: shifted by the predictive law of a random effect, Student's t with one degree of freedom less than there are
    kinds, times sqrt(1 + 1 / kinds) and the deviation between kinds (`between_kinds`). Where the statistic does not
    follow the surroundings nothing is shifted. Weighing calibration values by how often their like will come is what
    conformal prediction does under a shift (Tibshirani et al., NeurIPS 2019).
    """
    number = torch.unique(kinds, return_inverse=True)[1]
    place = torch.arange(len(statistic), device=statistic.device)
    count = int(number.max()) + 1
    total = float(weight.sum())
    share = DOUBT * (1.0 - total / SETTLED)
    if count < 2 or share <= 0.0:
        return Doubted(statistic, weight, place)
    mass = torch.zeros(count, dtype=weight.dtype, device=weight.device).index_add_(0, number, weight)
    even = weight / mass[number] * (total / count)
    middle = (torch.arange(_STEPS, dtype=torch.float64) + 0.5) / _STEPS
    reach = math.sqrt(1.0 + 1.0 / count) * between_kinds(statistic, number)
    shift = reach * _student(count - 1, middle).to(statistic)  # [step]
    return Doubted(
        torch.cat([statistic, (statistic + shift[:, None]).flatten()]),
        torch.cat([weight * (1.0 - share), (even * share / _STEPS).repeat(_STEPS)]),
        place.repeat(1 + _STEPS),
    )


def between_kinds(statistic: Tensor, number: Tensor) -> float:
    """The deviation between kinds of a statistic [value] in kinds 0, 1, ... [value], net of what chance makes of means.

    The moment estimate of one-way random effects (Searle, Casella and McCulloch, "Variance Components", 1992, 3.6).
    """
    size = torch.bincount(number).to(statistic)
    kinds, values = len(size), len(statistic)
    if kinds < 2 or values <= kinds:
        return 0.0
    mean = torch.zeros_like(size).index_add_(0, number, statistic) / size
    within = (statistic - mean[number]).square().sum() / (values - kinds)
    between = (size * (mean - statistic.mean()).square()).sum() / (kinds - 1)
    usual = (values - size.square().sum() / values) / (kinds - 1)
    return math.sqrt(max(0.0, float((between - within) / usual)))


def _student(freedom: int, share: Tensor) -> Tensor:
    """Quantiles of Student's t."""
    from scipy.special import stdtrit

    return torch.from_numpy(stdtrit(freedom, share.numpy()))
