"""A side that trains with made-up faults: they are mixed into the machine's healthy training files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from detectors.aggregate import context_windows
from detectors.base import CONTEXT_S
from detectors.exposure import ExposedFusion
from detectors.exposure_mix import Doses, FaultSound, expose
from detectors.frontend import FrontEnd
from detectors.lineup import DEFAULT, detector_named
from detectors.recordings import Clip, choose_contexts
from monitor.compare.side import Side
from monitor.errors import WorkFailed
from monitor.evaluate_machine import RATE
from monitor.exposing import FaultOrder, fault_sounds, kinds_for, machine_physics
from monitor.manifest import Manifest
from streams.soundfiles import read_clip

if TYPE_CHECKING:
    from detectors.base import Detector


def check_faults(side: Side, path: Path) -> None:
    """Raise WorkFailed for faults with a detector that cannot hear them, and behind a separator."""
    if side.faults == "none":
        return
    if side.chain != "raw":
        raise WorkFailed(f'{path}: faults = "{side.faults}" with chain = "{side.chain}", allowed is chain = "raw"')
    try:
        detector_named(f"{side.detector or DEFAULT}+faults")
    except ValueError as error:
        text = f'faults = "{side.faults}" with detector = "{side.detector}", allowed is fusion or quick-fusion'
        raise WorkFailed(f"{path}: {text}") from error


def sounds_for(manifest: Manifest, machine: str, side: Side) -> list[FaultSound]:
    """The side's fault sounds for a machine; none for `none`."""
    if side.faults == "none":
        return []
    return _sounds(manifest, machine, side, _clips(manifest, machine))


def exposed_detector(manifest: Manifest, machine: str, side: Side) -> Detector:
    """An unfitted detector that was handed its faults; contexts are chosen as `hear_machine` chooses them."""
    clips = _clips(manifest, machine)
    size = round(RATE * side.window_s)
    wanted, grouped = context_windows(CONTEXT_S, side.window_s), "recording" in manifest.columns
    chosen = choose_contexts(clips, size, RATE, wanted, grouped=grouped, seed=side.seed)
    sounds = _sounds(manifest, machine, side, clips)
    kind = detector_named(f"{side.detector}+faults")
    assert issubclass(kind, ExposedFusion)  # noqa: S101 - `check_faults` came before
    return kind().expose(expose(clips, chosen, sounds, FrontEnd.at(RATE), size, Doses(seed=side.seed)), side.seed)


def _clips(manifest: Manifest, machine: str) -> list[Clip]:
    rows = [row for row in manifest.rows if (row.machine, row.label, row.split) == (machine, "normal", "train")]
    return [Clip(torch.from_numpy(read_clip(row.file, rate=RATE)), row.recording) for row in rows]


def _sounds(manifest: Manifest, machine: str, side: Side, clips: Sequence[Clip]) -> list[FaultSound]:
    rows = [row for row in manifest.rows if row.machine == machine]
    alone = [read_clip(row.file, rate=RATE) for row in rows if (row.label, row.split) == ("clean", "train")]
    physics = machine_physics(alone or [clip.samples.numpy() for clip in clips])
    prompt = next((row.prompt for row in rows if row.prompt), "")
    order = FaultOrder(kinds_for(prompt), seed=side.seed, prompt=prompt or "machine", physics=physics)
    return fault_sounds(side.faults, order)
