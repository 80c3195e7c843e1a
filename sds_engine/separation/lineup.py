"""The methods of separation by name, and which names answer that they are not there yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sds_engine.separation.base import Separator
from sds_engine.separation.classical import IdealRatioMask, Mixture, SpectralGating, Wiener
from sds_engine.separation.nmf import Nmf

ORACLE = IdealRatioMask.name
EXDIFF = ("exdiff-1", "exdiff-2", "exdiff-4", "exdiff-30", "exdiff-no-latents", "mixture-diffusion")


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
}


def separator_named(name: str) -> Separator:
    """The method of that name, ready. Raises MethodError for one that there is not, WeightsError for lost weights."""
    if name == ORACLE:
        return IdealRatioMask()
    if name in EXDIFF:
        raise MethodError(f"{name} is not trained yet: no weights of Ex-Diff are shipped; allowed is {_allowed()}")
    if name not in METHODS:
        raise MethodError(f"method is {name!r}, allowed is {_allowed()}")
    return METHODS[name]()


def _allowed() -> str:
    return ", ".join(METHODS)
