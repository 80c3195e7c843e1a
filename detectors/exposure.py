"""Outlier exposure: a small network that has heard faults, beside detectors that have heard healthy sound alone.

It tells healthy contexts from the same contexts with a fault mixed in (Hendrycks, Mazeika and Dietterich, "Deep anomaly
detection with outlier exposure", ICLR 2019), by what other detectors measure too: mean and deviation of every band, and
the features of `physical`, in units of healthy sound. Since every fault lies in a context that was also heard without
it, neither background nor loudness gives the answer away.

What it says is one voice more in a fusion (`ExposedFusion`), in units of its own out-of-fold healthy scatter, and the
sum is calibrated as one statistic: whatever it has learned from made-up faults, the healthy recordings set the
threshold, so it cannot raise the false-alarm rate of sound like theirs. It counts as much as a member at most, and less
where what it says of healthy sound follows the surroundings (`surroundings`). Without faults the fusion is its base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from detectors.base import CONTEXT_S, Detector, Evidence
from detectors.exposure_mix import Exposed
from detectors.folds import groups_of, out_of_fold
from detectors.fusion import Fusion, QuickFusion, part, robust_scale
from detectors.kinematics import Kinematics
from detectors.physical import Physical
from detectors.statistics import band_statistics, require
from detectors.surroundings import kinds_of, share_within
from detectors.training import learning

HIDDEN = 32
STEPS = 240
BATCH = 128
RATE = 3e-3
DECAY = 1e-2  # of weights, by AdamW
NOISE = 0.5  # healthy spreads of noise on every input: a dozen recordings must not be learned by heart
DROP = 0.3
_LEAST = 0.25  # dB; a number steadier than this must not decide alone
_MOST = 6.0  # asinh of healthy spreads: what lies further out is as far as this


@dataclass(frozen=True, slots=True)
class Values:
    """What a head learns from: numbers [batch, feature] of contexts with faults, and whose recordings they hold."""

    values: Tensor
    group: Tensor


class Head:
    """The network: one hidden layer. A `Detector` that was handed its faults beforehand."""

    name = "exposure"
    context_s = CONTEXT_S
    needs_waveform = True

    def __init__(self, faults: Values | None = None, seed: int = 0) -> None:
        self._faults, self._seed = faults, seed
        self._centre = self._spread = torch.empty(0)  # [feature]
        self._net: nn.Sequential | None = None

    @staticmethod
    def values(evidence: Evidence) -> Tensor:
        """What it looks at [batch, feature], float32, nearly all in dB."""
        return torch.cat([band_statistics(evidence), Physical().features(evidence)], dim=1).float()

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Train on healthy contexts and on those faults that lie in the same recordings.

        Raises ValueError where no faults were handed over.
        """
        if self._faults is None:
            raise ValueError("0 contexts with faults were handed over, at least 1 is needed")
        known = torch.arange(len(healthy)) if groups is None else groups
        mine = torch.isin(self._faults.group, known)
        normal, odd = self.values(healthy).clone(), self._faults.values[mine].clone()
        self._centre = normal.quantile(0.5, dim=0)
        self._spread = ((normal - self._centre).abs().quantile(0.5, dim=0) * 1.4826).clamp_min(_LEAST)
        self._net = _train(self._units(normal), self._units(odd), self._seed)
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold statistic [batch]; faults in a recording stay out of its fold too."""
        groups = groups_of(healthy, groups)
        statistic = out_of_fold(lambda: type(self)(self._faults, self._seed), healthy, groups)
        self.fit(healthy, groups)
        return statistic

    @torch.no_grad()
    def score(self, evidence: Evidence) -> Tensor:
        """The log odds of a fault [batch], float64, in equal shares of both."""
        assert self._net is not None, "fit or restore comes first"  # noqa: S101 - a programming error
        logit: Tensor = self._net(self._units(self.values(evidence)))
        return logit[:, 0].double()

    def _units(self, values: Tensor) -> Tensor:
        return ((values - self._centre) / self._spread).asinh().clamp(-_MOST, _MOST)

    def state(self) -> Mapping[str, Tensor]:
        """Centre and spread [feature], the network's weights as `net.`."""
        assert self._net is not None, "fit or restore comes first"  # noqa: S101 - a programming error
        weights = {f"net.{key}": value for key, value in self._net.state_dict().items()}
        return {"centre": self._centre, "spread": self._spread, **weights}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        require(state, centre=(None,))
        features = len(state["centre"])
        require(state, spread=(features,))
        with torch.device("meta"):
            net = _network(features)
        for key, value in net.state_dict().items():
            require(state, **{f"net.{key}": tuple(value.shape)})
        net.load_state_dict({key: state[f"net.{key}"] for key in net.state_dict()}, assign=True)
        self = cls()
        self._centre, self._spread = state["centre"], state["spread"]
        self._net = net.requires_grad_(requires_grad=False).eval()
        return self


