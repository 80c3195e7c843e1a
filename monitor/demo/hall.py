"""The demo's hall as files: what happens when, fixed before any model is fitted, and the sound of it.

Two microphones stand at gearbox, press and conveyor, one each at fan, pump and coolant pump. The press stays healthy:
an alarm there fails the demo. The coolant pump is small and stands in a loud corner: its fault is there to be missed
without separation, at a level that was fixed on other halls (docs/demo.md). All sound goes the way of real recordings:
files, capture, broker, workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

from monitor.demo.verdict import Planned
from sds_engine.physics.line import CORNER_MICS, MICS, FaultEvent, SimulatedLine, demo_line
from streams import soundfiles

MINUTES = 8.0
SPEED = 16.0  # times real time; the alarms follow the time of the sound, not the clock
WINDOW_S = 2.0
SEPARATED = True  # whether every window is separated and scored on all paths
ADAPT_MINUTES = 0  # the shipped network as it is: it is told how each machine sounds, and that is most of it
NEVER_S = 3600  # the replay's clock is not the wall's: however slow this machine is, no window is spared the chain
RECORDINGS, RECORDING_S = 40, 12.0  # healthy recordings for training, the same moments for all microphones
APART, APART_S = 3, 8.0  # recordings of each machine alone, and of the hall while it stands, for its separator
MACHINES = ("fan", "pump", "gearbox", "press", "conveyor", "coolant")
NAMES = {
    "fan": ("送風機", "Fan", "industrial fan"),
    "pump": ("ポンプ", "Pump", "water pump"),
    "gearbox": ("減速機", "Gearbox", "gearbox"),
    "press": ("プレス", "Press", "mechanical press"),
    "conveyor": ("コンベヤ", "Conveyor", "belt conveyor"),
    "coolant": ("クーラントポンプ", "Coolant pump", "water pump"),
}
DETECTOR = "neighbours"  # for all three paths in seconds; the default has a network to train besides

COOLANT_DB = -3.0  # by the rule of docs/demo.md
# Levels in dB of the fault's own sound over the machine's, both at 1 m. Times as shares of the stream. The coolant
# pump's fault is over before others begin: what a louder neighbour explains would not be announced.
FAULTS = (
    Planned("coolant", "outer_race", 0.05, 0.25, COOLANT_DB),
    Planned("pump", "cavitation", 0.25, 0.55, -6.0),
    Planned("gearbox", "inner_race", 0.35, 0.65, -11.0),
    Planned("fan", "outer_race", 0.45, 0.75, -9.0),
    Planned("conveyor", "belt_squeal", 0.55, 0.85, -8.0),
)
LISTENING = {mic: owner for mic, (owner, _) in (*MICS.items(), *CORNER_MICS.items())}  # the machine of each microphone
LOST = Planned("gearbox", "no signal", 0.80, 0.95, mic="gearbox-2")


def the_line(seed: int) -> SimulatedLine:
    """The demo's hall; another seed is another one, with other machines."""
    return demo_line(seed, corner=True)


def plan(minutes: float) -> list[Planned]:
    """What happens in a stream of so many minutes, in seconds from its start, on whole windows."""

    def at(share: float) -> float:
        return WINDOW_S * round(share * minutes * 60 / WINDOW_S)

    return [
        Planned(one.machine, one.kind, at(one.start_s), at(one.end_s), one.level_db, one.mic, one.must_find)
        for one in (*FAULTS, LOST)
    ]


def windows(minutes: float) -> int:
    """How many windows the stream has, all microphones together."""
    return len(LISTENING) * int(minutes * 60 // WINDOW_S)


def render(
    directory: Path, seed: int, minutes: float, planned: Sequence[Planned], *, separated: bool = SEPARATED
) -> None:
    """Write `healthy/MACHINE/MIC/NN.wav` and `live/MIC.wav`, each half of the work in a process of its own.

    With `separated` also `clean` and `background`, likewise.
    """
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(_render_healthy, directory, seed),
            pool.submit(_render_live, directory, seed, minutes, planned),
        ]
        if separated:
            jobs.append(pool.submit(_render_apart, directory, seed))
        for job in jobs:
            job.result()


def _render_healthy(directory: Path, seed: int) -> None:
    line = the_line(seed)
    for mic, machine in line.mics.items():
        (directory / "healthy" / machine / mic).mkdir(parents=True)
    for number, session in enumerate(line.sessions(RECORDINGS, RECORDING_S)):
        for mic, samples in session.items():
            path = directory / "healthy" / line.mics[mic] / mic / f"{number:02d}.wav"
            soundfiles.write_wav(path, samples, line.rate)


def _render_apart(directory: Path, seed: int) -> None:
    line = the_line(seed)
    for machine in MACHINES:
        for kind, runs in (("clean", True), ("background", False)):
            for number, recording in enumerate(line.apart(machine, APART, APART_S, runs=runs)):
                for mic, samples in recording.items():
                    path = directory / kind / machine / mic / f"{number:02d}.wav"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    soundfiles.write_wav(path, samples, line.rate)


def _render_live(directory: Path, seed: int, minutes: float, planned: Sequence[Planned]) -> None:
    line = the_line(seed)
    faults = [FaultEvent(p.machine, p.kind, p.start_s, p.end_s, p.level_db) for p in planned if p.kind != "no signal"]
    lost = [one for one in planned if one.kind == "no signal"]
    folder = directory / "live"
    folder.mkdir()
    files = {
        mic: soundfile.SoundFile(folder / f"{mic}.wav", "w", samplerate=line.rate, channels=1, subtype="PCM_16")
        for mic in line.mics
    }
    for number, block in enumerate(line.blocks(minutes * 60, faults)):
        for mic, samples in block.items():
            silent = any(one.mic == mic and one.start_s <= number * WINDOW_S < one.end_s for one in lost)
            files[mic].write(np.zeros_like(samples) if silent else samples)
    for file in files.values():
        file.close()


def write_config(directory: Path, *, broker: str, lang: str, port: int, separated: bool = SEPARATED) -> Path:
    """The line.toml of the demo: an ordinary one."""
    chain = (
        '[chain]\nstages = ["raw", "separated"]\ncascade = false\n'
        f"overload_s = {NEVER_S}\nadapt_minutes = {ADAPT_MINUTES}\n"
    )
    parts = [
        f'[site]\nname = "factory-ear demo"\ntime_zone = "Asia/Tokyo"\nlang = "{lang}"\n',
        f'[broker]\nurl = "{broker or "embedded:data/broker"}"\n',
        chain if separated else "",
        "[alarms]\ndanger_after_s = 60\n",
        f"[web]\nport = {port}\n",
    ]
    for machine in MACHINES:
        name_ja, name_en, prompt = NAMES[machine]
        parts.append(
            f'[[machine]]\nid = "{machine}"\nname_ja = "{name_ja}"\nname_en = "{name_en}"\nprompt = "{prompt}"\n'
            f'healthy = "healthy/{machine}"\n'
            + (f'clean = "clean/{machine}"\nbackground = "background/{machine}"\n' if separated else "")
        )
        parts += [
            f'[[machine.mic]]\nid = "{mic}"\nsource = "file:live/{mic}.wav"\nspeed = {SPEED}\n'
            for mic, owner in LISTENING.items()
            if owner == machine
        ]
    path = directory / "line.toml"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path
