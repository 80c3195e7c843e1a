"""`factory-ear train`: healthy recordings to models, calibrated, with a model card.

Microphones of a machine that have a folder of their own (`healthy/MIC`) get a model each; else they share one, from
the whole folder. A recording that cannot be read is named and left out; it never stops the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from detectors.card import Source
from detectors.exposure_mix import FaultSound
from detectors.kinematics import Kinematics
from detectors.model import Clip, Model, fit_model
from detectors.store import save_models
from monitor.baselines import read_baselines
from monitor.console import progress, say
from monitor.errors import WorkFailed
from monitor.settings import Line, Machine
from monitor.site_sound import SiteRecordings, adapted_stage, enhanced_stage, usable_rate
from monitor.stages import Separator
from monitor.train_faults import Faults, exposed_name, levels_of, training_faults
from sds_engine.physics.bearings import Bearing
from streams import soundfiles

FEW_RECORDINGS = 20
PROCESSES = 2  # each holds half a gigabyte before it has learned anything
CHANNEL = re.compile(r"[-_ .]?(ch|channel|mic)[-_ ]?\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class Group:
    """Microphones that share a model: which recordings it learns from, and which of their channels.

    `without` are sub-folders that belong to microphones with a model of their own.
    """

    key: str
    folder: Path
    channel: int
    without: tuple[str, ...] = ()


def groups(machine: Machine) -> list[Group]:
    """How the machine's microphones share models: own folders first, then by channel."""
    own = [
        Group(mic.id, machine.healthy / mic.id, mic.channel)
        for mic in machine.mic
        if (machine.healthy / mic.id).is_dir()
    ]
    taken = tuple(group.key for group in own)
    rest = [mic for mic in machine.mic if mic.id not in taken]
    channels = {mic.channel for mic in rest}
    if len(channels) == 1:
        return [*own, Group("*", machine.healthy, channels.pop(), taken)]
    return [*own, *(Group(mic.id, machine.healthy, mic.channel, taken) for mic in rest)]


