"""The Grafana boards: kept equal to the code, in both languages, and every query answered by a live Prometheus.

Never loaded into a Grafana server: none is to be had here.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import start_http_server
from watchline import make_line, score, window

from monitor.alarms import Update
from monitor.boards import BOARDS, LINE, SERVICE, expressions
from monitor.liveness import Heard
from monitor.metrics import Metrics, level_dbfs
from monitor.words import Facts
from streams.dead import DeadLetter
from streams.records import Alert

RECORDING = Path(__file__).parents[2] / "deploy" / "prometheus" / "recording.yml"
DEPLOYED = Path(__file__).parents[2] / "deploy" / "grafana" / "boards"


def test_deploy_holds_what_the_code_says() -> None:
    """deploy/grafana/boards is what `python -m monitor.grafana` writes, no more and no less."""
    pytest.importorskip("grafana_foundation_sdk", reason="Grafana's foundation SDK is not installed")
    from monitor.grafana import board_json

    written = {board.uid: board_json(board) for board in BOARDS}
    deployed = {path.stem: path.read_text(encoding="utf-8") for path in DEPLOYED.glob("*.json")}
    assert deployed == written, "write them anew with: python -m monitor.grafana"


def test_titles_are_in_both_languages() -> None:
    """Every board and panel has an English and a Japanese title."""
    japanese = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
    for board in BOARDS:
        for one in (board, *board.panels):
            assert one.en.isascii()
            assert japanese.search(one.ja)


@pytest.mark.parametrize("path", sorted(DEPLOYED.glob("*.json")), ids=lambda path: path.stem)
def test_panels_fit_the_grid(path: Path) -> None:
    """Panels do not overlap, stay within 24 columns, and every query has its own letter."""
    board = json.loads(path.read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
        refs = [target["refId"] for target in panel["targets"]]
        assert all(refs)
        assert len(set(refs)) == len(refs)
        assert panel["datasource"]["uid"] == "${source}"


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _alive(metrics: Metrics, number: int) -> None:
    """One more of everything that a line does."""
    one = window("press-a", number)
    metrics.heard(Heard(one.identity, one.start_ns, one.end_ns, level_dbfs(one)))
    metrics.scored(score("press-a", number))
    torn = {"mic": "press-a", "session": "torn", "sequence": str(number)}
    metrics.dead_letter(DeadLetter("bad_message", "text", 0, topic="audio.windows", headers=torn))
    metrics.lag("audio.windows", {0: (0, number)}, {0: 0})
    metrics.alarm(Update(Alert("0" * 16, "press", "alert", 0, 0), Facts("odd", 0, ("press-a",)), opened=True))
    metrics.model("press", "fusion", "m1")
    metrics.threshold("press", "press-a", 2.0)
    metrics.level("press", "alert")


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    """A Prometheus that scrapes a line's metrics twice a second; its address."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed: apt-get install prometheus")
    metrics = Metrics(make_line(tmp_path))
    server, thread = start_http_server(0, "127.0.0.1", metrics.registry)
    port = _free_port()
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 500ms}\nscrape_configs:\n  - job_name: factory-ear\n    static_configs:\n"
        f"      - targets: ['127.0.0.1:{server.server_port}']\n"
    )
    command = [program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "log").open("w") as log:
        child = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        address = f"http://127.0.0.1:{port}"
        scraped = 0
        for number in range(1, 240):
            _alive(metrics, number)
            if child.poll() is not None:
                pytest.fail((tmp_path / "log").read_text())
            scraped = len(_ask(address, "count_over_time(factory_ear_audit_entries[1h]) >= 3"))
            if scraped:
                break
            time.sleep(0.25)  # Prometheus runs on the wall's clock
        assert scraped, (tmp_path / "log").read_text()
        yield address
    finally:
        child.terminate()
        child.wait(20)
        server.shutdown()
        server.server_close()
        thread.join(10)


def _ask(address: str, expression: str) -> list[object]:
    query = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{address}/api/v1/query?{query}", timeout=10) as answer:
            body = json.load(answer)
    except (urllib.error.URLError, ConnectionError):  # not up yet
        return []
    assert body["status"] == "success"
    return list(body["data"]["result"])


@pytest.mark.xdist_group("prometheus")
def test_every_query_returns_series(prometheus: str) -> None:
    """A live Prometheus that scrapes a line answers each panel's expression with at least one series."""
    asked = expressions("press")
    assert len(asked) > 25
    empty = [f"{board}: {panel}: {query}" for board, panel, query in asked if not _ask(prometheus, query)]
    assert not empty, "\n".join(empty)


@pytest.mark.xdist_group("prometheus")
def test_boards_and_recording_rules_say_the_same(prometheus: str) -> None:
    """What a board shows and a recording rule keeps under the same name is the same figure, dead windows included."""
    rules = {
        rule["record"]: f"sum({rule['expr']})"
        for group in yaml.safe_load(RECORDING.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    }
    asked = {panel.en: panel.queries[0].expr for board in (LINE, SERVICE) for panel in board.panels}
    same = {
        asked["Scored within 10 s"]: f"1 - {rules['job:factory_ear_windows_bad:ratio_rate1h']}",
        f"sum({asked['Windows by outcome']})": rules["job:factory_ear_windows:rate5m"],
        asked["Alarms in a week"].replace("[7d]", "[10m]"): rules["job:factory_ear_alarms:increase10m"],
    }
    for shown, kept in same.items():
        assert _ask(prometheus, f"({shown}) > 0"), shown
        assert _ask(prometheus, f"abs(({shown}) - ({kept})) < 1e-9"), f"{shown}\n{kept}"
    assert _ask(prometheus, f"({asked['Scored within 10 s']}) < 1"), "no dead window was counted"
