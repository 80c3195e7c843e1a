"""The settings of score distillation, with what the paper used where that is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["decoder", "encoder"]
Weighting = Literal["signal", "noise", "variance"]
Schedule = Literal["uniform", "falling"]
Start = Literal["random", "inversion"]
Baseline = Literal["render", "null"]


@dataclass(frozen=True, slots=True)
class SdsSettings:
    """How a prior teaches. Raises ValueError for what is out of range.

    kind: "decoder" (Eq. 5) or "encoder" (Eq. 4). guidance: tau of e^ = (1 + tau) e_prompt - tau e_null; the scale that
    diffusers calls w is 1 + tau. steps: denoising steps from the drawn level to none, 1 to 10. draws: noises per item
    and iteration, averaged. t_low, t_high: where t is drawn, mapped to noise by the prior. schedule: "uniform", or
    "falling" from t_high to t_low over the run. weighting: see `noise.WEIGHTS`. windows: STFT lengths of the emphasis
    (Eq. 7), none for the plain waveform. start: "random" noise, or "inversion" of the render (SDI).
    baseline: what the guided estimate is held against: the "render" (Eq. 4 and 5), or what the model makes of the same
    noisy render without the prompt, "null" (under `Ask.source` where one is given). That keeps guidance alone:
    classifier score distillation (Yu et al., "Text-to-3D with classifier score distillation", ICLR 2024). A mean over
    what could be heard is smoother than any sound; both branches are, so their difference does not smooth. One step.
    compensate: pull by decode(denoised) - decode(encoded) instead of decode(denoised) - wave, so that what the codec
    loses pulls at nothing (not in the paper). iterations, learning_rate: of Adam; final_rate: the share of the learning
    rate at the end (a cosine leads there). gamma: the weight of SDS beside another loss.
    enough: from this figure of a judge on, a later moment is the better one; a judge that is sure of the start would
    else keep everything as it began.

    The paper's own, from one source that could not be checked: 1000 iterations, rate 0.05, 10 draws, guidance 60,
    2 steps, windows 1024, 2048 and 4096, t from 0.025 to 0.875, for a prior far larger than ours.
    """

    kind: Kind = "decoder"
    guidance: float = 4.0
    steps: int = 2
    draws: int = 4
    t_low: float = 0.025
    t_high: float = 0.875
    schedule: Schedule = "uniform"
    weighting: Weighting = "signal"
    windows: tuple[int, ...] = (1024, 2048, 4096)
    start: Start = "random"
    baseline: Baseline = "render"
    compensate: bool = False
    iterations: int = 200
    learning_rate: float = 0.05
    final_rate: float = 1.0
    gamma: float = 1.0
    enough: float = math.inf

    def __post_init__(self) -> None:
        """Check every field."""
        for name, value, allowed in (
            ("kind", self.kind, get_args(Kind)),
            ("weighting", self.weighting, get_args(Weighting)),
            ("schedule", self.schedule, get_args(Schedule)),
            ("start", self.start, get_args(Start)),
            ("baseline", self.baseline, get_args(Baseline)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} = {value!r}: allowed is one of {', '.join(allowed)}")
        if not 0.0 <= self.t_low <= self.t_high <= 1.0:
            raise ValueError(f"t from {self.t_low} to {self.t_high}: allowed is 0 <= t_low <= t_high <= 1")
        if not 1 <= self.steps <= 10:
            raise ValueError(f"steps = {self.steps}: allowed is 1 to 10")
        if self.baseline == "null" and (self.steps > 1 or self.start == "inversion"):
            raise ValueError(
                f"steps {self.steps}, start {self.start!r} with baseline 'null': allowed are 1 step from 'random' noise"
            )
        for name, count in (("draws", self.draws), ("iterations", self.iterations)):
            if count < 1:
                raise ValueError(f"{name} = {count}: allowed is 1 or more")
        if any(window < 4 or window % 4 for window in self.windows):
            raise ValueError(f"windows = {self.windows}: each is a multiple of 4, in samples")
        if self.guidance < 0.0 or self.gamma < 0.0 or not self.learning_rate > 0.0 or not 0.0 <= self.final_rate <= 1.0:
            raise ValueError(
                f"guidance {self.guidance}, gamma {self.gamma}, learning_rate {self.learning_rate}, final_rate "
                f"{self.final_rate}: allowed are guidance and gamma >= 0, a rate > 0, a share of it from 0 to 1"
            )
