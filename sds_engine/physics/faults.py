"""Faults: what each one adds to the sound of a machine, through the machine's own body and room.

Levels: `level_db` is the RMS of the fault's own sound over the RMS of the healthy machine, both at 1 m in the open and
over all frequencies; the machine's at nominal speed and load, the fault's over its first 16 s at full level. Growth
adds dB per minute after the start, up to MOST_DB in all. A fault is added: subtract it and the healthy machine is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from sds_engine.physics.drives import Faded
from sds_engine.physics.fault_sounds import MAKERS, Site
from sds_engine.physics.machines import PRE_ROLL, Machine, Take, render_parts, render_take, share_gains
from sds_engine.physics.mixer import Part, dry, overload
from sds_engine.physics.wander import BLOCK_S, CONTROL_HZ, F32, F64, Motion

MOST_DB = 20.0
_FADE_S = 0.1
_MEASURE_BLOCKS = 8

BEARING = ("outer_race", "inner_race", "ball")
# Which faults make sense on which machine.
FAULTS: Mapping[str, tuple[str, ...]] = {
    "fan": (*BEARING, "blade_imbalance", "looseness", "rattle", "belt_squeal"),
    "pump": (*BEARING, "cavitation", "leak", "looseness", "blade_imbalance"),
    "gearbox": (*BEARING, "broken_tooth", "looseness"),
    "press": ("looseness", "rattle", "leak", "belt_squeal"),
    "conveyor": (*BEARING, "belt_squeal", "rattle", "looseness"),
    "compressor": (*BEARING, "leak", "looseness", "rattle", "belt_squeal"),
}
FAULT_KINDS = tuple(sorted({kind for kinds in FAULTS.values() for kind in kinds}))


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault from `start_s` to `end_s` of a recording or stream, at `level_db`, growing or not."""

    kind: str
    level_db: float
    start_s: float = 0.0
    end_s: float = math.inf
    growth_db_per_min: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in FAULT_KINDS:
            raise ValueError(f"kind is {self.kind!r}, allowed is one of {', '.join(FAULT_KINDS)}")
        if not 0.0 <= self.start_s < self.end_s:
            raise ValueError(
                f"the fault lasts from {self.start_s} to {self.end_s} s: start at 0 or later, end after that"
            )

    def check(self, machine: Machine) -> None:
        """Raise ValueError where such a machine has no such fault."""
        if self.kind not in FAULTS[machine.kind]:
            allowed = ", ".join(FAULTS[machine.kind])
            raise ValueError(f"fault {self.kind!r} on a {machine.kind}, allowed there is one of {allowed}")


def fault_parts(machine: Machine, fault: Fault, motion: Motion, seed: int) -> list[Part]:
    """The parts to add to those of the machine that moves like `motion`; times count from the motion's beginning.

    Raises ValueError where such a machine has no such fault or the fault lies outside the motion.
    """
    fault.check(machine)
    seconds = (len(motion.theta) - 1) / CONTROL_HZ
    if fault.start_s >= seconds:
        raise ValueError(f"the fault starts at {fault.start_s} s, allowed is before the end at {seconds} s")
    stop_s = min(fault.end_s, seconds)
    times = np.arange(len(motion.theta)) / CONTROL_HZ
    start, stop = np.interp([fault.start_s, stop_s], times, motion.theta)
    parts = MAKERS[fault.kind](Site(machine, motion, seed, float(start), float(stop)))
    measured = [_measure(part, fault.start_s, stop_s, motion.rate) for part in parts]
    gains = share_gains(parts, measured, machine.level_dbfs)
    course = _course(fault, stop_s, times)
    return [
        replace(part, gain=gain, drives=[Faded(motion, drive, course) for drive in part.drives])
        for part, gain in zip(parts, gains, strict=True)
    ]


def _course(fault: Fault, stop_s: float, times: F64) -> F64:
    """The fault's amplitude relative to the machine's over time, at control points."""
    level = np.minimum(fault.level_db + fault.growth_db_per_min * (times - fault.start_s) / 60.0, MOST_DB)
    course = 10.0 ** (level / 20.0)
    if fault.start_s > 0.0:  # else it was there before the sound begins
        course *= np.clip((times - fault.start_s) / _FADE_S, 0.0, 1.0)
    if stop_s < times[-1]:  # else it is there when the sound ends
        course *= np.clip((stop_s - times) / _FADE_S, 0.0, 1.0)
    return course


def _measure(part: Part, start_s: float, stop_s: float, rate: int) -> float:
    """The RMS of a part over the first 16 s of the fault (all of it where it is shorter)."""
    first = int(start_s // BLOCK_S)
    last = min(first + _MEASURE_BLOCKS + 1, math.ceil(stop_s / BLOCK_S))
    begin = round((start_s - first * BLOCK_S) * rate)
    end = min(round((stop_s - first * BLOCK_S) * rate), begin + _MEASURE_BLOCKS * BLOCK_S * rate)
    sound = dry([part], range(first, last), rate)[begin:end]
    return max(float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))), 1e-9)


def add_fault(take: Take, fault: Fault, seed: int) -> tuple[F32, F32]:
    """The recording with the fault, and the fault's own part in it: `[time]`, `[time]`, both float32.

    Times count from the beginning of the recording. The healthy part is that of `render_take(take)`; where nothing
    overloads the microphone, the mixture is the sum. Raises ValueError as `fault_parts`.
    """
    shift = PRE_ROLL * BLOCK_S
    if fault.start_s >= take.seconds:
        raise ValueError(f"the fault starts at {fault.start_s} s, allowed is before the end at {take.seconds} s")
    # A fault that is there from the first sample on was there before: it starts with the pre-roll.
    shifted = replace(fault, start_s=fault.start_s + shift if fault.start_s > 0.0 else 0.0, end_s=fault.end_s + shift)
    part = render_parts(take, fault_parts(take.machine, shifted, take.motion, seed))
    return overload(render_take(take) + part), part
