"""Public data sets with separate references, as rows of a manifest for `evaluate-separation`.

- musdb18: {train,test}/TRACK/{mixture,vocals}.wav, as MUSDB18-HQ unpacks (decode the stems of the compressed edition
  first); the vocals are the wanted sound, as in the paper of Ex-Diff.
- voicebank-demand: {clean,noisy}_{trainset_28spk,testset}_wav/NAME.wav, 16 or 48 kHz; the speech is wanted.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

from monitor.manifest import ManifestError

COLUMNS = ("file", "machine", "split", "label", "recording", "reference", "prompt")
Cells = dict[str, str]


def separation_rows(name: str, folder: Path) -> list[Cells]:
    """The rows of the data set `name` in `folder`, files absolute. Raises ManifestError for another layout."""
    if name not in LAYOUTS:
        raise ManifestError(f"--dataset is {name!r}, allowed is one of {', '.join(LAYOUTS)}")
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder; give the one that the archives of {name} were unpacked to")
    rows = LAYOUTS[name](folder.resolve())
    if not any(row["split"] == "test" for row in rows):
        raise ManifestError(f"{folder}: no test files of {name} there; {_WANTED[name]}")
    return rows


def write_rows(rows: list[Cells], path: Path) -> None:
    """The rows as a manifest (CSV)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _musdb18(folder: Path) -> list[Cells]:
    rows: list[Cells] = []
    for split in ("train", "test"):
        for mixture in sorted((folder / split).glob("*/mixture.wav")):
            wanted = mixture.with_name("vocals.wav")
            if wanted.is_file():
                rows += _pair("vocals", split, mixture, wanted, mixture.parent.name, "singing voice")
    return rows


def _voicebank(folder: Path) -> list[Cells]:
    rows: list[Cells] = []
    for split, part in (("train", "trainset_28spk"), ("test", "testset")):
        for noisy in sorted((folder / f"noisy_{part}_wav").glob("*.wav")):
            wanted = folder / f"clean_{part}_wav" / noisy.name
            if wanted.is_file():
                rows += _pair("speech", split, noisy, wanted, noisy.stem, "speech")
    return rows


def _pair(machine: str, split: str, mixture: Path, wanted: Path, recording: str, prompt: str) -> list[Cells]:
    base = {"machine": machine, "split": split, "recording": f"{split}/{recording}", "prompt": prompt}
    rows = [base | {"file": str(mixture), "label": "normal", "reference": str(wanted)}]
    if split == "train":
        rows.append(base | {"file": str(wanted), "label": "clean", "reference": ""})
    return rows


LAYOUTS: Mapping[str, Callable[[Path], list[Cells]]] = {"musdb18": _musdb18, "voicebank-demand": _voicebank}
_WANTED = {
    "musdb18": "it is test/TRACK/mixture.wav with vocals.wav beside it",
    "voicebank-demand": "it is noisy_testset_wav/NAME.wav with clean_testset_wav/NAME.wav",
}
