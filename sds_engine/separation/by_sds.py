"""Separation by prompts alone, with the frozen prior as the only teacher: Audio-SDS, Eq. 12-13, as a separator.

Slow (every two seconds are an optimisation of their own) and without any training on mixtures: for offline use, and to
make targets for those who learn. What the optimised sources say becomes a soft mask on the mixture, so nothing that the
prior made up is heard. A re-implementation of a paper without public code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sds_engine.priors.denoiser import Prior
from sds_engine.sds.noise import SeededNoise
from sds_engine.sds.separate import SeparationSettings, separate
from sds_engine.sds.settings import SdsSettings
from sds_engine.separation.adapt import SiteSound
from sds_engine.separation.base import Query, QueryError
from sds_engine.separation.grid import RATE, Separated, analyse, apply_mask, power

REST = "background noise of a factory hall"
ITERATIONS = 10
"""Measured on six simulated mixtures at 0 dB: the gain is largest after 10 to 20 and falls slowly from there on."""
SETTINGS = SeparationSettings(
    SdsSettings(draws=2, steps=1, t_low=0.3, t_high=0.9, windows=(512, 1024), gamma=1.0, iterations=ITERATIONS)
)
"""Chosen on six others: more noise than the paper's (the prior is small), and shorter windows, which cost less."""
_ROWS = 8  # pieces of sound side by side: more leave the cache
_SILENCE = 1e-7  # RMS: 24-bit dither, nothing to be separated
_TINY = 1e-20  # power
Watch = Callable[[], object]
ToCondition = Callable[[Tensor], Tensor]


