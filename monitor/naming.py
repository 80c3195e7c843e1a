"""Names for odd sounds: which kinds of fault a context resembles, and how sure that is.

Two sources of names. The fault library: sounds of every kind that such a machine may have (`monitor.exposing`), mixed
into the machine's own healthy contexts; a small network tells the kinds apart, its probabilities calibrated on fault
sounds that it was not trained on (temperature scaling: Guo et al., ICML 2017). And the few windows that staff have
confirmed on the page: a context whose departure from healthy points the same way gets their names.

A name is a resemblance, no diagnosis: faults outside the library get the nearest name in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn

from detectors.base import Evidence
from detectors.envelope import STEP_HZ, over_surroundings
from detectors.exposure import Head
from detectors.exposure_mix import Exposed
from detectors.statistics import require
from detectors.training import learning
from detectors.waveform import Waveform
from monitor.naming_share import Guess

TOP = 3
LEAST = 0.1  # a name less likely than this is not told
RATES_HZ = (2.0, 4.0, 8.0, 15.0, 25.0, 40.0, 60.0, 90.0, 130.0, 190.0, 270.0, 380.0)  # edges of bands of strokes
FOLDS = 4
HIDDEN = 48
STEPS = 300
NOISE = 0.3
DOUBT = 0.5  # of a confirmed window: how much the library still counts beside one that fits perfectly
_BATCH = 96
_LEAST_DB = 0.25
_MOST = 6.0  # asinh of healthy spreads
_TEMPERATURES = torch.logspace(-0.6, 1.0, 33)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A window that staff have confirmed as a fault: its name, and its departure from healthy [feature]."""

    fault: str
    departure: Tensor


def features(evidence: Evidence) -> Tensor:
    """What names are told by [batch, feature], float32, in dB: bands, named features, and how fast it strikes."""
    if evidence.waveform is None:
        raise ValueError("the evidence was heard without its waveform: call the front end with waveform=True")
    over = over_surroundings(Waveform.of(evidence.waveform.double()).lines.mean(1)).amax(1)  # [batch, line]
    hz = torch.arange(over.shape[1]) * STEP_HZ
    rates = [over[:, (hz >= low) & (hz < high)].amax(1) for low, high in pairwise(RATES_HZ)]
    return torch.cat([Head.values(evidence), torch.stack(rates, dim=1).float()], dim=1)


