"""Ex-Diff: what it sees of a mixture once, and what it takes for the target at every point of the bridge.

The answer has the form of a Gaussian posterior in every cell. Of the mixture X alone the target S would be gain * X, of
some variance; the bridge's point adds an observation of S. The network says the gain (as a correction of the first
guess, the extractor's mask) and the variance; the rest is arithmetic: one evaluation at t = 1 is the gain alone.
Spectra stay linear: their mean is the estimate that SI-SDR asks for, that of compressed ones is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from sds_engine.separation.exdiff.bridge import SIGMA
from sds_engine.separation.exdiff.cells import cells_of_bands, decibels, detail_db, pooled, spread, unit_power
from sds_engine.separation.exdiff.network import ExDiffNet, ExDiffSize
from sds_engine.separation.grid import FLOOR, log_mel, power
from sds_engine.separation.network import MaskNet, QueryInput, enrolment_logits, scaled

Variant = Literal["latents", "none", "mixture-only", "joint"]
VARIANTS: tuple[str, ...] = get_args(Variant)
_LEAST_GAIN = 1e-4
_LEAST_VARIANCE = 1e-3  # of the mixture's power around a cell
_DETAIL_DB = 5.0
_CLIP = 4.0


@dataclass(frozen=True)
class Asked:
    """A batch of queries: `query` as the extractor takes it, and the enrolment's mean power of bins [batch, bin].

    The power counts only where the query has sound.
    """

    query: QueryInput
    power: Tensor


@dataclass(frozen=True)
class Seen:
    """What is computed once for mixtures; all but `mixture` are [batch, frame, cell].

    mixture: the STFT [batch, frame, bin]; power: its own; unit: the power around a cell; logit: of the first guess;
    start: the gain that makes x_1 of the mixture; level: scaled dB; detail: how the mixture's fine structure differs
    from the enrolment's.
    """

    mixture: Tensor
    power: Tensor
    unit: Tensor
    logit: Tensor
    start: Tensor
    level: Tensor
    detail: Tensor
    query: QueryInput
    latents: Tensor | None

    def first(self) -> Tensor:
        """Where bridges start: x_1 [batch, frame, bin]."""
        return spread(self.start) * self.mixture


@dataclass(frozen=True)
class Belief:
    """The target as a Gaussian when the mixture is known: gain of the mixture, and variance [batch, frame, cell]."""

    gain: Tensor
    variance: Tensor


class ExDiffModel(nn.Module):
    """The network, the extractor that guides it (none for `mixture-only`), and what joins them.

    Variants: `latents` is the paper's, with a frozen extractor; `none` starts at the extractor's answer but never sees
    its latents; `mixture-only` has no extractor: it starts at the mixture, guided by the query alone; `joint` is
    `latents` with the extractor trained along. `fast`: networks compute in bfloat16.
    """

    def __init__(self, variant: Variant, extractor: MaskNet | None, size: ExDiffSize | None = None) -> None:
        super().__init__()
        if (extractor is None) != (variant == "mixture-only"):
            raise ValueError(f"variant {variant} goes {'without' if extractor else 'with'} an extractor")
        size = size or ExDiffSize()
        self.size = size if variant in ("latents", "joint") else replace(size, ask=())
        self.variant, self.fast = variant, False
        self.net = ExDiffNet(self.size)
        self.joint = extractor if variant == "joint" else None
        self._guide = (extractor,)  # in a tuple, where a module does not count it among its own weights

    @property
    def extractor(self) -> MaskNet | None:
        """What guides; frozen but for `joint`."""
        return self._guide[0]

    def see(self, mixture: Tensor, asked: Asked) -> Seen:
        """Look at mixtures: STFTs [batch, bin, frame]."""
        frames = mixture.transpose(1, 2).contiguous()
        bins = power(frames)
        cells = pooled(bins)
        mel = log_mel(bins.transpose(1, 2))
        logits, latents = self._guess(mel, asked.query)
        guess = torch.sigmoid(logits).transpose(1, 2) @ cells_of_bands(bins.device)
        guess = guess.clamp(_LEAST_GAIN, 1.0 - _LEAST_GAIN)
        wanted = detail_db(asked.power, pooled(asked.power)) * asked.query.has_sound[:, None]
        detail = ((detail_db(bins, cells) - wanted[:, None]) / _DETAIL_DB).clamp(-_CLIP, _CLIP)
        return Seen(
            mixture=frames,
            power=cells,
            unit=unit_power(cells) * (cells > 0.0),  # no noise beside a sound where there is none
            logit=torch.logit(guess),
            start=torch.ones_like(guess) if self.extractor is None else guess.detach(),
            level=scaled(decibels(cells)),
            detail=detail,
            query=asked.query,
            latents=latents,
        )

    def _guess(self, mel: Tensor, query: QueryInput) -> tuple[Tensor, Tensor | None]:
        """Logits of the first guess [batch, mel, frame], and the extractor's latents where this variant asks."""
        if self.extractor is None:
            return enrolment_logits(mel, query), None
        learns = self.variant == "joint" and torch.is_grad_enabled()
        with torch.set_grad_enabled(learns), torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            logits, latents = self.extractor.answer(mel, query)
        return logits, latents if self.size.ask else None

    def believe(self, seen: Seen, heard: Tensor, t: Tensor) -> Belief:
        """What the network takes for the target at points of the bridge.

        heard [batch, frame, cell] is what the points say of it (`in_phase`), t [batch] where on the bridge they are.
        """
        inputs = torch.stack([seen.level, seen.logit / 4.0, seen.detail, _hint(seen, heard, t)], dim=2)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            out = self.net(inputs, t, seen.query, seen.latents)
        shift, by_detail, by_size, sure = out.unbind(2)
        size = (seen.power / seen.unit.clamp_min(FLOOR)).clamp_min(1e-3).log()
        gain = torch.sigmoid(seen.logit + shift + by_detail * seen.detail + by_size * size)
        return Belief(gain, _variance(gain, seen) * sure.clamp(-_CLIP, _CLIP).exp())

    def predict(self, seen: Seen, state: Tensor, t: float) -> Tensor:
        """E[x_0 | state, mixture] for states of the bridge [batch, frame, bin], complex."""
        at = torch.full((len(state),), t, device=state.device)
        known = state - t * seen.first()
        by_mixture, by_point = weights(seen, self.believe(seen, in_phase(known, seen), at), at)
        return spread(by_mixture) * seen.mixture + spread(by_point) * known


