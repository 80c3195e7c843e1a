"""What is shipped for Prometheus and Alertmanager: valid, in both languages, with runbooks, over metrics that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from alertbench import DEPLOY, MEMORY
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from watchline import make_line

from monitor.metrics import DEAD_REASONS, DELAY_BUCKETS, LEVELS, OUTCOMES, ROLES, STAGE_BUCKETS, STAGES, Metrics
from monitor.web.runbooks import FOLDER, SECTIONS, blocks, title

RULES = [DEPLOY / "prometheus" / name for name in ("recording.yml", "machines.yml", "service.yml")]
ALERTS = [
    rule
    for path in RULES
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
]
BOOKS = sorted(path.stem for path in FOLDER.glob("*.md"))


def tool(*command: str, text: str = "") -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not here: make system-packages")
    env = {**os.environ, **({"TMPDIR": MEMORY} if MEMORY else {})}
    done = subprocess.run(command, input=text, env=env, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def exposition(folder: Path, machines: int = 2) -> str:
    line = make_line(folder, machines={f"m{n}": (f"m{n}-a", f"m{n}-b") for n in range(machines)})
    return generate_latest(Metrics(line).registry).decode()


def test_promtool_takes_the_configuration() -> None:
    """Prometheus accepts its configuration with every rule file."""
    tool("promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))


def test_the_rules_do_what_they_say() -> None:
    """The rules' own tests hold: machines, shelves, burn rates, the service's troubles."""
    tool("promtool", "test", "rules", str(DEPLOY / "prometheus" / "rules.test.yml"))


def test_promtool_finds_nothing_in_the_metrics(tmp_path: Path) -> None:
    """Names, units and help texts are as Prometheus wants them."""
    assert tool("promtool", "check", "metrics", text=exposition(tmp_path)).strip() == ""


def test_amtool_takes_the_routes() -> None:
    """Alertmanager accepts its configuration and templates."""
    tool("amtool", "check-config", str(DEPLOY / "alertmanager" / "alertmanager.yml"))


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels'].get('window', '')}")
def test_every_alert_speaks_both_languages_and_has_a_runbook(rule: dict[str, dict[str, str]]) -> None:
    """Each has a severity, texts in Japanese and English, and a link to a runbook that is there."""
    assert rule["labels"]["severity"] in ("critical", "warning", "info", "none")
    texts = rule["annotations"]
    for name in ("summary", "description"):
        assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", texts[f"{name}_ja"])
        assert not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", texts[name])
    for name, lang in (("runbook_url", "en"), ("runbook_url_ja", "ja")):
        found = re.fullmatch(r"\{\{ \$externalLabels\.runbooks \}\}/([a-z-]+)\?lang=(\w+)", texts[name])
        assert found is not None
        assert found[2] == lang
        assert found[1] in BOOKS


@pytest.mark.parametrize("book", BOOKS)
def test_every_runbook_names_alerts_that_link_to_it(book: str) -> None:
    """A runbook has a title, steps in both languages, and the names of the alerts that lead to it."""
    text = (FOLDER / f"{book}.md").read_text(encoding="utf-8")
    linked = {rule["alert"] for rule in ALERTS if f"/{book}?" in rule["annotations"]["runbook_url"]}
    named = set(re.findall(r"FactoryEar\w+", text))
    assert linked == named
    for lang in SECTIONS:
        assert title(text, lang)
        assert len(list(blocks(text, lang))) >= 2


def test_the_rules_ask_for_metrics_that_exist(tmp_path: Path) -> None:
    """Each metric that a rule names is exported, and 10 s is a border of the delays."""
    known = {
        sample.name for family in text_string_to_metric_families(exposition(tmp_path)) for sample in family.samples
    }
    asked = {name for path in RULES for name in re.findall(r"(?<![:\w])factory_ear_\w+", path.read_text("utf-8"))}
    assert asked
    late = {"factory_ear_lag_windows"}  # known once a broker was asked
    assert asked <= known | late
    assert 10.0 in DELAY_BUCKETS


@pytest.mark.parametrize("machines", [1, 7, 40])
def test_the_number_of_series_follows_from_the_settings(tmp_path: Path, machines: int) -> None:
    """No more series than the settings and the fixed lists make, whatever the line hears."""
    text = exposition(tmp_path, machines)
    count = sum(not one.startswith("#") for one in text.split("\n") if one)
    per_mic = len(OUTCOMES) + 6
    per_machine = len(LEVELS) + len(ROLES) + 3
    fixed = len(OUTCOMES) + len(DEAD_REASONS) + len(STAGES) * (len(STAGE_BUCKETS) + 3) + len(DELAY_BUCKETS) + 20
    assert count <= 2 * machines * per_mic + (machines + 1) * per_machine + fixed
