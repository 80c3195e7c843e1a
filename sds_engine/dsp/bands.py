"""Fractional-octave bands after IEC 61260-1, as a bank whose bands add up to the sound again."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

OCTAVE = 10.0**0.3  # IEC 61260-1:2014, clause 5: the octave ratio G in base ten


def band_edges(fraction: int, low_hz: float, high_hz: float) -> tuple[float, ...]:
    """The edges in Hz of all 1/fraction-octave bands whose middle lies in low_hz..high_hz, n + 1 for n bands.

    IEC 61260-1:2014, clause 5: middles 1000 G^(x/b) for odd b and 1000 G^((2x+1)/(2b)) for even b; edges G^(+-1/(2b))
    beside them. Raises ValueError where no band fits.
    """
    shift = 0.0 if fraction % 2 else 0.5
    first = math.ceil(fraction * math.log(low_hz / 1000.0, OCTAVE) - shift - 1e-9)
    last = math.floor(fraction * math.log(high_hz / 1000.0, OCTAVE) - shift + 1e-9)
    if last < first:
        raise ValueError(f"no 1/{fraction}-octave band has its middle in {low_hz}..{high_hz} Hz: widen the range")
    return tuple(1000.0 * OCTAVE ** ((x + shift - 0.5) / fraction) for x in range(first, last + 2))


def split_bands(samples: Tensor, rate: int, edges_hz: tuple[float, ...], overlap: float = 0.1) -> Tensor:
    """Sound `[..., time]` into n + 1 bands `[..., band, time]` at n rising edges in Hz; their sum is the sound.

    Zero-phase, by weights on the Fourier transform of the whole: band 0 lies below the first edge, the last above
    the last edge. Neighbours cross over by a raised cosine over `overlap` octaves on either side of their edge,
    6 dB down at the edge. Being the transform of the whole, the sound wraps round at its ends.
    Raises ValueError for edges that do not rise.
    """
    if not edges_hz or edges_hz[0] <= 0.0 or any(b <= a for a, b in itertools.pairwise(edges_hz)):
        raise ValueError(f"edges are {edges_hz} Hz: give one or more above 0, each higher than the one before")
    spectrum = torch.fft.rfft(samples)  # [..., bin]
    bins = torch.arange(spectrum.shape[-1], device=samples.device, dtype=torch.float64)
    octaves = (bins * (rate / samples.shape[-1])).clamp_min(1e-9).log2()
    edges = torch.tensor(edges_hz, dtype=torch.float64, device=samples.device).log2()
    ramp = ((octaves - edges[:, None]) / (2.0 * overlap) + 0.5).clamp(0.0, 1.0)  # [edge, bin]
    above = 0.5 - 0.5 * torch.cos(math.pi * ramp)
    ones, zeros = above.new_ones(1, above.shape[1]), above.new_zeros(1, above.shape[1])
    weights = torch.cat([ones, above]) - torch.cat([above, zeros])  # [band, bin], sums to 1
    bands: Tensor = torch.fft.irfft(spectrum.unsqueeze(-2) * weights.to(samples.dtype), n=samples.shape[-1])
    return bands
