"""The six kinds of machine, by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sds_engine.physics.cyclic import Compressor, Conveyor, Press
from sds_engine.physics.machines import Machine
from sds_engine.physics.rotating import Fan, Gearbox, Pump

KINDS: Mapping[str, type[Machine]] = {kind.kind: kind for kind in (Fan, Pump, Gearbox, Press, Conveyor, Compressor)}


def draw_machine(kind: str, rng: np.random.Generator) -> Machine:
    """A new healthy individual of `kind`. Raises ValueError for a kind that is not in KINDS."""
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, allowed is one of {', '.join(KINDS)}")
    return KINDS[kind].draw(rng)
