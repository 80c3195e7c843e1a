"""The loss that mask networks are trained with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sds_engine.separation.mixing import Examples

SDR_SHARE = 0.15


def loss_of(net: nn.Module, examples: Examples) -> Tensor:
    """Cross entropy of the mask with the power ratio, and 0.15 of the logarithm of what the masked sound gets wrong.

    Cross entropy is least where the mask is the ratio's expectation; its cells count by how loud they are within their
    example (dB above its floor), so that silence teaches little. The second part counts as SI-SDR does.
    """
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(examples.log_mel, examples.query)
    cell = nn.functional.binary_cross_entropy_with_logits(logits.float(), examples.ratio, reduction="none")
    floor = examples.log_mel.mean(dim=(1, 2), keepdim=True)
    weight = torch.sigmoid((examples.log_mel - floor) / 6.0) + 0.1
    entropy = (cell * weight).sum() / weight.sum()
    return entropy + SDR_SHARE * _wrong(torch.sigmoid(logits.float()), examples)


def _wrong(mask: Tensor, examples: Examples) -> Tensor:
    """Logarithm of |mask X - S|^2 over |S|^2 (from 0.001 on), the mean over examples that hold their target.

    Per band, sums over its bins: mask^2 |X|^2 - 2 mask Re(S X*) + |S|^2.
    """
    mixture = 10.0 ** (examples.log_mel / 10.0)
    whole = examples.target.sum(dim=(1, 2))
    error = (mask.square() * mixture - 2.0 * mask * examples.cross).sum(dim=(1, 2)) + whole
    there = whole > 1e-7 * mixture.sum(dim=(1, 2))
    return torch.log(error[there].clamp_min(0.0) / whole[there] + 1e-3).sum() / len(error)