def _network(features: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, HIDDEN), nn.SiLU(), nn.Dropout(DROP), nn.Linear(HIDDEN, 1))


def _train(normal: Tensor, odd: Tensor, seed: int) -> nn.Sequential:
    """Both classes in equal shares, every input blurred."""
    with learning(seed):
        normal, odd = normal.clone(), odd.clone()
        net = _network(normal.shape[1])
        optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        wanted = torch.cat([torch.zeros(BATCH // 2), torch.ones(BATCH // 2)])
        for _ in range(STEPS):
            rows = [part[torch.randint(len(part), (BATCH // 2,))] for part in (normal, odd)]
            batch = torch.cat(rows)
            logit = net(batch + NOISE * torch.randn_like(batch))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logit, wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            schedule.step()
    return net.requires_grad_(requires_grad=False).eval()


class ExposedFusion:
    """A fusion with one member more, which has heard faults; exactly its base where none were handed over."""

    name = "fusion+faults"
    base: ClassVar[type[Fusion]] = Fusion
    context_s = CONTEXT_S
    needs_waveform = True

    def __init__(self, kinematics: Kinematics | None = None) -> None:
        self._base: Detector = self.base(kinematics)
        self._head: Head | None = None
        self._centre = self._spread = self._weight = torch.empty(0, dtype=torch.float64)  # [1]

    def expose(self, exposed: Exposed, seed: int = 0) -> Self:
        """Hand over contexts with faults, numbered as the healthy ones are; before `fit`."""
        self._head = Head(Values(Head.values(exposed.evidence), exposed.group), seed)
        return self

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Fit base and head and their healthy scatter. Raises ValueError as the base does."""
        self.cross_fit(healthy, groups)
        return self

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold statistic [batch] of every healthy context."""
        base = self._base.cross_fit(healthy, groups)
        if self._head is None:
            return base
        return self.settle(base, self._head.cross_fit(healthy, groups), kinds_of(healthy))

    def score(self, evidence: Evidence) -> Tensor:
        """The base's statistic [batch] with the head's voice in it."""
        base = self._base.score(evidence)
        return base if self._head is None else self.join(base, self._head.score(evidence))

    def settle(self, base: Tensor, head: Tensor, kinds: Tensor) -> Tensor:
        """Take scale and weight of the head from out-of-fold statistics [batch] of both; they joined [batch].

        kinds [batch] numbers the surroundings of every healthy context (`kinds_of`).
        """
        self._centre, self._spread = robust_scale(head[None])
        z = (head - self._centre) / self._spread
        own = share_within(z.asinh()[None], kinds).square()
        self._weight = own / (own + len(self.base.members))
        return self.join(base, head)

    def join(self, base: Tensor, head: Tensor) -> Tensor:
        """One statistic [batch] from those of base and head [batch]."""
        z = (head - self._centre) / self._spread
        return (1.0 - self._weight) * base + self._weight * z.asinh()

    def state(self) -> Mapping[str, Tensor]:
        """The base's state as `base.`; with a head its own as `head.`, and its centre, spread, weight [1]."""
        state = {f"base.{key}": value for key, value in self._base.state().items()}
        if self._head is None:
            return state
        inner = {f"head.{key}": value for key, value in self._head.state().items()}
        return {**state, **inner, "centre": self._centre, "spread": self._spread, "weight": self._weight}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        self = cls()
        self._base = cls.base.restore(part(state, "base"))
        inner = part(state, "head")
        if inner:
            require(state, centre=(1,), spread=(1,), weight=(1,))
            self._head = Head.restore(inner)
            self._centre, self._spread, self._weight = state["centre"], state["spread"], state["weight"]
        return self


class ExposedQuickFusion(ExposedFusion):
    """The same beside the fusion without a network, which fits in seconds."""

    name = "quick-fusion+faults"
    base: ClassVar[type[Fusion]] = QuickFusion
