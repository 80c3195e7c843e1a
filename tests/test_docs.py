"""The documentation says what is true: settings, commands, links."""

import re
import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

from monitor.cli import app
from monitor.settings import Line
from monitor.starter import LINE

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def keys(model: type[BaseModel]) -> set[str]:
    """Every key of line.toml, at any depth."""
    found = set()
    for name, field in model.model_fields.items():
        inner = [
            part for part in (field.annotation, *getattr(field.annotation, "__args__", ())) if isinstance(part, type)
        ]
        parts = [part for part in inner if issubclass(part, BaseModel)]
        found |= {name} if not parts else set().union(*(keys(part) for part in parts))
    return found


@pytest.mark.parametrize("key", sorted(keys(Line)))
def test_every_setting_stands_in_the_starter(key: str) -> None:
    """What init writes shows every key, commented where it is optional."""
    assert re.search(rf"\b{key} = ", LINE), key


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and picture of a page exists."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_pages_exist(page: Path) -> None:
    """Every `factory-ear X` that a page names is a command."""
    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set(
        re.findall(r"factory-ear ([a-z]+)\b", re.sub(r"factory-ear demo\b", "", page.read_text(encoding="utf-8")))
    )
    assert named - {"roi", "separate", "synthesize", "prior", "provenance"} <= known


def test_make_targets_of_the_readme_exist() -> None:
    """Each `make X` of the README is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8"))):
        name = next(part for part in target if part)
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


def test_no_recording_from_outside_is_in_the_project() -> None:
    """The project carries no sound file."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert not [name for name in done.stdout.split("\n") if name.endswith((".wav", ".flac", ".mp3", ".ogg"))]
