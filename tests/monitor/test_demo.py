"""The demo, as a user runs it: it ends by itself, its counts add up, its faults are found and its files are there."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.cascade import LIVE_S
from monitor.demo import hall
from monitor.demo.command import make_anew
from monitor.demo.report import WORDS, cells, grid, write_report
from monitor.demo.verdict import Row, Verdict
from monitor.errors import WorkFailed
from monitor.settings import load_line
from sds_engine.physics.faults import FAULTS

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_the_demo_finds_its_faults_and_ends(tmp_path: Path) -> None:
    """Every must-find fault is found, the healthy press is quiet, every window is accounted for.

    The coolant pump's fault, at the level that other halls fixed, is found by the chain and missed by raw sound alone.
    """
    command = [sys.executable, "-m", "monitor.cli", "demo", "--dir", str(tmp_path / "demo"), "--port", "0", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=580)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    outcome = json.loads(done.stdout)
    assert outcome["passed"]
    assert outcome["counts"]["sent"] == outcome["counts"]["scored"] + outcome["counts"]["rejected"] == hall.windows(8.0)
    rows = {(row["machine"], row["kind"]): row for row in outcome["verdict"]["rows"]}
    assert all(row["found"] for (_, kind), row in rows.items() if kind)
    assert rows["press", ""]["false_alarms"] == 0
    assert rows["coolant", "outer_race"]["level_db"] == hall.COOLANT_DB
    assert rows["coolant", "outer_race"]["raw"] is False
    report = Path(outcome["report"]).read_text(encoding="utf-8")
    assert "outer race" in report
    assert "missed by the raw detector alone" in report
    assert len(list((tmp_path / "demo").glob("*.heat.png"))) == 5


def test_the_schedule_is_fixed_and_possible() -> None:
    """Each fault is one that its machine can have, lies inside the stream on whole windows, and the press has none."""
    line_faults = hall.plan(8.0)
    machines = hall.the_line(0).machines
    assert "press" not in {one.machine for one in line_faults}
    for one in line_faults:
        assert one.kind == "no signal" or one.kind in FAULTS[machines[one.machine].kind]
        assert 20 <= one.start_s < one.end_s <= 480
        assert one.start_s % hall.WINDOW_S == one.end_s % hall.WINDOW_S == 0
    assert all(one.mic in hall.LISTENING for one in line_faults if one.kind == "no signal")


def test_the_demos_line_is_an_ordinary_one(tmp_path: Path) -> None:
    """Its line.toml loads like any other; a broker url is taken over as it is."""
    line = load_line(hall.write_config(tmp_path, broker="", lang="ja", port=0))
    assert sum(len(machine.mic) for machine in line.machine) == 9
    assert len(line.machine) == 6
    other = load_line(hall.write_config(tmp_path, broker="kafka://127.0.0.1:9092", lang="en", port=0))
    assert other.broker.url == "kafka://127.0.0.1:9092"


def test_only_a_demos_folder_is_emptied(tmp_path: Path) -> None:
    """A folder with somebody's files is never touched; a demo's own is made anew."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(WorkFailed, match="not empty"):
        make_anew(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()
    folder = make_anew(tmp_path / "demo")
    (folder / "old.txt").touch()
    assert not (make_anew(folder) / "old.txt").exists()


def test_the_demo_runs_the_full_chain(tmp_path: Path) -> None:
    """Its line.toml separates every window and names what each machine's separator learns from; it can do without."""
    line = load_line(hall.write_config(tmp_path, broker="", lang="en", port=0))
    assert line.chain.stages == ("raw", "separated")
    assert not line.chain.cascade
    assert line.chain.overload_s == LIVE_S, "a slow machine would skip the chain"
    for machine in line.machine:
        assert machine.clean == tmp_path / "clean" / machine.id
        assert machine.background == tmp_path / "background" / machine.id
    plain = load_line(hall.write_config(tmp_path, broker="", lang="en", port=0, separated=False))
    assert plain.chain.stages == ("raw",)
    assert all(machine.clean is None for machine in plain.machine)


def test_the_hard_places_fault_is_over_before_others_begin() -> None:
    """Nothing that is heard from elsewhere can be taken for what the coolant pump's microphone found, or explain it."""
    coolant, *others = hall.plan(hall.MINUTES)
    assert (coolant.machine, coolant.level_db) == ("coolant", hall.COOLANT_DB)
    assert all(coolant.end_s <= one.start_s for one in others)


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_missed_fault_is_said_in_both_languages(tmp_path: Path, lang: str) -> None:
    """The report names what was missed, what failed and that it is a simulation, and escapes what it is given."""
    row = Row("fan", "outer_race", -9.0, 100.0, 200.0, found=False, delay_s=None, false_alarms=1, reason="<b>odd</b>")
    verdict = Verdict((row,), ("fan: outer_race was not found",))
    write_report(tmp_path / "r.html", verdict, {"sent": 1}, {"train": 2.0}, [], lang)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    for word in (WORDS[lang]["no"], WORDS[lang]["simulated"], WORDS[lang]["failed"], "outer_race was not found"):
        assert str(word) in text
    assert "<b>odd" not in text
    assert cells(row, lang)[3:5] == ("1:40", "3:20")


def test_the_raw_detectors_column_stands_only_where_it_was_asked() -> None:
    """A line without separation has no column for what raw sound alone would have found; one with it has."""
    row = Row("fan", "outer_race", -9.0, 100.0, 200.0, found=True, delay_s=44.0, false_alarms=0)
    heads, rows = grid(Verdict((row,), ()), "ja")
    assert len(heads) == len(rows[0]) == 8
    assert (heads[-1], rows[0][-1]) == ("誤報", "0")
    heads, rows = grid(Verdict((replace(row, raw=False),), ()), "ja")
    assert len(heads) == len(rows[0]) == 9
    assert (heads[-1], rows[0][-1]) == ("分離なし", WORDS["ja"]["raw_no"])
