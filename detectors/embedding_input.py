"""Our log-mel frames as a pretrained network wants them: its bands, its frame rate, its scale.

The front end's bands are turned into power per Hz and read off at the network's bands, so levels are right where the
spectrum is smooth; frames are interpolated in time, so nothing finer than our 64 ms is there. A network hears
what it was trained on only about as well: its published figures belong to its own front end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from detectors.frontend import FrontEnd, mel_edges, mel_matrix

_LEAST_HZ = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A network's front end, as its JSON says it; see `embedding_files`.

    frame_s between frames; a Hann window of `window` samples at `rate`, in a transform of n_fft; mel bands from low_hz
    to high_hz on the `scale` htk or slaney, triangles of height 1 or (`area`) of area 1; preemphasis; gain_db on the
    samples; log natural or db; then (x - mean) / deviation.
    """

    rate: int = 16_000
    n_fft: int = 512
    window: int = 400
    frame_s: float = 0.01
    mels: int = 128
    low_hz: float = 20.0
    high_hz: float = 8_000.0
    scale: str = "htk"
    area: bool = False
    preemphasis: float = 0.0
    gain_db: float = 0.0
    log: str = "natural"
    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if min(self.rate, self.n_fft, self.window, self.mels) < 1 or not (self.frame_s > 0 and self.deviation > 0):
            raise ValueError("front_end: rate, n_fft, window, mels, frame_s and deviation must be above 0")
        if not 0.0 <= self.low_hz < self.high_hz <= self.rate / 2:
            raise ValueError(
                f"front_end: bands from {self.low_hz} to {self.high_hz} Hz do not fit a rate of {self.rate}"
            )
        if self.scale not in ("htk", "slaney") or self.log not in ("natural", "db"):
            raise ValueError(f"front_end: scale {self.scale!r} or log {self.log!r}; allowed: htk, slaney; natural, db")


def adapt(log_mel: Tensor, ours: FrontEnd, wanted: Wanted) -> Tensor:
    """Frames in dB [batch, mel, frame] of `ours` as the network's input [batch, frame, mel].

    Raises ValueError for frames of another front end.
    """
    if log_mel.shape[1] != ours.mels:
        raise ValueError(f"frames have {log_mel.shape[1]} bands, this network was set up behind {ours.mels}")
    edges = _edges(wanted)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    step = wanted.rate / wanted.n_fft
    area = torch.full_like(centre, 1.0 / step) if wanted.area else ((high - low) / 2.0 / step).clamp_min(1.0)
    # Of noise with a density S per Hz a bin holds S * rate / 2 * (sum of the squared window), whichever transform.
    bins = 10.0 * math.log10(wanted.rate * wanted.window / (ours.rate * ours.n_fft))
    gain = 10.0 * area.log10() + wanted.gain_db + bins + _preemphasis_db(centre, wanted)
    mine = mel_edges(ours)[1:-1]
    total = mel_matrix(ours, torch.device("cpu")).double().sum(0).clamp_min(1e-3)  # bins that a band of ours adds up
    density = log_mel - (10.0 * total.log10()).float().to(log_mel.device)[:, None]
    x = torch.einsum("wm,bmf->bwf", _between(mine, centre).float().to(log_mel.device), density)
    x = x + gain.float().to(log_mel.device)[:, None]
    frames = max(1, round(x.shape[-1] * ours.hop / ours.rate / wanted.frame_s))
    x = functional.interpolate(x, size=frames, mode="linear", align_corners=False).transpose(1, 2)
    if wanted.log == "natural":
        x = x * (math.log(10.0) / 10.0)
    return (x - wanted.mean) / wanted.deviation


def _preemphasis_db(hz: Tensor, wanted: Wanted) -> Tensor:
    angle = 2.0 * math.pi * hz / wanted.rate
    a = wanted.preemphasis
    return 10.0 * (1.0 - 2.0 * a * angle.cos() + a * a).clamp_min(1e-6).log10()


def _edges(wanted: Wanted) -> Tensor:
    """The corner frequencies of the network's bands in Hz [mel + 2]."""
    ends = torch.tensor([wanted.low_hz, wanted.high_hz], dtype=torch.float64)
    if wanted.scale == "htk":
        low, high = (1127.0 * (1.0 + ends / 700.0).log()).tolist()
        return 700.0 * ((torch.linspace(low, high, wanted.mels + 2, dtype=torch.float64) / 1127.0).exp() - 1.0)
    low, high = (_slaney(hz) for hz in ends.tolist())
    mel = torch.linspace(low, high, wanted.mels + 2, dtype=torch.float64)
    curve = 1000.0 * (math.log(6.4) / 27.0 * (mel - 15.0)).exp()
    return torch.where(mel < 15.0, mel * 200.0 / 3.0, curve)


def _slaney(hz: float) -> float:
    """Slaney's mel: linear below 1 kHz, logarithmic above (Auditory Toolbox, 1998)."""
    return hz * 3.0 / 200.0 if hz < 1000.0 else 15.0 + math.log(hz / 1000.0) * 27.0 / math.log(6.4)


def _between(known: Tensor, asked: Tensor) -> Tensor:
    """The matrix [asked, known] of linear interpolation between known frequencies; the ends are held."""
    place = torch.searchsorted(known, asked).clamp(1, len(known) - 1)
    left, right = known[place - 1], known[place]
    share = ((asked - left) / (right - left).clamp_min(_LEAST_HZ)).clamp(0.0, 1.0)
    matrix = torch.zeros(len(asked), len(known), dtype=torch.float64)
    matrix[torch.arange(len(asked)), place - 1] = 1.0 - share
    matrix[torch.arange(len(asked)), place] = share
    return matrix
