"""`factory-ear roi` on a small simulated trial with times, and its answers to wrong use."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from trialscene import Fault, write_trial
from typer.testing import CliRunner

from monitor.cli import app
from monitor.errors import SettingsError, WorkFailed
from monitor.manifest import ManifestError
from monitor.roi.command import roi
from monitor.starter import COSTS

FAULTS = (Fault("F1", 0, tuple(range(1, 9))), Fault("F2", 1, (2, 3, 4), strength=0.0))


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("trial")
    (folder / "costs.toml").write_text(COSTS + "machines = 20\n", encoding="utf-8")
    return write_trial(folder, faults=FAULTS, days=11, train=24), folder / "costs.toml"


@pytest.fixture(scope="module")
def report(trial: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("out")
    return roi(*trial, out, detector="mahalanobis", lang="ja", day=date(2026, 11, 21), quiet=True) | {"out": out}


def test_a_loud_fault_is_found_and_a_silent_one_missed(report: dict[str, Any]) -> None:
    """The first fault is heard days before it fails; the second has no sound, and is told as missed."""
    found = {one["event"]: one for one in report["trial"]["events_list"]}
    assert found["F1"]["found"]
    assert found["F1"]["lead_h"] > 24
    assert found["F1"]["mics"] == ["machine-1-a"]
    assert not found["F2"]["found"]
    assert report["trial"]["timed"]
    assert report["trial"]["machine_weeks"] == pytest.approx(((2 + 7) * 24 + 2 * 4 / 3600) / 168)


def test_two_faults_cannot_tell(report: dict[str, Any]) -> None:
    """The verdict asks for more faults, in the asked language, in a page beside the JSON."""
    assert report["verdict"]["answer"] == "extend"
    assert report["verdict"]["more_faults"] >= 3
    out = report["out"]
    assert json.loads((out / "roi.json").read_text())["verdict"] == report["verdict"]
    assert "試行の延長" in (out / "roi.html").read_text(encoding="utf-8")


def test_wrong_use_is_one_clear_line(trial: tuple[Path, Path], tmp_path: Path) -> None:
    """Bad costs, bad manifests and too little to learn from are errors that say what to do."""
    manifest, costs = trial
    bad = tmp_path / "bad.toml"
    bad.write_text(costs.read_text().replace("inspection = 15000", "inspection = -1"), encoding="utf-8")
    with pytest.raises(SettingsError, match="cannot be negative"):
        roi(manifest, bad, tmp_path, quiet=True)
    short = manifest.parent / "short.csv"
    lines = manifest.read_text().splitlines()
    short.write_text("\n".join([lines[0], *lines[1:3], *lines[25:30]]) + "\n", encoding="utf-8")
    with pytest.raises(WorkFailed, match="no machine of the trial could be judged: machine-1"):
        roi(short, costs, tmp_path, detector="mahalanobis", quiet=True)
    short.write_text("file,machine\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="column split, label is missing"):
        roi(short, costs, tmp_path, quiet=True)


def test_the_command_lists_what_it_needs() -> None:
    """`--help` names every option; a missing one is wrong use."""
    runner = CliRunner()
    assert "--costs" in runner.invoke(app, ["roi", "--help"]).output
    assert runner.invoke(app, ["roi", "x.csv"]).exit_code == 2


def test_a_separated_chain_can_be_weighed(tmp_path: Path) -> None:
    """With chain full the worst of the paths is judged, the report names it, and a hiss is still found."""
    manifest = write_trial(tmp_path / "t", machines=1, train=5, days=4, faults=[Fault("F1", 0, (2, 3), strength=0.2)])
    (tmp_path / "costs.toml").write_text(COSTS + "machines = 20\n", encoding="utf-8")
    how: dict[str, Any] = {"detector": "mahalanobis", "chain": "full", "adapt_minutes": 0.0, "quiet": True}
    found = roi(manifest, tmp_path / "costs.toml", tmp_path / "out", **how)
    assert found["detector"] == "mahalanobis+full"
    assert found["verdict"]["answer"] == "extend"
