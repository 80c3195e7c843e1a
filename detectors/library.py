"""What explains a sound beside healthy ones: the recording that resembles it most, and what already strikes there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from detectors.base import Evidence
from detectors.envelope import BINS, OCTAVES, octave_envelopes, over_surroundings
from detectors.statistics import band_means, require

MOST_HEARD = 32  # healthy contexts whose envelopes are looked at


class Nearest(NamedTuple):
    """A healthy recording, where in it the resembling context starts, and how many healthy spreads lie between."""

    recording: str
    start_s: float
    spreads: float


@dataclass(frozen=True, slots=True)
class Library:
    """The healthy contexts that a model learned from: band means in dB [context, mel], recording's number and start.

    clip [context] int64 points into `recordings`; start_s [context] in seconds. lines [octave, BINS] is how high each
    line of the healthy envelope spectra stands over its surroundings at most, in dB, and peaks [octave] the highest
    peakiness.
    """

    means: Tensor
    clip: Tensor
    start_s: Tensor
    recordings: tuple[str, ...]
    lines: Tensor
    peaks: Tensor

    @classmethod
    def of(
        cls,
        healthy: Evidence,
        clip: Sequence[int],
        start_s: Sequence[float],
        recordings: Sequence[str],
        heard: tuple[Tensor, Tensor],
    ) -> Library:
        """From the healthy contexts, in their order, and what `hear_lines` gave.

        Only recordings that a context comes from are kept.
        """
        used = sorted(set(clip))
        place = {number: index for index, number in enumerate(used)}
        return cls(
            band_means(healthy).float(),
            torch.tensor([place[number] for number in clip]),
            torch.tensor(start_s, dtype=torch.float32),
            tuple(recordings[number] for number in used),
            *heard,
        )

    def nearest(self, evidence: Evidence, spread: Tensor) -> list[Nearest]:
        """For each context [batch] the healthy one whose bands lie closest, the median over bands deciding.

        The median, so that a fault in some bands does not choose by itself: what is wanted is the same machine in the
        same state and background without it. spread [mel] is each band's healthy spread in dB.
        """
        mean = band_means(evidence).float()  # [batch, mel]
        found = []
        for row in mean:  # one by one: [context, mel] is small, [batch, context, mel] is not
            distance = ((self.means - row) / spread.float()).abs().quantile(0.5, dim=1)
            best = int(distance.argmin())
            name = self.recordings[int(self.clip[best])]
            found.append(Nearest(name, float(self.start_s[best]), float(distance[best])))
        return found

    def state(self) -> Mapping[str, Tensor]:
        """All of it but the names, which stand on the model card."""
        return {
            "means": self.means,
            "clip": self.clip,
            "start_s": self.start_s,
            "lines": self.lines,
            "peaks": self.peaks,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], mels: int, recordings: Sequence[str]) -> Library:
        """From its state and the card's names; raises ValueError where they do not fit together."""
        require(state, means=(None, mels), lines=(OCTAVES, BINS), peaks=(OCTAVES,))
        count = len(state["means"])
        require(state, clip=(count,), start_s=(count,))
        clip = state["clip"]
        if clip.dtype != torch.int64 or int(clip.min()) < 0 or int(clip.max()) >= len(recordings):
            raise ValueError(f"tensor clip does not point into the card's {len(recordings)} recordings")
        return cls(state["means"], clip, state["start_s"], tuple(recordings), state["lines"], state["peaks"])


def hear_lines(contexts: Sequence[Tensor], rate: int) -> tuple[Tensor, Tensor]:
    """What healthy sound does in its envelopes: `Library.lines` and `Library.peaks`.

    Of more contexts [time] than MOST_HEARD an even choice is heard.
    """
    step = max(1.0, len(contexts) / MOST_HEARD)
    chosen = [contexts[int(k * step)] for k in range(min(len(contexts), MOST_HEARD))]
    each = [octave_envelopes(samples[None].float(), rate) for samples in chosen]
    over = over_surroundings(torch.cat([power for power, _ in each]))
    return over.amax(0), torch.cat([peaks for _, peaks in each]).amax(0)
