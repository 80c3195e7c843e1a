"""The manifest: a CSV of labelled recordings for `evaluate`, `evaluate-separation` and `roi`.

Columns: `file` (relative to the manifest), `machine`, `split` train | test, `label` normal | anomaly | clean |
background (the last two in train only), and optionally `mic`, `domain` source | target, `recording` (the group that is
never split; without it each file is its own), `reference`, `prompt`. Other columns are carried, never errors.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

Split = Literal["train", "test"]
Label = Literal["normal", "anomaly", "clean", "background"]
Domain = Literal["", "source", "target"]

REQUIRED = ("file", "machine", "split", "label")
OPTIONAL = ("mic", "domain", "recording", "reference", "prompt")
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "split": ("train", "test"),
    "label": ("normal", "anomaly", "clean", "background"),
    "domain": ("source", "target"),
}
TRAIN_ONLY = ("clean", "background")


class ManifestError(Exception):
    """The manifest cannot be used; the text names row, value and remedy."""


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled recording. `number` is its line in the CSV (the header is line 1); `extra` holds unknown columns."""

    number: int
    file: Path
    machine: str
    split: Split
    label: Label
    mic: str = ""
    domain: Domain = ""
    recording: str = ""
    reference: Path | None = None
    prompt: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """All rows, and which of the optional columns the file has."""

    path: Path
    rows: tuple[Row, ...]
    columns: tuple[str, ...]

    def machines(self) -> list[str]:
        """The machines in order of appearance."""
        return list(dict.fromkeys(row.machine for row in self.rows))


def read_manifest(path: str | Path) -> Manifest:
    """Read and check a manifest; every file that it names must be there. Raises ManifestError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file; give a CSV with the columns {', '.join(REQUIRED)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: {error}; save it as CSV in UTF-8") from error
    reader = csv.DictReader(text.splitlines(), strict=True)
    try:
        columns = tuple((name or "").strip() for name in reader.fieldnames or ())
        _check_columns(path, columns)
        reader.fieldnames = list(columns)
        rows = tuple(_row(path, reader.line_num, raw) for raw in reader)
    except csv.Error as error:
        raise ManifestError(f"{path}, line {reader.line_num}: {error}; save it as CSV, comma separated") from error
    if not rows:
        raise ManifestError(f"{path}: no rows; list at least healthy training recordings")
    _check_leaks(path, rows)
    return Manifest(path, rows, columns)


def _check_columns(path: Path, columns: tuple[str, ...]) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        found = ", ".join(columns) or "no header"
        raise ManifestError(f"{path}, line 1: column {', '.join(missing)} is missing (found: {found}); add it")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ManifestError(f"{path}, line 1: column {', '.join(twice)} occurs twice; remove one")


def _row(path: Path, number: int, raw: Mapping[str | None, str | list[str] | None]) -> Row:
    where = f"{path}, line {number}"
    if None in raw or None in raw.values():
        raise ManifestError(f"{where}: not as many cells as the header has; check its commas and quotes")
    cells = {str(key): str(value).strip() for key, value in raw.items()}
    for name in ("file", "machine"):
        if not cells[name]:
            raise ManifestError(f"{where}: {name} is empty; fill it in")
    for name, allowed in ALLOWED.items():
        value = cells.get(name, "")
        if value not in allowed and not (name == "domain" and not value):
            raise ManifestError(f"{where}: {name} is {value!r}, allowed is {', '.join(allowed)}")
    if cells["split"] == "train" and cells["label"] == "anomaly":
        raise ManifestError(f"{where}: an anomaly in train; models learn from healthy sound only: set split to test")
    if cells["split"] == "test" and cells["label"] in TRAIN_ONLY:
        raise ManifestError(f"{where}: label {cells['label']} in test, allowed in train only: set split to train")
    file = _there(path, cells["file"], where, "file")
    return Row(
        number=number,
        file=file,
        machine=cells["machine"],
        split=cast("Split", cells["split"]),
        label=cast("Label", cells["label"]),
        mic=cells.get("mic", ""),
        domain=cast("Domain", cells.get("domain", "")),
        recording=cells.get("recording", "") or cells["file"],
        reference=_there(path, cells["reference"], where, "reference") if cells.get("reference") else None,
        prompt=cells.get("prompt", ""),
        extra={name: value for name, value in cells.items() if name not in (*REQUIRED, *OPTIONAL)},
    )


def _there(path: Path, name: str, where: str, column: str) -> Path:
    file = path.parent / name
    if not file.is_file():
        raise ManifestError(f"{where}: {column} is {name!r}, but {file} is no file; paths count from the manifest")
    return file


def _check_leaks(path: Path, rows: tuple[Row, ...]) -> None:
    """A recording that trains must not test: its score would flatter."""
    train = {(row.machine, row.recording): row.number for row in rows if row.split == "train"}
    for row in rows:
        first = train.get((row.machine, row.recording))
        if row.split == "test" and first is not None:
            raise ManifestError(
                f"{path}, line {row.number}: recording {row.recording!r} is in test here and in train on line {first}; "
                "keep all of a recording in one split"
            )
