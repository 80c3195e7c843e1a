"""The stages between microphone and detector: what separates, and its twin that does nothing.

A stage takes the features of contexts and hands on the paths: raw, separated and residual, each with its confidence.
Separation happens on mel bands, where detectors listen, so no sound has to be put together again for a score; what the
waveform itself says (`Evidence.waveform`: blows, envelopes) is the raw sound's on every path.

What the mask does not believe is missing data (Cooke et al., Speech Communication 34, 2001), and which bands are
missing changes with the background. Left at that, the few cells that remain decide a band's statistics, and a
background that training never had looks like a fault. So each cell of the separated path leans towards the level that
the band usually has when the machine is believed, with a hundredth of a believed cell's weight: where much is heard
that changes nothing, where nothing is heard the band is as usual (docs/separation.md has what it is worth).

For the same reason the network is trusted a little only. The enrolment's own answer (its mean power over the mixture's)
errs towards the healthy machine, whatever the background; the network's is nearer to the truth and finds fewer faults,
since what it gets wrong depends on the background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import Tensor

from detectors.base import Evidence
from detectors.frontend import FLOOR
from monitor.errors import WorkFailed

if TYPE_CHECKING:
    from sds_engine.separation.network import MaskNet

RATE = 16_000  # what mask networks hear
_FLOOR_DB = -100.0
_LEAST_SHARE = 1e-4  # 40 dB down is as good as gone
BATCH = 32  # contexts at a time: more leave the cache
TRUST = 0.05  # of what a network learned, added to the enrolment's answer: 0 to 0.2 are as good, 1 loses most of it all
LEAN = 0.01  # of a believed cell's weight, towards the usual level; 0.003 to 0.03 are as good, 0.1 hides faults


class Stage(Protocol):
    """Features of contexts in, paths out."""

    @property
    def name(self) -> str:
        """Which stage it is."""

    def __call__(self, evidence: Evidence) -> Mapping[str, Evidence]:
        """The paths of contexts [batch], each row for itself; `evidence` is not changed."""

    @property
    def needs_fine(self) -> bool:
        """Whether it needs `Evidence.fine`."""

    def learned(self, healthy: Evidence) -> Stage:
        """The same stage, knowing how one microphone's healthy contexts usually sound."""


class Identity:
    """No separation: the separated path is the raw one, and nothing is left behind."""

    name = "raw"
    needs_fine = False

    def __call__(self, evidence: Evidence) -> Mapping[str, Evidence]:
        """Raw three times, the residual silent and not believed."""
        return paths_of(evidence, torch.ones_like(evidence.log_mel))

    def learned(self, healthy: Evidence) -> Identity:  # noqa: ARG002  # the interface's
        """Itself: it has nothing to learn."""
        return self


@dataclass(frozen=True)
class Shares:
    """The machine's share of each cell's power [batch, mel, frame] in 0..1, and how much of the machine is known there.

    Without a posterior the share itself is what is known.
    """

    share: Tensor
    known: Tensor

    def rows(self, index: Sequence[int]) -> Shares:
        """The rows with these numbers."""
        return Shares(self.share[index], self.known[index])


class Separator(Stage, Protocol):
    """A stage that can be kept in a model; microphones with one network share its batches."""

    def learned(self, healthy: Evidence) -> Separator:
        """As `Stage.learned`."""

    def shares(self, evidence: Evidence) -> Shares:
        """What is the machine's in contexts [batch]."""

    def paths(self, evidence: Evidence, share: Tensor, known: Tensor | None = None) -> dict[str, Evidence]:
        """The paths for shares that are known already."""

    def state(self) -> Mapping[str, Tensor]:
        """As tensors."""


