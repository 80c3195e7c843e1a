"""The command: exit codes, one clear line, quick help."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from monitor.cli import app

ROOT = Path(__file__).parent.parent.parent


def factory_ear(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from monitor.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def names() -> list[str]:
    return sorted(get_command(app).commands)  # type: ignore[attr-defined]


def test_every_command_of_the_contract_that_is_built_is_there() -> None:
    """Others script against these names."""
    assert {"demo", "init", "train", "run", "ingest", "worker", "score", "evaluate", "dead", "doctor"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_every_command_has_help(name: str) -> None:
    """Each command says what it does."""
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    assert (command.help or "").strip()


@pytest.mark.parametrize("name", names())
def test_every_command_is_documented(name: str) -> None:
    """The reference page names every command."""
    assert f"factory-ear {name}" in (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def test_wrong_use_is_two() -> None:
    """An unknown option is wrong use."""
    done = factory_ear("train", "--no-such-option")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_failed_work_is_one_clear_line(tmp_path: Path) -> None:
    """A missing config is one line that says what to do."""
    done = factory_ear("train", "-c", tmp_path / "line.toml")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "factory-ear init" in done.stderr


@pytest.mark.parametrize("text", ["currency = 'YEN'", "inspection = 15,000"])
def test_costs_that_cannot_be_used_are_one_clear_line(tmp_path: Path, text: str) -> None:
    """Nothing of the settings was loaded yet; still no traceback."""
    (tmp_path / "costs.toml").write_text(text, encoding="utf-8")
    done = factory_ear("roi", tmp_path / "trial.csv", "--costs", tmp_path / "costs.toml", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_init_makes_a_line_that_train_understands(tmp_path: Path) -> None:
    """init writes its files once, and refuses to overwrite them; train then asks for recordings."""
    assert factory_ear("init", tmp_path).returncode == 0
    again = factory_ear("init", tmp_path)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    done = factory_ear("train", "-c", tmp_path / "line.toml")
    assert done.returncode == 1
    assert "press-1" in done.stderr


def test_run_without_models_says_train(tmp_path: Path) -> None:
    """Nothing starts before the machines have models."""
    factory_ear("init", tmp_path)
    done = factory_ear("run", "-c", tmp_path / "line.toml")
    assert done.returncode == 1
    assert "factory-ear train" in done.stderr


def test_doctor_speaks_json(tmp_path: Path) -> None:
    """A script can read what doctor found."""
    done = factory_ear("doctor", "--json")
    found = {finding["what"]: finding["state"] for finding in json.loads(done.stdout)}
    assert found["Python"] == "good"
    assert found["torch"] == "good"
