"""The front end: sound to log-mel frames, the same for a stream of windows and for a file cut into windows.

A window gives the frames that lie wholly inside it, without padding, so nothing depends on its neighbours and each
window's frames can be kept. Settings follow the baseline of DCASE 2020-2025 Task 2 (64 ms Hann windows, half
overlapping, 128 mel bands, dB), on the HTK scale. A model depends on its front end's settings and version, and keeps
them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from detectors.waveform import VALUES, waveform_values

VERSION = 1
FLOOR = 1e-10  # power; below 16-bit dither, so that digital silence is a level and not minus infinity
_COARSE = 8  # bins of a cell in the upper half of the band
_CHUNK_S = 16.0  # seconds of sound worked on at a time: larger chunks leave the cache and cost a third of the speed


@dataclass(frozen=True, slots=True)
class Features:
    """What one batch of windows sounds like; the fields are those of `detectors.base.Evidence`.

    log_mel [batch, mel, frame] in dB; confidence [batch, mel, frame] in 0..1 (ones for raw sound);
    level_dbfs [batch, frame]; waveform [batch, value] and fine [batch, cell, frame] where they were asked for.
    """

    log_mel: Tensor
    confidence: Tensor
    level_dbfs: Tensor
    waveform: Tensor | None = None
    fine: Tensor | None = None

    def __len__(self) -> int:
        return len(self.log_mel)

    def row(self, number: int) -> Features:
        """One window, without the batch dimension: log_mel [mel, frame], level_dbfs [frame]. A view, no copy."""
        waveform = None if self.waveform is None else self.waveform[number]
        fine = None if self.fine is None else self.fine[number]
        return Features(self.log_mel[number], self.confidence[number], self.level_dbfs[number], waveform, fine)


class HasFrontEnd(Protocol):
    """A model, as far as its front end goes."""

    @property
    def front_end(self) -> FrontEnd:
        """What the model was trained behind."""


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """Sound [batch, time] at `rate` Hz to Features; a pure function of its settings.

    `fine` asks for finer cells besides, which a stage of the pipeline may need and detectors never hear: so front ends
    that differ in that alone are the same to them.
    """

    rate: int = 16_000
    n_fft: int = 1024
    hop: int = 512
    mels: int = 128
    version: int = VERSION
    fine: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"front end version is {self.version}, this program has {VERSION}: train the model anew")
        if min(self.rate, self.n_fft, self.hop, self.mels) < 1 or self.n_fft % self.hop:
            raise ValueError(f"{self}: settings must be above 0, and n_fft a whole number of hops")

    @classmethod
    def at(cls, rate: int) -> FrontEnd:
        """The front end for a sampling rate: frames of about 64 ms, a power of two long."""
        if rate < 1:
            raise ValueError(f"rate is {rate!r}, allowed is a sampling rate in Hz above 0")
        n_fft = 2 ** round(math.log2(rate * 0.064))
        return cls(rate, n_fft, n_fft // 2)

    @staticmethod
    def common(holders: Iterable[HasFrontEnd]) -> FrontEnd:
        """The one front end of several models. Raises ValueError where they have none or differ."""
        found = {holder.front_end for holder in holders}
        if len(found) != 1:
            raise ValueError(f"models have {len(found)} different front ends, allowed is one: train them at one rate")
        return found.pop()

    def to(self, device: torch.device) -> FrontEnd:
        """Itself, with its tables made on `device` before the first window comes."""
        mel_matrix(self, device)
        return self

    def frames(self, samples: int) -> int:
        """How many frames lie wholly inside so many samples."""
        return max(0, 1 + (samples - self.n_fft) // self.hop)

    def __call__(self, samples: Tensor, *, waveform: bool = False) -> Features:
        """The features of windows [batch, time], float32 of full scale 1.0; `waveform` asks for those too.

        Raises ValueError for windows shorter than one frame. NaN stays in its own row: the gate refuses it earlier.
        """
        if samples.ndim != 2 or samples.shape[1] < self.n_fft:
            raise ValueError(f"samples are {tuple(samples.shape)}, allowed is [batch, time >= {self.n_fft}]")
        if not samples.is_floating_point():
            raise ValueError(f"samples are {samples.dtype}, allowed is floating point with full scale 1.0")
        samples = samples.float()
        count = self.frames(samples.shape[1])
        log_mel = samples.new_empty(len(samples), self.mels, count)
        fine = samples.new_empty(len(samples), cells(self), count, dtype=torch.float16) if self.fine else None
        level = samples.new_empty(len(samples), count)
        step = max(1, int(_CHUNK_S * self.rate / samples.shape[1]))
        values = samples.new_empty(len(samples), VALUES) if waveform else None
        for start in range(0, len(samples), step):
            chunk = samples[start : start + step]
            power = self._power(chunk)
            log_mel[start : start + step] = _decibels(power @ mel_matrix(self, samples.device))
            if fine is not None:
                fine[start : start + step] = _decibels(_pooled(power))
            level[start : start + step] = self._level(chunk, count)
            if values is not None:
                values[start : start + step] = waveform_values(chunk, self.rate)
        return Features(log_mel, log_mel.new_ones(()).expand(log_mel.shape), level, values, fine)

    def _power(self, samples: Tensor) -> Tensor:
        window = torch.hann_window(self.n_fft, device=samples.device)
        framed = samples.unfold(-1, self.n_fft, self.hop) * window  # [batch, frame, n_fft]
        return torch.view_as_real(torch.fft.rfft(framed)).square_().sum(-1)  # [batch, frame, bin]

    def _level(self, samples: Tensor, count: int) -> Tensor:
        """RMS of each frame in dBFS, from the energies of its hops."""
        parts = self.n_fft // self.hop
        hops = samples[:, : (count + parts - 1) * self.hop].reshape(len(samples), -1, self.hop)
        energy = hops.square().mean(-1).unfold(-1, parts, 1).mean(-1)  # [batch, frame]
        return energy.clamp_min(FLOOR).log10().mul(10.0)


def cells(front_end: FrontEnd) -> int:
    """How many fine cells there are: the bins up to half of the band, and those above by eights."""
    half = front_end.n_fft // 4
    return half + half // _COARSE


def _pooled(power: Tensor) -> Tensor:
    """The mean power of fine cells [batch, frame, cell] of bins [batch, frame, bin]; the last bin is left out."""
    half = power.shape[-1] // 2
    above = power[..., half:-1].reshape(*power.shape[:-1], -1, _COARSE).mean(-1)
    return torch.cat([power[..., :half], above], dim=-1)


def _decibels(power: Tensor) -> Tensor:
    """Power [batch, frame, band] as dB [batch, band, frame], in its place."""
    return power.clamp_min_(FLOOR).log10_().mul_(10.0).transpose(1, 2)


@functools.lru_cache(maxsize=8)
def mel_edges(front_end: FrontEnd) -> Tensor:
    """The corner frequencies in Hz [mel + 2] of the triangular bands: band i reaches from i to i + 2, peak at i + 1.

    mel = 2595 log10(1 + Hz / 700) (O'Shaughnessy, Speech Communication, 1987; HTK): at 16 kHz the lowest bands are as
    narrow as one bin of the FFT, where shafts and mains hum; Slaney's scale is twice as wide there.
    """
    highest = 2595.0 * math.log10(1.0 + front_end.rate / 2 / 700.0)
    mel = torch.linspace(0.0, highest, front_end.mels + 2, dtype=torch.float64)
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


@functools.lru_cache(maxsize=8)
def mel_matrix(front_end: FrontEnd, device: torch.device) -> Tensor:
    """Weights [bin, mel] of the triangular bands, each 1 at its peak."""
    edges = mel_edges(front_end)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bins = torch.linspace(0.0, front_end.rate / 2, front_end.n_fft // 2 + 1, dtype=torch.float64)[:, None]
    triangles = torch.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clamp_min(0.0)
    return triangles.float().to(device)  # [bin, mel]
