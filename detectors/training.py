"""What training a small network inside `fit` needs: gradients, one seed, bfloat16 where it pays, and batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def learning(seed: int) -> Iterator[None]:
    """Gradients on and the random state `seed`, both as before afterwards, whatever the caller has switched off.

    Tensors made in inference mode must be copied inside (`clone`) before a gradient flows through what they are in.
    """
    with torch.inference_mode(mode=False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def bfloat16_pays(device: torch.device) -> bool:
    """Whether matrix products of bfloat16 are faster there: on a GPU, and on a CPU that has instructions for them.

    On a CPU without them autocast is slower than float32. Scores are always worked out in float32.
    """
    if device.type != "cpu":
        return device.type == "cuda"
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device) -> torch.autocast:
    """The forward pass of training in bfloat16 where that pays; the parameters stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_pays(device))


def batches(count: int, size: int, steps: int) -> Iterator[Tensor]:
    """`steps` batches of row numbers below `count`: permutation after permutation, at most `size` each, all alike long.

    Drawn from the global random state, so call it inside `learning`. What a permutation has left over comes first in
    none: a batch of one or two rows would spoil batch normalisation.
    """
    size = min(size, count)
    while True:
        for part in torch.randperm(count)[: count - count % size].reshape(-1, size):
            if steps <= 0:
                return
            steps -= 1
            yield part
