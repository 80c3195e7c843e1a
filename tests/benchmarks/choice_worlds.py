"""Development evidence for choosing a detector: worlds with healthy and odd sound, none of it anybody's test split.

A world is one machine under a background with few recordings to learn from. Test backgrounds are other clips than the
training ones, and half of them of kinds that are rare in training. What is odd is of several sorts, so that no sort of
synthetic fault, which saturates, decides by itself:

- `other`: another individual of the same kind, drawn anew: small differences everywhere, as wear makes them;
- `colour`: the machine through a smooth filter that wanders by 1.5 dB (deviation) over frequency;
- `fault`: one of `sds_engine.physics.faults`, 6 to 16 dB under the machine;
- `place`: the real fan at microphones that training never had; `speed`: the real fan 3% faster.

Real sound is healthy alone: the fan's normal recordings and ESC-10 clips of folds 1 and 2, never a faulty recording,
never fold 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from detectors.aggregate import clips_evidence
from detectors.base import Evidence
from detectors.frontend import FrontEnd
from detectors.recordings import stack
from sds_engine.physics.background import EVENTS, Event, event_part, unit_response, ventilation_part
from sds_engine.physics.faults import FAULTS, Fault, add_fault
from sds_engine.physics.kinds import KINDS, draw_machine
from sds_engine.physics.machines import Machine, draw_take, render, render_take
from sds_engine.physics.mixer import Mixer, Part
from sds_engine.physics.wander import steady_motion

RATE, SECONDS = 16_000, 10
WINDOW, CONTEXT = 32_000, 5
LEVEL = 0.03
LEARN, TEST = 12, 8  # recordings
VIEWS = 8  # backgrounds that each recording is heard in
JITTER_DB = 6.0
Sound = NDArray[np.float32]
Pool = tuple[list[Sound], list[Sound]]  # training and test clips


@dataclass(frozen=True)
class World:
    """What a world sounds like: healthy training contexts with their recordings [batch], healthy and odd test ones.

    domain [batch] of the healthy test contexts is True where the background is of a kind that is rare in training.
    """

    name: str
    snr_db: float
    train: Evidence
    groups: torch.Tensor
    normal: Evidence
    normal_groups: torch.Tensor
    domain: NDArray[np.bool_]
    odd: dict[str, Evidence]


def level(sound: NDArray[np.floating]) -> Sound:
    """Without its mean, at an RMS of 1."""
    sound = sound - sound.mean()
    return np.asarray(sound / (np.sqrt(np.mean(sound**2)) + 1e-9), dtype=np.float32)


STEADY = ("rain", "sea_waves", "fire_crackling")


class Backgrounds:
    """Clips by kind, training and test apart; `common` and `rare` kinds differ from world to world.

    With `common` given, what is rare is drawn from the other kinds.
    """

    def __init__(self, pools: dict[str, Pool], rng: np.random.Generator, common: Sequence[str] = ()) -> None:
        self.pools = pools
        names = rng.permutation(sorted(set(pools) - set(common))).tolist()
        half = len(common) or min(3, len(names) // 2)
        self.common = list(common) or names[:half]
        self.rare = names[:half] if common else names[half : 2 * half]

    def draw(self, *, rare: bool, test: bool, rng: np.random.Generator) -> Sound:
        """Ten seconds at an RMS of 1: three clips of such kinds, joined, from a random place on."""
        kinds = rng.choice(self.rare if rare else self.common, 3)
        parts = []
        for kind in kinds:
            pool = self.pools[kind][int(test)]
            parts.append(level(pool[int(rng.integers(len(pool)))]))
        joined = np.tile(np.concatenate(parts), 2)
        start = int(rng.integers(0, len(joined) - RATE * SECONDS))
        return level(joined[start : start + RATE * SECONDS])


def esc_pools(folder: Path) -> dict[str, Pool]:
    """ESC-10's kinds with the clips of fold 1 (training) and fold 2 (test); fold 3 is left alone."""
    pools: dict[str, Pool] = {}
    for path in sorted(folder.glob("*.flac")):
        kind, clip = path.stem.split("__")
        if clip[0] in "12":
            pools.setdefault(kind, ([], []))[int(clip[0]) - 1].append(soundfile.read(path, dtype="float32")[0])
    return pools


