"""What physical features need of one window's waveform, in a few thousand numbers: no samples have to be kept.

Like log-mel frames these numbers come from the window alone, so a stream and a file give the same, and a context
joins those of its windows. They are worked out only where a detector asks for them: half a millisecond a window on
one core, as much as the log-mel frames themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.envelope import BINS, OCTAVES, octave_envelopes

_TINY = 1e-10  # power; as the front end's floor
VALUES = 2 + OCTAVES + OCTAVES * BINS


@dataclass(frozen=True, slots=True)
class Waveform:
    """The numbers of windows by name: crest_db and kurtosis [...], peaky [..., octave], lines [..., octave, BINS].

    crest_db is the peak over the RMS; kurtosis the fourth moment over the squared second, 3 for noise and 0 for
    silence; peaky and lines as in `detectors.envelope`.
    """

    crest_db: Tensor
    kurtosis: Tensor
    peaky: Tensor
    lines: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Waveform:
        """From values [..., VALUES]."""
        lines = values[..., 2 + OCTAVES :]
        lines = lines.reshape(*lines.shape[:-1], OCTAVES, BINS)
        return cls(values[..., 0], values[..., 1], values[..., 2 : 2 + OCTAVES], lines)


def waveform_values(samples: Tensor, rate: int) -> Tensor:
    """The values [batch, VALUES] of windows [batch, time], each from its own row."""
    power = samples.square().mean(1).clamp_min(_TINY)
    crest = 10.0 * (samples.square().amax(1).clamp_min(_TINY) / power).log10()
    kurtosis = samples.square().square().mean(1) / power.square()
    lines, peaky = octave_envelopes(samples, rate)
    return torch.cat([crest[:, None], kurtosis[:, None], peaky, lines.flatten(1)], dim=1)
