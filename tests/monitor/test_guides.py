"""The guides for operations agree with what is there: alerts, runbooks, tests, files of the data folder, links."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from monitor.web import pages, runbooks

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDES = ("operations.md", "deploy.md", "threat-model.md", "glossary.md")


def _alerts() -> dict[str, str]:
    """Every alert with the runbook that it names."""
    found = {}
    for path in (ROOT / "deploy" / "prometheus").glob("*.yml"):
        for group in yaml.safe_load(path.read_text(encoding="utf-8")).get("groups", []):
            for rule in group["rules"]:
                if "alert" in rule:
                    book = re.search(r"/([a-z-]+)\?", rule["annotations"]["runbook_url"])
                    found[rule["alert"]] = book.group(1) if book else ""
    return found


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def test_every_alert_is_explained_with_its_runbook() -> None:
    """The table of alerts has exactly those of the rules, each with the runbook that its annotation names."""
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    explained = dict(
        re.findall(r"^\| (FactoryEar\w+) \|.*\(../monitor/runbooks/([a-z-]+)\.md\) \|$", text, re.MULTILINE)
    )
    assert explained == _alerts()


def test_whatever_the_page_serves_is_part_of_the_package() -> None:
    """Runbooks, templates and static files are found where no checkout is: each matches a pattern of package data."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = patterns["tool"]["setuptools"]["package-data"]["monitor"]
    for folder in (runbooks.FOLDER, pages.TEMPLATES, pages.STATIC):
        files = [path.relative_to(ROOT / "monitor") for path in folder.iterdir()]
        assert files
        assert all(any(path.match(pattern) for pattern in data) for path in files)


@pytest.mark.parametrize("guide", GUIDES)
def test_links_lead_somewhere(guide: str) -> None:
    """Every relative link of a guide is a file or folder of the project, and its anchor a title there."""
    text = (DOCS / guide).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = DOCS / name if name else DOCS / guide
        assert path.exists(), f"{guide}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(title) for title in titles}, f"{guide}: {target}"


@pytest.mark.parametrize("guide", GUIDES)
def test_tests_and_files_that_are_named_exist(guide: str) -> None:
    """A test, a file under deploy/ or a test folder that a guide cites is there."""
    text = (DOCS / guide).read_text(encoding="utf-8")
    for name in re.findall(r"`((?:tests|deploy|monitor)/[\w/.@-]+)`", text):
        assert (ROOT / name).exists(), f"{guide}: {name}"


def test_the_data_folder_is_as_deploy_says() -> None:
    """Each part of the data folder that deploy.md lists is named so in the code, and each SQLite file is listed."""
    text = (DOCS / "deploy.md").read_text(encoding="utf-8")
    sources = [*(ROOT / "monitor").rglob("*.py"), *(ROOT / "streams").rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    listed = re.findall(r"^\| `([^|]+)` \|", text, re.MULTILINE)
    parts = {part for row in listed for part in re.findall(r"[\w.]+", row)} - {"ID"}
    assert {"alarms.sqlite", "history.sqlite", "web.sqlite", "rings", "secrets", "capture"} <= parts
    for part in parts:
        stem = part.removeprefix("ID")
        assert stem in code, f"deploy.md lists {part}"
    used = set(re.findall(r"site\.data / \"(\w+\.sqlite)\"", code))
    assert used <= parts