def train_line(
    line: Line,
    *,
    only: Sequence[str] = (),
    detector: str = "",
    seed: int = 0,
    faults: Faults | None = None,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Train the machines of `line` (or `only` some); returns a summary per model. `faults`: those used in training.

    Raises WorkFailed, naming machine and folder, where there is too little to learn from.
    """
    unknown = sorted(set(only) - {machine.id for machine in line.machine})
    if unknown:
        raise WorkFailed(
            f"machine {', '.join(unknown)} is not in line.toml: it has {', '.join(m.id for m in line.machine)}"
        )
    chosen = [machine for machine in line.machine if not only or machine.id in only]
    faults = (faults or Faults()).checked(line.site.rate)
    jobs = [(line, machine, detector, seed, faults, quiet) for machine in chosen]
    processes = min(PROCESSES, os.cpu_count() or 1) if len(jobs) > PROCESSES else 1  # starting them takes seconds
    with progress("train", quiet=quiet) as step:
        if processes == 1:
            return [summary for job in step(jobs) for summary in _train_machine(*job)]
        # A thread each: two fits side by side are quicker than two threads that wait for each other.
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            futures = [pool.submit(_train_machine, *job) for job in jobs]
            return [summary for future in step(futures) for summary in future.result()]


def _one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)


def _train_machine(
    line: Line,
    machine: Machine,
    detector: str,
    seed: int,
    faults: Faults,
    quiet: bool,  # noqa: FBT001 - a job's row
) -> list[dict[str, Any]]:
    models: dict[str, Model] = {}
    sources: list[Source] = []
    summaries = []
    levels: dict[str, Any] = {}
    for group in groups(machine):
        try:
            clips, heard, refused = read_healthy(group, line.site.rate)
        except soundfiles.SoundFileError as error:
            raise WorkFailed(f"machine {machine.id}: {error}") from error
        for text in refused:
            say(f"left out: {text}", quiet=quiet)
        if not clips:
            raise WorkFailed(f"machine {machine.id}: no usable recording in {group.folder}: add healthy recordings")
        separation, notes = separation_of(line, machine, clips, seed, quiet=quiet)
        sounds = training_faults(machine, clips, faults, seed, quiet=quiet)
        model = _fit(clips, line, machine, exposed_name(detector, faults), seed, separation, sounds)
        model = replace(model, notes=(*model.notes, *notes))
        models[group.key] = model
        if faults.levels is not None:
            levels[group.key] = levels_of(line, machine, group.key, model, clips, faults.levels, quiet=quiet)
        sources += heard
        summaries.append(_summary(machine, group, model, len(heard), refused))
        say(_words(summaries[-1]), quiet=quiet)
    changes = read_baselines(line.models, machine.id)
    figures = {name: found for name, found in (("baselines", changes), ("levels", levels)) if found}
    save_models(line.models / machine.id, models, machine=machine.id, sources=sources, figures=figures)
    return summaries


def _fit(
    clips: Sequence[Clip],
    line: Line,
    machine: Machine,
    detector: str,
    seed: int,
    separation: Separator | None = None,
    faults: Sequence[FaultSound] = (),
) -> Model:
    try:
        return fit_model(
            clips,
            rate=line.site.rate,
            window_s=line.site.window_s,
            detector=detector or None,
            seed=seed,
            kinematics=kinematics_of(machine),
            separation=separation,
            faults=faults,
        )
    except ValueError as error:
        raise WorkFailed(f"machine {machine.id}: {error}") from error


def separation_of(
    line: Line, machine: Machine, clips: Sequence[Clip], seed: int, *, quiet: bool
) -> tuple[Separator | None, tuple[str, ...]]:
    """A separator adapted to the machine's `clean` and `background` folders, where the chain has that stage; notes.

    Raises WorkFailed at another rate than 16 kHz, and for a folder without sound.
    """
    if "separated" not in line.chain.stages:
        return None, ()
    if not usable_rate(line.site.rate):
        raise WorkFailed(f'[site] rate is {line.site.rate} Hz, but [chain] stages "separated" hears 16000 Hz only')

    def folder(path: Path | None) -> list[torch.Tensor]:
        sounds = (
            [soundfiles.read_clip(one, rate=line.site.rate) for one in soundfiles.list_sounds(path)] if path else []
        )
        return [torch.from_numpy(samples) for samples in sounds]

    try:
        clean, background = folder(machine.clean), folder(machine.background)
    except soundfiles.SoundFileError as error:
        raise WorkFailed(f"machine {machine.id}: {error}") from error
    say(f"{machine.id}: adapting the separator, {line.chain.adapt_minutes:g} min at most", quiet=quiet)
    recordings = SiteRecordings(clean, background, [clip.samples for clip in clips])
    if "enhanced" not in line.chain.stages:
        return adapted_stage(recordings, minutes=line.chain.adapt_minutes, seed=seed)
    minutes = line.chain.adapt_minutes / 2
    mask, notes = adapted_stage(recordings, minutes=minutes, seed=seed)
    stage, more = enhanced_stage(mask, recordings, minutes=minutes, seed=seed)
    return stage, (*notes, *more)


def kinematics_of(machine: Machine) -> Kinematics:
    """What line.toml says of the machine's parts, as detectors take it."""
    settings = machine.kinematics
    given = settings.bearing
    bearing = Bearing(given.n, given.d, given.D, given.phi) if given else None
    return Kinematics(settings.shaft_hz, bearing, settings.teeth)


def recording_of(name: str) -> str:
    """The recording that a file belongs to: `day1-ch0.wav` and `day1-ch3.wav` are channels of one.

    Counted apart they would double the evidence: what one heard, the other heard too.
    """
    path = PurePosixPath(name)
    return str(path.with_name(CHANNEL.sub("", path.stem) or path.stem))


def read_healthy(group: Group, rate: int) -> tuple[list[Clip], list[Source], list[str]]:
    """Every readable recording of the folder: clips, where they came from, and why others were left out."""
    clips: list[Clip] = []
    heard: list[Source] = []
    refused: list[str] = []
    for path in soundfiles.list_sounds(group.folder):
        if path.relative_to(group.folder).parts[0] in group.without:
            continue
        try:
            samples = soundfiles.read_clip(path, rate=rate, channel=group.channel)
        except soundfiles.SoundFileError as error:
            refused.append(str(error))
            continue
        name = path.relative_to(group.folder).as_posix()
        clips.append(Clip(torch.from_numpy(samples), recording=recording_of(name), file=name))
        heard.append(Source(file=name, sha256=soundfiles.content_hash(path), seconds=len(samples) / rate))
    return clips, heard, refused


def _summary(machine: Machine, group: Group, model: Model, recordings: int, refused: Sequence[str]) -> dict[str, Any]:
    return {
        "machine": machine.id,
        "mic": group.key,
        "model": model.id,
        "detector": model.detector_name,
        "recordings": recordings,
        "effective_n": model.effective_n,
        "refused": list(refused),
    }


def _words(summary: dict[str, Any]) -> str:
    mic = "all microphones" if summary["mic"] == "*" else summary["mic"]
    text = (
        f"{summary['machine']} ({mic}): {summary['detector']}, {summary['recordings']} recordings, "
        f"effective n {summary['effective_n']}"
    )
    if summary["effective_n"] < FEW_RECORDINGS:
        text += (
            f"; scores above {1 / (summary['effective_n'] + 1):.0%} odds are extrapolated, more recordings sharpen them"
        )
    return text