def hall_pools(rng: np.random.Generator, clips: int = 6) -> dict[str, Pool]:
    """Procedural kinds of two halls, one to train in: ventilation, clanks, wrenches, forklifts, people, a machine."""
    motion = steady_motion(SECONDS + 4.0, RATE)
    halls = [int(seed) for seed in rng.integers(2**31, size=2)]

    def rendered(part: Part) -> Sound:
        mixer = Mixer([[part]], unit_response(RATE).spectrum[None, None, :], RATE)
        return np.concatenate([mixer.block(number)[0] for number in range(1, 4)])

    def pool(make: Callable[[int, int], Part]) -> Pool:
        first, second = ([rendered(make(hall, number)) for number in range(clips)] for hall in halls)
        return first, second

    pools = {}
    for kind, event in EVENTS.items():
        often = Event(max(20.0, event.per_minute), event.level_dbfs, event.spread_db)
        pools[kind] = pool(lambda hall, number, kind=kind, often=often: event_part(kind, often, hall, motion, number))
    pools["ventilation"] = pool(lambda hall, number: ventilation_part(hall, -40.0, motion, number))
    other = draw_machine(str(rng.choice(sorted(KINDS))), rng)
    first, second = ([render(other, 5.0, RATE, rng) for _ in range(clips)] for _ in halls)
    pools["machine"] = (first, second)
    return pools


def coloured(sound: Sound, rng: np.random.Generator, deviation_db: float = 1.5) -> Sound:
    """The sound through a smooth random filter: a Gaussian process over octaves, half an octave wide."""
    spectrum = np.fft.rfft(sound)
    octave = np.log2(np.maximum(np.fft.rfftfreq(len(sound), 1 / RATE), 30.0) / 30.0)
    knots = np.arange(0.0, 9.0, 0.5)
    return np.fft.irfft(
        spectrum * 10 ** (np.interp(octave, knots, deviation_db * rng.standard_normal(len(knots))) / 20), len(sound)
    ).astype(np.float32)


def faster(sound: Sound, ratio: float = 1.03) -> Sound:
    """The sound played faster by linear interpolation, its end filled up with its beginning."""
    place = np.arange(len(sound)) * ratio
    return np.interp(place % (len(sound) - 1), np.arange(len(sound)), sound).astype(np.float32)


def faulty(machine: Machine, rng: np.random.Generator) -> Sound:
    """A recording of the machine with one of its faults, at a low level."""
    take = draw_take(machine, SECONDS, RATE, rng)
    fault = Fault(str(rng.choice(FAULTS[machine.kind])), float(rng.uniform(-16.0, -6.0)))
    return add_fault(take, fault, int(rng.integers(2**31)))[0]


def heard(sounds: Sequence[Sound]) -> Evidence:
    """One context of 10 s per sound, with its waveform values."""
    front_end = FrontEnd.at(RATE)
    parts = clips_evidence([torch.from_numpy(sound) for sound in sounds], front_end, WINDOW, CONTEXT, waveform=True)
    return stack(parts)


@dataclass(frozen=True)
class Machines:
    """The machine's sound alone: recordings [recording][view], and odd ones by sort."""

    learn: list[list[Sound]]
    test: list[list[Sound]]
    odd: dict[str, list[list[Sound]]]


def procedural(kind: str, rng: np.random.Generator) -> Machines:
    """A simulated machine; every view of a recording is the same sound (one microphone)."""
    machine, other = draw_machine(kind, rng), draw_machine(kind, rng)

    def takes(count: int) -> list[Sound]:
        return [render_take(draw_take(machine, SECONDS, RATE, rng)) for _ in range(count)]

    learn, test = takes(LEARN), takes(TEST)
    odd = {
        "other": [render(other, SECONDS, RATE, rng) for _ in range(TEST)],
        "colour": [coloured(sound, rng) for sound in takes(TEST)],
        "fault": [faulty(machine, rng) for _ in range(TEST)],
    }
    return Machines(
        [[sound] * VIEWS for sound in learn],
        [[sound] * VIEWS for sound in test],
        {name: [[sound] * VIEWS for sound in sounds] for name, sounds in odd.items()},
    )


