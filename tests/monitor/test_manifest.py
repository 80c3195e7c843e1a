"""The manifest: good ones are read, bad ones name row, value and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.manifest import ManifestError, read_manifest

HEADER = "file,machine,split,label,domain,recording,shift\n"
GOOD = HEADER + "a.wav,fan,train,normal,source,one,early\nb.wav,fan,test,anomaly,target,two,late\n"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"sound")
    (tmp_path / "manifest.csv").write_text(GOOD, encoding="utf-8")
    return tmp_path / "manifest.csv"


def test_rows_are_read_and_unknown_columns_carried(manifest: Path) -> None:
    """Paths count from the manifest, line numbers from its header, unknown columns come along."""
    first, second = read_manifest(manifest).rows
    assert first.file == manifest.parent / "a.wav"
    assert (first.number, first.split, first.label, first.domain, first.recording) == (
        2, "train", "normal", "source", "one",
    )  # fmt: skip
    assert second.extra == {"shift": "late"}
    assert read_manifest(manifest).machines() == ["fan"]


def test_spreadsheets_and_short_manifests_are_read(manifest: Path) -> None:
    """A byte order mark, spaces and missing optional columns do no harm: each file is its own recording."""
    manifest.write_text("\ufefffile, machine ,split,label\n a.wav ,fan,train,normal\n", encoding="utf-8")
    (row,) = read_manifest(manifest).rows
    assert (row.recording, row.domain, row.mic, row.reference) == ("a.wav", "", "", None)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("machine,", "maschine,", r"line 1: column machine is missing \(found: .*maschine.*add it"),
        ("shift", "file", "line 1: column file occurs twice"),
        ("a.wav", "c.wav", r"line 2: file is 'c.wav', but .*c\.wav is no file; paths count from the manifest"),
        ("a.wav", "", "line 2: file is empty; fill it in"),
        ("a.wav", ".", "line 2: file is '.', but"),
        ("train", "Train", "line 2: split is 'Train', allowed is train, test"),
        ("normal", "ok", "line 2: label is 'ok', allowed is normal, anomaly, clean, background"),
        ("source", "here", "line 2: domain is 'here', allowed is source, target"),
        ("test,anomaly", "train,anomaly", "line 3: an anomaly in train.*set split to test"),
        ("test,anomaly", "test,clean", "line 3: label clean in test.*set split to train"),
        ("two", "one", "line 3: recording 'one' is in test here and in train on line 2"),
        (",early", "", "line 2: not as many cells as the header"),
        (",early", ",early,more", "line 2: not as many cells as the header"),
        ("one", '"one', "save it as CSV"),
        (GOOD, HEADER, "no rows"),
        (GOOD, "", "line 1: column file, machine, split, label is missing .found: no header"),
    ],
)
def test_what_is_wrong_is_said(manifest: Path, old: str, new: str, text: str) -> None:
    """Each fault raises ManifestError with the line, the value and what to do."""
    manifest.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ManifestError, match=text):
        read_manifest(manifest)


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no text raise ManifestError."""
    with pytest.raises(ManifestError, match="no such file"):
        read_manifest(tmp_path / "nowhere.csv")
    with pytest.raises(ManifestError, match="directory"):
        read_manifest(tmp_path)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="UTF-8"):
        read_manifest(tmp_path / "bytes.csv")
