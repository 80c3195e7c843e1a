"""Worlds in which faults in training may pay: the real fan of the development set, and simulated machines.

A world has healthy recordings to learn from, fault kinds that training may use, and a test set. Simulated worlds are
tested on families that training never has: machines that learned blows (bearings, teeth, loose parts) meet flow,
friction and air, and the other way round. Test faults come from `sds_engine.physics.faults`, training faults from
`sds_engine.makers`: other code, other bodies.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from choice_worlds import JITTER_DB, LEVEL, RATE, SECONDS, Backgrounds, Sound, hall_pools, level
from numpy.typing import NDArray

from detectors.base import Evidence
from detectors.exposure_mix import FaultSound, heard
from detectors.frontend import FrontEnd
from detectors.recordings import Chosen, Clip, choose_contexts
from monitor.exposing import FaultOrder, Source, fault_sounds, machine_physics
from monitor.manifest import read_manifest
from monitor.site_sound import SiteRecordings
from sds_engine.physics.faults import FAULTS, Fault, add_fault
from sds_engine.physics.kinds import draw_machine
from sds_engine.physics.machines import draw_take, render_take
from streams.soundfiles import read_clip

WINDOW, CONTEXT = 32_000, 5
STRUCK = ("outer_race", "inner_race", "ball", "broken_tooth", "looseness", "rattle")
KINDS = ("fan", "pump")  # both families occur on these
LEARN, TEST, VIEWS = 16, 16, 4
FRONT_END = FrontEnd.at(RATE)


@dataclass(frozen=True)
class World:
    """Healthy clips and their contexts; what makers may know; normal and odd test contexts, with recordings [batch].

    rare [batch]: whether a normal context has a background that is rare in training.
    """

    name: str
    family: str
    snr_db: float
    seed: int
    clips: list[Clip]
    chosen: Chosen
    train: Evidence
    normal: Evidence
    normal_recording: NDArray[np.str_]
    rare: NDArray[np.bool_]
    odd: Evidence
    odd_recording: NDArray[np.str_]
    order: FaultOrder
    site: SiteRecordings | None = None

    @property
    def groups(self) -> torch.Tensor:
        """The recording of each training context [batch]."""
        return torch.tensor([span.group for span in self.chosen.spans])


def _hear(sounds: Sequence[Sound]) -> Evidence:
    return heard([torch.from_numpy(sound) for sound in sounds], FRONT_END, WINDOW)


def _chosen(clips: list[Clip], seed: int) -> Chosen:
    return choose_contexts(clips, WINDOW, RATE, CONTEXT, grouped=True, seed=seed)


def _trained(clips: list[Clip], chosen: Chosen) -> Evidence:
    spans = chosen.spans
    sounds = [clips[span.clip].samples[span.first * WINDOW : span.last * WINDOW] for span in spans]
    return heard(sounds, FRONT_END, WINDOW)


def real_world(tool: Path, snr_db: float, seed: int, count: int) -> World:
    """The development set at that level: all kinds of fault that a fan may have are known to training."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(tool), folder, "--snr", str(snr_db), "--seed", str(seed)]
        subprocess.run(command, check=True, capture_output=True)
        rows = read_manifest(Path(folder) / "manifest.csv").rows
        sounds = {id(row): read_clip(row.file, rate=RATE) for row in rows}
    learn = [row for row in rows if row.split == "train" and row.label == "normal"]
    clips = [Clip(torch.from_numpy(sounds[id(row)]), row.recording) for row in learn]
    chosen = _chosen(clips, seed)
    normal, odd = ([row for row in rows if row.split == "test" and row.label == one] for one in ("normal", "anomaly"))
    clean = [sounds[id(row)] for row in rows if row.label == "clean"]
    physics = machine_physics(clean[::8])  # one microphone of each recording: the makers want the body, not the place
    return World(
        "real fan",
        "real",
        snr_db,
        seed,
        clips,
        chosen,
        _trained(clips, chosen),
        _hear([sounds[id(row)] for row in normal]),
        np.array([row.recording for row in normal]),
        np.array([row.domain == "target" for row in normal]),
        _hear([sounds[id(row)] for row in odd]),
        np.array([row.recording for row in odd]),
        FaultOrder(FAULTS["fan"], count, seed, "fan", physics),
        SiteRecordings(
            [torch.from_numpy(one) for one in clean],
            [torch.from_numpy(sounds[id(row)]) for row in rows if row.label == "background"],
        ),
    )


