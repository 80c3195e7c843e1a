"""Frequency modulation: four operators that modulate each other (the FM synthesiser of Audio-SDS, arXiv 2505.04621).

Chowning, "The synthesis of complex audio spectra by means of frequency modulation", J. Audio Eng. Soc. 21 (1973);
strictly phase modulation, as in all digital FM instruments: x_i(t) = sin(2 pi f0 r_i t + sum_j M_ij e_j(t) x_j(t)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sds_engine.makers import tools
from sds_engine.makers.base import Bound, Draw, Maker, Physics, known_or

OPERATORS = 4
_PASSES = 3  # of the matrix: exact where no operator modulates itself, directly or round about


@dataclass(frozen=True)
class Fm(Maker):
    """Four operators with frequency ratios, a full modulation matrix, envelopes (attack, decay, sustain) and levels.

    Loops in the matrix (feedback) are unrolled `_PASSES` deep, from unmodulated sines; chains of four are exact.
    """

    kinds: ClassVar[tuple[str, ...]] = ("fm",)
    start_db: ClassVar[float] = -24.0

    def _bounds(self) -> Mapping[str, Bound]:
        n = OPERATORS
        return {
            "f0_hz": Bound(20.0, 4000.0, "Hz", log=True),
            "ratio": Bound(0.25, 16.0, "of f0", log=True, size=n),
            "index": Bound(0.0, 8.0, "rad", size=n * n),
            "amplitude_db": Bound(-60.0, 0.0, "dB", size=n),
            "attack_s": Bound(5e-4, 0.5, "s", log=True, size=n),
            "decay_s": Bound(5e-3, 4.0, "s", log=True, size=n),
            "sustain": Bound(0.0, 1.0, "of the peak", size=n),
        }

    def _draw(self, rng: np.random.Generator, physics: Physics) -> Draw:
        n = OPERATORS
        f0 = known_or(physics, "f0_hz", lambda: float(np.exp(rng.uniform(math.log(60.0), math.log(800.0)))))
        index = np.where(rng.random(n * n) < 0.35, rng.exponential(1.2, n * n), 0.0)
        values = {
            "f0_hz": np.array([f0]),
            "ratio": rng.choice(np.array([0.5, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 1.41, 2.76]), n),
            "index": np.minimum(index, 6.0),
            "amplitude_db": rng.uniform(-30.0, 0.0, n),
            "attack_s": np.exp(rng.uniform(math.log(1e-3), math.log(0.1), n)),
            "decay_s": np.exp(rng.uniform(math.log(0.05), math.log(2.0), n)),
            "sustain": rng.uniform(0.05, 0.6, n),
        }
        return values, {"start_turns": np.zeros(n)}

    def _wave(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
        n = OPERATORS
        t = torch.arange(self.samples, device=values["f0_hz"].device, dtype=values["f0_hz"].dtype) / self.rate
        hz = values["f0_hz"] * values["ratio"]  # [batch, operator]
        turns = tools.steady_turns(hz, self.rate, self.samples)
        angle = 2.0 * math.pi * (turns + fixed["start_turns"][..., None])  # [batch, operator, time]
        envelope = self._envelope(values, t)
        matrix = values["index"].reshape(-1, n, n)  # from j (last) into i
        # what lies at or above Nyquist folds back; such carriers and modulators are faded out instead
        heard = tools.below(hz, 0.47 * self.rate, 0.02 * self.rate)[..., None]
        voice = torch.sin(angle) * heard
        for _ in range(_PASSES):
            voice = torch.sin(angle + matrix @ (envelope * voice)) * heard
        return (tools.db(values["amplitude_db"])[..., None] * envelope * voice).sum(dim=-2)

    def _envelope(self, values: Mapping[str, Tensor], t: Tensor) -> Tensor:
        """(1 - exp(-t / attack)) (sustain + (1 - sustain) exp(-t / decay)), `[batch, operator, time]`."""
        rise = -torch.expm1(-t / values["attack_s"][..., None])
        sustain = values["sustain"][..., None]
        return rise * (sustain + (1.0 - sustain) * torch.exp(-t / values["decay_s"][..., None]))

    def _derived(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:  # noqa: ARG002 (one signature for all makers)
        hz = values["f0_hz"] * values["ratio"]
        index = values["index"].reshape(-1, OPERATORS, OPERATORS)
        # Carson's rule: sidebands reach as far as the index plus one, in steps of the modulator's frequency
        reach = hz + (index * hz[..., None, :]).sum(dim=-1) + hz
        return {"operator_hz": hz, "highest_hz": reach.amax(dim=-1, keepdim=True)}

    def _doubts(self, facts: Mapping[str, Tensor]) -> list[str]:
        if float(facts["operator_hz"].min()) > 0.45 * self.rate:
            return ["all operators lie above what the rate can carry"]
        return []
