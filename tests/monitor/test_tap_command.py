"""`score --tap`: healthy taps to a model, parts to rows, and what it says when it cannot."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.errors import WorkFailed
from monitor.tap import COLUMNS, learn_taps, score_taps
from sds_engine.physics.taps import Design, Station, draw_design, draw_station, make_part, tap
from streams import soundfiles

RATE = 16_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Design, Station]:
    """A folder with eight healthy plates, two more, and one with a mode 2% off."""
    folder = tmp_path_factory.mktemp("taps")
    (folder / "healthy").mkdir()
    rng = np.random.default_rng(0)
    design, station = draw_design("plate", rng), draw_station(RATE, rng)
    for number in range(8):
        sound = tap(design, make_part(design, rng), station, rng, strikes=2)
        soundfiles.write_wav(folder / "healthy" / f"{number}.wav", sound, RATE)
    for name in ("good", "good2"):
        soundfiles.write_wav(folder / f"{name}.wav", tap(design, make_part(design, rng), station, rng, strikes=2), RATE)
    cracked = make_part(design, rng).with_fault(2, hz=0.98)
    soundfiles.write_wav(folder / "cracked.wav", tap(design, cracked, station, rng, strikes=2), RATE)
    learn_taps(folder / "healthy", folder / "model", quiet=True)
    return folder, design, station


def test_a_cracked_part_is_odd_and_the_finding_names_the_mode(shop: tuple[Path, Design, Station]) -> None:
    """A row per file; the cracked one scores highest and its finding names the mode within 1%."""
    folder, design, _ = shop
    rows = score_taps(
        [folder / f"{name}.wav" for name in ("good", "good2", "cracked")], model=folder / "model", quiet=True
    )
    assert [row["strikes"] for row in rows] == [2, 2, 2]
    assert rows[2]["odd"]
    assert rows[2]["score"] > max(rows[0]["score"], rows[1]["score"])
    assert rows[2]["healthy_hz"] == pytest.approx(design.nominal.hz[2], rel=0.01)
    assert "lower" in rows[2]["finding"]


def test_the_command_writes_csv_and_json(shop: tuple[Path, Design, Station], tmp_path: Path) -> None:
    """score --tap --reference learns, keeps the model, and writes the rows; --json prints them."""
    folder, *_ = shop
    files = [str(folder / "good.wav"), str(folder / "cracked.wav")]
    options = ["--reference", str(folder / "healthy"), "--model", str(tmp_path / "m"), "--out", str(tmp_path / "s.csv")]
    done = CliRunner().invoke(app, ["score", "--tap", *files, *options])
    assert done.exit_code == 0
    assert "learned" in done.stdout
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == list(COLUMNS)
    again = CliRunner().invoke(app, ["score", "--tap", *files, "--model", str(tmp_path / "m"), "--json"])
    assert [row["score"] for row in json.loads(again.stdout)] == [float(row["score"]) for row in rows]


def test_sub_folders_are_parts(shop: tuple[Path, Design, Station], tmp_path: Path) -> None:
    """Files of one sub-folder are recordings of one part."""
    _, design, station = shop
    rng = np.random.default_rng(1)
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        piece = make_part(design, rng)
        for turn in range(2):
            sound = tap(design, piece, station, rng, strikes=1)
            soundfiles.write_wav(tmp_path / str(number) / f"{turn}.wav", sound, RATE)
    assert learn_taps(tmp_path, quiet=True).effective_n == 5


def test_wrong_use_and_failed_work_are_told(shop: tuple[Path, Design, Station], tmp_path: Path) -> None:
    """No model is wrong use (2); too few parts, no strike and a strange --out are failed work with a remedy."""
    folder, *_ = shop
    good = folder / "good.wav"
    assert CliRunner().invoke(app, ["score", str(good)]).exit_code == 2
    assert CliRunner().invoke(app, ["score", str(good), "--model", "m", "--reference", "r"]).exit_code == 2
    with pytest.raises(WorkFailed, match="--reference"):
        score_taps([good])
    with pytest.raises(WorkFailed, match=r"\.csv"):
        score_taps([good], model=folder / "model", out=tmp_path / "x.parquet")
    soundfiles.write_wav(tmp_path / "quiet.wav", np.zeros(RATE, np.float32), RATE)
    with pytest.raises(WorkFailed, match="no usable strike"):
        score_taps([tmp_path / "quiet.wav"], model=folder / "model", quiet=True)
    with pytest.raises(WorkFailed, match="at least 5"):
        learn_taps(tmp_path, quiet=True)
