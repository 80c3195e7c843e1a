"""A ready-made simulated line for the demo and for tests: five machines, eight microphones, people and background.

With a corner: a sixth machine, small and quiet, beside an assembly place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sds_engine.physics.background import EVENTS, Event
from sds_engine.physics.hall import EVENTS_STILL, FaultEvent, Hall, Spot, hall_mix
from sds_engine.physics.kinds import draw_machine
from sds_engine.physics.machines import Machine
from sds_engine.physics.wander import F32, generator

__all__ = ["CORNER_MICS", "MICS", "FaultEvent", "SimulatedLine", "demo_line"]

_PLACES = {
    "fan": Spot(0.0, 0.0, 1.5),
    "pump": Spot(6.0, 0.0, 0.6),
    "gearbox": Spot(12.0, 0.5, 0.8),
    "press": Spot(18.5, 0.0, 1.2),
    "conveyor": Spot(9.0, 6.5, 0.9),
}
# Each microphone's machine and place, 0.6 to 1.2 m from it.
MICS: Mapping[str, tuple[str, Spot]] = {
    "fan-1": ("fan", Spot(0.5, 0.7, 1.5)),
    "pump-1": ("pump", Spot(6.4, 0.5, 1.0)),
    "gearbox-1": ("gearbox", Spot(11.6, 1.0, 1.1)),
    "gearbox-2": ("gearbox", Spot(12.8, 0.1, 1.2)),
    "press-1": ("press", Spot(18.0, 0.9, 1.5)),
    "press-2": ("press", Spot(19.3, 0.6, 1.6)),
    "conveyor-1": ("conveyor", Spot(8.5, 6.0, 1.2)),
    "conveyor-2": ("conveyor", Spot(9.6, 7.1, 1.3)),
}
# The corner: a coolant pump 16 dB quieter than the line's machines, its microphone half a metre from it and as near to
# an assembly place, where an air screwdriver, a little louder than a machine, sounds a quarter of the time.
_COOLANT, _COOLANT_DBFS = Spot(22.0, 9.0, 0.4), -46.0
_ASSEMBLY, _ASSEMBLY_LEVEL = ("assembly", Spot(22.8, 9.6, 0.8)), Event(10.0, -28.0, 2.0)
CORNER_MICS: Mapping[str, tuple[str, Spot]] = {"coolant-1": ("coolant", Spot(22.3, 9.3, 0.6))}
_EVENTS = (
    ("people", Spot(3.5, 4.0, 1.6)),
    ("people", Spot(14.0, 5.5, 1.6)),
    ("clank", Spot(24.0, 9.0, 0.2)),
    ("clank", Spot(-6.0, 8.0, 0.2)),
    ("wrench", Spot(2.0, 14.0, 1.0)),
    ("forklift", Spot(12.0, 11.0, 0.5)),
)


@dataclass(frozen=True, eq=False)
class SimulatedLine:
    """A hall and its seed. Machines are named by their kind; microphones by machine and number."""

    hall: Hall
    seed: int

    @property
    def rate(self) -> int:
        """Samples a second of everything here."""
        return self.hall.rate

    @property
    def machines(self) -> Mapping[str, Machine]:
        """The machines by name; each knows its shaft_hz, bearing and the rest."""
        return self.hall.machines

    @property
    def mics(self) -> Mapping[str, str]:
        """The machine that each microphone listens to."""
        return {mic: owner for mic, (owner, _) in {**MICS, **CORNER_MICS}.items() if mic in self.hall.mics}

    def sessions(
        self, n_recordings: int, seconds: float, mics: Sequence[str] | None = None
    ) -> Iterator[dict[str, F32]]:
        """Healthy recordings, one at a time: all microphones at once, each float32 `[time]`.

        Every recording is a moment of its own: other set points, load, events. All microphones together cost little
        more than one: prefer this to `training` for each of them.
        """
        for number in range(n_recordings):
            seed = int(generator(self.seed, 1, number).integers(2**62))
            blocks = list(hall_mix(self.hall, seconds, seed, mics=mics))
            yield {mic: np.concatenate([block[mic] for block in blocks]) for mic in blocks[0]}

    def training(self, mic: str, n_recordings: int, seconds: float) -> list[F32]:
        """Healthy recordings of one microphone, float32 `[time]` each; the same as in `sessions`."""
        return [session[mic] for session in self.sessions(n_recordings, seconds, [mic])]

    def apart(self, machine: str, n_recordings: int, seconds: float, *, runs: bool) -> Iterator[dict[str, F32]]:
        """Recordings for a separator, one at a time, of the machine's own microphones.

        runs: the machine alone, in a hall where all else stands; else the hall at work while the machine stands.
        """
        others = [EVENTS_STILL, *(name for name in self.machines if name != machine)]
        mics = [mic for mic, owner in self.mics.items() if owner == machine]
        for number in range(n_recordings):
            seed = int(generator(self.seed, 4, number, int(runs)).integers(2**62))
            blocks = list(hall_mix(self.hall, seconds, seed, mics=mics, still=others if runs else [machine]))
            yield {mic: np.concatenate([block[mic] for block in blocks]) for mic in mics}

    def blocks(
        self,
        seconds: float,
        faults: Sequence[FaultEvent] = (),
        mics: Sequence[str] | None = None,
        number: int = 0,
    ) -> Iterator[dict[str, F32]]:
        """A stream of that many seconds with faults, in blocks of 2 s of all microphones at once.

        `number` picks another stretch of time; none is a training recording.
        """
        seed = int(generator(self.seed, 2, number).integers(2**62))
        return hall_mix(self.hall, seconds, seed, faults, mics)

    def stream(
        self, seconds: float, faults: Sequence[FaultEvent] = (), mics: Sequence[str] | None = None, number: int = 0
    ) -> dict[str, Iterator[F32]]:
        """The same stream as one iterator per microphone, float32 blocks of 2 s.

        They share one rendering: what one has read and another not waits in memory, so read them in step.
        """
        names = list(self.hall.mics) if mics is None else list(mics)
        return _fan_out(self.blocks(seconds, faults, names, number), names)


def _fan_out(blocks: Iterator[dict[str, F32]], names: list[str]) -> dict[str, Iterator[F32]]:
    waiting: dict[str, deque[F32]] = {name: deque() for name in names}

    def one(name: str) -> Iterator[F32]:
        while True:
            if not waiting[name]:
                block = next(blocks, None)
                if block is None:
                    return
                for other, sound in block.items():
                    waiting[other].append(sound)
            yield waiting[name].popleft()

    return {name: one(name) for name in names}


def demo_line(seed: int, rate: int = 16_000, *, corner: bool = False) -> SimulatedLine:
    """Fan, pump, gearbox, press and conveyor in a hall with eight microphones; another seed is another factory.

    With a `corner` the coolant pump with its microphone and the assembly place besides.
    """
    machines = {kind: draw_machine(kind, generator(seed, 3, i)) for i, kind in enumerate(_PLACES)}
    mics = {mic: spot for mic, (_, spot) in MICS.items()}
    if not corner:
        return SimulatedLine(Hall(seed, machines, _PLACES, mics, _EVENTS, rate=rate), seed)
    machines["coolant"] = replace(draw_machine("pump", generator(seed, 3, len(_PLACES))), level_dbfs=_COOLANT_DBFS)
    places = {**_PLACES, "coolant": _COOLANT}
    mics |= {mic: spot for mic, (_, spot) in CORNER_MICS.items()}
    levels = {**EVENTS, "assembly": _ASSEMBLY_LEVEL}
    return SimulatedLine(Hall(seed, machines, places, mics, (*_EVENTS, _ASSEMBLY), levels, rate=rate), seed)
