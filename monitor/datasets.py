"""Public data sets in the folders that their archives unpack to, as rows of a manifest.

Known layouts, `TYPE` being a machine type (fan, ToyCar, ...):

- dcase2020: TYPE/{train,test}/{normal,anomaly}_id_XX_NNNNNNNN.wav
- dcase2021: TYPE/{train,source_test,target_test}/
  section_XX_{source,target}_{train,test}_{normal,anomaly}_NNNN[_ATTRIBUTES].wav
- dcase2022 ... dcase2025: the same names in TYPE/{train,test}; 2025 adds TYPE/supplemental with the clean machine
  (`machine` in the name) or the background alone (`noise` in the name)
- mimii: .../TYPE/id_XX/{normal,abnormal}/NNNNNNNN.wav, below a folder for each signal-to-noise ratio or not

TYPE may lie up to three folders deep (dev_data/TYPE, dev_TYPE/TYPE). Every id or section is a machine of its own, named
TYPE/id_XX or TYPE/section_XX: that is how the tasks count. Evaluation sets have no labels in their file names; they
are left out, or refused where nothing else is there.
"""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from monitor.manifest import ManifestError

DCASE = ("dcase2020", "dcase2021", "dcase2022", "dcase2023", "dcase2024", "dcase2025")
NAMES = (*DCASE, "mimii")
COLUMNS = ("file", "machine", "split", "label", "domain", "attributes")
DEPTH = 3
_ID = re.compile(r"(?P<label>normal|anomaly)_(?P<part>id_\d+)_\d+")
_ID_ONLY = re.compile(r"(?P<part>id_\d+)_\d+")
_SECTION = re.compile(
    r"(?P<part>section_\d+)_(?P<domain>source|target)_(?P<split>train|test)_(?P<label>normal|anomaly)_\d+"
    r"(?:_(?P<attributes>.*))?"
)
_SECTION_ONLY = re.compile(r"(?P<part>section_\d+)_(?:(?:source|target)_)?test_\d+")
_SUPPLEMENTAL = re.compile(r"(?P<part>section_\d+)_(?P<words>.+)")
_OF_SOUNDS = ("train", "test", "source_test", "target_test", "supplemental", "normal", "abnormal")
_KINDS = {"machine": "clean", "clean": "clean", "noise": "background"}

Cells = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """The rows, one dictionary of `COLUMNS` each, files absolute; and what a reader should know of them."""

    rows: tuple[Cells, ...]
    notes: tuple[str, ...]


def find_rows(name: str, folder: Path, *, seed: int = 0) -> Found:
    """The rows of the data set `name` in `folder`; `seed` chooses MIMII's healthy test files.

    Raises ManifestError for an unknown name, a folder of another layout, and one without any labelled test files.
    """
    if name not in NAMES:
        raise ManifestError(f"--dataset is {name!r}, allowed is one of {', '.join(NAMES)}")
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder; give the one that the archives of {name} were unpacked to")
    folder = folder.resolve()
    return _find_mimii(folder, seed) if name == "mimii" else _find_dcase(name, folder)


