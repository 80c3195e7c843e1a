"""The boards as Grafana reads them: `python -m monitor.grafana [DIR]` writes JSON into deploy/grafana/boards.

The builders are Grafana's own (grafana-foundation-sdk, a development dependency); a test keeps deploy/ equal to them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.boards import BOARDS, METRIC, Board, Panel, Query

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

SOURCE = "${source}"
# Colour-blind-safe (Okabe and Ito, 2008), and every state has its word too.
COLOURS = {"ok": "#009E73", "alert": "#E69F00", "danger": "#D55E00", "unknown": "#999999"}
LEVELS = {
    "-1": ("unknown / 不明", "unknown"),
    "0": ("ok / 正常", "ok"),
    "1": ("alert / 注意", "alert"),
    "2": ("danger / 危険", "danger"),
}


def board_json(board: Board) -> str:
    """The board as Grafana reads it."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    text = JSONEncoder(sort_keys=True, indent=2).encode(_build(board).build())
    return json.dumps(json.loads(text), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _build(board: Board) -> Dashboard:
    from grafana_foundation_sdk.builders import dashboard as d

    built = (
        d.Dashboard(f"{board.en} / {board.ja}")
        .uid(board.uid)
        .tags(["factory-ear"])
        .time(board.since, "now")
        .refresh("10s")
        .timezone("browser")
        .editable()
        .with_variable(d.DatasourceVariable("source").label("Prometheus").type("prometheus"))
    )
    if board.machine:
        built = built.with_variable(_machine_variable())
    for panel, (x, y) in zip(board.panels, _places(board.panels), strict=True):
        built = built.with_panel(_panel(panel, x, y))
    return built


def _machine_variable() -> Any:  # noqa: ANN401 - the SDK's builders share no public type
    from grafana_foundation_sdk.builders.dashboard import QueryVariable
    from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

    return (
        QueryVariable("machine")
        .label("Machine / 設備")
        .datasource(DataSourceRef(type_val="prometheus", uid=SOURCE))
        .query(f"label_values({METRIC}alarm_level, machine)")
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
    )


def _places(panels: Sequence[Panel]) -> list[tuple[int, int]]:
    """Where panels stand, left to right, a new row where the width of 24 is full."""
    places, x, y, tall = [], 0, 0, 0
    for panel in panels:
        if x + panel.width > 24:
            x, y, tall = 0, y + tall, 0
        places.append((x, y))
        x, tall = x + panel.width, max(tall, panel.height)
    return places


def _panel(panel: Panel, x: int, y: int) -> Any:  # noqa: ANN401 - one of four builders
    from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
    from grafana_foundation_sdk.models.dashboard import DataSourceRef, GridPos

    makers: Mapping[str, Any] = {
        "timeseries": timeseries.Panel,
        "stat": stat.Panel,
        "states": statetimeline.Panel,
        "table": table.Panel,
    }
    built = (
        makers[panel.kind]()
        .title(panel.title)
        .description(panel.what)
        .datasource(DataSourceRef(type_val="prometheus", uid=SOURCE))
        .grid_pos(GridPos(h=panel.height, w=panel.width, x=x, y=y))
        .unit(panel.unit)
    )
    if panel.levels:
        built = built.mappings(_level_mappings())
    for ref, query in zip("ABCDEF", panel.queries, strict=False):
        built = built.with_target(_target(ref, query, table=panel.kind == "table"))
    return built


def _target(ref: str, query: Query, *, table: bool) -> Any:  # noqa: ANN401 - the SDK's builder
    from grafana_foundation_sdk.builders.prometheus import Dataquery
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    built = Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)  # the SDK leaves it empty
    return built.instant().format(PromQueryFormat.TABLE) if table else built.range()


def _level_mappings() -> list[Any]:
    from grafana_foundation_sdk.models.dashboard import ValueMap, ValueMappingResult

    table: Mapping[str, ValueMappingResult] = {
        value: ValueMappingResult(text=word, color=COLOURS[colour], index=index)
        for index, (value, (word, colour)) in enumerate(LEVELS.items())
    }
    return [ValueMap(options=dict(table))]


def write_boards(folder: Path) -> list[Path]:
    """Write every board as JSON into `folder`; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for board in BOARDS:
        path = folder / f"{board.uid}.json"
        path.write_text(board_json(board), encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_boards(Path(sys.argv[1] if len(sys.argv) > 1 else "deploy/grafana/boards")):
        sys.stdout.write(f"{written}\n")
