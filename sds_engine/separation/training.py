"""The loss that mask networks are trained with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sds_engine.separation.mixing import Examples


def loss_of(net: nn.Module, examples: Examples) -> Tensor:
    """Cross entropy of the mask with the power ratio: least where the mask is the ratio's expectation.

    Cells count by how loud they are within their example (dB above its floor), so that silence teaches little.
    """
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(examples.log_mel, examples.query)
    cell = nn.functional.binary_cross_entropy_with_logits(logits.float(), examples.ratio, reduction="none")
    floor = examples.log_mel.mean(dim=(1, 2), keepdim=True)
    weight = torch.sigmoid((examples.log_mel - floor) / 6.0) + 0.1
    return (cell * weight).sum() / weight.sum()
