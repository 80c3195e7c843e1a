"""Makers of sound: differentiable, bounded by physics, batched `[batch, time]`; 16 kHz and 2 s unless told otherwise.

    maker = maker_for("outer_race", 16_000)
    params = maker.start(8, seeds=0, shaft_hz=24.5)   # leaves: hand params.tensors() to an optimiser
    wave = maker.render(params)                       # [8, 32000], a pure function of params
    maker.physical(params)["bpfo_hz"], maker.check(params)

- `base`: `Maker`, `Params`, `Bound`, `Physics`; `tools`: blows between samples, ringing modes, convolution.
- `resonances` and `body`: what a fault sounds through, drawn or heard in recordings of the healthy machine.
- `impact`: a struck object in a room; `trains`: bearings; `teeth`: gears; `bounces`: loose parts;
  `friction`: belt squeal; `flow`: leak, cavitation; `blades`: a bad blade; `fm`: four operators.
- `choice`: `maker_for(kind, rate)`: a maker for each fault, "impact" and "fm".
"""

from sds_engine.makers.base import Bound, Maker, Params, Physics
from sds_engine.makers.choice import KINDS, maker_for
from sds_engine.makers.resonances import Resonances, draw_resonances, from_structure, heard_resonances

__all__ = [
    "KINDS",
    "Bound",
    "Maker",
    "Params",
    "Physics",
    "Resonances",
    "draw_resonances",
    "from_structure",
    "heard_resonances",
    "maker_for",
]