class Namer:
    """Fitted on healthy contexts and on the same machine's contexts with faults of the library."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.kinds = tuple(kinds)
        self._centre = self._spread = torch.empty(0)  # [feature]
        self._net: nn.Sequential | None = None
        self._temperature = 1.0
        self._alike, self._slope = 1.0, 1.0  # of the cosine between departures: same fault or not, and how sharply

    @classmethod
    def fit(cls, healthy: Evidence, exposed: Exposed, sounds: Sequence[str], seed: int = 0) -> Self:
        """`sounds` names the kind of each fault sound that `exposed.sound` counts.

        Raises ValueError for fewer than two kinds.
        """
        kinds = sorted(set(sounds))
        if len(kinds) < 2:
            raise ValueError(f"kinds are {kinds}, at least 2 are needed to tell apart")
        self = cls(kinds)
        plain = features(healthy)
        self._centre = plain.quantile(0.5, dim=0)
        self._spread = ((plain - self._centre).abs().quantile(0.5, dim=0) * 1.4826).clamp_min(_LEAST_DB)
        values = self.departure(exposed.evidence)
        wanted = torch.tensor([kinds.index(sounds[number]) for number in exposed.sound.tolist()])
        held = torch.zeros(len(values), len(kinds))
        for fold in range(FOLDS):
            out = exposed.sound // len(kinds) % FOLDS == fold
            if bool(out.any()) and len(set(wanted[~out].tolist())) == len(kinds):
                held[out] = _train(values[~out], wanted[~out], len(kinds), seed)(values[out])
        self._temperature = _temperature(held, wanted)
        self._alike, self._slope = _alikeness(values, exposed.sound)
        self._net = _train(values, wanted, len(kinds), seed)
        return self

    def departure(self, evidence: Evidence) -> Tensor:
        """How contexts depart from healthy [batch, feature], in healthy spreads, tamed by asinh."""
        return ((features(evidence) - self._centre) / self._spread).asinh().clamp(-_MOST, _MOST)

    @torch.no_grad()
    def names(self, departure: Tensor, confirmed: Sequence[Confirmed] = ()) -> list[Guess]:
        """The likeliest names of one context [feature], most likely first, at most TOP."""
        assert self._net is not None, "fit or restore comes first"  # noqa: S101 - a programming error
        library = (self._net(departure[None])[0] / self._temperature).softmax(0)
        shares = dict(zip(self.kinds, library.tolist(), strict=True))
        weights = [self._same(departure, one.departure) for one in confirmed if len(one.departure) == len(departure)]
        trust = sum(weights) / (sum(weights) + DOUBT) if weights else 0.0
        shares = {kind: (1.0 - trust) * share for kind, share in shares.items()}
        for one, weight in zip(confirmed, weights, strict=False):
            shares[one.fault] = shares.get(one.fault, 0.0) + trust * weight / max(sum(weights), 1e-9)
        best = sorted(shares, key=lambda kind: -shares[kind])[:TOP]
        return [Guess(kind, shares[kind]) for place, kind in enumerate(best) if place == 0 or shares[kind] >= LEAST]

    def _same(self, left: Tensor, right: Tensor) -> float:
        """How likely two departures are of the same fault, 0..1."""
        cosine = torch.nn.functional.cosine_similarity(left, right, dim=0)
        return float(torch.sigmoid((cosine - self._alike) * self._slope))

    def state(self) -> Mapping[str, Tensor]:
        """All tensors; the kinds' names travel beside them."""
        assert self._net is not None, "fit or restore comes first"  # noqa: S101 - a programming error
        net = {f"net.{key}": value for key, value in self._net.state_dict().items()}
        numbers = torch.tensor([self._temperature, self._alike, self._slope])
        return {"centre": self._centre, "spread": self._spread, "numbers": numbers, **net}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], kinds: Sequence[str]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        require(state, centre=(None,), numbers=(3,))
        require(state, spread=(len(state["centre"]),))
        net = _network(len(state["centre"]), len(kinds))
        for key, value in net.state_dict().items():
            require(state, **{f"net.{key}": tuple(value.shape)})
        net.load_state_dict({key: state[f"net.{key}"] for key in net.state_dict()})
        self = cls(kinds)
        self._centre, self._spread, self._net = state["centre"], state["spread"], net.requires_grad_(False).eval()  # noqa: FBT003 - torch's own form
        self._temperature, self._alike, self._slope = state["numbers"].tolist()
        return self


def _network(inputs: int, kinds: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.SiLU(), nn.Dropout(0.3), nn.Linear(HIDDEN, kinds))


def _train(values: Tensor, wanted: Tensor, kinds: int, seed: int) -> nn.Sequential:
    with learning(seed):
        values = values.clone()
        net = _network(values.shape[1], kinds)
        optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-2)
        schedule: Any = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            rows = torch.randint(len(values), (_BATCH,))
            batch = values[rows] + NOISE * torch.randn(_BATCH, values.shape[1])
            loss: Any = nn.functional.cross_entropy(net(batch), wanted[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net.requires_grad_(requires_grad=False).eval()


def _temperature(logits: Tensor, wanted: Tensor) -> float:
    """The one that makes the wanted kinds of held-out sounds most likely."""
    losses = torch.stack([nn.functional.cross_entropy(logits / one, wanted) for one in _TEMPERATURES])
    return float(_TEMPERATURES[losses.argmin()])


def _alikeness(values: Tensor, sound: Tensor) -> tuple[float, float]:
    """The cosine half-way between departures of one fault sound and of different ones, and the slope there."""
    unit = torch.nn.functional.normalize(values, dim=1)
    cosine = unit @ unit.T
    same = sound[:, None] == sound[None, :]
    apart = ~torch.eye(len(values), dtype=torch.bool)
    if not bool((same & apart).any()) or bool(same.all()):
        return 0.8, 20.0
    near, far = float(cosine[same & apart].median()), float(cosine[~same].median())
    return (near + far) / 2.0, 8.0 / max(abs(near - far), 0.05)
