"""Which maker makes which sound."""

from __future__ import annotations

from collections.abc import Mapping

from sds_engine.makers.base import Maker
from sds_engine.makers.blades import Blade
from sds_engine.makers.bounces import Bounce
from sds_engine.makers.flow import Cavitation, Leak
from sds_engine.makers.fm import Fm
from sds_engine.makers.friction import Squeal
from sds_engine.makers.impact import Impact
from sds_engine.makers.teeth import Tooth
from sds_engine.makers.trains import Race

_MAKERS: tuple[type[Maker], ...] = (Race, Tooth, Bounce, Squeal, Cavitation, Leak, Blade, Impact, Fm)
KINDS: Mapping[str, type[Maker]] = {kind: maker for maker in _MAKERS for kind in maker.kinds}


def maker_for(kind: str, rate: int = 16_000, seconds: float = 2.0) -> Maker:
    """The maker of `kind`: one of `sds_engine.physics.faults.FAULT_KINDS`, "impact" or "fm".

    Raises ValueError for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, allowed is one of {', '.join(sorted(KINDS))}")
    return KINDS[kind](rate=rate, seconds=seconds, kind=kind)
