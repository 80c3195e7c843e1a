"""Who said that a machine's normal has changed, and when: an append-only file beside the models.

models/MACHINE.baselines.jsonl, a JSON object a line: {"action": "rebaseline" | "failed" | "roll-back", "at": UTC in ISO
8601, "by", "why", "folder": the recordings' folder, "files": [{"file", "sha256"}], "model": the model's id before}.
`failed` and `roll-back` name in "of" the "at" of the record that they undo.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def record_file(models: Path, machine: str) -> Path:
    """Where the records of a machine lie."""
    return models / f"{machine}.baselines.jsonl"


def read_baselines(models: Path, machine: str) -> list[Record]:
    """All records, oldest first; none where nobody ever said so. A line that a crash cut short is left out."""
    try:
        lines = record_file(models, machine).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    records = [_record(line) for line in lines[:-1]]
    return [record for record in records if record is not None]


def _record(line: str) -> Record | None:
    try:
        record: Record = json.loads(line)
    except ValueError:
        return None  # cut short by a crash
    return record


def append_baseline(models: Path, machine: str, record: Record) -> None:
    """Add a record at the end, on disk when this returns; nothing that stands there is ever changed."""
    path = record_file(models, machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as handle:
        size = handle.seek(0, os.SEEK_END)
        if size:
            handle.seek(size - 1)
            if handle.read(1) != b"\n":
                handle.write(b"\n")  # what a crash cut short stays a line of its own
        handle.write((json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode())
        handle.flush()
        os.fsync(handle.fileno())


def open_baseline(records: list[Record]) -> Record | None:
    """The newest change of normal that was not undone."""
    undone = {record["of"] for record in records if record["action"] in ("failed", "roll-back")}
    standing = [record for record in records if record["action"] == "rebaseline" and record["at"] not in undone]
    return standing[-1] if standing else None