def in_phase(known: Tensor, seen: Seen) -> Tensor:
    """What a point of the bridge without its start [batch, frame, bin] is of the mixture, as a gain of cells."""
    return pooled(dot(known, seen.mixture)) / seen.power.clamp_min(FLOOR)


def dot(one: Tensor, other: Tensor) -> Tensor:
    """Re(one other*), bin by bin."""
    return one.real * other.real + one.imag * other.imag


def weights(seen: Seen, belief: Belief, t: Tensor) -> tuple[Tensor, Tensor]:
    """The weights [batch, frame, cell] of mixture and known point in the posterior mean of the target.

    `known` = x_t - t x_1 = (1 - t) S + sigma sqrt(t (1 - t)) unit z observes a Gaussian S: conjugate, and exact.
    """
    t = t[:, None, None]
    by_point = belief.variance / (belief.variance * (1.0 - t) + SIGMA**2 * t * seen.unit).clamp_min(1e-20)
    return belief.gain * (1.0 - (1.0 - t) * by_point), by_point * (t < 1.0)


def _hint(seen: Seen, heard: Tensor, t: Tensor) -> Tensor:
    """What the bridge's point says over the first guess, as a gain [batch, frame, cell]; nothing at t = 1."""
    guess = torch.sigmoid(seen.logit).detach()
    _, by_point = weights(seen, Belief(guess, _variance(guess, seen)), t)
    return (by_point * (heard - (1.0 - t[:, None, None]) * guess)).clamp(-_CLIP, _CLIP)


def _variance(gain: Tensor, seen: Seen) -> Tensor:
    """Of a Gaussian sound when only its sum X with another is known: gain (1 - gain) |X|^2, the gain Wiener's."""
    return gain * (1.0 - gain) * seen.power + _LEAST_VARIANCE * seen.unit
