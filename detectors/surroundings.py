"""In what kinds of surroundings the healthy recordings were made, told from how they sound; nobody labels that.

Healthy sound is a mix: the machine beside a busy neighbour, in rain, at another speed. What comes later is another mix,
and then two things go wrong that one can see coming in healthy sound alone. A member of a fusion whose score follows
the surroundings hears them and not the machine (`share_within`). And a threshold that holds for the mix of training
is passed too often where a kind that was rare there becomes frequent (`evened`).
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from detectors.base import Evidence
from detectors.statistics import band_statistics, standardise

KINDS = 6  # at most; 4 to 8 do about as well on development evidence
PER_KIND = 16  # contexts on average that a kind must have to be told apart
UNKNOWN = 24.0  # recordings' worth of doubt about the mix, spread evenly over the kinds
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


def evened(weight: Tensor, kinds: Tensor) -> Tensor:
    """Weights [value] with the kinds' shares drawn towards an even mix, and the same sum.

    As if each kind had been heard in a few more recordings, UNKNOWN in all, as odd as those at hand: the mean of the
    mix under a symmetric Dirichlet prior. Weighing calibration values by how often their like will come is what
    conformal prediction does under a shift (Tibshirani et al., NeurIPS 2019). Many recordings outvote the prior.
    """
    number = torch.unique(kinds, return_inverse=True)[1]
    mass = torch.zeros(int(number.max()) + 1, dtype=weight.dtype, device=weight.device).index_add_(0, number, weight)
    more = weight * (1.0 + UNKNOWN / len(mass) / mass[number])
    return more * (weight.sum() / more.sum())
