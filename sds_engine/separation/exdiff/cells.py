"""Cells of bins, and a mixture's level around each: the coordinates of Ex-Diff.

Bins up to 4 kHz are cells of their own, those above go by eight: [bin] 513 -> [cell] 288. The level around a cell is
the unit of the bridge's noise there: so the state has no dynamic range, and where the mixture is silent there is no
noise either, and the answer is silence whatever a network says.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from sds_engine.separation.grid import BINS, FLOOR, MELS, mel_bands, mel_to_bins

FINE, COARSE = 256, 8
CELLS = FINE + (BINS - 1 - FINE) // COARSE


def pooled(bins: Tensor) -> Tensor:
    """Means of bins [..., bin] as cells [..., cell]; the last bin, at half the rate, is left out."""
    above = bins[..., FINE : BINS - 1].reshape(*bins.shape[:-1], -1, COARSE).mean(-1)
    return torch.cat([bins[..., :FINE], above], dim=-1)


def spread(cells: Tensor) -> Tensor:
    """Cells [..., cell] as bins [..., bin]."""
    above = cells[..., FINE:].repeat_interleave(COARSE, dim=-1)
    return torch.cat([cells[..., :FINE], above, cells[..., -1:]], dim=-1)


def widths(device: torch.device) -> Tensor:
    """How many bins each cell holds [cell]."""
    return pooled(torch.zeros(BINS, device=device)) + torch.where(torch.arange(CELLS, device=device) < FINE, 1, COARSE)


def unit_power(cells: Tensor) -> Tensor:
    """The mean power of 3 x 3 cells around each, of cells [batch, frame, cell]; at the edges of fewer."""
    across = _three(cells, -1)
    return _three(across, -2)


def _three(cells: Tensor, dim: int) -> Tensor:
    """Means of each element and its neighbours along a dimension."""
    size = cells.shape[dim]
    if size == 1:
        return cells
    total = cells.clone()
    total.narrow(dim, 1, size - 1).add_(cells.narrow(dim, 0, size - 1))
    total.narrow(dim, 0, size - 1).add_(cells.narrow(dim, 1, size - 1))
    count = torch.full((size,), 3.0, device=cells.device)
    count[0] = count[-1] = 2.0
    return total / (count if dim == -1 else count[:, None])


@functools.lru_cache(maxsize=4)
def cells_of_bands(device: torch.device) -> Tensor:
    """Weights [mel, cell]: what is known of mel bands, as cells."""
    with torch.inference_mode(mode=False):  # what is kept must serve a training too
        return pooled(mel_to_bins(torch.eye(MELS, device=device)[None])[0].T).clone()


def detail_db(power: Tensor, cells: Tensor) -> Tensor:
    """How cells stand out of their mel bands, in dB [..., cell]: power of bins [..., bin] and the same as cells."""
    bands = mel_bands(power.device)
    smooth = (power @ (bands / bands.sum(0).clamp_min(1e-6))) @ cells_of_bands(power.device)
    return decibels(cells) - decibels(smooth)


def decibels(power: Tensor) -> Tensor:
    """Power in dB, from -100 on."""
    return 10.0 * power.clamp_min(FLOOR).log10()
