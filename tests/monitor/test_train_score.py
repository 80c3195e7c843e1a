"""train, score: from recordings to models, from files to rows and pictures; and what each says when it cannot."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from hummingline import RATE, hum, trained, write_line

from detectors.card import read_card
from monitor.errors import WorkFailed
from monitor.pictures import smooth
from monitor.score import COLUMNS, score_files
from monitor.settings import Line, load_line
from monitor.train import groups, recording_of, train_line
from streams import soundfiles


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return trained(write_line(tmp_path_factory.mktemp("line")))


def test_a_card_says_what_was_learned_from(line: Line) -> None:
    """Every recording is named with its digest, and the effective n is the number of recordings."""
    card = read_card(line.models / "fan")
    assert card.mics["*"].effective_n == 8
    assert [source.file for source in card.sources] == [f"{n}.wav" for n in range(8)]
    digest = soundfiles.content_hash(line.machine[0].healthy / "0.wav")
    assert card.sources[0].sha256.startswith(digest[:16])


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("a-ch0.wav", "a"),
        ("d/a_CH12.flac", "d/a"),
        ("a mic3.wav", "a"),
        ("a.wav", "a"),
        ("ch1.wav", "ch1"),
        ("a1.wav", "a1"),
    ],
)
def test_channels_of_one_recording_count_once(name: str, recording: str) -> None:
    """Files that are channels of one recording are one recording, or calibration would count them apart."""
    assert recording_of(name) == recording


def test_training_twice_gives_the_same_model(line: Line) -> None:
    """The same recordings and seed make the same model id."""
    before = read_card(line.models / "pump").mics["*"].model
    train_line(line, only=["pump"], detector="neighbours", quiet=True)
    assert read_card(line.models / "pump").mics["*"].model == before


def test_microphones_with_a_folder_have_their_own_model(tmp_path: Path) -> None:
    """healthy/MIC gives a microphone a model of its own; the others share one."""
    config = write_line(tmp_path)
    own = tmp_path / "healthy" / "fan" / "fan-b"
    own.mkdir()
    for number in range(4):
        soundfiles.write_wav(own / f"{number}.wav", hum(12.0, 140.0, 900 + number), RATE)
    line = load_line(config)
    assert [group.key for group in groups(line.machine[0])] == ["fan-b", "*"]
    train_line(line, only=["fan"], detector="neighbours", quiet=True)
    mics = read_card(line.models / "fan").mics
    assert mics["fan-b"].effective_n == 4
    assert mics["*"].effective_n == 8  # the own folder of another microphone is none of its business
    assert mics["fan-b"].model != mics["*"].model


def test_a_broken_recording_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training goes on without it."""
    config = write_line(tmp_path)
    (tmp_path / "healthy" / "pump" / "zz.wav").write_bytes(b"RIFF broken")
    train_line(load_line(config), only=["pump"], detector="neighbours")
    assert "left out" in capsys.readouterr().out
    assert read_card(tmp_path / "data" / "models" / "pump").mics["*"].effective_n == 8


def test_too_little_to_learn_from_is_said(tmp_path: Path) -> None:
    """Two short recordings are too few; an empty folder is named; an unknown machine lists the known."""
    config = write_line(tmp_path)
    line = load_line(config)
    for number in range(2, 8):
        (tmp_path / "healthy" / "pump" / f"{number}.wav").unlink()
    with pytest.raises(WorkFailed, match=r"pump.*at least 3"):
        train_line(line, only=["pump"], quiet=True)
    for path in (tmp_path / "healthy" / "pump").iterdir():
        path.unlink()
    with pytest.raises(WorkFailed, match="healthy/pump"):
        train_line(line, only=["pump"], quiet=True)
    with pytest.raises(WorkFailed, match="fan, pump"):
        train_line(line, only=["press"], quiet=True)


