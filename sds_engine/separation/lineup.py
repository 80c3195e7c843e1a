"""The methods of separation by name, and which names answer that they are not there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sds_engine.separation.base import Separator
from sds_engine.separation.classical import IdealRatioMask, Mixture, SpectralGating, Wiener
from sds_engine.separation.nmf import Nmf

if TYPE_CHECKING:
    from sds_engine.separation.by_sds import BySds

ORACLE = IdealRatioMask.name
EX_DIFF = "ex-diff"
SDS = "sds"  # not among METHODS: hours where the others take seconds, so it is asked for by name
CONTROLS = {
    "exdiff-no-latents": "none",
    "mixture-diffusion": "mixture-only",
    "exdiff-joint": "joint",
    "exdiff-shuffled": "latents",
    "exdiff-full-trust": "latents",
}
_MEASURED = (1, 2, 4, 30)
EXDIFF = (EX_DIFF, *(f"exdiff-{nfe}" for nfe in _MEASURED), *CONTROLS)


class MethodError(ValueError):
    """There is no such method, or not yet; the text says which there are."""


def _extractor() -> Separator:
    from sds_engine.separation.extractor import load_extractor

    return load_extractor()[0]


METHODS: Mapping[str, Callable[[], Separator]] = {
    "mixture": Mixture,
    "wiener": Wiener,
    "spectral-gating": SpectralGating,
    "nmf": Nmf,
    "extractor": _extractor,
    EX_DIFF: lambda: ex_diff(EX_DIFF),
}


def separator_named(name: str, *, nfe: int | None = None) -> Separator:
    """The method of that name, ready; `nfe` evaluations where it is one of Ex-Diff's.

    Raises MethodError for one that there is not, WeightsError for lost weights.
    """
    if name == ORACLE:
        return IdealRatioMask()
    if re.fullmatch(r"exdiff-[0-9]+", name) or name in EXDIFF:
        return ex_diff(name, nfe=nfe)
    if name == SDS and nfe is None:
        return sds()
    if name not in (*METHODS, SDS):
        raise MethodError(f"method is {name!r}, allowed is {_allowed()}")
    if nfe is not None:
        raise MethodError(f"method {name} takes no number of evaluations; --nfe goes with {EX_DIFF}")
    return METHODS[name]()


def ex_diff(
    name: str = EX_DIFF, *, nfe: int | None = None, weights: Path | None = None, extractor: Path | None = None
) -> Separator:
    """Ex-Diff, `exdiff-N` with N evaluations, or one of its controls; `weights` is a folder other than the shipped one.

    The controls are comparisons, as they were trained, with full trust; those with weights of their own are not
    shipped. Raises MethodError for them where `weights` has none.
    """
    from sds_engine.separation.exdiff.separator import NFE, TRUST, ExDiff, load_exdiff
    from sds_engine.separation.extractor import WEIGHTS, WeightsError

    said = re.fullmatch(r"exdiff-([0-9]+)", name)
    count = int(said.group(1)) if said else nfe or NFE
    if count < 1 or (said and nfe not in (None, count)):
        raise MethodError(f"method is {name!r} with {nfe} evaluations, allowed is 1 or more, said once")
    variant = CONTROLS.get(name, "latents")
    try:
        model, _ = load_exdiff(weights or WEIGHTS, variant, extractor=extractor)
    except WeightsError as error:
        if weights is None and variant != "latents":
            raise MethodError(f"{name} is a comparison that is not shipped: {error}") from error
        raise
    trust = 1.0 if name in CONTROLS else TRUST
    return ExDiff(model, nfe=count, trust=trust, shuffled=name == "exdiff-shuffled", name=name)


def sds(*, others: Sequence[str] = (), iterations: int | None = None, seed: int = 0) -> BySds:
    """Separation by prompts with the shipped prior. Raises MethodError where it cannot be; see `by_sds`."""
    from sds_engine.separation.by_sds import by_sds

    try:
        return by_sds(others=others, iterations=iterations, seed=seed)
    except (ImportError, ValueError) as error:
        raise MethodError(f"method {SDS}: {error}") from error


def _allowed() -> str:
    return ", ".join([*METHODS, SDS, "exdiff-N for N evaluations of Ex-Diff"])
