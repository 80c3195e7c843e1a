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
from torch.nn import functional

from sds_engine.separation.exdiff.bridge import SIGMA
from sds_engine.separation.exdiff.cells import cells_of_bands, decibels, detail_db, pooled, spread, unit_power
from sds_engine.separation.exdiff.network import ExDiffNet, ExDiffSize
from sds_engine.separation.grid import FLOOR, log_mel, power
from sds_engine.separation.network import TRUST, MaskNet, QueryInput, enrolment_logits, scaled

Variant = Literal["latents", "none", "mixture-only", "joint"]
VARIANTS: tuple[str, ...] = get_args(Variant)
LATENT_REACH: int | None = None  # tokens to either side, None: the whole sound
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
class Look:
    """What a mixture itself shows, the same for every variant; all but `mixture` and `mel` are [batch, frame, cell].

    mixture: the STFT [batch, frame, bin]; mel: the extractor's view [batch, mel, frame] in dB; power: of cells; unit:
    the power around a cell; level: scaled dB about their mean; detail: how the mixture's fine structure differs from
    the enrolment's.
    """

    mixture: Tensor
    mel: Tensor
    power: Tensor
    unit: Tensor
    level: Tensor
    detail: Tensor
    query: QueryInput

    @classmethod
    def at(cls, mixture: Tensor, asked: Asked) -> Look:
        """Look at mixtures: STFTs [batch, bin, frame]."""
        frames = mixture.transpose(1, 2).contiguous()
        bins = power(frames)
        cells = pooled(bins)
        level = scaled(decibels(cells))
        wanted = detail_db(asked.power, pooled(asked.power)) * asked.query.has_sound[:, None]
        return cls(
            mixture=frames,
            mel=log_mel(bins.transpose(1, 2)),
            power=cells,
            unit=unit_power(cells) * (cells > 0.0),  # no noise beside a sound where there is none
            level=level - level.mean(dim=(1, 2), keepdim=True),
            detail=((detail_db(bins, cells) - wanted[:, None]) / _DETAIL_DB).clamp(-_CLIP, _CLIP),
            query=asked.query,
        )


@dataclass(frozen=True)
class Guess:
    """The first guess: logits of its gain [batch, frame, cell], and the extractor's latents [batch, token, latent]."""

    logit: Tensor
    latents: Tensor | None

    def around(self, reach: int | None) -> Guess:
        """With latents that are means over `reach` tokens to either side, None: over the whole sound."""
        if self.latents is None:
            return self
        if reach is None or reach >= self.latents.shape[1]:
            return replace(self, latents=self.latents.mean(1, keepdim=True).expand_as(self.latents))
        each = self.latents.transpose(1, 2)
        mean = functional.avg_pool1d(each, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)
        return replace(self, latents=mean.transpose(1, 2))


