"""What healthy sound looks like band by band: says where in the spectrum a sound departs from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.base import Evidence
from detectors.statistics import band_means, require, robust_spread

_LEAST_DB = 0.5  # a band steadier than this must not win by a hair's breadth
_SMOOTH = 5  # bands averaged before the widest departure is looked for: a single band is chance
_KEYS = ("mean", "mean_spread", "frame", "frame_spread")
PARTS = 16  # of a profile: coarse enough to compare two microphones, fine enough to tell a squeal from a rumble
_HALF = 0.5  # the range reaches as far as the departure keeps half of its height


@dataclass(frozen=True, slots=True)
class Healthy:
    """Per band: median and spread of the contexts' means and of single frames, in dB.

    mean, mean_spread, frame, frame_spread [mel]; level_dbfs: the healthy contexts' median level.
    """

    mean: Tensor
    mean_spread: Tensor
    frame: Tensor
    frame_spread: Tensor
    level_dbfs: float

    @classmethod
    def of(cls, healthy: Evidence) -> Healthy:
        """From healthy contexts; frames are thinned evenly where there are many."""
        mean, mean_spread = robust_spread(band_means(healthy).double(), least=_LEAST_DB)
        contexts, mels, count = healthy.log_mel.shape
        step = max(1, contexts * count // 20_000)
        frames = healthy.log_mel.transpose(1, 2).reshape(-1, mels)[::step]
        frame, frame_spread = robust_spread(frames.double(), least=_LEAST_DB)
        power = (10.0 ** (healthy.level_dbfs.double() / 10.0)).mean(1)
        return cls(mean, mean_spread, frame, frame_spread, float(10.0 * power.log10().quantile(0.5)))

    def band(self, evidence: Evidence, edges_hz: Tensor) -> tuple[Tensor, Tensor]:
        """Where each context departs most: range in Hz [batch, 2] and mean departure there in dB [batch].

        edges_hz [mel + 1] are the borders between bands. The range surrounds the band whose mean level departs by the
        most healthy spreads, and reaches as far as half of that, in the same direction.
        """
        off = band_means(evidence).double() - self.mean  # [batch, mel]
        odd = (off / self.mean_spread)[:, None, :]
        odd = torch.nn.functional.avg_pool1d(odd, _SMOOTH, 1, _SMOOTH // 2, count_include_pad=False)[:, 0]
        peak = odd.abs().argmax(1, keepdim=True)  # [batch, 1]
        top = odd.gather(1, peak)
        with_it = odd * top.sign() >= _HALF * top.abs()  # [batch, mel]
        place = torch.arange(odd.shape[1])
        outside = torch.where(with_it, -1, place)  # where it has fallen below half
        low = torch.where(place < peak, outside, -1).amax(1) + 1
        high = torch.where((place > peak) & ~with_it, place, odd.shape[1]).amin(1)  # one past the last
        inside = (place >= low[:, None]) & (place < high[:, None])
        decibels = torch.where(inside, off, 0.0).sum(1) / inside.sum(1)
        return torch.stack([edges_hz[low], edges_hz[high]], dim=1), decibels

    def profile(self, evidence: Evidence) -> Tensor:
        """By how many dB each context departs in each of PARTS equal shares of the mel bands [batch, part], mean."""
        off = band_means(evidence).double() - self.mean  # [batch, mel]
        return torch.stack([part.mean(1) for part in off.tensor_split(PARTS, dim=1)], dim=1)

    def heat(self, evidence: Evidence) -> Tensor:
        """How many healthy spreads every band of every frame departs [batch, mel, frame]."""
        return ((evidence.log_mel - self.frame[:, None]) / self.frame_spread[:, None]).float()

    def state(self) -> Mapping[str, Tensor]:
        """As tensors [mel], and level [1]."""
        return {
            "mean": self.mean,
            "mean_spread": self.mean_spread,
            "frame": self.frame,
            "frame_spread": self.frame_spread,
            "level": torch.tensor([self.level_dbfs], dtype=torch.float64),
        }

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], mels: int) -> Healthy:
        """From its state; raises ValueError where that does not fit together."""
        require(state, mean=(mels,), mean_spread=(mels,), frame=(mels,), frame_spread=(mels,), level=(1,))
        if bool((state["mean_spread"] <= 0).any()) or bool((state["frame_spread"] <= 0).any()):
            raise ValueError("a spread is not above 0")
        mean, mean_spread, frame, frame_spread = (state[key] for key in _KEYS)
        return cls(mean, mean_spread, frame, frame_spread, float(state["level"][0]))
