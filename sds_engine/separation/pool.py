"""What the shipped extractor is trained on: sound from the physics of machines and halls, and what a user adds.

Everything procedural is a function of the seed. Recordings come from folders that are named on the command line, each
with its licence; `FORBIDDEN` names are refused, so that what ships has never heard the development set's test side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sds_engine.physics.background import EVENTS, clank, forklift, speech, wrench
from sds_engine.physics.faults import FAULTS, Fault, add_fault
from sds_engine.physics.kinds import KINDS, draw_machine
from sds_engine.physics.machines import draw_take, render_take
from sds_engine.physics.room import Room
from sds_engine.physics.wander import generator
from sds_engine.separation.grid import RATE

F16 = NDArray[np.float16]
SECONDS = 12.0
TAKES, FAULTY = 3, 2
FORBIDDEN = ("mimii", "fan_id00", "id_00")


@dataclass(frozen=True, eq=False)
class Source:
    """One thing that sounds: healthy (or plain) recordings and faulty ones [clip, time], in units of its RMS.

    prompts are what a person would ask for; `target` says whether it may be asked for (hall noise may not).
    """

    name: str
    prompts: tuple[str, ...]
    clips: F16
    faulty: F16
    target: bool = True


@dataclass(frozen=True)
class Heard:
    """A recording of the training list: where from, its SHA-256 and its licence."""

    file: str
    sha256: str
    licence: str


PROMPTS = {
    "fan": ("fan", "industrial fan", "ventilation fan", "blower"),
    "pump": ("pump", "water pump", "industrial pump"),
    "gearbox": ("gearbox", "gear reducer", "gears of a machine"),
    "press": ("press", "stamping press", "metal press"),
    "conveyor": ("conveyor", "conveyor belt", "roller conveyor"),
    "compressor": ("compressor", "air compressor", "piston compressor"),
}


def machine_source(kind: str, number: int, seed: int) -> Source:
    """One individual of `kind`: healthy takes and takes with a fault, from -10 to +6 dB of the machine."""
    rng = generator(seed, 70, sorted(KINDS).index(kind), number)
    machine = draw_machine(kind, rng)
    distance, room = float(rng.uniform(0.5, 4.0)), Room()
    takes = [draw_take(machine, SECONDS, RATE, rng, distance=distance, room=room) for _ in range(TAKES + FAULTY)]
    healthy = [render_take(take) for take in takes[:TAKES]]
    faulty = []
    for take in takes[TAKES:]:
        fault = Fault(str(rng.choice(FAULTS[kind])), float(rng.uniform(-10.0, 6.0)))
        faulty.append(add_fault(take, fault, int(rng.integers(2**62)))[0])
    level = np.sqrt(np.mean(np.square(healthy)))
    name = f"{kind}-{number}"
    return Source(name, PROMPTS[kind], _half(healthy, level), _half(faulty, level))


def event_source(kind: str, number: int, seed: int) -> Source:
    """Clanks, wrenches, forklifts or people, as often as they come when a hall is busy."""
    makers = {"clank": clank, "wrench": wrench, "forklift": forklift, "people": speech}
    prompts = {
        "clank": ("metal clank", "dropped steel"),
        "wrench": ("impact wrench", "pneumatic wrench"),
        "forklift": ("forklift", "passing forklift truck"),
        "people": ("people talking", "speech", "voices"),
    }
    rng = generator(seed, 71, sorted(EVENTS).index(kind), number)
    clips = []
    for _ in range(TAKES):
        sound = np.zeros(round(SECONDS * RATE), dtype=np.float32)
        for _ in range(int(rng.integers(3, 9))):
            clip = makers[kind](RATE, rng)
            at = int(rng.integers(0, len(sound)))
            here = clip[: len(sound) - at]
            sound[at : at + len(here)] += here * rng.uniform(0.4, 1.2)
        clips.append(sound)
    level = max(float(np.sqrt(np.mean(np.square(clips)))), 1e-6)
    return Source(f"{kind}-{number}", prompts[kind], _half(clips, level), _half([], 1.0))


def noise_source(clips: int, seed: int) -> Source:
    """Coloured noise of several kinds: ventilation, flow, a hall far away."""
    rng = generator(seed, 72)
    sounds = [coloured_noise(round(SECONDS * RATE), rng) for _ in range(clips)]
    return Source("noise", ("noise",), _half(sounds, 1.0), _half([], 1.0), target=False)


def steady_source(number: int, seed: int) -> Source:
    """A machine of which little but steady noise is heard: coloured, with none to eight lines of pure tone in it."""
    rng = generator(seed, 73, number)
    slope, time = rng.uniform(0.0, 2.0), np.arange(round(SECONDS * RATE)) / RATE
    lines = [(60.0 * 50.0 ** rng.random(), rng.uniform(0.02, 0.4)) for _ in range(int(rng.integers(0, 9)))]
    clips = []
    for _ in range(TAKES):
        sound = slope_noise(len(time), slope, rng)
        for hz, strength in lines:
            sound += strength * np.sin(2.0 * np.pi * (hz * time * rng.normal(1.0, 0.003) + rng.random()))
        clips.append(sound)
    level = float(np.sqrt(np.mean(np.square(clips))))
    return Source(f"steady-{number}", (), _half(clips, level), _half([], 1.0))


def slope_noise(length: int, slope: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of RMS 1 whose power falls as f^-slope."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** (-0.5 * slope)
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def coloured_noise(length: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of RMS 1 whose power falls as f^-0 to f^-2, with a slow random envelope half of the time."""
    noise = slope_noise(length, rng.uniform(0.0, 2.0), rng)
    if rng.random() < 0.5:
        points = np.exp(0.7 * rng.standard_normal(12))
        noise *= np.interp(np.linspace(0, 11, length), np.arange(12), points)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)), dtype=np.float32)


