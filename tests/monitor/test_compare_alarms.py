"""A against B by alarms: each side's own `[alarms]`, judged by what `run` would have opened; and another chain."""

from __future__ import annotations

from pathlib import Path

import pytest
from trialscene import Fault, write_trial

from monitor.compare.alarmed import judged_alike, untimed_notes
from monitor.compare.page import note_in
from monitor.compare.side import Side, differences, flat, read_side
from monitor.compare.versus import compare, read_sides
from monitor.errors import SettingsError, WorkFailed
from monitor.manifest import read_manifest
from monitor.settings import AlarmRules, Alarms


def side(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f'detector = "mahalanobis"\n{text}', encoding="utf-8")
    return path


def test_the_defaults_are_those_of_line_toml() -> None:
    """A side that says nothing of a key is judged as `run` would with the same silence."""
    plain = Alarms().model_dump()
    assert AlarmRules().model_dump() == {key: plain[key] for key in AlarmRules.model_fields}


def test_one_side_with_alarms_judges_both_by_alarms(tmp_path: Path) -> None:
    """The other side gets the defaults, so that both are judged alike; what differs is named key by key."""
    plain, eager = side(tmp_path, "a", ""), side(tmp_path, "b", "[alarms]\nlooks = 1\nhysteresis = 0.0")
    a, b = read_sides((plain, eager))
    assert a.alarms == AlarmRules()
    assert differences(a, b) == ("alarms.looks", "alarms.hysteresis")
    assert flat(b)["alarms.looks"] == 1
    assert "alarms.looks" not in flat(Side())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("false_alarm_share = 0.1\n[alarms]\nlooks = 1", r"b\.toml: false_alarm_share = 0.1 beside \[alarms\]"),
        ('chain = "separated"\n[alarms]\nlooks = 1', "allowed is raw or full"),
    ],
)
def test_settings_that_alarms_replace_are_refused(tmp_path: Path, text: str, why: str) -> None:
    """A threshold of its own, or a path that `run` never computes alone, contradicts judging by alarms."""
    with pytest.raises(WorkFailed, match=why):
        read_sides((side(tmp_path, "a", ""), side(tmp_path, "b", text)))


def test_a_typo_inside_the_table_lists_that_table(tmp_path: Path) -> None:
    """The keys that are named are those of [alarms], not of the file."""
    with pytest.raises(SettingsError, match=r"alarms\.deadband = 1: no such key.*known: false_alarms_per_week, looks"):
        read_side(side(tmp_path, "x", "[alarms]\ndeadband = 1"))


def test_alarm_settings_may_differ(tmp_path: Path) -> None:
    """Daily recordings of two looks: a rule of one look opens on a fault where six looks in a row are not there yet."""
    manifest = write_trial(tmp_path, machines=1, train=12, days=6, faults=[Fault("F1", 0, (3,))])
    eager = side(tmp_path, "b", 'name = "eager"\n[alarms]\nlooks = 1\nfalse_alarms_per_week = 10000')
    calm = side(tmp_path, "a", 'name = "calm"\n[alarms]\nfalse_alarms_per_week = 0.001')
    report = compare(manifest, (calm, eager), tmp_path / "out", lang="ja", quiet=True)
    assert report["judged_by"] == "alarms"
    assert report["differs"] == ["alarms.false_alarms_per_week", "alarms.looks"]
    assert (report["hits"]["b_only"], report["hits"]["a_only"]) == (1, 0)
    assert report["false_alarms"]["a_only"] == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "alarms.looks" in page
    assert "警報の仕組み" in page


def test_the_chain_may_differ(tmp_path: Path) -> None:
    """Raw sound against all paths, a second of adaptation: both sides answer for every event and healthy recording."""
    manifest = write_trial(tmp_path, machines=1, train=6, days=4, faults=[Fault("F1", 0, (2,))])
    full = side(tmp_path, "b", 'chain = "full"\nadapt_minutes = 0.01')
    report = compare(manifest, (side(tmp_path, "a", ""), full), tmp_path / "out", quiet=True)
    assert report["differs"] == ["chain", "adapt_minutes"]
    assert report["judged_by"] == "threshold"
    assert sum(report["hits"][key] for key in ("both", "a_only", "b_only", "neither")) == 1
    assert sum(report["false_alarms"][key] for key in ("both", "a_only", "b_only", "neither")) == 3


def test_what_decides_nothing_without_times_is_said(tmp_path: Path) -> None:
    """Delays and hysteresis need times; the note is in the reader's language."""
    manifest = read_manifest(write_trial(tmp_path, machines=1, train=2, days=2, timed=False))
    sides = judged_alike((Side(), Side(alarms=AlarmRules(hysteresis=0.0))), (Path("a"), Path("b")))
    (note,) = untimed_notes(manifest, sides)
    assert note.startswith("alarms.hysteresis: without the column start")
    assert "start 列がない" in note_in("ja", note)
    assert note_in("ja", "saw: not judged: 2 healthy recordings, at least 3 are needed: add") == (
        "saw: 判定していません。学習用の正常録音が 2 件です。3 件以上必要です"
    )
