"""`factory-ear provenance`: generated sounds are named, real ones are not, what cannot be read is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from monitor.cli import app
from monitor.provenance import trace
from sds_engine.provenance.export import write_generated
from sds_engine.provenance.sidecar import Provenance

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """made.wav with its sidecar, plain.wav without, text.wav that is none."""
    path = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    write_generated(path / "made.wav", 0.1 * rng.standard_normal(2 * RATE), RATE, Provenance("leak", "エア漏れ", 3))
    soundfile.write(path / "plain.wav", 0.1 * rng.standard_normal(2 * RATE), RATE)
    (path / "text.wav").write_text("no sound", encoding="utf-8")
    return path


def test_generated_and_unknown(folder: Path) -> None:
    """Each file has its verdict, by mark and sidecar; --json says it in numbers."""
    done = CliRunner().invoke(app, ["provenance", str(folder / "made.wav"), str(folder / "plain.wav"), "--json"])
    assert done.exit_code == 0
    made, plain = json.loads(done.stdout)
    assert made["verdict"] == "generated"
    assert made["mark"]["payload"] == made["sidecar"]["watermark"]["payload"]
    assert made["mark"]["log10_false_positive"] <= -9
    assert (made["sidecar"]["audio_is"], made["sidecar"]["mark_agrees"]) == ("intact", True)
    assert (plain["verdict"], plain["sidecar"], plain["mark"]["found"]) == ("unknown", None, False)


def test_words_in_both_languages(folder: Path) -> None:
    """The text names the prompt, and does not call an unmarked sound real."""
    done = CliRunner().invoke(app, ["provenance", str(folder / "made.wav"), str(folder / "plain.wav")])
    assert "generated. The mark is there" in done.stdout
    assert "エア漏れ" in done.stdout
    assert "does not prove that it is real" in done.stdout
    done = CliRunner().invoke(app, ["provenance", "--lang", "ja", str(folder / "made.wav")])
    assert "生成された音です" in done.stdout


def test_unreadable_files_are_told_and_the_others_still_judged(folder: Path) -> None:
    """Exit 1, one clear line per bad file, no traceback; the good file has its row."""
    files = [str(folder / name) for name in ("text.wav", "none.wav", "made.wav")]
    done = CliRunner().invoke(app, ["provenance", *files, "--json"])
    assert done.exit_code == 1
    rows = json.loads(done.stdout)
    assert [row["verdict"] for row in rows] == ["unreadable", "unreadable", "generated"]
    assert "no such file" in rows[1]["error"]
    assert CliRunner().invoke(app, ["provenance"]).exit_code == 2


def test_a_converted_copy_and_a_borrowed_sidecar(folder: Path, tmp_path: Path) -> None:
    """Louder in one channel of three: changed, but the mark agrees. A sidecar beside another sound claims nothing."""
    wave, rate = soundfile.read(folder / "made.wav")
    soundfile.write(tmp_path / "made.flac", np.stack([0 * wave, 1.5 * wave, 0 * wave], 1), rate)
    shutil.copy(folder / "made.provenance.json", tmp_path / "made.provenance.json")
    row = trace(tmp_path / "made.flac")
    assert row["verdict"] == "generated"
    assert (row["sidecar"]["audio_is"], row["sidecar"]["mark_agrees"]) == ("changed", True)
    shutil.copy(folder / "plain.wav", tmp_path / "plain.wav")
    shutil.copy(folder / "made.provenance.json", tmp_path / "plain.provenance.json")
    assert trace(tmp_path / "plain.wav")["verdict"] == "unknown"


def test_a_lost_mark_leaves_the_sidecars_claim_and_a_damaged_sidecar_is_told(tmp_path: Path) -> None:
    """What could not be marked is claimed by its sidecar; a damaged sidecar is named in the row."""
    write_generated(tmp_path / "short.wav", np.full(1000, 0.1), RATE, Provenance("m", "", 0))
    assert trace(tmp_path / "short.wav")["verdict"] == "claimed"
    (tmp_path / "short.provenance.json").write_text("{", encoding="utf-8")
    row = trace(tmp_path / "short.wav")
    assert row["verdict"] == "unknown"
    assert "not a sidecar" in row["error"]
