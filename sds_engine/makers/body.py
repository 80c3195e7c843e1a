"""The body that a fault sounds through: its modes, bounded around those that were heard or drawn, and its response."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sds_engine.makers import tools
from sds_engine.makers.base import Bound, Draw, Physics
from sds_engine.makers.resonances import COUNT, Resonances, draw_resonances

RING_S = 0.24  # how long a body rings


def body_bounds() -> dict[str, Bound]:
    """How far the body's modes may move from those that were handed in or drawn."""
    return {
        "modes_scale": Bound(0.8, 1.25, "of nominal", log=True),
        "mode_shift": Bound(0.94, 1.06, "of nominal", log=True, size=COUNT),
        "damping_scale": Bound(0.33, 3.0, "of nominal", log=True),
        "mode_gain_db": Bound(-18.0, 18.0, "dB", size=COUNT),
        "direct": Bound(0.0, 0.6, "of amplitude"),
    }


def draw_body(body: str, rate: int, rng: np.random.Generator, physics: Physics) -> Draw:
    """Start values and fixed modes of a body: the machine's own where they are known."""
    drawn = draw_resonances(body, rng)
    known = physics.get("resonances")
    modes = (known if isinstance(known, Resonances) else drawn).strongest(rate)
    values = {
        "modes_scale": np.ones(1),
        "mode_shift": np.ones(COUNT),
        "damping_scale": np.ones(1),
        "mode_gain_db": 1.5 * rng.standard_normal(COUNT),
        "direct": np.full(1, 0.1),
    }
    missing = COUNT - len(modes.hz)  # silent modes fill the table: their number must not depend on the machine
    fixed = {
        "modes_hz": np.pad(modes.hz, (0, missing), constant_values=100.0),
        "modes_zeta": np.pad(modes.zeta, (0, missing), constant_values=0.1),
        "modes_gain": np.pad(modes.gains, (0, missing)),
    }
    return values, fixed


def body_modes(values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """hz, zeta, gains `[batch, mode]`: exp(log a + log f0 + df), as AV-MSF (2608.05145) writes frequencies."""
    hz = fixed["modes_hz"] * values["modes_scale"] * values["mode_shift"]
    zeta = (fixed["modes_zeta"] * values["damping_scale"]).clamp_max(0.4)
    return hz, zeta, fixed["modes_gain"] * tools.db(values["mode_gain_db"])


def body_response(values: Mapping[str, Tensor], fixed: Mapping[str, Tensor], rate: int) -> Tensor:
    """The body's answer to a blow `[batch, taps]` of energy 1, and what goes straight out."""
    taps = round(RING_S * rate)
    ring = tools.ringing(*body_modes(values, fixed), rate, taps)
    t = torch.arange(taps, device=ring.device, dtype=ring.dtype) / taps
    ring = ring * ((1.0 - t) / 0.2).clamp_max(1.0)  # faded out at its end
    ring = ring / (ring.square().sum(dim=-1, keepdim=True) + tools.TINY).sqrt()
    first = torch.zeros_like(ring)
    first[..., 0] = 1.0
    return ring + values["direct"] * first
