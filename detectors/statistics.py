"""What a context sounds like in few numbers per mel band: its level, how that varies, and its floor.

Levels are absolute. Under a background the bands that the machine fills keep their level, while the mean over bands
follows the background: taking that mean away would carry the background into every band. So a gain of the microphone is
heard, up and down alike. Weights are the confidence (missing-feature idea: Cooke et al., Speech Communication 34,
2001): what a separator does not believe does not count. A band that nothing is believed of falls back on all frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from detectors.base import Evidence

FLOOR_SHARE = 0.1  # of the time a band is quieter than its floor
QUIET_SHARE = 0.05  # of the time a band is quieter than in its quiet moments
QUIET_FRAMES = 5  # averaged before `band_quiet` takes the floor; half overlapping
_NORMAL_90 = 1.2816  # the normal law's 90% quantile
_LEAST_SCALE = 1e-3  # dB
_LEAST = 1e-4  # a weight that only matters where all others are 0


def weights(evidence: Evidence) -> Tensor:
    """The confidence as weights above 0 [batch, mel, frame]."""
    return evidence.confidence + _LEAST


def band_means(evidence: Evidence) -> Tensor:
    """Weighted mean level of every band in dB [batch, mel]; a gain does move this one."""
    weight = weights(evidence)
    return (weight * evidence.log_mel).sum(-1) / weight.sum(-1)


def band_statistics(evidence: Evidence) -> Tensor:
    """Weighted mean and standard deviation in dB of every band [batch, 2 * mel], float64."""
    weight = weights(evidence)
    total = weight.sum(-1)  # [batch, mel]
    mean = (weight * evidence.log_mel).sum(-1) / total
    off = evidence.log_mel - mean[:, :, None]
    deviation = (weight * off.square_()).sum(-1).div_(total).sqrt_()
    return torch.cat([mean, deviation], dim=1).double()


def band_floors(evidence: Evidence, share: float = FLOOR_SHARE) -> Tensor:
    """The level that every band stays under for a `share` of the time [batch, mel] in dB, float64.

    A steady machine under a fluctuating background is what remains when the background pauses (minimum statistics:
    Martin, IEEE Trans. Speech and Audio Processing 9(5), 2001).
    """
    even = _even(evidence)
    if bool(even.all()):
        return _plain_floor(evidence.log_mel, share).double()
    floor = evidence.log_mel.new_empty(evidence.log_mel.shape[:2])  # [batch, mel]
    floor[even] = _plain_floor(evidence.log_mel[even], share)
    floor[~even] = _weighted_floor(evidence.rows(torch.nonzero(~even).squeeze(1)), share)
    return floor.double()


def band_quiet(evidence: Evidence) -> Tensor:
    """The bands' floors [batch, mel] in dB, float64, of levels averaged over 0.2 s: floors with less scatter.

    A single frame of 64 ms of a noise-like machine scatters by 4 to 5 dB, and the floor of such frames is that
    scatter's lower end. Minimum statistics smooth first for the same reason (Martin 2001, section II).
    """
    even = _even(evidence)
    if bool(even.all()):
        return _plain_floor(_smoothed(evidence.log_mel), QUIET_SHARE).double()
    floor = evidence.log_mel.new_empty(evidence.log_mel.shape[:2], dtype=torch.float64)  # [batch, mel]
    floor[even] = _plain_floor(_smoothed(evidence.log_mel[even]), QUIET_SHARE).double()
    uneven = evidence.rows(torch.nonzero(~even).squeeze(1))
    weight = weights(uneven)
    belief = _smoothed(weight)
    level = _smoothed(weight * uneven.log_mel) / belief
    floor[~even] = band_floors(Evidence(level, belief, uneven.level_dbfs), QUIET_SHARE)
    return floor


def _even(evidence: Evidence) -> Tensor:
    """Which contexts believe every cell as much as every other [batch], each row for itself."""
    return (evidence.confidence == evidence.confidence[:, :1, :1]).all(-1).all(-1)


def _smoothed(values: Tensor) -> Tensor:
    """Means over 0.2 s, half overlapping, of what frames have [batch, mel, frame]."""
    width = min(QUIET_FRAMES, values.shape[-1])
    return torch.nn.functional.avg_pool1d(values, width, max(1, width // 2))


def _plain_floor(log_mel: Tensor, share: float) -> Tensor:
    """The same where every frame weighs as much [batch, mel]: one order statistic."""
    place = max(1, math.ceil(share * log_mel.shape[-1]))
    if log_mel.device.type == "cpu":  # numpy selects with vector instructions, five times as fast as torch
        return torch.from_numpy(np.partition(log_mel.numpy(), place - 1, axis=-1)[..., place - 1].copy())
    return log_mel.kthvalue(place, -1).values


def _weighted_floor(evidence: Evidence, share: float) -> Tensor:
    level, order = evidence.log_mel.sort(-1)
    weight = weights(evidence).double().gather(-1, order).cumsum(-1)  # [batch, mel, frame]
    place = (weight < share * weight[..., -1:]).sum(-1, keepdim=True)
    return level.gather(-1, place.clamp_max(level.shape[-1] - 1)).squeeze(-1)


def robust_spread(values: Tensor, *, least: float) -> tuple[Tensor, Tensor]:
    """Median and spread over the first dimension; the spread is that of a normal law with the same MAD.

    Where over half of the values are the same the MAD is 0: `least` stands in.
    """
    centre = values.quantile(0.5, dim=0)
    return centre, ((values - centre).abs().quantile(0.5, dim=0) * 1.4826).clamp_min(least)


def upper_spread(values: Tensor, centre: Tensor, dim: int = 0) -> Tensor:
    """How far values lie above their centre: the spread of a normal law whose upper tenth begins where theirs does."""
    return (values.quantile(0.9, dim=dim) - centre) / _NORMAL_90


def standardise(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and scale [feature] of healthy values [healthy, feature], and the values in these units.

    A band that never moves (all silence, an empty band) keeps its unit of 1 dB rather than a scale of 0.
    """
    mean, scale = values.mean(0), values.std(0, correction=0)
    scale = torch.where(scale > _LEAST_SCALE, scale, 1.0)
    return mean, scale, (values - mean) / scale


def require(state: Mapping[str, Tensor], **shapes: tuple[int | None, ...]) -> None:
    """Raise ValueError unless `state` has these tensors with these shapes (None: any length, but at least 1)."""
    for name, shape in shapes.items():
        tensor = state.get(name)
        if tensor is None:
            raise ValueError(f"tensor {name} is missing")
        fits = tensor.ndim == len(shape) and all(
            have >= 1 if want is None else have == want for have, want in zip(tensor.shape, shape, strict=True)
        )
        if not fits:
            raise ValueError(f"tensor {name} has shape {tuple(tensor.shape)}, allowed is {shape}")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"tensor {name} holds values that are not finite")
