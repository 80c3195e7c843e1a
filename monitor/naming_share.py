"""A name for an odd sound and how sure it is. Apart from what finds it, which needs torch."""

from __future__ import annotations

from typing import NamedTuple


class Guess(NamedTuple):
    """A name and its share of 1. `kind` is one of `sds_engine.physics.faults`, or what staff wrote."""

    kind: str
    share: float
