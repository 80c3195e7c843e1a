"""Spectrogram emphasis (Eq. 7): pull the magnitudes of several STFTs, where ears and spectra agree, not the samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sds_engine.sds.residuals import decoder_residual, surrogate
from sds_engine.sds.settings import Weighting


def magnitudes(wave: Tensor, window: int) -> Tensor:
    """S_m: STFT magnitudes of `[..., time]` -> `[..., bin, frame]`, Hann, hop of a quarter, zeros beyond the ends.

    Scaled so that all of it has about half the energy of the wave, whatever the window: no window outweighs another,
    and weights mean the same for the waveform and for magnitudes. At silence the gradient is zero, not infinite.
    """
    hop = window // 4
    shape = torch.hann_window(window, dtype=wave.dtype, device=wave.device)
    scale = (hop / (window * shape.square().sum())).sqrt()
    flat = wave.reshape(-1, wave.shape[-1])
    spectrum = torch.stft(flat, window, hop, window=shape, center=True, pad_mode="constant", return_complex=True)
    answer: Tensor = spectrum.abs() * scale
    return answer.reshape(*wave.shape[:-1], *answer.shape[-2:])


def emphasis_loss(
    wave: Tensor, heard: Tensor, sigma: Tensor, windows: Sequence[int], weighting: Weighting = "signal"
) -> Tensor:
    """The loss `[batch]` whose gradient is Eq. 7, sum_m (S_m(x) - E[S_m(x^)]) dS_m(x)/dtheta.

    wave `[batch, time]` with its gradient, heard `[batch, draws, time]` without, sigma `[batch, draws]`. The paper
    prints the difference the other way round and ascends.
    """
    total = wave.new_zeros(wave.shape[0])
    for window in windows:
        own = magnitudes(wave, window)  # [batch, bin, frame]
        total = total + surrogate(own, decoder_residual(own, magnitudes(heard, window), sigma, weighting))
    return total
