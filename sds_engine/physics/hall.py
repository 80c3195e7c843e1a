"""A hall with several machines and several microphones, rendered block by block with continuous state.

Each microphone hears every machine at 1 / r through its own response of the room, so its signal-to-noise ratio
follows from where things stand; besides it hears the hall's background and its own independent noise. A stream,
however long, keeps one block and its reverberation in memory; its slow motions are drawn at the start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.fft

from sds_engine.physics.background import EVENTS, Event, event_part, ventilation_part
from sds_engine.physics.faults import Fault, fault_parts
from sds_engine.physics.machines import PRE_ROLL, Machine, calibrated
from sds_engine.physics.mixer import C64, PATH_S, Mixer, Part, overload, transform_length
from sds_engine.physics.room import Room, diffuse_tail, room_response
from sds_engine.physics.wander import (
    BLOCK_S,
    F32,
    block_length,
    blocks_in,
    generator,
    ornstein_uhlenbeck,
    steady_motion,
    wandering_motion,
)

EVENTS_STILL = "events"  # beside the machines' names: people, clanks, wrenches, forklifts


class Spot(NamedTuple):
    """A place in the hall, in m."""

    x: float
    y: float
    z: float = 1.2

    def to(self, other: Spot) -> float:
        """The distance to another place in m, at least 0.3."""
        return max(0.3, math.dist(self, other))


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """A fault on one machine of a hall, from `start_s` to `end_s` of the stream; see `faults.Fault`."""

    machine: str
    kind: str
    start_s: float
    end_s: float
    level_db: float
    growth_db_per_min: float = 0.0


@dataclass(frozen=True, eq=False)
class Hall:
    """Machines, microphones and sources of background in their places; `seed` fixes the room and the pools of clips.

    `machines` by name, with `places`; `mics` by name; `events` as kind and place, how loud and often by `event_levels`.
    Each microphone has noise of `noise_dbfs` and a gain that drifts by `gain_sd_db`; ventilation is everywhere alike.
    """

    seed: int
    machines: Mapping[str, Machine]
    places: Mapping[str, Spot]
    mics: Mapping[str, Spot]
    events: Sequence[tuple[str, Spot]] = ()
    event_levels: Mapping[str, Event] = field(default_factory=lambda: EVENTS)
    room: Room = field(default_factory=Room)
    rate: int = 16_000
    noise_dbfs: float = -75.0
    ventilation_dbfs: float = -46.0
    gain_sd_db: float = 0.25

    def __post_init__(self) -> None:
        block_length(self.rate)
        if set(self.machines) != set(self.places):
            raise ValueError(f"machines are {sorted(self.machines)}, places {sorted(self.places)}: name the same ones")
        unknown = sorted({kind for kind, _ in self.events} - set(self.event_levels))
        if unknown:
            raise ValueError(f"events {unknown} have no level, allowed is one of {sorted(self.event_levels)}")

    @cached_property
    def paths(self) -> C64:
        """The transforms of all responses, `[source, mic, bin]`: machines, events, ventilation. Made once."""
        taps, size = int(PATH_S * self.rate), transform_length(self.rate)
        spots = [*(self.places[name] for name in self.machines), *(spot for _, spot in self.events)]
        rows = np.zeros((len(spots) + 1, len(self.mics), taps), dtype=np.float32)
        for j, mic in enumerate(self.mics.values()):
            for i, spot in enumerate(spots):
                rng = generator(self.seed, 60, i, j)
                rows[i, j] = room_response(self.room, spot.to(mic), self.rate, taps, rng)
            rows[-1, j] = diffuse_tail(self.room, self.rate, taps, generator(self.seed, 61, j))
        return np.asarray(scipy.fft.rfft(rows, size), dtype=np.complex64)

    def sources(self, seconds: float, seed: int, faults: Sequence[FaultEvent]) -> list[list[Part]]:
        """What every source does for so long, in the order of `paths`."""
        for fault in faults:
            if fault.machine not in self.machines:
                raise ValueError(f"fault on machine {fault.machine!r}, allowed is one of {', '.join(self.machines)}")
        total = seconds + PRE_ROLL * BLOCK_S
        still = steady_motion(total, self.rate)
        rows = [self._machine(i, name, total, seed, faults) for i, name in enumerate(self.machines)]
        rows += [
            [event_part(kind, self.event_levels[kind], self.seed, still, _mixed(seed, 200 + i))]
            for i, (kind, _) in enumerate(self.events)
        ]
        return [*rows, [ventilation_part(self.seed, self.ventilation_dbfs, still, _mixed(seed, 300))]]

    def _machine(self, i: int, name: str, total: float, seed: int, faults: Sequence[FaultEvent]) -> list[Part]:
        machine = self.machines[name]
        motion = wandering_motion(total, self.rate, machine.speed_sd, machine.load_sd, generator(seed, 100 + i))
        parts = calibrated(machine, motion, _mixed(seed, 100 + i))
        shift = PRE_ROLL * BLOCK_S
        for k, event in enumerate(faults):
            if event.machine == name:
                start = event.start_s + shift if event.start_s > 0.0 else 0.0
                fault = Fault(event.kind, event.level_db, start, event.end_s + shift, event.growth_db_per_min)
                parts += fault_parts(machine, fault, motion, _mixed(seed, 400 + k))
        return parts


def _mixed(seed: int, number: int) -> int:
    """A seed of its own for one item of a recording."""
    return int(generator(seed, number).integers(2**62))


def hall_mix(
    hall: Hall,
    seconds: float,
    seed: int,
    faults: Sequence[FaultEvent] = (),
    mics: Sequence[str] | None = None,
    still: Sequence[str] = (),
) -> Iterator[dict[str, F32]]:
    """The sound of each microphone, block by block: float32 `[time]` of 2 s each (the last may be shorter).

    The same hall, seed and faults give the same samples, whichever microphones are asked for; faults change nothing
    else, and neither do machines that stand `still` (EVENTS_STILL: nobody moves either). Levels: as the machines'
    (`machines`), below full scale by `mixer.overload`.
    Raises ValueError for unknown names before anything is rendered.
    """
    names = list(hall.mics) if mics is None else list(mics)
    standing = sorted(set(still) - set(hall.machines) - {EVENTS_STILL})
    if standing:
        raise ValueError(f"machines {standing} are not in the hall, allowed is {', '.join(hall.machines)}")
    unknown = sorted(set(names) - set(hall.mics))
    if unknown:
        raise ValueError(f"microphones {unknown} are not in the hall, allowed is {', '.join(hall.mics)}")
    if not seconds > 0.0:
        raise ValueError(f"seconds is {seconds}, allowed is above 0")
    numbers = [list(hall.mics).index(name) for name in names]
    sources = hall.sources(seconds, seed, faults)
    owners = [*hall.machines, *(EVENTS_STILL for _ in hall.events), ""]
    sources = [[] if owner in still else parts for owner, parts in zip(owners, sources, strict=True)]
    return _blocks(hall, names, numbers, sources, seconds, seed)


def _blocks(
    hall: Hall, names: list[str], numbers: list[int], sources: list[list[Part]], seconds: float, seed: int
) -> Iterator[dict[str, F32]]:
    paths = hall.paths if len(names) == len(hall.mics) else hall.paths[:, numbers]
    mixer = Mixer(sources, paths, hall.rate)
    count = blocks_in(seconds)
    drifts = {j: _gain_drift(hall, count, generator(seed, 500 + j)) for j in numbers}
    rising = np.arange(block_length(hall.rate), dtype=np.float32) / np.float32(block_length(hall.rate))
    for index in range(PRE_ROLL):
        mixer.block(index)
    left = round(seconds * hall.rate)
    level = np.float32(10.0 ** (hall.noise_dbfs / 20.0))
    for index in range(count):
        block = mixer.block(PRE_ROLL + index)
        sound = {}
        for row, (name, j) in enumerate(zip(names, numbers, strict=True)):
            noise = generator(seed, 600 + j, index).standard_normal(block.shape[1], dtype=np.float32)
            now, then = drifts[j][index : index + 2]
            sound[name] = overload(block[row] * (now + (then - now) * rising) + level * noise)[:left]
        left -= block.shape[1]
        yield sound


def _gain_drift(hall: Hall, count: int, rng: np.random.Generator) -> F32:
    """A microphone's gain at the blocks' edges `[count + 1]`: it drifts over ten minutes (warmth, dust)."""
    db = ornstein_uhlenbeck(count + 1, BLOCK_S, 600.0, hall.gain_sd_db, rng)
    return np.asarray(10.0 ** (np.clip(db, -3 * hall.gain_sd_db, 3 * hall.gain_sd_db) / 20.0), dtype=np.float32)
