"""The stages between microphone and detector: what separates, and its twin that does nothing.

A stage takes the features of contexts and hands on the paths: raw, separated and residual, each with its confidence.
Separation happens on mel bands, where detectors listen, so no sound has to be put together again for a score; what the
waveform itself says (`Evidence.waveform`: blows, envelopes) is the raw sound's on every path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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
_BATCH = 32  # contexts at a time: more leave the cache


class Stage(Protocol):
    """Features of contexts in, paths out."""

    @property
    def name(self) -> str:
        """Which stage it is."""

    def __call__(self, evidence: Evidence) -> Mapping[str, Evidence]:
        """The paths of contexts [batch], each row for itself; `evidence` is not changed."""


class Identity:
    """No separation: the separated path is the raw one, and nothing is left behind."""

    name = "raw"

    def __call__(self, evidence: Evidence) -> Mapping[str, Evidence]:
        """Raw three times, the residual silent and not believed."""
        return paths_of(evidence, torch.ones_like(evidence.log_mel))


@dataclass(frozen=True, eq=False)
class MaskStage:
    """A mask network asked with a site's enrolment statistics [2 * mel]."""

    net: MaskNet
    statistics: Tensor
    name: str = "separated"

    @torch.inference_mode()
    def share(self, log_mel: Tensor) -> Tensor:
        """The share of the machine in the power of log_mel [batch, mel, frame], of that shape, in 0..1."""
        from sds_engine.separation.network import QueryInput

        found = []
        for start in range(0, len(log_mel), _BATCH):
            some = log_mel[start : start + _BATCH]
            query = QueryInput.of(len(some), statistics=self.statistics).to(some.device)
            found.append(torch.sigmoid(self.net(some, query)).float())
        return torch.cat(found) if found else torch.empty_like(log_mel)

    def __call__(self, evidence: Evidence) -> Mapping[str, Evidence]:
        """Raw, separated and residual."""
        return paths_of(evidence, self.share(evidence.log_mel))

    def state(self) -> dict[str, Tensor]:
        """As tensors: the net's under `net.`, `statistics`, and `size` (channels, query, patch, dilations)."""
        size = self.net.size
        numbers = [size.channels, size.query, size.patch, *size.dilations]
        net = {f"net.{key}": value.half() for key, value in self.net.state_dict().items()}
        return {**net, "statistics": self.statistics, "size": torch.tensor(numbers)}

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
            return cls(net_of(size, weights, "the model's separator"), state["statistics"].float())
        except (KeyError, ValueError, WeightsError) as error:
            raise WorkFailed(
                f"the model's separator cannot be used ({error}); train it anew: factory-ear train"
            ) from error


def paths_of(evidence: Evidence, share: Tensor) -> dict[str, Evidence]:
    """Raw, separated and residual evidence, for the machine's share of each cell's power [batch, mel, frame] in 0..1.

    The confidence is the squared share: what is mostly the machine's is believed (`detectors.statistics`).
    """
    return {"raw": evidence, "separated": _part(evidence, share), "residual": _part(evidence, 1.0 - share)}


def _part(evidence: Evidence, share: Tensor) -> Evidence:
    log_mel = (evidence.log_mel + 10.0 * share.clamp_min(_LEAST_SHARE).log10()).clamp_min(_FLOOR_DB)
    mel_power = (10.0 ** (evidence.log_mel / 10.0)).sum(1)  # [batch, frame]
    kept = (share * 10.0 ** (evidence.log_mel / 10.0)).sum(1) / mel_power.clamp_min(FLOOR)
    level = evidence.level_dbfs + 10.0 * kept.clamp_min(_LEAST_SHARE).log10()
    return Evidence(log_mel, evidence.confidence * share.square(), level.clamp_min(_FLOOR_DB), evidence.waveform)