_Job = tuple[Callable[[str, int, int], Source], str, int]


def procedural_pool(each: int, seed: int) -> list[Source]:
    """`each` individuals of every kind of machine, half as many of every kind of event, three times of steady ones."""
    jobs: list[_Job] = [(machine_source, kind, number) for kind in KINDS for number in range(each)]
    jobs += [(event_source, kind, number) for kind in EVENTS for number in range(max(1, each // 2))]
    steady = [steady_source(number, seed) for number in range(3 * each)]
    return [*(make(kind, number, seed) for make, kind, number in jobs), *steady]


def recorded_sources(
    folder: Path, *, read: Callable[[Path], NDArray[np.float32]], keep: Callable[[str], bool] = lambda _: True
) -> tuple[list[Source], list[Heard]]:
    """The recordings of a folder: sources by class (the name up to `__`), and the training list.

    Of a file that is kept, both name and folder must not be `FORBIDDEN`. `manifest.csv` beside the files (columns file,
    licence, prompt) says licences, otherwise "not stated", and what a class is asked for by, otherwise its name; with
    an empty prompt only by its sound. Raises ValueError for a forbidden file.
    """
    rows = _manifest(folder / "manifest.csv")
    classes: dict[str, list[NDArray[np.float32]]] = {}
    prompts: dict[str, str] = {}
    heard = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in (".flac", ".wav", ".ogg") or not keep(path.name):
            continue
        if any(word in path.as_posix().lower() for word in FORBIDDEN):
            raise ValueError(f"{path}: what ships must not hear it; leave it out")
        name, row = path.stem.partition("__")[0], rows.get(path.name, {})
        samples = _fill(read(path))
        classes.setdefault(name, []).append(samples)
        prompts[name] = row.get("prompt", name.replace("_", " "))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        licence = row.get("licence", row.get("license", "not stated"))
        heard.append(Heard(f"{folder.name}/{path.name}", digest, licence))
    return [_recorded(name, prompts[name], clips) for name, clips in classes.items()], heard


def _recorded(name: str, prompt: str, clips: Sequence[NDArray[np.float32]]) -> Source:
    levelled = [clip / max(float(np.sqrt(np.mean(np.square(clip)))), 1e-4) for clip in clips]
    return Source(name, (prompt,) if prompt else (), _half(levelled, 1.0), _half([], 1.0))


def _fill(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """So long as a source's clips are: repeated or cut."""
    length = round(SECONDS * RATE)
    return np.tile(samples, -(-length // len(samples)))[:length]


def _half(clips: Sequence[NDArray[np.floating[Any]]], level: float) -> F16:
    if not clips:
        return np.zeros((0, round(SECONDS * RATE)), dtype=np.float16)
    return np.asarray(np.stack(clips) / level, dtype=np.float16)


def _manifest(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a manifest by file; none where there is no manifest."""
    import csv

    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as handle:
        return {row.get("file", ""): row for row in csv.DictReader(handle)}
