"""Features that a vibration engineer would look at, each in robust z-scores of healthy sound.

Level, crest factor and kurtosis; band levels, tones and peakiness; centroid, width, tilt, flatness and unrest of the
spectrum; the strongest line of each octave's envelope spectrum, and with kinematics the lines at the shaft, the gear
mesh and the rates of the bearing (Randall and Antoni, MSSP 25, 2011). Some forty numbers that can be named, against
the hundreds of band statistics of the others: a line 20 dB high in an envelope need not move any band's level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from detectors.base import CONTEXT_S, Evidence
from detectors.envelope import HARMONICS, HIGHEST_HZ, LOWEST_HZ, line_at, over_surroundings
from detectors.folds import groups_of
from detectors.kinematics import Kinematics
from detectors.many_folds import out_of_many
from detectors.statistics import band_statistics, require, robust_spread, upper_spread
from detectors.waveform import Waveform

_LEAST = 0.1  # dB: a feature steadier than this must not decide by a hair's breadth
_BANDS = 8  # equal groups of mel bands whose levels are features
_SLACK = 0.03  # a bearing slips by 1 to 2%, and the speed is not quite what was said
_LINES = ("shaft", "mesh", "BPFO", "BPFI", "2BSF", "FTF")


class Physical:
    """Mean of the features' robust z-scores, each tamed by asinh, by their fourth powers.

    The fourth, because a fault moves two or three features of forty, and a mean of squares would drown them. Tamed,
    because a line that is 20 dB high is 20 spreads off while a healthy feature in an odd recording may be 6: what
    departs counts by its logarithm, and one feature cannot outvote all others without end.
    """

    name = "physical"
    context_s = CONTEXT_S
    needs_waveform = True

    def __init__(self, kinematics: Kinematics | None = None) -> None:
        self.kinematics = kinematics or Kinematics()
        self._centre = self._spread = torch.empty(0, dtype=torch.float64)  # [feature]

    def fit(self, healthy: Evidence, groups: Tensor | None = None) -> Self:
        """Median and spread of every feature. Raises ValueError for no contexts or none with a waveform."""
        if not len(healthy):
            raise ValueError("0 healthy contexts, at least 1 is needed")
        self.learn(self.features(healthy), groups_of(healthy, groups))
        return self

    def learn(self, values: Tensor, _groups: Tensor, /) -> None:
        """`fit` from features [batch, feature]; the recordings do not matter."""
        self._centre, middle = robust_spread(values, least=_LEAST)
        outer = torch.maximum(upper_spread(values, self._centre), upper_spread(-values, -self._centre))
        self._spread = torch.maximum(middle, outer)  # what a tenth of healthy sound does is not odd

    def cross_fit(self, healthy: Evidence, groups: Tensor | None = None) -> Tensor:
        """`fit`, and the out-of-fold statistic [batch] of every healthy context."""
        values, groups = self.features(healthy), groups_of(healthy, groups)
        self.learn(values, groups)
        return out_of_many(type(self), values, groups)

    def score(self, evidence: Evidence) -> Tensor:
        """The mean of the tamed z-scores [batch] by their fourth powers."""
        return self.judge(self.features(evidence))

    def judge(self, values: Tensor) -> Tensor:
        """The statistic [batch] of features [batch, feature]."""
        z = (values - self._centre) / self._spread
        return z.asinh().pow(4).mean(1).pow(0.25)

    def features(self, evidence: Evidence) -> Tensor:
        """The features [batch, feature], float64, nearly all in dB. ValueError for evidence without a waveform."""
        if evidence.waveform is None:
            raise ValueError("the evidence was heard without its waveform: call the front end with waveform=True")
        heard = Waveform.of(evidence.waveform.double())  # [batch, window, ...]
        level = 10.0 * (10.0 ** (evidence.level_dbfs.double() / 10.0)).mean(1, keepdim=True).log10()
        kurtosis = _decibels(heard.kurtosis)
        over = over_surroundings(heard.lines.mean(1))  # [batch, octave, BINS]
        strokes = [heard.crest_db.amax(1, keepdim=True), kurtosis.amax(1, keepdim=True)]
        parts = [level, *strokes, kurtosis.median(1, keepdim=True).values, _decibels(heard.peaky.mean(1))]
        return torch.cat([*parts, _spectrum(evidence), over.amax(-1), *self._at_orders(over)], dim=1)

    def _at_orders(self, over: Tensor) -> list[Tensor]:
        """How high the harmonics of each known rate stand on average, in the octave with the highest [batch, 1]."""
        found = []
        for hz in self._rates().values():
            first = line_at(over, hz, _SLACK)[1]
            rest = [line_at(over, k * hz, _SLACK)[1] for k in range(2, HARMONICS + 1) if k * hz < HIGHEST_HZ]
            found.append(torch.stack([first, *rest]).mean(0).amax(1, keepdim=True))
        return found

    def _rates(self) -> dict[str, float]:
        shaft, mesh = self.kinematics.shaft_hz, self.kinematics.mesh_hz()
        named = {"shaft": shaft, "mesh": mesh, **self.kinematics.bearing_hz()}
        return {name: hz for name in _LINES if (hz := named.get(name)) and LOWEST_HZ <= hz < HIGHEST_HZ}

    def state(self) -> Mapping[str, Tensor]:
        """Centre and spread [feature]; kinematics [6] as shaft, teeth, n, d, D, phi, 0 where not known."""
        plain = self.kinematics.plain()
        known = [plain.get(key, 0.0) for key in ("shaft_hz", "teeth", "n", "d", "D", "phi")]
        numbers = torch.tensor(known, dtype=torch.float64)
        return {"centre": self._centre, "spread": self._spread, "kinematics": numbers}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Self:
        """From its state; raises ValueError where that does not fit together."""
        require(state, centre=(None,), kinematics=(6,))
        require(state, spread=(len(state["centre"]),))
        if not bool((state["spread"] > 0).all()):
            raise ValueError("tensor spread holds values that are not above 0")
        numbers = dict(zip(("shaft_hz", "teeth", "n", "d", "D", "phi"), state["kinematics"].tolist(), strict=True))
        known = {key: value for key, value in numbers.items() if value or (key == "phi" and numbers["n"])}
        self = cls(Kinematics.of(known))
        self._centre, self._spread = state["centre"], state["spread"]
        return self


def _decibels(ratio: Tensor) -> Tensor:
    return 10.0 * ratio.clamp_min(1e-3).log10()


def _spectrum(evidence: Evidence) -> Tensor:
    """Shape of the spectrum from the bands' mean levels and deviations, weighted by confidence [batch, feature].

    Of groups of bands the level, and how far the highest band stands above the middle one, in dB; centroid, width and
    tilt on the mel scale, in bands and dB over the whole scale; flatness, the mean level under the level of the mean;
    unrest, the mean deviation over time.
    """
    mean, deviation = band_statistics(evidence).chunk(2, dim=1)  # [batch, mel]
    parts = mean.chunk(_BANDS, dim=1)
    levels = torch.stack([part.mean(1) for part in parts], dim=1)
    tones = torch.stack([part.amax(1) - part.quantile(0.5, dim=1) for part in parts], dim=1)
    power = 10.0 ** (mean / 10.0)
    share = power / power.sum(1, keepdim=True)
    place = torch.arange(mean.shape[1], dtype=torch.float64)
    centroid = (share * place).sum(1)
    width = (share * (place - centroid[:, None]).square()).sum(1).sqrt()
    ramp = (place - place.mean()) / (place - place.mean()).square().sum() * mean.shape[1]
    flatness = mean.mean(1) - 10.0 * power.mean(1).log10()
    shape = torch.stack([centroid, width, mean @ ramp, flatness, deviation.mean(1)], dim=1)
    return torch.cat([levels, tones, shape], dim=1)
