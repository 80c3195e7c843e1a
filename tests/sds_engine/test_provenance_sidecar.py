"""The sidecar: what is written is read, what was changed is told, what is damaged is refused in one line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sds_engine.provenance.detect import find_mark
from sds_engine.provenance.export import write_generated
from sds_engine.provenance.sidecar import (
    Provenance,
    ProvenanceError,
    Sidecar,
    read_sidecar,
    sidecar_of,
    verify_sidecar,
    write_sidecar,
)

RATE = 16_000
MADE = Provenance("impact", "軸受の傷 click", 7, {"mass_kg": 0.25, "modes_hz": [410.0, 2210.5]}, "ab" * 32)
NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sidecar]:
    """One exported sound with its sidecar."""
    path = tmp_path_factory.mktemp("made") / "a.flac"
    wave = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)
    return path, write_generated(path, wave, RATE, MADE)


def test_an_exported_sound_names_itself_twice(written: tuple[Path, Sidecar]) -> None:
    """The file carries the mark with the sidecar's payload, and the sidecar the file's hash."""
    path, said = written
    wave, rate = soundfile.read(path, dtype="float32")
    assert soundfile.info(path).subtype == "PCM_24"
    assert find_mark(wave, rate).payload == said.payload == said.provenance.payload
    assert (said.rate, said.samples, said.file) == (RATE, 2 * RATE, "a.flac")
    assert verify_sidecar(said, path) == "intact"
    assert read_sidecar(sidecar_of(path)) == said
    assert said.provenance.date.endswith("+00:00")
    assert not list(path.parent.glob("*.part"))


def test_a_changed_or_missing_file_is_told(written: tuple[Path, Sidecar], tmp_path: Path) -> None:
    """One byte more is another file; no file is no file."""
    path, said = written
    copy = tmp_path / "a.flac"
    copy.write_bytes(path.read_bytes() + b"\0")
    assert verify_sidecar(said, copy) == "changed"
    assert verify_sidecar(said, tmp_path / "b.flac") == "no_file"


def test_the_payload_follows_what_was_made() -> None:
    """The same provenance gives the same 16 bits, whatever the order of its parameters; another seed gives others."""
    turned = Provenance(MADE.maker, MADE.prompt, 7, dict(reversed(MADE.parameters.items())), MADE.prior_sha256)
    assert turned.payload == MADE.payload
    assert 0 <= MADE.payload < 1 << 16
    others = {Provenance("impact", "", seed).complete(NOW).payload for seed in range(200)}
    assert len(others) > 190


def test_completing_keeps_what_is_there() -> None:
    """Version and date are filled in where they are empty, and only there."""
    full = MADE.complete(NOW)
    assert full.date == "2026-11-21T08:00:00+00:00"
    assert full.version
    assert full.complete() == full


BROKEN: dict[str, Any] = {
    "no json": "{",
    "a list": "[]",
    "another schema": {"schema": 2},
    "an unknown key": {"extra": 1},
    "a seed of text": {"seed": "7"},
    "a hash too short": {"prior_sha256": "ab"},
    "a date that is none": {"date": "yesterday"},
    "a payload too large": {"watermark": {"payload": 1 << 16, "z": 1.0}},
    "a mark of text": {"watermark": "yes"},
    "audio without rate": {"audio": {"file": "a", "sha256": "ab" * 32, "samples": 1}},
    "parameters of text": {"parameters": "none"},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_damaged_sidecars_are_refused(change: str | dict[str, Any], tmp_path: Path) -> None:
    """Each damage is one ProvenanceError that names the file."""
    good = Sidecar(MADE.complete(NOW), "a.wav", "cd" * 32, RATE, 100, 5, 12.0).as_dict()
    path = tmp_path / "a.provenance.json"
    path.write_text(change if isinstance(change, str) else json.dumps(good | change), encoding="utf-8")
    with pytest.raises(ProvenanceError, match=r"a\.provenance\.json"):
        read_sidecar(path)


def test_a_sidecar_that_is_missing_or_huge_is_refused(tmp_path: Path) -> None:
    """A missing file and one of megabytes are told before they are read."""
    with pytest.raises(ProvenanceError, match="cannot be read"):
        read_sidecar(tmp_path / "none.provenance.json")
    huge = tmp_path / "huge.provenance.json"
    huge.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(ProvenanceError, match="no sidecar"):
        read_sidecar(huge)


def test_nothing_is_written_for_wrong_use(tmp_path: Path) -> None:
    """Suffix, level, NaN, shape and parameters that are no JSON are told before a file appears."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    wrong = [
        (tmp_path / "a.mp3", noise, MADE),
        (tmp_path / "a.wav", 20 * noise, MADE),
        (tmp_path / "a.wav", np.full(RATE, np.nan), MADE),
        (tmp_path / "a.wav", noise[:0], MADE),
        (tmp_path / "a.wav", np.stack([noise, noise]), MADE),
        (tmp_path / "a.wav", noise, Provenance("m", "", 0, {"mass_kg": float("nan")})),
        (tmp_path / "a.wav", noise, Provenance("m", "", 0, {"array": noise})),
    ]
    for path, wave, provenance in wrong:
        with pytest.raises(ValueError, match=r"allowed|JSON"):
            write_generated(path, wave, RATE, provenance)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_marked_says_so(tmp_path: Path) -> None:
    """Silence is written, and its sidecar has no mark."""
    said = write_generated(tmp_path / "s.wav", np.zeros(RATE), RATE, MADE)
    assert said.payload is None
    assert json.loads(sidecar_of(tmp_path / "s.wav").read_text(encoding="utf-8"))["watermark"] is None
    assert write_sidecar(said, tmp_path / "s.wav") == tmp_path / "s.provenance.json"