@dataclass(frozen=True)
class Seen:
    """A mixture, the first guess at its target, and the gain that makes x_1 of the mixture [batch, frame, cell].

    trust in 0..1: how much of the learned correction counts where there is an enrolment; 0 is the first guess itself.
    """

    look: Look
    guess: Guess
    start: Tensor
    trust: float = 1.0

    def first(self) -> Tensor:
        """Where bridges start: x_1 [batch, frame, bin]."""
        return spread(self.start) * self.look.mixture


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
        self.guide_trust = TRUST
        self._guide = (extractor,)  # in a tuple, where a module does not count it among its own weights

    @property
    def extractor(self) -> MaskNet | None:
        """What guides; frozen but for `joint`."""
        return self._guide[0]

    def led_by(self, guide: MaskNet, trust: float = TRUST) -> None:
        """Be guided by this extractor, frozen, with so much trust in what it learned.

        Raises ValueError for a variant that has none or its own.
        """
        if self.variant not in ("latents", "none"):
            raise ValueError(f"variant {self.variant} is not led by a frozen extractor; latents and none are")
        self.guide_trust = trust
        self._guide = (guide.eval().requires_grad_(requires_grad=False),)

    def guess(self, look: Look) -> Guess:
        """The extractor's answer, or without one what the enrolment alone says."""
        if self.extractor is None:
            return Guess(on_cells(enrolment_logits(look.mel, look.query)), None)
        learns = self.variant == "joint" and torch.is_grad_enabled()
        with torch.set_grad_enabled(learns), torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            logits, latents = self.extractor.answer(look.mel, look.query, self.guide_trust)
        return Guess(on_cells(logits), latents)

    def see(
        self, look: Look, guess: Guess | None = None, *, trust: float = 1.0, reach: int | None = LATENT_REACH
    ) -> Seen:
        """What this variant sees of mixtures; `guess` where another one's of the same extractor is at hand.

        Latents are means over `reach` tokens: what the extractor holds of a moment misleads on machines of kinds that
        it never heard, what it holds of the sound at large helps (docs/separation.md).
        """
        guess = (guess or self.guess(look)).around(reach)
        start = torch.ones_like(guess.logit) if self.extractor is None else torch.sigmoid(guess.logit).detach()
        return Seen(look, guess, start, trust)

    def believe(self, seen: Seen, heard: Tensor, t: Tensor) -> Belief:
        """What the network takes for the target at points of the bridge.

        heard [batch, frame, cell] is what the points say of it (`in_phase`), t [batch] where on the bridge they are.
        """
        look, logit = seen.look, seen.guess.logit
        inputs = torch.stack([look.level, logit / 4.0, look.detail, _hint(seen, heard, t)], dim=2)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            out = self.net(inputs, t, look.query, seen.guess.latents)
        shift, by_detail, by_size, sure = out.unbind(2)
        size = (look.power / look.unit.clamp_min(FLOOR)).clamp_min(1e-3).log()
        trust = torch.where(look.query.has_sound, seen.trust, 1.0)[:, None, None]
        gain = torch.sigmoid(logit + trust * (shift + by_detail * look.detail + by_size * size))
        return Belief(gain, _variance(gain, look) * sure.clamp(-_CLIP, _CLIP).exp())

    def predict(self, seen: Seen, state: Tensor, t: float) -> tuple[Tensor, Belief]:
        """E[x_0 | state, mixture] for states of the bridge [batch, frame, bin], complex, and the belief behind it."""
        at = torch.full((len(state),), t, device=state.device)
        known = state - t * seen.first()
        belief = self.believe(seen, in_phase(known, seen.look), at)
        by_mixture, by_point = weights(seen.look, belief, at)
        return spread(by_mixture) * seen.look.mixture + spread(by_point) * known, belief


def in_phase(known: Tensor, look: Look) -> Tensor:
    """What a point of the bridge without its start [batch, frame, bin] is of the mixture, as a gain of cells."""
    return pooled(dot(known, look.mixture)) / look.power.clamp_min(FLOOR)


def dot(one: Tensor, other: Tensor) -> Tensor:
    """Re(one other*), bin by bin."""
    return one.real * other.real + one.imag * other.imag


def weights(look: Look, belief: Belief, t: Tensor) -> tuple[Tensor, Tensor]:
    """The weights [batch, frame, cell] of mixture and known point in the posterior mean of the target.

    `known` = x_t - t x_1 = (1 - t) S + sigma sqrt(t (1 - t)) unit z observes a Gaussian S: conjugate, and exact.
    """
    t = t[:, None, None]
    by_point = belief.variance / (belief.variance * (1.0 - t) + SIGMA**2 * t * look.unit).clamp_min(1e-20)
    return belief.gain * (1.0 - (1.0 - t) * by_point), by_point * (t < 1.0)


def _hint(seen: Seen, heard: Tensor, t: Tensor) -> Tensor:
    """What the bridge's point says over the first guess, as a gain [batch, frame, cell]; nothing at t = 1."""
    guess = torch.sigmoid(seen.guess.logit).detach()
    _, by_point = weights(seen.look, Belief(guess, _variance(guess, seen.look)), t)
    return (by_point * (heard - (1.0 - t[:, None, None]) * guess)).clamp(-_CLIP, _CLIP)


def _variance(gain: Tensor, look: Look) -> Tensor:
    """Of a Gaussian sound when only its sum X with another is known: gain (1 - gain) |X|^2, the gain Wiener's."""
    return gain * (1.0 - gain) * look.power + _LEAST_VARIANCE * look.unit


def on_cells(logits: Tensor) -> Tensor:
    """Logits of gains of mel bands [batch, mel, frame] as those of cells [batch, frame, cell]."""
    gain = torch.sigmoid(logits.float()).transpose(1, 2) @ cells_of_bands(logits.device)
    return torch.logit(gain.clamp(_LEAST_GAIN, 1.0 - _LEAST_GAIN))
