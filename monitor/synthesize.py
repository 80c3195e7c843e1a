"""`factory-ear synthesize`: a fault library on disk, each sound with its provenance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.console import say, table, warn
from monitor.errors import WorkFailed
from monitor.settings import Machine
from streams.soundfiles import list_sounds, read_clip

if TYPE_CHECKING:
    from sds_engine.makers import Physics
    from sds_engine.tasks.library import Library, Sound

_MOST_S = 600.0  # of a healthy recording
_LEVEL_DB = (-40.0, 40.0)


@dataclass(frozen=True, slots=True)
class Request:
    """What the command was asked for; `machine` from line.toml, `healthy` recordings besides its own."""

    prompt: str
    count: int
    out: Path
    kind: str = ""
    seed: int = 0
    prior: Path | None = None
    machine: Machine | None = None
    healthy: tuple[Path, ...] = ()
    over_db: float | None = None
    threads: int = 0


def synthesize(request: Request, *, quiet: bool = False) -> dict[str, Any]:
    """Make the sounds and write them into `request.out`; returns what was made, for --json.

    Raises WorkFailed where the prompt asks for nothing known, where no sound passes the gates, and for a level without
    healthy recordings.
    """
    import torch

    from sds_engine.judges.gate import load_gate
    from sds_engine.makers import KINDS
    from sds_engine.priors.shipped import load_prior
    from sds_engine.tasks.library import Order, make_library
    from sds_engine.tasks.wanted import wanted

    if request.kind and request.kind not in KINDS:
        raise WorkFailed(f"--kind is {request.kind!r}, allowed is one of {', '.join(sorted(KINDS))}")
    if request.threads:
        torch.set_num_threads(request.threads)
    recordings = _healthy(request)
    if request.over_db is not None and not (recordings and _LEVEL_DB[0] <= request.over_db <= _LEVEL_DB[1]):
        raise WorkFailed(f"--over {request.over_db} dB needs healthy recordings, and a level from -40 to 40 dB")
    try:
        kind = request.kind or wanted(request.prompt).kind
        order = Order(request.prompt, kind, request.count, request.seed, _physics(request.machine, recordings))
        prior = load_prior(request.prior).prior
        say(f"{kind}: {request.count} sounds for {request.prompt!r}", quiet=quiet)
        library = make_library(order, prior, load_gate())
    except ValueError as error:
        raise WorkFailed(str(error)) from error
    if not library.sounds:
        raise WorkFailed(f"none of {library.tried} candidates passed: {_reasons(library)}; try another prompt or seed")
    rows = [
        _write(request, kind, number, sound, prior.digest, prior.rate, recordings)
        for number, sound in enumerate(library.sounds)
    ]
    if len(rows) < request.count:
        warn(f"{len(rows)} of {request.count} sounds: of {library.tried} candidates, {_reasons(library)}")
    return {
        "prompt": request.prompt,
        "kind": kind,
        "tried": library.tried,
        "refused": dict(library.refused),
        "sounds": rows,
    }


def _reasons(library: Library) -> str:
    return ", ".join(f"{count}: {reason}" for reason, count in library.refused.items()) or "none was refused"


def _healthy(request: Request) -> list[np.ndarray]:
    """Healthy recordings at 16 kHz. Raises SoundFileError for what cannot be read."""
    files: list[Path] = []
    for path in request.healthy:
        files += list_sounds(path) if path.is_dir() else [path]
    if not files and request.machine is not None and request.machine.healthy.is_dir():
        files = list_sounds(request.machine.healthy)
    return [read_clip(path, max_duration_s=_MOST_S) for path in files[:20]]


def _physics(machine: Machine | None, recordings: list[np.ndarray]) -> Physics:
    """What is known of the machine: its kinematics, and the resonances that are heard in its healthy sound."""
    from sds_engine.makers import Physics, heard_resonances
    from sds_engine.physics.bearings import Bearing

    known = Physics()
    if recordings:
        known["resonances"] = heard_resonances([np.asarray(one, dtype=np.float64) for one in recordings], 16_000)
    if machine is None:
        return known
    kinematics = machine.kinematics
    if kinematics.shaft_hz is not None:
        known["shaft_hz"] = kinematics.shaft_hz
    if kinematics.bearing is not None:
        bearing = kinematics.bearing
        known["bearing"] = Bearing(bearing.n, bearing.d, bearing.D, bearing.phi)
    if kinematics.teeth is not None:
        known["teeth"] = kinematics.teeth
    return known


def _write(
    request: Request,
    kind: str,
    number: int,
    sound: Sound,
    digest: str,
    rate: int,
    recordings: list[np.ndarray],
) -> dict[str, Any]:
    """One sound with its sidecar; what is told of it."""
    from sds_engine.provenance.export import write_generated
    from sds_engine.provenance.sidecar import Provenance

    request.out.mkdir(parents=True, exist_ok=True)
    path = request.out / f"{kind}-{request.seed}-{number:03d}.wav"
    wave = sound.wave.numpy()
    facts: dict[str, Any] = {
        "kind": kind,
        "judged": _rounded(sound.judged),
        "judged_at_start": _rounded(sound.start_judged),
        "agreement": _rounded(sound.agreement),
        "iteration": sound.iteration,
    }
    if request.machine is not None:
        facts["machine"] = request.machine.id
    if request.over_db is not None:
        wave = _over(wave, recordings[number % len(recordings)], request.over_db, sound.seed)
        facts["over_machine_db"] = request.over_db
    physical = {name: [round(x, 6) for x in values] for name, values in sound.physical.items()}
    about = Provenance(f"sds:{kind}", request.prompt, sound.seed, {**facts, "physical": physical}, digest)
    sidecar = write_generated(path, wave, rate, about)
    return {"file": str(path), "seed": sound.seed, **facts, "marked": sidecar.payload is not None}


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _over(fault: np.ndarray, healthy: np.ndarray, over_db: float, seed: int) -> np.ndarray:
    """The fault `over_db` dB over a piece of the healthy machine's sound (RMS to RMS); no peak over full scale."""
    if len(healthy) < len(fault):
        healthy = np.resize(healthy, len(fault))
    at = int(np.random.default_rng(seed).integers(len(healthy) - len(fault) + 1))
    piece = healthy[at : at + len(fault)]
    level, loud = (max(float(np.sqrt(np.mean(np.square(x)))), 1e-9) for x in (piece, fault))
    mixed = piece + fault * (level / loud * 10.0 ** (over_db / 20.0))
    return np.asarray(mixed * min(1.0, 0.99 / max(float(np.abs(mixed).max()), 1e-9)), dtype=np.float32)


def print_sounds(result: dict[str, Any]) -> None:
    """The sounds as a table."""
    rows = [
        (
            Path(row["file"]).name,
            str(row["seed"]),
            "-" if row["judged"] is None else f"{row['judged']:.2f}",
            "-" if row["judged_at_start"] is None else f"{row['judged_at_start']:.2f}",
            str(row["iteration"]),
            "yes" if row["marked"] else "no",
        )
        for row in result["sounds"]
    ]
    title = f"{result['kind']}: {len(rows)} of {result['tried']} candidates"
    table(title, ("file", "seed", "judge", "judge at start", "iteration", "marked"), rows)