@dataclass(frozen=True, eq=False)
class MaskStage:
    """A mask network asked with a site's enrolment statistics [2 * mel].

    usual [mel]: the level in dB that each band of one microphone has when the machine is believed; None: not learned.
    """

    net: MaskNet
    statistics: Tensor
    usual: Tensor | None = None
    name: str = "separated"
    needs_fine: ClassVar[bool] = False

    @torch.inference_mode()
    def share(self, log_mel: Tensor) -> Tensor:
        """The share of the machine in the power of log_mel [batch, mel, frame], of that shape, in 0..1."""
        from sds_engine.separation.network import QueryInput

        found = []
        for start in range(0, len(log_mel), BATCH):
            some = log_mel[start : start + BATCH]
            query = QueryInput.of(len(some), statistics=self.statistics).to(some.device)
            found.append(torch.sigmoid(self.net(some, query, TRUST)).float())
        return torch.cat(found) if found else torch.empty_like(log_mel)

    def __call__(self, evidence: Evidence) -> Mapping[str, Evidence]:
        """Raw, separated and residual."""
        return self.paths(evidence, self.share(evidence.log_mel))

    def shares(self, evidence: Evidence) -> Shares:
        """Its shares, of which as much is known."""
        share = self.share(evidence.log_mel)
        return Shares(share, share)

    def paths(self, evidence: Evidence, share: Tensor, known: Tensor | None = None) -> dict[str, Evidence]:
        """The same for shares that are known already: microphones with one network share its batches."""
        return paths_of(evidence, share, self.usual, known)

    @torch.inference_mode()
    def learned(self, healthy: Evidence) -> MaskStage:
        """The same network with the usual levels of these healthy contexts."""
        return replace(self, usual=usual_of(self, healthy))

    def state(self) -> dict[str, Tensor]:
        """As tensors: the net's under `net.`, `statistics`, `usual`, and `size` (channels, query, patch, dilations)."""
        size = self.net.size
        numbers = [size.channels, size.query, size.patch, *size.dilations]
        net = {f"net.{key}": value.half() for key, value in self.net.state_dict().items()}
        usual = {} if self.usual is None else {"usual": self.usual}
        return {**net, **usual, "statistics": self.statistics, "size": torch.tensor(numbers)}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> MaskStage:
        """From its state. Raises WorkFailed where that is no mask network."""
        from sds_engine.separation.extractor import WeightsError, net_of

        try:
            channels, query, patch, *dilations = state["size"].tolist()
            size = {"channels": channels, "query": query, "patch": patch, "dilations": dilations}
            weights = {
                key.removeprefix("net."): value.float() for key, value in state.items() if key.startswith("net.")
            }
            usual = state["usual"].float() if "usual" in state else None
            return cls(net_of(size, weights, "the model's separator"), state["statistics"].float(), usual)
        except (KeyError, ValueError, WeightsError) as error:
            raise WorkFailed(
                f"the model's separator cannot be used ({error}); train it anew: factory-ear train"
            ) from error


def usual_of(stage: Separator, healthy: Evidence) -> Tensor:
    """The level in dB that each band [mel] has in healthy contexts, each cell by its confidence."""
    total, weight = torch.zeros(2, healthy.log_mel.shape[1])
    weight += 1e-6
    for start in range(0, len(healthy), BATCH):
        some = healthy.rows(range(start, min(start + BATCH, len(healthy))))
        found = stage.shares(some)
        part = _part(some, found.share, found.known)
        total = total + (part.confidence * part.log_mel).sum((0, 2))
        weight = weight + part.confidence.sum((0, 2))
    level: Tensor = (total / weight).clone()
    return level


def paths_of(
    evidence: Evidence, share: Tensor, usual: Tensor | None = None, known: Tensor | None = None
) -> dict[str, Evidence]:
    """Raw, separated and residual evidence, for the machine's share of each cell's power [batch, mel, frame] in 0..1.

    The confidence is the squared share: what is mostly the machine's is believed (`detectors.statistics`); or `known`
    squared, of the same shape. With `usual` [mel] in dB the separated path leans towards it where little is believed.
    """
    separated = _part(evidence, share, known)
    if usual is not None:
        separated = _leaning(separated, usual)
    return {"raw": evidence, "separated": separated, "residual": _part(evidence, 1.0 - share)}


def _leaning(part: Evidence, usual: Tensor) -> Evidence:
    weight = part.confidence + LEAN
    log_mel = (part.confidence * part.log_mel + LEAN * usual[:, None]) / weight
    return Evidence(log_mel, weight.clamp_max(1.0), part.level_dbfs, part.waveform)


def _part(evidence: Evidence, share: Tensor, known: Tensor | None = None) -> Evidence:
    log_mel = (evidence.log_mel + 10.0 * share.clamp_min(_LEAST_SHARE).log10()).clamp_min(_FLOOR_DB)
    mel_power = (10.0 ** (evidence.log_mel / 10.0)).sum(1)  # [batch, frame]
    kept = (share * 10.0 ** (evidence.log_mel / 10.0)).sum(1) / mel_power.clamp_min(FLOOR)
    level = evidence.level_dbfs + 10.0 * kept.clamp_min(_LEAST_SHARE).log10()
    confidence = evidence.confidence * (share if known is None else known).square()
    return Evidence(log_mel, confidence, level.clamp_min(_FLOOR_DB), evidence.waveform)
