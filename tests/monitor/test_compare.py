"""A against B: McNemar's test, the paired table, settings, and both sides on real sound."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from trialscene import Fault, write_trial

from monitor import roc
from monitor.compare.hits import Pairs, mcnemar, pairs
from monitor.compare.page import TEXTS
from monitor.compare.side import Side, differences, read_side
from monitor.compare.versus import Answer, Machine, compare, make_report, read_sides, verdict
from monitor.errors import SettingsError, WorkFailed


def side(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_sign_test(a_only: int, b_only: int) -> None:
    """The exact two-sided binomial test of the pairs that differ, as scipy has it; it takes no side."""
    expected = stats.binomtest(a_only, a_only + b_only).pvalue if a_only + b_only else 1.0
    assert mcnemar(a_only, b_only) == pytest.approx(expected)
    assert mcnemar(a_only, b_only) == mcnemar(b_only, a_only)


def test_the_paired_table() -> None:
    """Every question is counted once, by who said yes; different questions are refused."""
    found = pairs({"1": True, "2": True, "3": False, "4": False}, {"1": True, "2": False, "3": True, "4": False})
    assert (found.both, found.a_only, found.b_only, found.neither, found.of) == (1, 1, 1, 1, 4)
    with pytest.raises(ValueError, match="different questions"):
        pairs({"1": True}, {"2": True})
    with pytest.raises(ValueError, match="counts from 0"):
        mcnemar(-1, 0)


def test_settings_are_checked(tmp_path: Path) -> None:
    """Unknown keys and detectors are named; two sides that set the same are no comparison."""
    a = side(tmp_path, "a", 'detector = "mahalanobis"')
    with pytest.raises(SettingsError, match=r"detektor = 'x': no such key.*window_s"):
        read_side(side(tmp_path, "x", 'detektor = "x"'))
    with pytest.raises(WorkFailed, match=r"y\.toml: detector"):
        read_sides((a, side(tmp_path, "y", 'detector = "ears"')))
    with pytest.raises(WorkFailed, match="set the same"):
        read_sides((a, side(tmp_path, "z", 'name = "z"\ndetector = "mahalanobis"')))
    first, second = read_sides((a, side(tmp_path, "b", "seed = 1")))
    assert (first.name, second.name) == ("A", "B")
    assert differences(first, second) == ("detector", "seed")


def machine(a: list[bool], b: list[bool]) -> Machine:
    """Eight files: two healthy recordings, then two events of two and four files."""
    test = roc.TestSet(
        np.array([False, False, *[True] * 6]), np.array([""] * 8), np.array(["h1", "h2", *"rstuvw"], dtype=np.str_)
    )
    unit = ("h1", "h2", "E1", "E1", "E2", "E2", "E2", "E2")
    both = [Answer(np.arange(8.0) * sign, np.array(flags), 0.1) for sign, flags in ((1, a), (-1, b))]
    return Machine("fan", test, unit, (both[0], both[1]))


def test_an_event_counts_once_however_many_files_it_has() -> None:
    """A hits both events by one file each; B by four files of one; the healthy alarm is B's alone."""
    one = machine([False, False, True, False, True, False, False, False], [True, False, False, False, *[True] * 4])
    report = make_report([one], (Side(name="A"), Side(name="B", seed=1)), [], "x.csv")
    assert [report["hits"][key] for key in ("both", "a_only", "b_only", "neither")] == [1, 1, 0, 0]
    assert [report["false_alarms"][key] for key in ("both", "a_only", "b_only", "neither")] == [0, 0, 1, 1]
    assert report["official"]["auc_a"] == 1.0
    assert report["official"]["auc_b"] == 0.0
    assert report["official"]["delta_ci"][1] < 0


def test_the_verdict_needs_more_than_luck() -> None:
    """Better in hits or score and worse in neither, nor in false alarms; else it stays open."""
    even, many, none = Pairs(5, 1, 1, 0, 1.0), Pairs(5, 0, 9, 0, mcnemar(0, 9)), Pairs(0, 0, 0, 9, 1.0)
    assert verdict(even, none, [-0.1, 0.1]) == "open"
    assert verdict(many, none, [-0.1, 0.1]) == "b"
    assert verdict(even, none, [-0.3, -0.1]) == "a"
    assert verdict(many, none, [-0.3, -0.1]) == "open"
    assert verdict(many, many, None) == "open"


def test_both_sides_hear_the_same_sound(tmp_path: Path) -> None:
    """Another detector and another window on the same files: both find the fault; report and page in both languages."""
    manifest = write_trial(tmp_path, machines=1, days=8, faults=[Fault("F1", 0, (4, 5)), Fault("F2", 0, (7,))])
    sides = (
        side(tmp_path, "a", 'name = "mean"\ndetector = "mahalanobis"'),
        side(tmp_path, "b", 'name = "near"\ndetector = "neighbours"\nwindow_s = 1.0\nfalse_alarm_share = 0.2'),
    )
    report = compare(manifest, sides, tmp_path / "out", lang="ja", quiet=True)
    assert report["differs"] == ["detector", "window_s", "false_alarm_share"]
    assert report["hits"]["both"] == 2
    assert report["official"]["delta"] is not None
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert any("cannot count 0.01" in note for note in report["notes"])
    assert '<html lang="ja">' in (tmp_path / "out" / "report.html").read_text()
    again = compare(manifest, sides, tmp_path / "out", quiet=True)
    assert again == report


def test_both_languages_have_the_same_texts() -> None:
    """No text is missing in either."""
    assert TEXTS["en"].keys() == TEXTS["ja"].keys()


def test_faults_in_training_may_differ(tmp_path: Path) -> None:
    """A side that trains with made-up faults is compared with one that does not; what cannot be is refused first."""
    plain = side(tmp_path, "plain", 'detector = "quick-fusion"')
    with_faults = side(tmp_path, "faults", 'detector = "quick-fusion"\nfaults = "naive"')
    for text, why in (
        ('detector = "mahalanobis"\nfaults = "naive"', "allowed is fusion or quick-fusion"),
        ('faults = "naive"\nchain = "full"', 'allowed is chain = "raw"'),
    ):
        with pytest.raises(WorkFailed, match=why):
            read_sides((plain, side(tmp_path, "refused", text)))
    manifest = write_trial(tmp_path / "trial", machines=1, train=6, days=4, faults=[Fault("F1", 0, (2, 3))])
    found = compare(manifest, (plain, with_faults), tmp_path / "out", quiet=True)
    assert found["differs"] == ["faults"]
    assert found["official"]["a"] != found["official"]["b"] or found["official"]["b"] == 1.0
    assert found["hits"]["both"] + found["hits"]["neither"] + found["hits"]["a_only"] + found["hits"]["b_only"] == 1