def write_manifest(found: Found, path: Path) -> None:
    """The rows as a manifest (CSV) that `evaluate` reads, without the columns that are empty throughout."""
    used = [column for column in COLUMNS if any(row[column] for row in found.rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, used, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(found.rows)


def _find_dcase(name: str, folder: Path) -> Found:
    tests = ("source_test", "target_test") if name == "dcase2021" else ("test",)
    types = [one for one in _folders(folder, DEPTH) if any((one / part).is_dir() for part in ("train", *tests))]
    if not types:
        raise ManifestError(f"{folder}: no folder with train and {' and '.join(tests)} in it, as {name} has")
    rows: list[Cells] = []
    notes: list[str] = []
    unlabelled: list[Path] = []
    for kind, where in _short_names(folder, types).items():
        labelled, bare = _dcase_type(name, kind, where, tests)
        unlabelled += bare
        tested = {row["machine"] for row in labelled if row["split"] == "test"}
        rows += [row for row in labelled if row["machine"] in tested]
        idle = sorted({row["machine"] for row in labelled} - tested)
        if idle:
            notes.append(f"{', '.join(idle)}: no labelled test files, so left out")
    if not rows and unlabelled:
        raise ManifestError(
            f"{unlabelled[0]}: no label in its name, so this is the evaluation set of {name}, whose labels are "
            "published apart: give the development set, or rename the test files as in the development set"
        )
    if not rows:
        raise ManifestError(f"{folder}: no labelled test files of {name} in {', '.join(str(one) for one in types[:3])}")
    return Found(tuple(rows), tuple(notes))


def _dcase_type(name: str, kind: str, where: Path, tests: tuple[str, ...]) -> tuple[list[Cells], list[Path]]:
    """The labelled rows of one machine type, and its test files that have no label."""
    if (where / "test_rename").is_dir():  # what the organisers' renaming of an evaluation set writes beside it
        tests = ("test_rename",)
    pattern, bare = (_ID, _ID_ONLY) if name == "dcase2020" else (_SECTION, _SECTION_ONLY)
    rows: list[Cells] = []
    unlabelled: list[Path] = []
    for split, part in (("train", "train"), *(("test", one) for one in tests)):
        for file in _sounds(where / part):
            match = pattern.fullmatch(file.stem)
            if match and match.groupdict().get("split", split) == split:
                rows.append(_cells(file, kind, split, match.groupdict()))
            elif split == "test" and bare.fullmatch(file.stem):
                unlabelled.append(file)
            else:
                raise ManifestError(
                    f"{file}: not a name that {name} has in {part}; remove it, or give another --dataset"
                )
    if name == "dcase2025":
        rows += [_supplemental(file, kind) for file in _sounds(where / "supplemental")]
    return rows, unlabelled


def _cells(file: Path, kind: str, split: str, found: Mapping[str, str | None]) -> Cells:
    return {
        "file": str(file),
        "machine": f"{kind}/{found['part']}",
        "split": split,
        "label": found["label"] or "",
        "domain": found.get("domain") or "",
        "attributes": found.get("attributes") or "",
    }


def _supplemental(file: Path, kind: str) -> Cells:
    match = _SUPPLEMENTAL.fullmatch(file.stem)
    labels = {_KINDS[word] for word in match["words"].split("_") if word in _KINDS} if match else set()
    if match is None or len(labels) != 1:
        raise ManifestError(f"{file}: its name says neither machine (clean) nor noise (background); remove it")
    return _cells(file, kind, "train", {"part": match["part"], "label": labels.pop()})


def _find_mimii(folder: Path, seed: int) -> Found:
    machines = [one for one in _folders(folder, DEPTH) if (one / "normal").is_dir() and one.name.startswith("id_")]
    if not machines:
        raise ManifestError(f"{folder}: no folder id_XX with normal and abnormal in it, as mimii has")
    rows: list[Cells] = []
    for where in machines:
        above = where.parent.relative_to(folder).as_posix()
        kind = folder.name if above == "." else above
        rows += _mimii_machine(where, f"{kind}/{where.name}", kind, seed)
    note = (
        f"mimii: as many normal files test as there are abnormal ones, drawn with seed {seed} (its authors' baseline "
        "takes the first ones), the rest trains; of its eight channels the first is heard"
    )
    return Found(tuple(rows), (note,))


def _mimii_machine(where: Path, machine: str, kind: str, seed: int) -> list[Cells]:
    import numpy as np

    normal, abnormal = _sounds(where / "normal"), _sounds(where / "abnormal")
    if not abnormal or len(normal) <= len(abnormal):
        raise ManifestError(
            f"{where}: {len(normal)} normal and {len(abnormal)} abnormal files; as many normal files as there are "
            "abnormal ones test and the rest trains, so more normal ones are needed, and an abnormal one"
        )
    generator = np.random.default_rng([seed, zlib.crc32(machine.encode())])
    tested = set(generator.choice(len(normal), len(abnormal), replace=False).tolist())

    def cells(file: Path, split: str, label: str) -> Cells:
        return _cells(file, kind, split, {"part": where.name, "label": label})

    rows = [cells(file, "test" if number in tested else "train", "normal") for number, file in enumerate(normal)]
    return rows + [cells(file, "test", "anomaly") for file in abnormal]


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """The folder and those below it, `depth` deep, in order; hidden ones and those of sounds are left out."""
    yield folder
    if depth and folder.name not in _OF_SOUNDS:
        for child in sorted(folder.iterdir()):
            if child.is_dir() and not child.name.startswith("."):
                yield from _folders(child, depth - 1)


def _sounds(folder: Path) -> list[Path]:
    """The WAV files of a folder in order; none where it is not there. Hidden ones are some system's, not sound."""
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if one.suffix.lower() == ".wav" and not one.name.startswith("."))


def _short_names(folder: Path, types: Iterable[Path]) -> dict[str, Path]:
    """Machine types by name; where two folders have one name (dev_data/fan, eval_data/fan) by their path."""
    types = list(types)
    names = [one.name for one in types]
    return {(one.name if names.count(one.name) == 1 else one.relative_to(folder).as_posix()): one for one in types}
