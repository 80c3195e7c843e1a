"""Ex-Diff where a pipeline has features and no waveform: what it corrects of the extractor's mask, in mel bands.

Of a mixture the network hears the power of cells alone, and without noise the bridge's states are gains of the mixture:
so phases decide nothing, and cells of power (`detectors.frontend`, `fine`) give the answer that the STFT would.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sds_engine.separation.exdiff.bridge import sample
from sds_engine.separation.exdiff.cells import pooled, spread, widths
from sds_engine.separation.exdiff.model import Asked, Belief, ExDiffModel, Guess, Look, dot, on_cells
from sds_engine.separation.grid import FLOOR, mel_bands

_LEAST = 1e-4  # of a gain: logits stay finite
_LEAST_VARIANCE = 1e-3  # of the power around a cell, as the model has it


@dataclass(frozen=True)
class Correction:
    """What Ex-Diff adds to the first guess: logits [batch, mel, frame], by power where a band holds several cells.

    shift: of the mask. spread: the logarithm of the posterior's variance over that of two Gaussian sounds of which only
    the sum is known; above 0 where the network is less sure of its answer than that.
    """

    shift: Tensor
    spread: Tensor


@torch.inference_mode()
def correct(
    model: ExDiffModel, log_mel: Tensor, fine_db: Tensor, asked: Asked, guess: tuple[Tensor, Tensor], nfe: int = 1
) -> Correction:
    """The correction for mixtures: log_mel [batch, mel, frame] and fine_db [batch, cell, frame] in dB.

    guess: the extractor's logits [batch, mel, frame] and latents [batch, token, latent], as the network was trained on.
    """
    look = look_at(log_mel, fine_db, asked)
    first = Guess(on_cells(guess[0]), guess[1])
    seen = model.see(look, first)
    beliefs: list[Belief] = []

    def predict(x: Tensor, t: float) -> Tensor:
        answer, belief = model.predict(seen, x, t)
        beliefs.append(belief)
        return answer

    state = sample(predict, seen.first(), nfe, None)
    gain = _gain(state, look)
    shift = torch.logit(gain) - torch.logit(torch.sigmoid(first.logit).clamp(_LEAST, 1.0 - _LEAST))
    return Correction(_in_bands(shift, look.power), _in_bands(_wider(beliefs[0], look), look.power))


def look_at(log_mel: Tensor, fine_db: Tensor, asked: Asked) -> Look:
    """What features show of mixtures, as `Look.at` sees it in their STFT."""
    cells = (10.0 ** (fine_db.float() / 10.0)).transpose(1, 2)  # [batch, frame, cell]
    cells = torch.where(cells > 2.0 * FLOOR, cells, 0.0)
    amplitude = spread(cells.sqrt()).transpose(1, 2)  # [batch, bin, frame]
    return replace(Look.at(torch.complex(amplitude, torch.zeros_like(amplitude)), asked), mel=log_mel)


def _gain(state: Tensor, look: Look) -> Tensor:
    """States [batch, frame, bin] of the bridge as gains [batch, frame, cell] of the mixture."""
    known = pooled(dot(state, look.mixture)) / look.power.clamp_min(FLOOR**2)
    return known.clamp(_LEAST, 1.0 - _LEAST)


def _wider(belief: Belief, look: Look) -> Tensor:
    """The logarithm of the variance over the usual one, gain (1 - gain) |X|^2 [batch, frame, cell]; 0 in silence."""
    usual = belief.gain * (1.0 - belief.gain) * look.power + _LEAST_VARIANCE * look.unit
    return torch.where(usual > FLOOR**2, (belief.variance / usual.clamp_min(FLOOR**2)).clamp_min(_LEAST).log(), 0.0)


def _in_bands(cells: Tensor, power: Tensor) -> Tensor:
    """Means over the cells of every band [batch, mel, frame], by the power that they bring to it."""
    shares = _cells_in_bands(power.device)  # [cell, mel]
    total = (power @ shares).clamp_min(FLOOR**2)
    return ((power * cells) @ shares / total).transpose(1, 2)


def _cells_in_bands(device: torch.device) -> Tensor:
    return pooled(mel_bands(device).T).T * widths(device)[:, None]
