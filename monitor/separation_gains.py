"""What a method of separation gains, test file by test file: SI-SDR in and out, with intervals over recordings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from monitor import roc
from monitor.manifest import Row
from sds_engine.dsp import si_sdr
from sds_engine.separation.base import Enhancer, Query, QueryError, Separator
from sds_engine.separation.grid import RATE
from sds_engine.separation.lineup import ORACLE, SDS


@dataclass(frozen=True, eq=False)
class Item:
    """A test file: mixture and reference [time], and what to ask for."""

    row: Row
    mix: Tensor
    reference: Tensor
    query: Query


@dataclass(frozen=True, eq=False)
class Gains:
    """One method's figures per test file [file]: SI-SDR in and out, in dB; the seconds it took, and those of sound.

    unmasked: SI-SDR of the answer before it became a mask on the mixture, where the method has one.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    unmasked: NDArray[np.float64] | None
    recording: NDArray[np.str_]
    nfe: int
    seconds: float
    sound_s: float


def run_method(method: Separator, items: Sequence[Item], change: Callable[[Item], Query] | None = None) -> Gains:
    """Separate every item by a method, asked with the item's own query or as `change` says; `sds` by its prompt."""
    before, after, unmasked = [], [], []
    seconds = 0.0
    for item in items:
        asked = change(item) if change else _in_words(item) if method.name == SDS else item.query
        query = replace(asked, reference=_oracle_only(method, item))
        started = time.perf_counter()
        if isinstance(method, Enhancer):
            enhanced = method.enhance(item.mix[None], query)
            found, own = enhanced.separated, enhanced.unmasked
        else:
            found, own = method(item.mix[None], query), None
        seconds += time.perf_counter() - started
        before.append(float(si_sdr(item.mix, item.reference)))
        after.append(_si_sdr(found.target, item))
        unmasked += [] if own is None else [_si_sdr(own, item)]
    return Gains(
        before=np.array(before),
        after=np.array(after),
        unmasked=np.array(unmasked) if unmasked else None,
        recording=np.array([item.row.recording for item in items], dtype=np.str_),
        nfe=method.nfe,
        seconds=seconds,
        sound_s=sum(len(item.mix) for item in items) / RATE,
    )


def _in_words(item: Item) -> Query:
    from sds_engine.priors.text import embed

    try:
        return replace(item.query, prompt=embed([item.row.prompt])[0] if item.row.prompt else None)
    except (ImportError, ValueError) as error:
        raise QueryError(str(error)) from error


def _si_sdr(target: Tensor, item: Item) -> float:
    return max(-100.0, float(si_sdr(target[0], item.reference)))  # silence would be minus infinity


def _oracle_only(method: Separator, item: Item) -> Tensor | None:
    return item.reference[None] if method.name == ORACLE else None


def figures(gains: Gains, seed: int) -> dict[str, Any]:
    """One method as the report has it: means, 95% intervals, evaluations, and seconds per second of sound."""
    own = None if gains.unmasked is None else gains.unmasked - gains.before
    return {
        "si_sdr_in": float(gains.before.mean()),
        "si_sdr_out": float(gains.after.mean()),
        "si_sdri": float((gains.after - gains.before).mean()),
        "si_sdri_ci": mean_interval(gains.after - gains.before, gains.recording, seed),
        "nfe": gains.nfe,
        "rtf": gains.seconds / gains.sound_s,
        "files": len(gains.before),
        **({} if own is None else {"unmasked_si_sdri": float(own.mean())}),
        **({} if own is None else {"unmasked_si_sdri_ci": mean_interval(own, gains.recording, seed)}),
    }


def paired(found: Mapping[str, Gains], base: str, seed: int) -> dict[str, Any]:
    """What each method gains over `base`, file by file, in dB."""
    over = {name: one.after - found[base].after for name, one in found.items() if name != base}
    recording = found[base].recording
    return {name: {"db": float(more.mean()), "ci": mean_interval(more, recording, seed)} for name, more in over.items()}


def mean_interval(values: NDArray[np.float64], recording: NDArray[np.str_], seed: int) -> list[float] | None:
    """The 95% interval of a mean by bootstrap over recordings; None for fewer than two of them."""
    names, number = np.unique(recording, return_inverse=True)
    if len(names) < 2:
        return None
    sums = np.bincount(number, values)
    counts = np.bincount(number).astype(np.float64)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), roc.REPLICATES)
    return roc.interval((drawn @ sums) / (drawn @ counts))
