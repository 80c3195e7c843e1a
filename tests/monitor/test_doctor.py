"""doctor says what works, what is missing and what to do, and its exit code can be scripted."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hummingline import trained, write_line

from monitor.doctor import Finding, examine, print_findings


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_line(tmp_path_factory.mktemp("line"))
    trained(path)
    return path


def states(path: Path) -> dict[str, str]:
    return {finding.what: finding.state for finding in examine(path)}


def test_a_trained_line_is_good(config: Path) -> None:
    """Nothing is bad on a line that is ready to run."""
    assert "bad" not in states(config).values()


def test_what_is_wrong_is_named_with_its_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An untrained line with a missing folder: both are bad, and the table says what to do."""
    path = write_line(tmp_path)
    path.write_text(
        path.read_text(encoding="utf-8").replace("file:live/pump-a.wav", "folder:nowhere"), encoding="utf-8"
    )
    found = examine(path)
    bad = {finding.what: finding.remedy for finding in found if finding.state == "bad"}
    assert "train" in bad["fan: model"]
    assert "make the folder" in bad["pump-a: source"]
    print_findings(found)
    assert "BAD" in capsys.readouterr().out


def test_square_brackets_survive_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A remedy such as pip install 'factory-ear[mic]' is printed as it is."""
    print_findings([Finding("sounddevice", "missing", "x", "pip install 'factory-ear[mic]'")])
    assert "factory-ear[mic]" in capsys.readouterr().out


def test_a_wrong_line_is_one_finding(tmp_path: Path) -> None:
    """A mistake in line.toml is told, and the rest is still looked at."""
    path = tmp_path / "line.toml"
    path.write_text("[site]\nlanguage = 'ja'\n", encoding="utf-8")
    found = states(path)
    assert found["line.toml"] == "bad"
    assert found["Python"] == "good"


def test_a_taken_port_is_told(config: Path) -> None:
    """The page's port in use is bad, with a word on who may have it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = config.read_text(encoding="utf-8").replace("port = 0", f"port = {taken.getsockname()[1]}")
        other = config.with_name("other.toml")
        other.write_text(text, encoding="utf-8")
        assert states(other)["page"] == "bad"


def test_a_budget_that_cannot_be_held_is_told(config: Path) -> None:
    """Eight recordings cannot hold a hundredth of an alarm a week: said before anyone trusts an alarm."""
    other = config.with_name("strict.toml")
    text = config.read_text(encoding="utf-8").replace("false_alarms_per_week = 100", "false_alarms_per_week = 0.001")
    other.write_text(text, encoding="utf-8")
    finding = next(one for one in examine(other) if one.what == "alarm budget")
    assert finding.state == "missing"
    assert "record more" in finding.remedy
