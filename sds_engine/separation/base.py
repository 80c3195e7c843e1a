"""What a separator is: mixtures and a query in, two sounds that add up to the mixture out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from sds_engine.separation.grid import Separated


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for, the same for all mixtures of a batch; each method says what it needs.

    enrolment: recordings [time] of the wanted sound alone; background: recordings of everything else; prompt: its
    sentence embedding [384]; reference [batch, time]: the truth, which only an oracle may be given.
    """

    enrolment: tuple[Tensor, ...] = ()
    background: tuple[Tensor, ...] = ()
    prompt: Tensor | None = None
    reference: Tensor | None = None


class QueryError(ValueError):
    """A method cannot answer this query; the text says what it needs."""


@dataclass(frozen=True, slots=True)
class Enhanced:
    """What a method with a voice of its own made of mixtures.

    separated: for scoring, a mask on the mixture; unmasked [batch, time]: the network's own answer, for listening,
    which may hold what the mixture has not; confidence [batch, band, frame] in 0..1: how much of the target's expected
    power there is known, the rest being the posterior's spread.
    """

    separated: Separated
    unmasked: Tensor
    confidence: Tensor


class Separator(Protocol):
    """One method of separation. `nfe` is how many network evaluations a mixture costs."""

    name: str
    nfe: int

    def __call__(self, mix: Tensor, query: Query) -> Separated:
        """Separate mixtures [batch, time] at 16 kHz, full scale 1.0; each row for itself. Silence gives silence.

        Raises QueryError where the query lacks what the method needs, ValueError for sound that is not [batch, time].
        """


@runtime_checkable
class Enhancer(Protocol):
    """A separator whose own answer can be had too."""

    def enhance(self, mix: Tensor, query: Query) -> Enhanced:
        """As the separator, with the unmasked answer and the confidence."""
