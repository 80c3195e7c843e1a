"""Separation by non-negative matrix factorisation with the Kullback-Leibler divergence.

Lee and Seung, NIPS 13 (2001), multiplicative updates; semi-supervised as in Smaragdis, Raj and Shashanka (ICA 2007):
bases of the wanted sound are learned from its enrolment and stay fixed, bases of the rest are free (or start from
recordings of the background). Works on magnitudes, as is usual for this divergence.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sds_engine.separation.base import Query, QueryError
from sds_engine.separation.grid import Separated, analyse, apply_mask

_EPS = 1e-8
MOST_FRAMES = 2000  # of enrolment, evenly taken: more cost time and teach nothing


def factorise(
    magnitude: Tensor, bases: Tensor, fixed: int, rounds: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Bases [bin, basis] and activations [basis, frame] of magnitudes [bin, frame]; the first `fixed` bases stay.

    The divergence never rises from round to round.
    """
    bases = bases.clone()
    active = torch.rand(bases.shape[1], magnitude.shape[1], generator=generator) + 0.1
    for _ in range(rounds):
        ratio = magnitude / (bases @ active).clamp_min(_EPS)
        active *= (bases.T @ ratio) / bases.sum(0).clamp_min(_EPS)[:, None]
        if fixed < bases.shape[1]:
            ratio = magnitude / (bases @ active).clamp_min(_EPS)
            free = active[fixed:]
            bases[:, fixed:] *= (ratio @ free.T) / free.sum(1).clamp_min(_EPS)
            bases[:, fixed:] /= bases[:, fixed:].sum(0).clamp_min(_EPS)
    return bases, active


class Nmf:
    """KL-NMF: `wanted` bases from the enrolment, `free` bases for everything else."""

    name = "nmf"
    nfe = 0

    def __init__(self, *, wanted: int = 16, free: int = 16, rounds: int = 60, seed: int = 0) -> None:
        self._wanted, self._free, self._rounds, self._seed = wanted, free, rounds, seed
        self._learned: tuple[tuple[int, ...], Tensor, Tensor | None] | None = None

    def __call__(self, mix: Tensor, query: Query) -> Separated:
        """Needs enrolment; takes recordings of the background where there are any. Each mixture has its own seed."""
        if not query.enrolment:
            raise QueryError("nmf needs recordings of the wanted sound: give --enrol")
        spectrum = analyse(mix).abs()
        wanted, rest = self._bases(query)
        return apply_mask(mix, torch.stack([self._mask(one, wanted, rest) for one in spectrum]))

    def _bases(self, query: Query) -> tuple[Tensor, Tensor | None]:
        key = tuple(id(clip) for clip in (*query.enrolment, *query.background))
        if self._learned is None or self._learned[0] != key:
            rest = self._learn(query.background, self._free) if query.background else None
            self._learned = (key, self._learn(query.enrolment, self._wanted), rest)
        return self._learned[1], self._learned[2]

    def _learn(self, clips: Sequence[Tensor], count: int) -> Tensor:
        frames = torch.cat([analyse(clip[None])[0].abs() for clip in clips], dim=-1)  # [bin, frame]
        step = max(1, frames.shape[1] // MOST_FRAMES)
        generator = torch.Generator().manual_seed(self._seed)
        start = torch.rand(len(frames), count, generator=generator) + 0.1
        return factorise(frames[:, ::step], start / start.sum(0), 0, self._rounds, generator)[0]

    def _mask(self, magnitude: Tensor, wanted: Tensor, rest: Tensor | None) -> Tensor:
        generator = torch.Generator().manual_seed(self._seed)
        if rest is None:
            rest = torch.rand(len(wanted), self._free, generator=generator) + 0.1
            rest = rest / rest.sum(0)
        both = torch.cat([wanted, rest], dim=1)
        bases, active = factorise(magnitude, both, wanted.shape[1], self._rounds, generator)
        count = wanted.shape[1]
        target = (bases[:, :count] @ active[:count]).square()
        other = (bases[:, count:] @ active[count:]).square()
        return target / (target + other).clamp_min(_EPS**2)
