"""line.toml: what is wrong is named with its key, its value and the remedy."""

from pathlib import Path

import pytest

from monitor.settings import SettingsError, load_line
from monitor.starter import write_starter

MACHINE = """
[[machine]]
id = "fan-1"
healthy = "healthy/fan-1"
[[machine.mic]]
id = "fan-1-a"
source = "file:live/fan.wav"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "line.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_starter_is_a_valid_line(tmp_path: Path) -> None:
    """What init writes loads as it is."""
    write_starter(tmp_path / "line")
    line = load_line(tmp_path / "line" / "line.toml")
    assert line.machine[0].name("ja") == "プレス 1"
    assert line.machine[0].name("en") == "Press 1"


def test_every_commented_key_of_the_starter_exists(tmp_path: Path) -> None:
    """A comment of the starter that shows a key can be uncommented."""
    write_starter(tmp_path)
    (tmp_path / "kafka-password").write_text("x", encoding="utf-8")
    path = tmp_path / "line.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    shown = [line.removeprefix("# ") if line.startswith("# ") and " = " in line else line for line in lines]
    path.write_text("\n".join(shown), encoding="utf-8")
    line = load_line(path)
    assert line.alarms.webhook
    assert line.machine[0].kinematics.bearing


def test_paths_count_from_the_files_folder(tmp_path: Path) -> None:
    """A line works from any working directory."""
    line = load_line(write(tmp_path, MACHINE))
    assert line.machine[0].healthy == tmp_path / "healthy/fan-1"
    assert line.machine[0].mic[0].source == f"file:{tmp_path / 'live/fan.wav'}"
    assert line.broker.url == f"embedded:{tmp_path / 'data/broker'}"
    assert line.site.data == tmp_path / "data"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (MACHINE + "\n[site]\ntime_zone = 'Mars/Olympus'", ("site.time_zone", "Mars/Olympus", "Asia/Tokyo")),
        (MACHINE + "\n[site]\nlanguage = 'ja'", ("site.language", "'ja'", "remove")),
        (MACHINE.replace("file:live", "http:live"), ("machine.0.mic.0.source", "http:live", "folder:")),
        (MACHINE + "\n[alarms]\nfalse_alarms_per_week = 0", ("alarms.false_alarms_per_week", "0", "greater than 0")),
        (MACHINE + "\n[broker]\nurl = 'redis://x'", ("broker.url", "redis://x", "embedded:DIR")),
        (MACHINE + MACHINE, ("fan-1", "twice")),
        ("[site]\nname = 'x'", ("machine", "missing", "add it")),
        ("[site\n", ("line.toml", "Correct the file", "init")),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    """An error names the key, the value and what to do."""
    with pytest.raises(SettingsError) as caught:
        load_line(write(tmp_path, text))
    for name in names:
        assert name in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """Whoever has no line yet learns how to get one."""
    with pytest.raises(SettingsError, match="factory-ear init"):
        load_line(tmp_path / "none.toml")


def test_a_token_is_never_printed(tmp_path: Path) -> None:
    """Secrets stay out of errors and reprs."""
    path = write(tmp_path, MACHINE + "\n[web]\ntoken = 5")
    with pytest.raises(SettingsError) as caught:
        load_line(path)
    assert "5" not in str(caught.value).split("web.token")[1].split(":")[0]
    line = load_line(write(tmp_path, MACHINE + "\n[web]\ntoken = 'geheim'"))
    assert "geheim" not in repr(line)