def test_scores_rise_with_the_fault(line: Line, tmp_path: Path) -> None:
    """A row per window; the odd file scores higher than the healthy one; CSV and Parquet say the same."""
    good, odd = tmp_path / "good.wav", tmp_path / "odd.wav"
    soundfiles.write_wav(good, hum(20.0, 120.0, 501), RATE)
    soundfiles.write_wav(odd, hum(20.0, 120.0, 502, fault=0.02), RATE)
    folder = line.models / "fan"
    rows = score_files([good, odd], folder, out=tmp_path / "scores.csv")
    assert [row["status"] for row in rows[:10]] == ["warming_up"] * 4 + ["ok"] * 6
    assert min(row["score"] for row in rows[14:]) > max(row["score"] for row in rows[4:10])
    assert rows[-1]["band_low_hz"] < 5000 < rows[-1]["band_high_hz"]
    score_files([good, odd], folder, out=tmp_path / "scores.parquet")
    table = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as handle:
        listed = list(csv.DictReader(handle))
    assert list(listed[0]) == list(COLUMNS)
    assert [row["score"] for row in table] == [row["score"] for row in rows]
    assert [float(row["score"]) for row in listed if row["score"]] == [r["score"] for r in rows if r["status"] == "ok"]


def test_a_short_file_is_scored_once_on_all_it_has(line: Line, tmp_path: Path) -> None:
    """Four seconds are no full context, and still an answer."""
    path = tmp_path / "short.wav"
    soundfiles.write_wav(path, hum(4.0, 120.0, 503), RATE)
    rows = score_files([path], line.models / "fan", out=tmp_path / "s.csv")
    assert [row["status"] for row in rows] == ["warming_up", "ok"]


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_picture_lights_up_where_the_fault_is(line: Line, tmp_path: Path, lang: str) -> None:
    """--plot draws a PNG beside the table; the residual around 5 kHz is the largest."""
    odd = tmp_path / "odd.wav"
    soundfiles.write_wav(odd, hum(20.0, 120.0, 504, fault=0.02), RATE)
    score_files([odd], line.models / "fan", out=tmp_path / "scores.csv", plot=True, lang=lang)
    picture = (tmp_path / "odd.heat.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_the_heat_is_where_the_fault_is(line: Line) -> None:
    """The residual map itself is highest in the band of the fault."""
    from detectors.store import load_models
    from monitor.clip_score import score_clip

    model = load_models(line.models / "fan")["*"]
    scored = score_clip(Path("x"), hum(20.0, 120.0, 505, fault=0.02), model)
    hottest = int(np.argmax(scored.heat.mean(axis=1)))
    assert 4300 < float(model.band_edges_hz[hottest]) < 5700
    assert smooth(scored.heat).shape == scored.heat.shape


@pytest.mark.parametrize("name", ["x.txt", "x"])
def test_an_unknown_format_is_refused_before_any_work(line: Line, tmp_path: Path, name: str) -> None:
    """--out must be CSV or Parquet."""
    with pytest.raises(WorkFailed, match=r"\.csv or \.parquet"):
        score_files([tmp_path / "none.wav"], line.models / "fan", out=tmp_path / name)


def test_nothing_to_score_fails(line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that cannot be read are named; with none left the work failed."""
    soundfile.write(tmp_path / "tiny.wav", np.zeros(100, np.float32), RATE)
    with pytest.raises(WorkFailed, match="no file"):
        score_files([tmp_path / "none.wav", tmp_path / "tiny.wav"], line.models / "fan")
    told = capsys.readouterr().err
    assert "none.wav" in told
    assert "at least 2 s" in told


def test_which_model_must_be_clear(tmp_path: Path, line: Line) -> None:
    """A machine whose microphones have models of their own asks which one."""
    from monitor.score import choose

    with pytest.raises(WorkFailed, match="a, b"):
        choose({"a": None, "b": None}, "", tmp_path)  # type: ignore[dict-item]
    assert json.loads((line.models / "fan" / "card.json").read_text(encoding="utf-8"))["machine"] == "fan"
