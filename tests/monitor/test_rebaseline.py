"""This is the new normal: what it changes, what it keeps, and how it is undone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hummingline import RATE, hum, trained, write_line
from typer.testing import CliRunner

from detectors.card import read_card
from detectors.store import load_models
from monitor.baselines import append_baseline, read_baselines, record_file
from monitor.cli import app
from monitor.errors import WorkFailed
from monitor.rebaseline import rebaseline, roll_back
from monitor.score import score_files
from monitor.settings import Line
from monitor.train import train_line
from streams import soundfiles

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return trained(write_line(tmp_path, live_s=4.0))


@pytest.fixture
def moved(tmp_path: Path) -> list[Path]:
    """The pump after it was moved: a hiss that it never had, harmless."""
    paths = [tmp_path / f"moved{n}.wav" for n in range(4)]
    for number, path in enumerate(paths):
        soundfiles.write_wav(path, hum(12.0, 310.0, 700 + number, fault=0.01), RATE)
    return paths


def statistic(line: Line, path: Path, tmp_path: Path) -> float:
    rows = score_files([path], line.models / "pump", out=tmp_path / "s.csv")
    return max(row["statistic"] for row in rows if row["status"] == "ok")


def test_the_new_normal_is_learned_and_signed(line: Line, moved: list[Path], tmp_path: Path) -> None:
    """The moved pump scores lower than before, and the card and the file say who decided so, when and why."""
    before = statistic(line, moved[3], tmp_path)
    first = read_card(line.models / "pump").mics["*"].model
    record = rebaseline(line, "pump", moved[:3], by="Sato", why="moved to the new base", now=NOON, quiet=True)
    assert statistic(line, moved[3], tmp_path) < 0.5 * before
    assert record["model"] == {"*": first}
    assert record["at"] == "2026-11-21T12:00:00+00:00"
    card = read_card(line.models / "pump")
    assert card.mics["*"].effective_n == 8 + 3
    assert [(one["by"], one["why"]) for one in card.figures["baselines"]] == [("Sato", "moved to the new base")]
    assert read_baselines(line.models, "pump") == [record]
    train_line(line, only=["pump"], detector="neighbours", quiet=True)
    assert read_card(line.models / "pump").figures["baselines"] == [record]


def test_a_roll_back_restores_the_model_and_keeps_the_record(line: Line, moved: list[Path], tmp_path: Path) -> None:
    """The old model is back bit for bit, its recordings are aside, both decisions stay on record, training agrees."""
    first = read_card(line.models / "pump").mics["*"].model
    rebaseline(line, "pump", moved[:3], by="Sato", why="moved", now=NOON, quiet=True)
    assert read_card(line.models / "pump").mics["*"].model != first
    roll_back(line, "pump", by="Tanaka", why="it was a fault after all", quiet=True)
    assert load_models(line.models / "pump")["*"].id == first
    assert [one["action"] for one in read_card(line.models / "pump").figures["baselines"]] == [
        "rebaseline",
        "roll-back",
    ]
    train_line(line, only=["pump"], detector="neighbours", quiet=True)
    assert read_card(line.models / "pump").mics["*"].model == first
    with pytest.raises(WorkFailed, match="nothing to roll back"):
        roll_back(line, "pump", by="Tanaka", why="again", quiet=True)


def test_two_changes_are_undone_one_by_one(line: Line, moved: list[Path]) -> None:
    """Each roll-back goes one step back."""
    ids = [read_card(line.models / "pump").mics["*"].model]
    for number in range(2):
        at = NOON.replace(hour=number)
        rebaseline(line, "pump", [moved[number]], by="Sato", why="moved", now=at, quiet=True)
        ids.append(read_card(line.models / "pump").mics["*"].model)
    for expected in (ids[1], ids[0]):
        roll_back(line, "pump", by="Sato", why="no", quiet=True)
        assert read_card(line.models / "pump").mics["*"].model == expected


def test_a_failure_changes_nothing_but_the_record(
    line: Line, moved: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where training fails the model and the recordings are as before, and the record says that it failed."""
    first = read_card(line.models / "pump").mics["*"].model
    files = soundfiles.list_sounds(line.machine[1].healthy)

    def fail(*_: object, **__: object) -> None:
        raise WorkFailed("no room")

    monkeypatch.setattr("monitor.rebaseline._train", fail)
    with pytest.raises(WorkFailed, match="no room"):
        rebaseline(line, "pump", moved[:1], by="Sato", why="moved", quiet=True)
    assert read_card(line.models / "pump").mics["*"].model == first
    assert soundfiles.list_sounds(line.machine[1].healthy) == files
    assert [one["action"] for one in read_baselines(line.models, "pump")] == ["rebaseline", "failed"]
    with pytest.raises(WorkFailed, match="nothing to roll back"):
        roll_back(line, "pump", by="Sato", why="x", quiet=True)


def test_nobody_decides_anonymously(line: Line, moved: list[Path], tmp_path: Path) -> None:
    """No name, no reason, no or twice the same recording, an unknown machine or broken sound: refused, nothing kept."""
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    for files, by, why, match in (
        (moved, " ", "moved", "--by"),
        (moved, "Sato", "", "--why"),
        ([], "Sato", "moved", "--from"),
        ([moved[0], moved[0]], "Sato", "moved", "twice"),
    ):
        with pytest.raises(WorkFailed, match=match):
            rebaseline(line, "pump", files, by=by, why=why, quiet=True)
    with pytest.raises(WorkFailed, match="fan, pump"):
        rebaseline(line, "press", moved, by="Sato", why="moved", quiet=True)
    with pytest.raises(soundfiles.SoundFileError):
        rebaseline(line, "pump", [tmp_path / "broken.wav"], by="Sato", why="moved", quiet=True)
    assert not record_file(line.models, "pump").exists()


def test_records_are_only_ever_added(tmp_path: Path) -> None:
    """What stands in the file stays there; a line that a crash cut short is left out and spoils no other."""
    append_baseline(tmp_path, "m", {"action": "rebaseline", "at": "1"})
    first = record_file(tmp_path, "m").read_bytes()
    append_baseline(tmp_path, "m", {"action": "roll-back", "at": "2", "of": "1"})
    assert record_file(tmp_path, "m").read_bytes().startswith(first)
    assert [one["at"] for one in read_baselines(tmp_path, "m")] == ["1", "2"]
    with record_file(tmp_path, "m").open("ab") as handle:
        handle.write(b'{"action": "reb')
    assert [one["at"] for one in read_baselines(tmp_path, "m")] == ["1", "2"]
    append_baseline(tmp_path, "m", {"action": "rebaseline", "at": "3"})
    assert [one["at"] for one in read_baselines(tmp_path, "m")] == ["1", "2", "3"]


def test_the_command(line: Line, moved: list[Path], tmp_path: Path) -> None:
    """rebaseline takes --from several times, prints its record, and asks for one of --from and --roll-back."""
    config = ["rebaseline", "-c", str(tmp_path / "line.toml"), "--machine", "pump", "--by", "Sato", "--why", "moved"]
    done = CliRunner().invoke(app, [*config, "--from", str(moved[0]), "--from", str(moved[1]), "--json"])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["files"]) == 2
    assert CliRunner().invoke(app, [*config, "--roll-back"]).exit_code == 0
    assert CliRunner().invoke(app, config).exit_code == 2
