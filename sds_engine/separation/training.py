"""The loss that mask networks are trained with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sds_engine.separation.mixing import Examples
from sds_engine.separation.network import MaskNet

ENTROPY_SHARE = 0.5
_FLOOR = 1e-3  # 30 dB of SI-SDR are good enough
_LEAST_SHARE = 1e-7  # of the mixture's energy; below it there is no target
LEARNING_TRUST = 0.5  # the share of what is learned that the loss sees where there is an enrolment


def loss_of(net: MaskNet, examples: Examples) -> Tensor:
    """Minus the masked sound's SI-SDR, in nepers of power, and half of the mask's cross entropy with the power ratio.

    The first asks for the right shares whatever their scale (what lets a loud background through weighs much, which
    cross entropy hardly sees), the second for their scale too. Cross entropy is least where the mask is the ratio's
    expectation; its cells count by how loud they are within their example (dB above its floor), so that silence
    teaches little.
    """
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(examples.log_mel, examples.query, LEARNING_TRUST)
    cell = nn.functional.binary_cross_entropy_with_logits(logits.float(), examples.ratio, reduction="none")
    floor = examples.log_mel.mean(dim=(1, 2), keepdim=True)
    weight = torch.sigmoid((examples.log_mel - floor) / 6.0) + 0.1
    entropy = (cell * weight).sum() / weight.sum()
    return ENTROPY_SHARE * entropy - si_sdr_nepers(torch.sigmoid(logits.float()), examples)


def si_sdr_nepers(mask: Tensor, examples: Examples) -> Tensor:
    """log(rho^2 / (1 - rho^2)) of masked mixtures m X and targets S, the mean over examples that hold their target.

    rho^2 = <m X, S>^2 / (|m X|^2 |S|^2), SI-SDR's own form (Le Roux et al., ICASSP 2019), from sums over bands:
    <m X, S> = sum m Re(S X*), |m X|^2 = sum m^2 |X|^2 (a mask that is the same for all bins of a band).
    """
    mixture = 10.0 ** (examples.log_mel / 10.0)
    whole = examples.target.sum(dim=(1, 2))
    alike = (mask * examples.cross).sum(dim=(1, 2))
    return mean_nepers(alike, (mask.square() * mixture).sum(dim=(1, 2)), whole, mixture.sum(dim=(1, 2)))


def mean_nepers(alike: Tensor, energy: Tensor, whole: Tensor, mixture: Tensor) -> Tensor:
    """SI-SDR in nepers of power, up to 30 dB, from <Y, S>, |Y|^2, |S|^2 and |X|^2 [batch], as the mean of a batch.

    Examples without a target count as 0.
    """
    there = whole > _LEAST_SHARE * mixture
    share = alike[there].clamp_min(0.0).square() / (energy[there] * whole[there]).clamp_min(1e-20)
    share = share.clamp(0.0, 1.0)
    return (torch.log(share + _FLOOR) - torch.log(1.0 - share + _FLOOR)).sum() / len(whole)
