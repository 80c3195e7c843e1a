"""Healthy machines: what they have in common, how they are drawn, levelled and recorded.

A `Machine` is one individual; its numbers are drawn once (`draw_machine`), so two fans differ. Recordings of one
machine (`Take`) differ in set point, wander, load, distance, gain and place in the room.

Levels: a machine's `level_dbfs` is the RMS of its sound at 1 m in the open, at nominal speed and load, relative to full
scale; about -30 dBFS, which leaves more than 20 dB for blows. `calibrated` measures each part over 16 s and sets it
so. Microphones bend softly above 0.7 (`mixer.overload`), so nothing ever reaches full scale.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from sds_engine.physics.bearings import Bearing
from sds_engine.physics.mixer import PATH_S, Mixer, Part, Response, dry, overload
from sds_engine.physics.room import Room, room_response
from sds_engine.physics.structure import Structure
from sds_engine.physics.wander import (
    F32,
    Motion,
    block_length,
    blocks_in,
    generator,
    steady_motion,
    wandering_motion,
)

PRE_ROLL = 1  # blocks rendered before a recording begins: machine and room are already sounding
CALIBRATION_BLOCKS = range(1, 9)  # 16 s


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One healthy individual. `cycle_hz` is how often its greatest force comes; `mains_hz` is 50 or 60.

    `speed_sd` is the relative deviation of the set point over minutes, `load_sd` that of the load over 20 s.
    """

    kind: ClassVar[str] = ""
    seed: int
    shaft_hz: float
    cycle_hz: float
    bearing: Bearing
    body: Structure
    seat: Structure
    level_dbfs: float
    speed_sd: float
    load_sd: float
    mains_hz: float = 50.0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Machine:
        """A new individual of this kind."""
        raise NotImplementedError

    def build_responses(self, rate: int) -> tuple[Response, ...]:
        """The responses of its parts at that rate, in an order that only the kind itself knows; see `responses`."""
        raise NotImplementedError

    def parts(self, motion: Motion, seed: int) -> list[Part]:
        """How it sounds when it moves like that; `seed` is the recording's. Not levelled yet."""
        raise NotImplementedError

    def responses(self, rate: int) -> tuple[Response, ...]:
        """`build_responses`, made once for each individual."""
        return _responses(self, rate)

    def tables(self, number: int) -> np.random.Generator:
        """The random numbers for the individual's own fixed shapes (phases of its tones and the like)."""
        return generator(self.seed, number)


@functools.lru_cache(maxsize=64)
def _responses(machine: Machine, rate: int) -> tuple[Response, ...]:
    return machine.build_responses(rate)


@functools.lru_cache(maxsize=64)
def part_gains(machine: Machine, rate: int) -> tuple[float, ...]:
    """The gain of each part that gives the machine its level and the parts their shares, measured over 16 s."""
    parts = machine.parts(steady_motion(18.0, rate), machine.seed)
    measured = [float(np.sqrt(np.mean(np.square(dry([part], CALIBRATION_BLOCKS, rate))))) for part in parts]
    return share_gains(parts, measured, machine.level_dbfs)


def share_gains(parts: Sequence[Part], measured: Sequence[float], level_dbfs: float) -> tuple[float, ...]:
    """The gains that bring parts of these measured RMS to `level_dbfs` together, at their shares of power."""
    shares = np.array([10.0 ** (part.share_db / 20.0) for part in parts])
    amplitudes = 10.0 ** (level_dbfs / 20.0) * shares / np.sqrt(np.sum(shares**2))
    return tuple(float(a / m) for a, m in zip(amplitudes, measured, strict=True))


def calibrated(machine: Machine, motion: Motion, seed: int) -> list[Part]:
    """The machine's parts at its level: its sound at 1 m is `level_dbfs` when speed and load are nominal."""
    gains = part_gains(machine, motion.rate)
    return [replace(part, gain=gain) for part, gain in zip(machine.parts(motion, seed), gains, strict=True)]


@dataclass(frozen=True, eq=False)
class Take:
    """One recording of one machine: how it moved, where the microphone stood and how it was set."""

    machine: Machine
    motion: Motion
    seed: int
    seconds: float
    path: Response
    noise_dbfs: float

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self.motion.rate


def draw_take(
    machine: Machine,
    seconds: float,
    rate: int,
    rng: np.random.Generator,
    *,
    distance: float = 1.0,
    room: Room | None = None,
    noise_dbfs: float = -75.0,
) -> Take:
    """A recording to be: +-10% of distance, 0.5 dB (deviation) of gain, another place in the room, its own wander."""
    if not seconds > 0.0:
        raise ValueError(f"seconds is {seconds}, allowed is above 0")
    motion = wandering_motion(seconds + 2.0 * PRE_ROLL, rate, machine.speed_sd, machine.load_sd, rng)
    metres = distance * rng.uniform(0.9, 1.1)
    response = room_response(room or Room(), metres, rate, int(PATH_S * rate), rng)
    response *= np.float32(10.0 ** (0.5 * np.clip(rng.standard_normal(), -2, 2) / 20.0))
    return Take(machine, motion, int(rng.integers(2**62)), seconds, Response(response, rate), noise_dbfs)


def render_take(take: Take) -> F32:
    """The recording of the healthy machine, `[time]` float32, microphone noise included."""
    sound = render_parts(take, calibrated(take.machine, take.motion, take.seed))
    noise = generator(take.seed, 1).standard_normal(len(sound), dtype=np.float32)
    noise *= np.float32(10.0 ** (take.noise_dbfs / 20.0))
    return overload(sound + noise)


def render_parts(take: Take, parts: list[Part]) -> F32:
    """What these parts alone sound like in this recording, `[time]`: no microphone noise, no overload."""
    mixer = Mixer([parts], take.path.spectrum[None, None, :], take.rate)
    count = blocks_in(take.seconds) + PRE_ROLL
    sound = np.concatenate([mixer.block(index)[0] for index in range(count)])
    start = PRE_ROLL * block_length(take.rate)
    return sound[start : start + round(take.seconds * take.rate)]


def render(
    machine: Machine,
    seconds: float,
    rate: int,
    rng: np.random.Generator,
    *,
    distance: float = 1.0,
    room: Room | None = None,
) -> F32:
    """A recording of the healthy machine, `[time]` float32 at `rate` Hz; each call draws another one from `rng`.

    Deterministic: the same machine and the same generator state give the same samples, on the same library versions.
    """
    return render_take(draw_take(machine, seconds, rate, rng, distance=distance, room=room))