class BySds:
    """Separates what a prompt asks for from what other prompts say is heard besides.

    Sound longer than the prior's is separated in pieces that overlap by half; each starts from noise of its own, which
    depends on the seed and the piece's number and on nothing else in the batch.
    """

    name = "sds"

    def __init__(
        self,
        prior: Prior,
        *,
        others: Sequence[str] = (REST,),
        settings: SeparationSettings = SETTINGS,
        seed: int = 0,
        to_condition: ToCondition | None = None,
        watch: Watch | None = None,
    ) -> None:
        """`others` are prompts of all else in the mixture; `watch` is called `rounds` times while a sound is separated.

        to_condition makes the prior's condition of a query's sentence embedding; None: it is one. Raises ValueError for
        no others, an unreadable prompt, or a prior of another rate.
        """
        if not others:
            raise ValueError("no other prompt: separation needs one or more for what else is heard")
        if prior.rate != RATE:
            raise ValueError(f"the prior's rate is {prior.rate} Hz, allowed is {RATE}")
        self.prior, self.settings, self.seed, self.watch = prior, settings, seed, watch
        self._to_condition = to_condition or (lambda embedded: embedded)
        self._others = prior.embed(list(others))
        sds = settings.sds  # evaluations of the prior's network for one piece of sound:
        self.nfe = sds.iterations * sds.draws * sds.steps * (1 + (sds.guidance > 0.0)) * (1 + len(self._others))

    def rounds(self, samples: int, batch: int = 1) -> int:
        """How many iterations there are for mixtures [batch, samples] that are silent nowhere."""
        return -(-batch * len(self._begins(samples)) // _ROWS) * self.settings.sds.iterations

    def __call__(self, mix: Tensor, query: Query) -> Separated:
        """Needs a prompt's embedding; enrolment and background recordings count for nothing here."""
        if query.prompt is None:
            raise QueryError("sds separates by words alone: give --prompt, and --other for what else is heard")
        mask = self._mask(mix, self._to_condition(query.prompt))
        return apply_mask(mix, mask)

    def _mask(self, mix: Tensor, wanted: Tensor) -> Tensor:
        """The target's share of the sources' power on the mixture's STFT [batch, bin, frame]; alike where all rest."""
        sources = self.sources(mix, wanted)  # [batch, source, time]
        strength = torch.stack([power(analyse(row)) for row in sources])  # [batch, source, bin, frame]
        total = strength.sum(1)
        return torch.where(total > _TINY, strength[:, 0] / total.clamp_min(_TINY), 1.0 / sources.shape[1])

    def sources(self, mix: Tensor, wanted: Tensor) -> Tensor:
        """The optimised sources [batch, source, time], the wanted one first, for a condition [...] of the prior."""
        if mix.ndim != 2 or mix.shape[1] < 1:
            raise ValueError(f"mix is {tuple(mix.shape)}, allowed is [batch, time]")
        with torch.inference_mode(mode=False), torch.enable_grad():
            conditions = torch.cat([wanted[None].clone(), self._others])  # [source, ...]
            size, begins = self._size(mix.shape[1]), self._begins(mix.shape[1])
            whole = mix.new_zeros(len(mix), len(conditions), begins[-1] + size)
            weight = mix.new_zeros(begins[-1] + size)
            padded = torch.nn.functional.pad(mix.clone(), (0, begins[-1] + size - mix.shape[1]))
            pieces = padded.unfold(1, size, size // 2 if len(begins) > 1 else size)  # [batch, piece, time]
            parts = self._optimised(pieces, conditions)  # [batch, piece, source, time]
            fade = torch.bartlett_window(size + 2, periodic=False)[1:-1].to(mix) if len(begins) > 1 else mix.new_ones(1)
            for number, begin in enumerate(begins):
                whole[:, :, begin : begin + size] += fade * parts[:, number]
                weight[begin : begin + size] += fade
            return (whole / weight)[:, :, : mix.shape[1]]

    def _optimised(self, pieces: Tensor, conditions: Tensor) -> Tensor:
        """Sources [batch, piece, source, time] of pieces [batch, piece, time], silent ones of silence."""
        batch, count, size = pieces.shape
        rows = pieces.reshape(-1, size)
        level = rows.square().mean(1).sqrt()
        found = rows.new_zeros(len(rows), len(conditions), size)
        heard = torch.nonzero(level > _SILENCE).squeeze(1)
        for start in range(0, len(heard), _ROWS):
            some = heard[start : start + _ROWS]
            seeds = [self._seed(int(row) % count, source) for row in some for source in range(len(conditions))]
            asked = [one.expand(len(some), *one.shape) for one in conditions]
            unit = rows[some] / level[some, None]  # what gamma weighs depends on the level
            made = separate(unit, asked, self.prior, self.settings, SeededNoise(seeds), self._watched)
            found[some] = made.to(found) * level[some, None, None]
        return found.reshape(batch, count, len(conditions), size)

    def _watched(self, iteration: int, sources: Tensor) -> None:  # noqa: ARG002  # what `separate` calls
        if self.watch is not None:
            self.watch()

    def _seed(self, piece: int, source: int) -> int:
        return (self.seed * 1_000_003 + piece) * 64 + source

    def _size(self, samples: int) -> int:
        return round(self.prior.seconds * self.prior.rate) or samples

    def _begins(self, samples: int) -> list[int]:
        """Where pieces begin: half a piece apart, the last one reaching the end."""
        size = self._size(samples)
        return list(range(0, max(1, samples - size // 2), size // 2)) if samples > size else [0]


def taught_sound(mixtures: Sequence[Tensor], separator: BySds, query: Query) -> SiteSound:
    """SDS as a teacher: recordings [time] in a working hall, cut into targets and background for `adapt`.

    For a site that has neither clean nor background recordings. Raises QueryError as the separator does.
    """
    parts = [separator(mixture[None], query) for mixture in mixtures]
    return SiteSound(tuple(part.target[0] for part in parts), tuple(part.residual[0] for part in parts))


def by_sds(
    *,
    others: Sequence[str] = (),
    iterations: int | None = None,
    seed: int = 0,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> BySds:
    """Separation by the shipped prior, or that of a folder; without `others` the rest is that of a factory hall.

    Raises ValueError, with the remedy, for a prior that is not there, an unreadable prompt and less than one iteration;
    ImportError without the sentence encoder.
    """
    from sds_engine.priors import retrieval
    from sds_engine.priors.shipped import load_prior

    sds = replace(SETTINGS.sds, iterations=ITERATIONS if iterations is None else iterations)
    return BySds(
        load_prior(folder).prior,
        others=tuple(others) or (REST,),
        settings=replace(SETTINGS, sds=sds),
        seed=seed,
        to_condition=lambda embedded: retrieval.pulled(embedded[None], retrieval.known())[0],
        watch=watch,
    )
