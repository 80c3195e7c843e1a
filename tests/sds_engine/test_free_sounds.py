"""Sounds of free packages for training: cut, listed with licences, and nothing that speaks or plays music."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sds_engine.separation.free_sounds import cuts, gather, without_silence
from sds_engine.separation.grid import RATE
from sds_engine.separation.pool import recorded_sources


def saw(path: Path, seconds: float, rate: int = RATE, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate)).astype(np.float32)
    soundfile.write(path, noise, rate)
    return path


def test_sounds_are_cut_and_listed(tmp_path: Path) -> None:
    """Each sound once, in pieces of 12 s at 16 kHz, with its package's licence and no prompt; no music."""
    package = tmp_path / "unpacked" / "widelands-data" / "usr"
    saw(package / "sawmill" / "saw_01.wav", 26.5, 22050)
    saw(package / "mill" / "copy.wav", 26.5, 22050)
    saw(package / "music" / "song.wav", 5.0, seed=1)
    saw(package / "mill" / "click.wav", 0.5, seed=2)
    (package / "mill" / "broken.ogg").write_bytes(b"no sound")
    saw(tmp_path / "unpacked" / "somebody-elses" / "engine.wav", 5.0, seed=3)
    assert gather(tmp_path / "unpacked", tmp_path / "out") == 3
    found, heard = recorded_sources(tmp_path / "out", read=lambda path: soundfile.read(path, dtype="float32")[0])
    assert [one.name for one in found] == ["widelands_mill_copy"]
    assert found[0].prompts == ()
    assert len(found[0].clips) == 3
    assert {one.licence for one in heard} == {"GPL-2+"}
    assert soundfile.info(tmp_path / "out" / heard[0].file.split("/")[1]).samplerate == RATE


def test_silence_is_cut_off() -> None:
    """Silence at both ends goes, within a tenth of a second; of silence alone nothing stays."""
    sound = np.zeros(5 * RATE, dtype=np.float32)
    sound[RATE : 4 * RATE] = 0.1
    assert len(without_silence(sound)) == pytest.approx(3 * RATE, abs=RATE / 5)
    assert not len(without_silence(np.zeros(RATE, dtype=np.float32)))
    assert not len(cuts(np.zeros(RATE, dtype=np.float32)))


def test_a_folder_without_packages_is_refused(tmp_path: Path) -> None:
    """What is missing is named."""
    with pytest.raises(FileNotFoundError, match="widelands-data"):
        gather(tmp_path, tmp_path / "out")
