"""How loud, and how alike: RMS, level in dB relative to full scale, scale-invariant signal-to-distortion ratio."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR_DBFS = -120.0  # below the noise of any converter; silence reads as this


def rms(samples: Tensor) -> Tensor:
    """The root mean square over time: `[..., time]` -> `[...]`, full scale 1.0. Empty sound is 0."""
    if samples.shape[-1] == 0:
        return samples.new_zeros(samples.shape[:-1])
    return samples.square().mean(dim=-1).sqrt()


def level_dbfs(samples: Tensor, floor_dbfs: float = FLOOR_DBFS) -> Tensor:
    """The RMS level `[..., time]` -> `[...]` in dB, where RMS 1.0 is 0 dB; never below `floor_dbfs`.

    A full-scale sine is -3.01 dB here: this is RMS over full scale, not the AES17 sine reference.
    """
    return 20.0 * rms(samples).clamp_min(10.0 ** (floor_dbfs / 20.0)).log10()


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """The scale-invariant signal-to-distortion ratio in dB, `[..., time]` x2 -> `[...]`.

    Le Roux, Wisdom, Erdogan and Hershey, "SDR - half-baked or well done?", ICASSP 2019: the reference is
    scaled by alpha = <estimate, reference> / |reference|^2; the mean is not removed. A silent reference gives NaN,
    because nothing can be said; a perfect estimate +inf; a silent or an orthogonal one -inf.
    Raises ValueError where the shapes differ.
    """
    if estimate.shape != reference.shape:
        raise ValueError(
            f"estimate is {tuple(estimate.shape)} and reference {tuple(reference.shape)}: give them the same shape"
        )
    energy = reference.square().sum(dim=-1, keepdim=True)
    alpha = (estimate * reference).sum(dim=-1, keepdim=True) / energy
    target = alpha * reference
    distortion = (estimate - target).square().sum(dim=-1)
    signal = target.square().sum(dim=-1)
    value = 10.0 * (signal.log10() - distortion.log10())
    return torch.where((signal == 0.0) & (distortion == 0.0), torch.full_like(value, -torch.inf), value)