def real_fan(folder: Path, rng: np.random.Generator, *, places: bool) -> Machines:
    """The healthy fan; a view is a microphone. With `places` four microphones train and the other four are odd."""
    files = sorted((folder / "normal").glob("*.flac"))
    sounds = [list(soundfile.read(path, dtype="float32")[0].T) for path in files]
    order = rng.permutation(len(sounds))
    learn, test = [sounds[i] for i in order[:LEARN]], [sounds[i] for i in order[LEARN : LEARN + TEST]]
    if places:
        mics = rng.permutation(VIEWS)
        own, others = mics[:4], mics[4:]
        pick = [[[sound[m] for m in own] for sound in part] for part in (learn, test)]
        return Machines(*pick, {"place": [[sound[m] for m in others] for sound in test]})
    odd = {
        "colour": [[coloured(sound, one) for sound in each] for each, one in _with_rngs(test, rng)],
        "speed": [[faster(sound) for sound in each] for each in test],
    }
    return Machines(learn, test, odd)


def _with_rngs(
    recordings: list[list[Sound]], rng: np.random.Generator
) -> list[tuple[list[Sound], np.random.Generator]]:
    return [(each, np.random.default_rng(int(rng.integers(2**31)))) for each in recordings]


def world(name: str, machines: Machines, grounds: Backgrounds, snr_db: float, rng: np.random.Generator) -> World:
    """The machine's sounds, levelled, in background `snr_db` under them, give or take JITTER_DB."""

    def mixed(recordings: list[list[Sound]], *, test: bool) -> tuple[list[Sound], list[int], list[bool]]:
        sounds, groups, rares = [], [], []
        for number, views in enumerate(recordings):
            for view in views:
                rare = bool(rng.random() < (0.5 if test else 0.1))
                gain = LEVEL * 10 ** ((-snr_db + rng.uniform(-JITTER_DB, JITTER_DB)) / 20)
                sounds.append(level(view) * LEVEL + gain * grounds.draw(rare=rare, test=test, rng=rng))
                groups.append(number)
                rares.append(rare)
        return [np.clip(sound, -1, 1).astype(np.float32) for sound in sounds], groups, rares

    learn, groups, _ = mixed(machines.learn, test=False)
    normal, normal_groups, domain = mixed(machines.test, test=True)
    odd = {sort: heard(mixed(each, test=True)[0]) for sort, each in machines.odd.items()}
    return World(
        name,
        snr_db,
        heard(learn),
        torch.tensor(groups),
        heard(normal),
        torch.tensor(normal_groups),
        np.array(domain),
        odd,
    )


def worlds(data: Path | None, seeds: Sequence[int], levels: Sequence[float]) -> Iterator[World]:
    """All worlds: six kinds of machine in procedural halls, and with `data` also in ESC-10, and the healthy fan.

    ESC-10 comes twice: with kinds drawn anew, and with steady noise as common and what is no such noise as rare.
    """
    for seed in seeds:
        for turn, kind in enumerate(sorted(KINDS)):
            rng = np.random.default_rng([seed, turn])
            machines = procedural(kind, rng)
            pools = hall_pools(rng)
            for snr_db in levels:
                hall = Backgrounds(pools, rng)
                yield world(f"{kind} in a hall, seed {seed}", machines, hall, snr_db, rng)
                if data is not None:
                    esc = Backgrounds(esc_pools(data / "esc10"), rng)
                    yield world(f"{kind} in ESC-10, seed {seed}", machines, esc, snr_db, rng)
                    own = np.random.default_rng([seed, turn, 7])
                    steady = Backgrounds(esc_pools(data / "esc10"), own, STEADY)
                    yield world(f"{kind} in steady noise, seed {seed}", machines, steady, snr_db, own)
        if data is not None:
            for places in (False, True):
                rng = np.random.default_rng([seed, 100 + places])
                machines = real_fan(data / "mimii_fan_id00", rng, places=places)
                for snr_db in levels:
                    esc = Backgrounds(esc_pools(data / "esc10"), rng)
                    yield world(f"healthy fan{', places' * places}, seed {seed}", machines, esc, snr_db, rng)
