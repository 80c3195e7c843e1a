"""What a detector is: it is fitted on healthy sound and says how odd other sound is.

Laws that every detector keeps (`tests/detectors/test_laws.py` runs them over all of them): a score depends on its own
row only, never on batch mates or their order; input is not changed; the same seed gives the same score; a
detector restored from its state gives the same score; higher is more abnormal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

CONTEXT_S = 10.0  # averaging five statistics of 2 s instead loses .05 to .09 of the official score


@dataclass(frozen=True, slots=True)
class Evidence:
    """What detectors see: a batch of contexts, each some seconds of one microphone.

    log_mel [batch, mel, frame] in dB; confidence [batch, mel, frame] in 0..1, ones for raw sound; level_dbfs
    [batch, frame], the frame's RMS in dB relative to full scale 1.0. waveform [batch, window, value] as in
    `detectors.waveform`, None where no detector asked for it (`needs_waveform`). fine [batch, cell, frame] in dB is for
    stages before a detector, None where none asked for it (`FrontEnd.fine`).
    """

    log_mel: Tensor
    confidence: Tensor
    level_dbfs: Tensor
    waveform: Tensor | None = None
    fine: Tensor | None = None

    def __len__(self) -> int:
        return len(self.log_mel)

    def rows(self, index: Tensor | Sequence[int]) -> Evidence:
        """The rows with these numbers, in that order."""
        index = torch.as_tensor(index)
        waveform = None if self.waveform is None else self.waveform[index]
        fine = None if self.fine is None else self.fine[index]
        return Evidence(self.log_mel[index], self.confidence[index], self.level_dbfs[index], waveform, fine)


def needs_waveform(detector: object) -> bool:
    """Whether a detector or its class asks for `Evidence.waveform`, by an attribute of that name; most do not."""
    return bool(getattr(detector, "needs_waveform", False))


def placed(detector: Detector, device: torch.device) -> Detector:
    """The same fitted detector with all its tensors on `device`, where the evidence that it scores should lie too."""
    return type(detector).restore({name: tensor.to(device) for name, tensor in detector.state().items()})


class Detector(Protocol):
    """Learns healthy sound, then scores: two verbs, and its state as plain tensors."""

    name: str
    context_s: float

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Learn from healthy contexts; deterministic. Raises ValueError where there are too few to learn from.

        groups [batch] numbers the recording of each context (None: each is its own): contexts of one
        recording are not independent, and whoever compares healthy sound with healthy sound must know.
        """

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the statistic [batch] of every healthy context from a fit that never heard its recording."""

    def score(self, evidence: Evidence) -> Tensor:
        """The uncalibrated statistic [batch] float64; higher is more abnormal."""

    def state(self) -> Mapping[str, Tensor]:
        """All that a fitted detector needs, for safetensors."""

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """A fitted detector from its state. Raises ValueError where a tensor is missing or has a wrong shape."""
