"""What `factory-ear train` does with made-up faults: train with them, and say from which level on they are heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detectors.exposure_mix import FaultSound
from detectors.lineup import DEFAULT
from detectors.model import Model
from detectors.recordings import Clip
from monitor.alarm_plan import plan
from monitor.console import say
from monitor.detectable import hear_levels, over_machine_db, pairs_of
from monitor.detectable_words import plain
from monitor.errors import WorkFailed
from monitor.exposing import RATE, FaultOrder, Source, fault_sounds, kinds_for, machine_physics
from monitor.settings import Line, Machine
from streams import soundfiles

EACH = 6  # sounds of a kind that levels are measured with, half of them adapted to the machine
_SEED = 9_000  # of these sounds: none of training's


@dataclass(frozen=True, slots=True)
class Faults:
    """Where faults in training come from, and the folder for pictures of levels; None: levels are not measured."""

    source: Source = "none"
    levels: Path | None = None

    def checked(self, rate: int) -> Faults:
        """Itself. Raises WorkFailed where faults are wanted at another rate than 16 kHz."""
        if rate != RATE and (self.source != "none" or self.levels is not None):
            raise WorkFailed(f"[site] rate is {rate} Hz, but --faults and --levels make faults at {RATE} Hz only")
        return self


def exposed_name(detector: str, faults: Faults) -> str:
    """The detector to fit: with faults in training the fusion that can hear them."""
    return detector if faults.source == "none" else f"{detector or DEFAULT}+faults"


def training_faults(
    machine: Machine, clips: Sequence[Clip], faults: Faults, seed: int, *, quiet: bool
) -> list[FaultSound]:
    """The faults to train with, for this machine. Raises WorkFailed where none can be made."""
    if faults.source == "none":
        return []
    say(f"{machine.id}: faults in training: {faults.source}", quiet=quiet)
    try:
        return fault_sounds(faults.source, _order(machine, clips, seed))
    except ValueError as error:
        raise WorkFailed(f"machine {machine.id}: {error}") from error


def _order(machine: Machine, clips: Sequence[Clip], seed: int) -> FaultOrder:
    sounds = [clip.samples.numpy() for clip in clips]
    physics = machine_physics(sounds, _known(machine))
    return FaultOrder(kinds_for(machine.prompt), seed=seed, prompt=machine.prompt or "machine", physics=physics)


def _known(machine: Machine) -> Any:  # noqa: ANN401 - makers' table of what is known, built from line.toml
    from sds_engine.physics.bearings import Bearing

    settings = machine.kinematics
    bearing = settings.bearing
    known = {
        "shaft_hz": settings.shaft_hz,
        "teeth": settings.teeth,
        "bearing": Bearing(bearing.n, bearing.d, bearing.D, bearing.phi) if bearing else None,
    }
    return {key: value for key, value in known.items() if value is not None}


def levels_of(
    line: Line, machine: Machine, mic: str, model: Model, clips: Sequence[Clip], folder: Path, *, quiet: bool
) -> dict[str, Any]:
    """From which level on this microphone would hear each kind of fault: figures, sentences, and a picture in `folder`.

    At the threshold that one look is judged by (`alarm_plan.plan`).
    """
    from monitor.detectable_picture import draw_levels

    sounds = library(_order(machine, clips, _SEED))
    threshold = plan(model.effective_n, model.context_s, line.alarms).threshold
    found = hear_levels(model, pairs_of(model, clips, sounds), threshold)
    offset_db = over_machine_db([clip.samples for clip in clips], _background(machine))
    figures = plain(found, threshold, offset_db)
    lang = line.site.lang
    for one in figures["kinds"].values():
        say(f"{machine.id} ({mic}): {one['words'][lang]}", quiet=quiet)
    name = f"{machine.id}-{'all' if mic == '*' else mic}"
    draw_levels(found, name, folder / f"{name}.png", lang=lang, offset_db=offset_db)
    return figures


def library(order: FaultOrder, each: int = EACH) -> dict[str, list[FaultSound]]:
    """`each` sounds of every kind of an order, half of them adapted to the machine."""
    found: dict[str, list[FaultSound]] = {kind: [] for kind in order.kinds}
    for number in range(each):
        source: Source = "adapted" if number % 2 else "physics"
        one = FaultOrder(order.kinds, len(order.kinds), order.seed + number, order.prompt, order.physics)
        for sound in fault_sounds(source, one):
            found[sound.kind].append(sound)
    return found


def _background(machine: Machine) -> list[torch.Tensor]:
    if machine.background is None:
        return []
    try:
        files = soundfiles.list_sounds(machine.background)
        return [torch.from_numpy(np.asarray(soundfiles.read_clip(path, rate=RATE))) for path in files]
    except soundfiles.SoundFileError as error:
        raise WorkFailed(f"machine {machine.id}: {error}") from error
