"""What the shipped prior learns from: log-mel clips of procedural machines, faults, struck parts, tones and events.

Clips are kept in dB per mel band and mixed by power while training, so that a few thousand renders make millions of
different examples. Every seed is FIRST_SEED or above and below LAST_SEED: judges and tests take theirs elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sds_engine.physics import background, taps
from sds_engine.physics.faults import FAULTS, Fault, add_fault
from sds_engine.physics.kinds import KINDS, draw_machine
from sds_engine.physics.machines import Machine, draw_take, render_take
from sds_engine.physics.modes import MATERIALS, damped_modes, hertz_pulse
from sds_engine.physics.structure import sheet
from sds_engine.physics.wander import F32
from sds_engine.priors import logmel

FIRST_SEED, LAST_SEED = 1_000_000, 2_000_000
CLIP_S = 8
CLIP_FRAMES = CLIP_S * logmel.RATE // logmel.HOP
STRUCK = ("steel", "aluminium", "brass", "cast_iron", "polyamide")
TONES = ("beep", "siren", "hum", "whine", "horn")
EVENTS = ("clank", "wrench", "forklift", "people")

Clip = tuple[str, str, F32]  # subject, machine or "", samples


@dataclass(frozen=True, slots=True)
class Pool:
    """Clips: `db` float16 `[clip, frame, band]` of mel power, and what each holds: subject and machine, as text.

    A machine's faults follow its healthy clip; `machine_of` [clip] is the index of that healthy clip, or -1.
    """

    db: np.ndarray
    subjects: np.ndarray
    machines: np.ndarray
    machine_of: np.ndarray

    def save(self, path: Path) -> None:
        """Write it as one .npz of plain arrays."""
        np.savez(path, db=self.db, subjects=self.subjects, machines=self.machines, machine_of=self.machine_of)

    @classmethod
    def load(cls, path: Path) -> Pool:
        """Read what `save` wrote; raises ValueError where it is something else."""
        with np.load(path, allow_pickle=False) as held:
            missing = {"db", "subjects", "machines", "machine_of"} - set(held.files)
            if missing:
                raise ValueError(f"{path} lacks {', '.join(sorted(missing))}: make the corpus anew")
            return cls(held["db"], held["subjects"], held["machines"], held["machine_of"])

    @classmethod
    def join(cls, pools: list[Pool]) -> Pool:
        """Several pools as one."""
        offsets = np.cumsum([0] + [len(pool.db) for pool in pools[:-1]])
        machine_of = [
            np.where(pool.machine_of < 0, -1, pool.machine_of + offset)
            for pool, offset in zip(pools, offsets, strict=True)
        ]
        return cls(
            np.concatenate([pool.db for pool in pools]),
            np.concatenate([pool.subjects for pool in pools]),
            np.concatenate([pool.machines for pool in pools]),
            np.concatenate(machine_of),
        )


def to_db(sound: F32) -> np.ndarray:
    """The mel power of a sound of CLIP_S seconds in dB: float16 `[frame, band]`."""
    with torch.inference_mode():
        power = logmel.mel_power(torch.from_numpy(np.ascontiguousarray(sound))[None])[0]
        return (10.0 * torch.log10(power + 1e-12)).to(torch.float16).numpy()


def make_pool(clips: Iterator[Clip]) -> Pool:
    """The clips as a pool, in their order."""
    db: list[np.ndarray] = []
    subjects, machines, machine_of = [], [], []
    healthy = -1
    for subject, machine, sound in clips:
        if subject == "healthy":
            healthy = len(db)
        db.append(to_db(sound))
        subjects.append(subject)
        machines.append(machine)
        machine_of.append(healthy if machine else -1)
    return Pool(np.stack(db), np.array(subjects), np.array(machines), np.array(machine_of, dtype=np.int64))


def machine_clips(seeds: range) -> Iterator[Clip]:
    """For each seed a machine: its healthy clip, then each of its faults alone, as loud as the machine (0 dB)."""
    _check(seeds)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        kind = list(KINDS)[seed % len(KINDS)]
        machine = _respeed(draw_machine(kind, rng), float(np.exp(rng.uniform(np.log(0.6), np.log(1.6)))))
        take = draw_take(machine, CLIP_S, logmel.RATE, rng, distance=float(rng.uniform(0.5, 2.0)))
        yield "healthy", kind, render_take(take)
        for fault in FAULTS[kind]:
            yield fault, kind, add_fault(take, Fault(fault, 0.0), int(rng.integers(2**31)))[1]


def _respeed(machine: Machine, factor: float) -> Machine:
    return replace(machine, shaft_hz=machine.shaft_hz * factor, cycle_hz=machine.cycle_hz * factor)


def other_clips(seeds: range) -> Iterator[Clip]:
    """For each seed one clip of something else: a struck part, a tone, an event of a hall, a tap test."""
    _check(seeds)
    makers: list[tuple[str, Callable[[np.random.Generator], np.ndarray]]] = [
        *((f"struck_{name}", _striker(name)) for name in STRUCK),
        *((f"tone_{name}", TONE_MAKERS[name]) for name in TONES),
        *((f"event_{name}", _eventer(name)) for name in EVENTS),
        ("tap", _tap),
    ]
    for seed in seeds:
        rng = np.random.default_rng(seed)
        subject, make = makers[seed % len(makers)]
        yield subject, "", _fit(make(rng), rng)


def _check(seeds: range) -> None:
    if len(seeds) and not (seeds[0] >= FIRST_SEED and seeds[-1] < LAST_SEED):
        raise ValueError(f"seeds {seeds[0]}..{seeds[-1]}: the prior's own lie from {FIRST_SEED} up to {LAST_SEED}")


def _fit(sound: np.ndarray, rng: np.random.Generator) -> F32:
    """Any sound as CLIP_S seconds: repeated after pauses of 0 to 0.8 s, cut."""
    length = CLIP_S * logmel.RATE
    out = np.zeros(length, dtype=np.float32)
    at = int(rng.uniform(0, 0.3) * logmel.RATE)
    while at < length:
        here = np.asarray(sound[: length - at], dtype=np.float32)
        out[at : at + len(here)] += here * np.float32(10 ** (rng.normal(0, 2) / 20))
        at += len(sound) + int(rng.uniform(0, 0.8) * logmel.RATE)
    return out


def _striker(material: str) -> Callable[[np.random.Generator], np.ndarray]:
    def strike(rng: np.random.Generator) -> np.ndarray:
        body = sheet(rng.uniform(0.1, 0.8), rng.uniform(0.06, 0.5), rng.uniform(2e-3, 1.5e-2), material, rng, tilt=0.0)
        ringing = damped_modes(
            np.array(body.hz),
            np.array(body.zeta) * rng.uniform(0.3, 1.5),
            np.array(body.gains),
            logmel.RATE,
            int(rng.uniform(0.4, 1.2) * logmel.RATE),
        )
        return np.convolve(ringing, hertz_pulse(rng.uniform(5e-5, 1e-3), logmel.RATE))

    assert material in MATERIALS  # noqa: S101  a name of this file's own list
    return strike


def _eventer(kind: str) -> Callable[[np.random.Generator], np.ndarray]:
    makers = {"clank": background.clank, "wrench": background.wrench, "forklift": background.forklift}

    def event(rng: np.random.Generator) -> np.ndarray:
        return makers.get(kind, background.speech)(logmel.RATE, rng)

    return event


def _tap(rng: np.random.Generator) -> np.ndarray:
    design = taps.draw_design(str(rng.choice(list(taps.DESIGNS))), rng)
    station = taps.draw_station(logmel.RATE, rng)
    return taps.tap(design, taps.make_part(design, rng), station, rng, strikes=4, every_s=float(rng.uniform(0.5, 1.2)))


def _time(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * logmel.RATE)) / logmel.RATE


def _harmonics(phase: np.ndarray, rng: np.random.Generator, count: int, tilt: float) -> np.ndarray:
    gains = np.arange(1, count + 1) ** -tilt * np.exp(0.4 * rng.standard_normal(count))
    return np.asarray(sum(g * np.sin((n + 1) * phase + rng.uniform(0, 6.3)) for n, g in enumerate(gains)))


def _beep(rng: np.random.Generator) -> np.ndarray:
    """A reversing or alarm beeper: 1 to 3.4 kHz, on for 0.1 to 0.5 s."""
    t = _time(rng.uniform(0.1, 0.5))
    fade = np.minimum(1.0, np.minimum(t, t[::-1]) / 0.005)
    sound = _harmonics(2 * np.pi * rng.uniform(1000, 3400) * t, rng, int(rng.integers(1, 3)), 2.0) * fade
    return np.concatenate([sound, np.zeros(int(rng.uniform(0.05, 0.5) * logmel.RATE))])


def _siren(rng: np.random.Generator) -> np.ndarray:
    """A siren: its pitch glides up and down, 0.3 to 4 times a second."""
    t = _time(4.0)
    low, octaves, hz = rng.uniform(300, 900), rng.uniform(0.4, 1.3), np.exp(rng.uniform(np.log(0.3), np.log(4)))
    pitch = low * 2 ** (octaves * (0.5 - 0.5 * np.cos(2 * np.pi * hz * t)))
    return _harmonics(2 * np.pi * np.cumsum(pitch) / logmel.RATE, rng, 4, 1.0)


def _hum(rng: np.random.Generator) -> np.ndarray:
    """The hum of a transformer or motor: 100 or 120 Hz and its multiples."""
    return _harmonics(2 * np.pi * float(rng.choice([100.0, 120.0])) * _time(4.0), rng, int(rng.integers(3, 12)), 1.2)


def _whine(rng: np.random.Generator) -> np.ndarray:
    """The whine of gears or of an inverter: 500 Hz to 5 kHz, sidebands at shaft rate, a slow drift."""
    t = _time(4.0)
    carrier, shaft = np.exp(rng.uniform(np.log(500), np.log(5000))), rng.uniform(8, 40)
    drift = 1 + 0.01 * np.sin(2 * np.pi * rng.uniform(0.1, 0.6) * t + rng.uniform(0, 6.3))
    phase = 2 * np.pi * np.cumsum(carrier * drift) / logmel.RATE
    swell = 1 + rng.uniform(0, 0.7) * np.sin(2 * np.pi * shaft * t)
    return np.asarray(swell * _harmonics(phase, rng, 2, 1.5))


def _horn(rng: np.random.Generator) -> np.ndarray:
    """A horn: two tones with many harmonics, for 0.3 to 1.5 s."""
    t = _time(rng.uniform(0.3, 1.5))
    fade = np.minimum(1.0, np.minimum(t, t[::-1]) / 0.02)
    low = rng.uniform(280, 480)
    two = [_harmonics(2 * np.pi * low * r * t, rng, 12, 0.7) for r in (1.0, rng.uniform(1.18, 1.35))]
    return np.asarray((two[0] + two[1]) * fade)


TONE_MAKERS: Mapping[str, Callable[[np.random.Generator], np.ndarray]] = {
    "beep": _beep,
    "siren": _siren,
    "hum": _hum,
    "whine": _whine,
    "horn": _horn,
}


def recording_clips(files: list[tuple[str, np.ndarray]]) -> Iterator[Clip]:
    """Recordings, each with the subject it is to be called by: 16 kHz mono, cut or repeated to CLIP_S seconds."""
    for subject, sound in files:
        yield subject, "", np.resize(sound.astype(np.float32), CLIP_S * logmel.RATE)
