"""What turns in a machine, and the frequencies that follow: shaft, gear mesh, the four lines of a rolling bearing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sds_engine.physics.bearings import Bearing

_KEYS = ("shaft_hz", "teeth", "n", "d", "D", "phi")


@dataclass(frozen=True, slots=True)
class Kinematics:
    """All that is known of the machine's parts; None where it is not. A bearing says nothing without the shaft."""

    shaft_hz: float | None = None
    bearing: Bearing | None = None
    teeth: int | None = None

    def bearing_hz(self) -> dict[str, float]:
        """The rates in Hz at which a damaged bearing strikes, by name; empty where shaft or bearing is not known.

        BPFO, BPFI and FTF as in `sds_engine.physics.bearings`; a spot on a ball meets both races in a spin: 2 BSF.
        """
        if self.shaft_hz is None or self.bearing is None:
            return {}
        orders = {"BPFO": self.bearing.bpfo, "BPFI": self.bearing.bpfi, "2BSF": 2.0 * self.bearing.bsf}
        return {name: order * self.shaft_hz for name, order in {**orders, "FTF": self.bearing.ftf}.items()}

    def mesh_hz(self) -> float | None:
        """The gear mesh, teeth times shaft, in Hz."""
        return None if self.shaft_hz is None or self.teeth is None else self.shaft_hz * self.teeth

    def plain(self) -> dict[str, float]:
        """As numbers by name, for a model card; what is not known is left out."""
        bearing = self.bearing
        parts = {} if bearing is None else {"n": bearing.n, "d": bearing.d, "D": bearing.D, "phi": bearing.phi}
        known = {"shaft_hz": self.shaft_hz, "teeth": self.teeth, **parts}
        return {name: float(value) for name, value in known.items() if value is not None}

    @classmethod
    def of(cls, plain: Mapping[str, float]) -> Self:
        """From its numbers. Raises ValueError for unknown names and for numbers that are none."""
        unknown = set(plain) - set(_KEYS)
        if unknown or not all(isinstance(v, int | float) and math.isfinite(v) and v >= 0 for v in plain.values()):
            raise ValueError(f"kinematics are {dict(plain)!r}, allowed are numbers for {', '.join(_KEYS)}")
        if "n" in plain and not {"d", "D"} <= set(plain):
            raise ValueError(f"kinematics are {dict(plain)!r}, a bearing needs n, d and D")
        bearing = Bearing(int(plain["n"]), plain["d"], plain["D"], plain.get("phi", 0.0)) if "n" in plain else None
        teeth = plain.get("teeth")
        return cls(plain.get("shaft_hz"), bearing, None if teeth is None else int(teeth))
