"""`factory-ear rebaseline`: this is the new normal; and back again. Who said so, when and why is kept for good.

The recordings are copied beside the machine's healthy ones, the model is trained anew on all of them, and the one
before is kept. A running line goes on with the models that it has loaded until it is started anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from detectors.card import CARD, read_card
from monitor.baselines import Record, append_baseline, open_baseline, read_baselines
from monitor.console import say
from monitor.errors import WorkFailed
from monitor.settings import Line, Machine
from streams import soundfiles

KEPT = ".before"  # models/.before/MACHINE/TIME: the model that was in force until then


def rebaseline(
    line: Line,
    machine_id: str,
    files: Sequence[Path],
    *,
    by: str,
    why: str,
    mic: str = "",
    now: datetime | None = None,
    quiet: bool = False,
) -> Record:
    """Take `files` as healthy sound of the machine (of microphone `mic`, where it has a model of its own).

    Returns the record. Raises WorkFailed, with nothing changed but a record of the failure, where training fails.
    """
    machine = _machine(line, machine_id)
    by, why = _said(by, why)
    before = read_card(line.models / machine.id)
    detector = next(iter(before.mics.values())).detector
    target = _target(machine, mic)
    at = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    folder = target / f"baseline-{_stamp(at)}"
    record: Record = {
        "action": "rebaseline",
        "at": at,
        "by": by,
        "why": why,
        "folder": str(folder),
        "files": _checked(files),
        "model": {key: one.model for key, one in before.mics.items()},
    }
    if folder.exists():
        raise WorkFailed(f"{folder} is there already: another change of normal in the same second; try again")
    shutil.copytree(line.models / machine.id, line.models / KEPT / machine.id / _stamp(at))
    _copy(files, folder)
    append_baseline(line.models, machine.id, record)
    try:
        _train(line, machine, detector, quiet=quiet)
    except Exception as error:
        shutil.rmtree(folder)
        append_baseline(line.models, machine.id, {"action": "failed", "at": _utc(), "of": at, "why": str(error)})
        raise
    say(f"{machine.id}: learned anew with {len(files)} recordings; start the line again to use it", quiet=quiet)
    return record


def roll_back(
    line: Line, machine_id: str, *, by: str, why: str, now: datetime | None = None, quiet: bool = False
) -> Record:
    """Put back the model from before the newest change of normal, and set its recordings aside. Returns the record."""
    machine = _machine(line, machine_id)
    by, why = _said(by, why)
    undone = open_baseline(read_baselines(line.models, machine.id))
    if undone is None:
        raise WorkFailed(f"machine {machine.id}: nobody changed its normal, so there is nothing to roll back")
    kept = line.models / KEPT / machine.id / _stamp(undone["at"])
    if not (kept / CARD).exists():
        raise WorkFailed(f"{kept}: the model from before is not there any more; train it anew with: factory-ear train")
    at = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    record: Record = {"action": "roll-back", "at": at, "by": by, "why": why, "of": undone["at"]}
    append_baseline(line.models, machine.id, record)
    recordings = Path(undone["folder"])
    if recordings.is_dir():
        shutil.move(recordings, kept.with_name(f"{kept.name}-recordings"))
    _put_back(kept, line.models / machine.id)
    _write_card(line, machine)
    say(f"{machine.id}: the model from before {undone['at']} is back; start the line again to use it", quiet=quiet)
    return record


def _machine(line: Line, machine_id: str) -> Machine:
    known = {machine.id: machine for machine in line.machine}
    if machine_id not in known:
        raise WorkFailed(f"machine {machine_id} is not in line.toml: it has {', '.join(known)}")
    return known[machine_id]


def _said(by: str, why: str) -> tuple[str, str]:
    by, why = by.strip(), why.strip()
    if not by or not why:
        raise WorkFailed(f"--by is {by!r} and --why {why!r}: say who decided that this is normal, and why")
    return by, why


def _target(machine: Machine, mic: str) -> Path:
    """Where new healthy recordings belong: the microphone's own folder where it has one."""
    if mic and mic not in {one.id for one in machine.mic}:
        raise WorkFailed(f"--mic is {mic!r}; {machine.id} has {', '.join(one.id for one in machine.mic)}")
    own = [one.id for one in machine.mic if (machine.healthy / one.id).is_dir()]
    if not mic and own:
        raise WorkFailed(f"{', '.join(own)} of {machine.id} learn from folders of their own: say --mic")
    return machine.healthy / mic if mic in own else machine.healthy


def _checked(files: Sequence[Path]) -> list[dict[str, str]]:
    """Each file with its digest. Raises SoundFileError for one that cannot be used, WorkFailed for none or twins."""
    if not files:
        raise WorkFailed("--from names no recording: give at least one")
    for path in files:
        soundfiles.inspect(path)
    digests = [soundfiles.content_hash(path) for path in files]
    if len(set(digests)) < len(digests):
        raise WorkFailed("--from names the same recording twice: it would count twice")
    return [{"file": str(path), "sha256": digest} for path, digest in zip(files, digests, strict=True)]


def _copy(files: Sequence[Path], folder: Path) -> None:
    """Copies appear under their folder's name only when all are whole."""
    part = folder.with_name(f".{folder.name}")
    part.mkdir(parents=True)
    for number, path in enumerate(files):
        shutil.copy2(path, part / f"{number:03d}-{path.name}")
    part.rename(folder)


def _train(line: Line, machine: Machine, detector: str, *, quiet: bool) -> None:
    from monitor.train import train_line

    train_line(line, only=[machine.id], detector=detector, quiet=quiet)


def _put_back(kept: Path, folder: Path) -> None:
    """As `store.save_models` does: a crash leaves one whole model, or it under .NAME.old."""
    new, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(kept, new)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_card(line: Line, machine: Machine) -> None:
    """The card of a model that was put back says so."""
    folder = line.models / machine.id
    card = read_card(folder)
    figures = {**card.figures, "baselines": read_baselines(line.models, machine.id)}
    part = folder.with_name(f".{machine.id}.card")
    part.write_text(replace(card, figures=figures).text(), encoding="utf-8")
    part.replace(folder / CARD)


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _stamp(at: str) -> str:
    """2026-11-21T16:00:00+00:00 as a name: 20261121T160000Z."""
    return at.replace("+00:00", "Z").replace("-", "").replace(":", "")
