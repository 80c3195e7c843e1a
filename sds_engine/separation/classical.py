"""Separation without training: what anything learned has to beat, and the oracle that bounds it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sds_engine.separation.base import Query, QueryError
from sds_engine.separation.grid import FLOOR, Separated, analyse, apply_mask, power


def mean_power(clips: Sequence[Tensor]) -> Tensor:
    """The mean power of every bin [bin] over recordings [time]."""
    spectra = [power(analyse(clip[None]))[0] for clip in clips]
    frames = sum(spectrum.shape[-1] for spectrum in spectra)
    return torch.stack([spectrum.sum(-1) for spectrum in spectra]).sum(0) / frames


class Mixture:
    """No separation: everything is let through. The identity, and the zero of every comparison."""

    name = "mixture"
    nfe = 0

    def __call__(self, mix: Tensor, query: Query) -> Separated:  # noqa: ARG002 - the interface
        """The mixture itself; the residual is silence."""
        shape = analyse(mix).shape
        return Separated(mix.clone(), torch.zeros_like(mix), mix.new_ones(shape))


class Wiener:
    """A fixed filter: mean power of the enrolment over that of enrolment and background together.

    Wiener, Extrapolation, Interpolation and Smoothing of Stationary Time Series, 1949: the best linear filter for
    stationary sound. Without recordings of the background, its mean power is the mixture's less the enrolment's.
    """

    name = "wiener"
    nfe = 0

    def __call__(self, mix: Tensor, query: Query) -> Separated:
        """Needs enrolment at the level that it has in the mixture."""
        if not query.enrolment:
            raise QueryError("wiener needs recordings of the wanted sound: give --enrol")
        spectrum = power(analyse(mix))  # [batch, bin, frame]
        wanted = mean_power(query.enrolment)[None].expand(len(mix), -1)
        if query.background:
            rest = mean_power(query.background)[None].expand(len(mix), -1)
        else:
            rest = (spectrum.mean(-1) - wanted).clamp_min(0.0)
        gain = wanted / (wanted + rest).clamp_min(FLOOR)
        return apply_mask(mix, gain[:, :, None].expand(spectrum.shape))


class SpectralGating:
    """Frames of a bin that stand out of the background by a threshold pass, others are turned down, smoothly.

    After spectral subtraction with a floor (Boll, IEEE Trans. ASSP 27(2), 1979) and the noise gates of audio editors:
    the threshold is mean plus 1.5 deviations in dB of the background; without recordings of it, of the
    quieter half of the mixture's own frames.
    """

    name = "spectral-gating"
    nfe = 0
    deviations = 1.5
    reduction = 0.1  # the gain of what is gated

    def __call__(self, mix: Tensor, query: Query) -> Separated:
        """Needs nothing; takes recordings of the background where there are any."""
        level = power(analyse(mix)).clamp_min(FLOOR).log10().mul(10.0)  # [batch, bin, frame]
        if query.background:
            clips = [power(analyse(clip[None])).clamp_min(FLOOR).log10().mul(10.0)[0] for clip in query.background]
            noise = torch.cat(clips, dim=-1)[None]
        else:
            noise = level.sort(-1).values[..., : max(2, level.shape[-1] // 2)]
        threshold = noise.mean(-1, keepdim=True) + self.deviations * noise.std(-1, keepdim=True, correction=0)
        gate = torch.sigmoid((level - threshold) / 2.0)
        smooth = torch.nn.functional.avg_pool2d(
            gate[:, None], (5, 3), stride=1, padding=(2, 1), count_include_pad=False
        )[:, 0]
        return apply_mask(mix, self.reduction + (1.0 - self.reduction) * smooth)


class IdealRatioMask:
    """The oracle: the true share of the wanted sound in the power of every bin and frame.

    Wang, Narayanan and Wang, "On training targets for supervised speech separation", IEEE/ACM TASLP 22(12), 2014,
    with exponent 1 (a Wiener gain): on this grid it gives 1.7 dB more SI-SDR than exponent 1/2.
    """

    name = "ideal_ratio_mask"
    nfe = 0

    def __call__(self, mix: Tensor, query: Query) -> Separated:
        """Needs the reference [batch, time]."""
        if query.reference is None or query.reference.shape != mix.shape:
            raise QueryError("ideal_ratio_mask is an oracle: it needs the reference of each mixture")
        wanted = power(analyse(query.reference))
        rest = power(analyse(mix - query.reference))
        return apply_mask(mix, wanted / (wanted + rest).clamp_min(1e-20))
