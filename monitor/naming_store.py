"""Where names come from on a running line: a namer per model, made when the first clip asks for it, kept on disk.

    data/evidence/naming/MACHINE-MIC.safetensors    the namer, with the model that it belongs to and its kinds
    data/evidence/shown/CLIP/naming.json            {"departure": [...], "guesses": [[kind, share], ...]}
    data/evidence/shown/CLIP/fault.json             {"ja": ..., "en": ...}: what the page shows

It is made of the machine's healthy recordings and of faults that makers know (physics at random, and adapted to the
machine), without the prior: seconds, once per model. What staff confirm on the page with a name joins in at the next
clip: its departure is read from the folder of the clip that they confirmed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from detectors.exposure_mix import Doses, expose, heard
from detectors.model import Model
from detectors.recordings import Clip, choose_contexts
from monitor.exposing import RATE, FaultOrder, Source, fault_sounds, kinds_for, machine_physics
from monitor.naming import Confirmed, Namer
from monitor.naming_share import Guess
from monitor.naming_words import both
from streams import soundfiles

if TYPE_CHECKING:
    from detectors.base import Evidence

RECORDINGS = 12  # healthy ones that faults are mixed into
EACH = 10  # sounds of every kind, half of them adapted to the machine
LOW_DB, HIGH_DB = -9.0, 12.0  # what has raised an alarm stands out
MIXED = 3  # contexts for each sound
NAMING, FAULT = "naming.json", "fault.json"


def make_namer(model: Model, healthy: Path, prompt: str, channel: int = 0) -> Namer | None:
    """From a folder of healthy recordings; None at another rate than 16 kHz and for fewer than two usable ones."""
    if model.rate != RATE:
        return None
    clips = _clips(healthy, channel)
    size = round(model.rate * model.window_s)
    clips = [clip for clip in clips if len(clip.samples) >= size * model.context_windows]
    if len(clips) < 2:
        return None
    chosen = choose_contexts(clips, size, RATE, model.context_windows, grouped=True, seed=0)
    physics: dict[str, Any] = machine_physics([clip.samples.numpy() for clip in clips], _known(model))
    kinds = kinds_for(prompt)
    sounds = []
    for number in range(EACH):  # one of every kind at a time: folds by number then hold all kinds
        source: Source = "adapted" if number % 2 else "physics"
        sounds += fault_sounds(source, FaultOrder(kinds, len(kinds), number, prompt, physics))
    doses = Doses(MIXED * len(sounds), LOW_DB, HIGH_DB)
    exposed = expose(clips, chosen, sounds, model.front_end, size, doses)
    plain = [clips[span.clip].samples[span.first * size : span.last * size] for span in chosen.spans]
    return Namer.fit(heard(plain, model.front_end, size), exposed, [sound.kind for sound in sounds])


def _clips(folder: Path, channel: int) -> list[Clip]:
    found = []
    for path in soundfiles.list_sounds(folder)[:RECORDINGS] if folder.is_dir() else []:
        try:
            samples = soundfiles.read_clip(path, rate=RATE, channel=channel, max_duration_s=60.0)
        except soundfiles.SoundFileError:
            continue
        found.append(Clip(torch.from_numpy(samples), path.name))
    return found


def _known(model: Model) -> Any:  # noqa: ANN401 - makers' table of what is known, built from the model's kinematics
    plain = model.kinematics.plain()
    known: dict[str, Any] = {key: plain[key] for key in ("shaft_hz",) if key in plain}
    if "teeth" in plain:
        known["teeth"] = round(plain["teeth"])
    if model.kinematics.bearing is not None:
        known["bearing"] = model.kinematics.bearing
    return known


def kept_namer(path: Path, model: Model, healthy: Path, prompt: str, channel: int = 0) -> Namer | None:
    """The namer of `path` where it is this model's, else a new one, kept there."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file

    kinds = kinds_for(prompt)
    about = {"model": model.id, "kinds": json.dumps(kinds)}
    try:
        with safe_open(path, "pt") as file:
            if file.metadata() == about:
                return Namer.restore({key: file.get_tensor(key) for key in file.keys()}, sorted(kinds))  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, ValueError):
        pass  # not there yet, or damaged: it is made anew
    namer = make_namer(model, healthy, prompt, channel)
    if namer is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        save_file({key: value.contiguous() for key, value in namer.state().items()}, part, about)
        part.replace(path)
    return namer


def name_clip(namer: Namer, evidence: Evidence, confirmed: Sequence[Confirmed], target: Path) -> list[Guess]:
    """Name the first context of `evidence` and write both files into the folder `target`."""
    departure = namer.departure(evidence)[0]
    guesses = namer.names(departure, confirmed)
    kept = {"departure": [round(value, 4) for value in departure.tolist()], "guesses": guesses}
    (target / NAMING).write_text(json.dumps(kept, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    (target / FAULT).write_text(json.dumps(both(guesses), ensure_ascii=False), encoding="utf-8")
    return guesses


def read_confirmed(shown: Path, rows: Sequence[Sequence[str]], most: int = 32) -> list[Confirmed]:
    """The departures of confirmed clips, from their folders in `shown`; those without one are left out."""
    found: list[Confirmed] = []
    for fault, clip in rows:
        if len(found) == most or not re.fullmatch(r"[\w-]+", clip):
            continue
        try:
            values = json.loads((shown / clip / NAMING).read_text(encoding="utf-8"))["departure"]
            departure = torch.tensor([float(value) for value in values])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if departure.ndim == 1 and all(map(math.isfinite, departure.tolist())):
            found.append(Confirmed(fault[:60], departure))
    return found