def simulated_world(kind: str, snr_db: float, seed: int, count: int) -> World:
    """A new individual of `kind` in a procedural hall; even (seed + place) train blows and meet the rest."""
    place = KINDS.index(kind)
    rng = np.random.default_rng([seed, 40 + place])
    machine = draw_machine(kind, rng)
    grounds = Backgrounds(hall_pools(rng), rng)
    blows = tuple(one for one in FAULTS[kind] if one in STRUCK)
    others = tuple(one for one in FAULTS[kind] if one not in STRUCK)
    known, met = (blows, others) if (seed + place) % 2 == 0 else (others, blows)

    def take() -> Sound:
        return render_take(draw_take(machine, SECONDS, RATE, rng))

    def faulty() -> Sound:
        fault = Fault(str(rng.choice(met)), float(rng.uniform(-18.0, -6.0)))
        return add_fault(draw_take(machine, SECONDS, RATE, rng), fault, int(rng.integers(2**31)))[0]

    def mixed(sounds: list[Sound], *, test: bool) -> tuple[list[Sound], list[str], list[bool]]:
        found, names, rares = [], [], []
        for number, sound in enumerate(sounds):
            for _ in range(VIEWS):
                rare = bool(rng.random() < (0.5 if test else 0.1))
                gain = LEVEL * 10 ** ((-snr_db + rng.uniform(-JITTER_DB, JITTER_DB)) / 20)
                whole = level(sound) * LEVEL + gain * grounds.draw(rare=rare, test=test, rng=rng)
                found.append(np.clip(whole, -1, 1).astype(np.float32))
                names.append(str(number))
                rares.append(rare)
        return found, names, rares

    alone = [take() for _ in range(LEARN)]
    learn, groups, _ = mixed(alone, test=False)
    clips = [Clip(torch.from_numpy(sound), group) for sound, group in zip(learn, groups, strict=True)]
    chosen = _chosen(clips, seed)
    normal, names, rares = mixed([take() for _ in range(TEST)], test=True)
    odd, odd_names, _ = mixed([faulty() for _ in range(TEST)], test=True)
    family = f"simulated {'others' if known == blows else 'blows'}"
    return World(
        f"{kind}, meets {' '.join(met)}",
        family,
        snr_db,
        seed,
        clips,
        chosen,
        _trained(clips, chosen),
        _hear(normal),
        np.array(names),
        np.array(rares),
        _hear(odd),
        np.array(odd_names),
        FaultOrder(known, count, 100 * (place + 1) + seed, kind, machine_physics(alone)),
    )


def worlds(
    tool: Path | None, seeds: Sequence[int], levels: Sequence[float], kinds: Sequence[str], count: int
) -> Iterator[World]:
    """All of them: the real fan at each level, and simulated machines at 0 dB."""
    for seed in seeds:
        if tool is not None:
            for snr_db in levels:
                yield real_world(tool, snr_db, seed, count)
        for kind in kinds:
            yield simulated_world(kind, 0.0, seed, count)


def sounds_of(source: Source, world: World, cache: Path) -> list[FaultSound]:
    """The training faults of a world; what a prior taught is kept on disk, since it costs minutes."""
    if source != "sds":
        return fault_sounds(source, world.order)
    name = "real" if world.family == "real" else world.name.split(",")[0]
    path = cache / f"{name}-{world.order.seed}-{world.order.count}.npz"
    if not path.exists():
        made = fault_sounds(source, world.order)
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, kinds=[one.kind for one in made], waves=np.stack([one.wave for one in made]))
        part.replace(path)
    with np.load(path) as found:
        return [
            FaultSound(str(kind), torch.from_numpy(wave))
            for kind, wave in zip(found["kinds"], found["waves"], strict=True)
        ]
