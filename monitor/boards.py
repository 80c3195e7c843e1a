"""What the Grafana boards show and ask, in both languages; `grafana` writes them as JSON.

Four boards: the line for staff, one machine, the service's own health, the trial for a proof of concept. Every series
comes from /metrics (`monitor.metrics`) or from the recording rules in deploy/prometheus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["timeseries", "stat", "states", "table"]


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and the name of its series."""

    expr: str
    legend: str = "{{machine}}"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: titles, what it is, what it asks; width of 24, height in rows of 30 pixels."""

    en: str
    ja: str
    kind: Kind
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 12
    height: int = 8
    what: str = ""
    levels: bool = False

    @property
    def title(self) -> str:
        """Both languages."""
        return f"{self.en} / {self.ja}"


@dataclass(frozen=True, slots=True)
class Board:
    """One board: its file's name, titles, panels in reading order, and whether one machine is chosen."""

    uid: str
    en: str
    ja: str
    panels: tuple[Panel, ...]
    machine: bool = False
    since: str = "now-24h"


METRIC = "factory_ear_"
_ONE = '{machine="$machine"}'
_MACHINES = f"count(count by (machine) ({METRIC}microphone_signal))"  # alarm_level also has the halls

LINE = Board(
    "factory-ear-line",
    "Line overview",
    "ライン全体",
    (
        Panel(
            "Machines in alarm",
            "警報中の設備",
            "stat",
            (Query(f"count({METRIC}alarm_level > 0) or vector(0)", ""),),
            width=6,
            height=4,
        ),
        Panel(
            "Machines without signal",
            "信号のない設備",
            "stat",
            (Query(f"count({METRIC}alarm_level < 0) or vector(0)", ""),),
            width=6,
            height=4,
        ),
        Panel(
            "Alarms in a week",
            "一週間の警報",
            "stat",
            (Query(f'sum(increase({METRIC}alarms_total{{level="alert"}}[7d]))', ""),),
            width=6,
            height=4,
        ),
        Panel(
            "Windows scored per second",
            "毎秒の判定数",
            "stat",
            (Query(f'sum(rate({METRIC}windows_total{{outcome="scored"}}[5m]))', ""),),
            "cps",
            width=6,
            height=4,
        ),
        Panel(
            "State of each machine",
            "設備ごとの状態",
            "states",
            (Query(f"{METRIC}alarm_level"),),
            width=24,
            height=10,
            levels=True,
            what="-1 unknown (no signal), 0 ok, 1 alert, 2 danger. 不明・正常・注意・危険。",
        ),
        Panel(
            "Score, worst microphone",
            "異常度（最大のマイク）",
            "timeseries",
            (Query(f"max by (machine) ({METRIC}score)"),),
            width=24,
            height=9,
            what="-log10 of the p-value: 2 is one healthy window in a hundred. 2は正常な音の百回に一回。",
        ),
        Panel("Shelved machines", "一時停止中の警報", "table", (Query(f"{METRIC}shelved"),), width=12),
        Panel(
            "Alarms opened in a day",
            "一日の警報数",
            "timeseries",
            (Query(f"sum by (machine, level) (increase({METRIC}alarms_total[1d]))", "{{machine}} {{level}}"),),
        ),
    ),
)
MACHINE = Board(
    "factory-ear-machine",
    "One machine",
    "設備の詳細",
    (
        Panel("State", "状態", "states", (Query(f"{METRIC}alarm_level{_ONE}"),), width=24, height=5, levels=True),
        Panel(
            "Score and threshold",
            "異常度としきい値",
            "timeseries",
            (
                Query(f"{METRIC}score{_ONE}", "{{mic}}"),
                Query(f"{METRIC}threshold{_ONE}", "{{mic}} threshold / しきい値"),
            ),
            width=24,
            height=10,
        ),
        Panel(
            "Level at the microphone",
            "音圧レベル",
            "timeseries",
            (Query(f"{METRIC}level_dbfs{_ONE}", "{{mic}}"),),
            "dB",
        ),
        Panel(
            "Seconds since the last window",
            "最後の音からの秒数",
            "timeseries",
            (Query(f"time() - {METRIC}last_window_timestamp_seconds{_ONE}", "{{mic}}"),),
            "s",
        ),
        Panel(
            "Windows by outcome",
            "音の処理結果",
            "timeseries",
            (Query(f"sum by (outcome) (rate({METRIC}windows_total{_ONE}[5m]))", "{{outcome}}"),),
            "cps",
        ),
        Panel(
            "Alarms",
            "警報数",
            "timeseries",
            (Query(f"sum by (level) (increase({METRIC}alarms_total{_ONE}[1d]))", "{{level}}"),),
        ),
        Panel(
            "Model",
            "モデル",
            "table",
            (Query(f"{METRIC}model_info{_ONE}", "{{detector}} {{version}}"),),
            width=24,
            height=5,
        ),
    ),
    machine=True,
)
SERVICE = Board(
    "factory-ear-service",
    "Service health",
    "システムの状態",
    (
        Panel(
            "Scored within 10 s",
            "10秒以内の判定",
            "timeseries",
            (
                Query(
                    f'sum(rate({METRIC}end_to_end_seconds_bucket{{le="10.0"}}[1h]))'
                    f" / (sum(rate({METRIC}end_to_end_seconds_count[1h]))"
                    f' + sum(rate({METRIC}windows_total{{outcome=~"dead|expired"}}[1h])))',
                    "1 h",
                ),
                Query("vector(0.999)", "99.9%"),
            ),
            "percentunit",
            what="The service's promise: 99.9% of windows scored within 10 s; dead and expired ones count as late.",
        ),
        Panel(
            "From sound to score",
            "音から判定まで",
            "timeseries",
            tuple(
                Query(
                    f"histogram_quantile({q}, sum by (le) (rate({METRIC}end_to_end_seconds_bucket[5m])))",
                    f"p{round(q * 100)}",
                )
                for q in (0.5, 0.95, 0.99)
            ),
            "s",
        ),
        Panel(
            "Time per stage and window",
            "段階ごとの処理時間",
            "timeseries",
            (
                Query(
                    f"sum by (stage) (rate({METRIC}stage_seconds_sum[5m]))"
                    f" / sum by (stage) (rate({METRIC}stage_seconds_count[5m]))",
                    "{{stage}}",
                ),
            ),
            "s",
        ),
        Panel(
            "Windows by outcome",
            "音の処理結果",
            "timeseries",
            (Query(f"sum by (outcome) (rate({METRIC}windows_total[5m]))", "{{outcome}}"),),
            "cps",
        ),
        Panel(
            "Messages that wait",
            "処理待ち",
            "timeseries",
            (Query(f"sum by (topic) ({METRIC}lag_windows)", "{{topic}}"),),
        ),
        Panel(
            "Dead letters",
            "処理できなかった音",
            "timeseries",
            (Query(f"sum by (reason) (increase({METRIC}dead_letters_total[1h]))", "{{reason}}"),),
        ),
        Panel(
            "Free disk", "ディスクの空き", "timeseries", (Query(f"{METRIC}disk_free_bytes", "free / 空き"),), "bytes"
        ),
        Panel("Intake stopped", "受け入れ停止", "stat", (Query(f"{METRIC}intake_stopped", ""),), width=6),
        Panel("Alerts not yet published", "未送信の警報", "stat", (Query(f"{METRIC}unannounced_alerts", ""),), width=6),
        Panel(
            "Webhook failures",
            "通知の失敗",
            "timeseries",
            (Query(f"increase({METRIC}webhook_failures_total[1h])", "failures / 失敗"),),
        ),
    ),
)
TRIAL = Board(
    "factory-ear-trial",
    "Trial (proof of concept)",
    "試行（PoC）",
    (
        Panel(
            "Alarms per machine and week",
            "設備・週あたりの警報",
            "stat",
            (Query(f'sum(increase({METRIC}alarms_total{{level="alert"}}[7d])) / {_MACHINES}', ""),),
            width=8,
            height=5,
        ),
        Panel(
            "Danger per machine and week",
            "設備・週あたりの危険警報",
            "stat",
            (Query(f'sum(increase({METRIC}alarms_total{{level="danger"}}[7d])) / {_MACHINES}', ""),),
            width=8,
            height=5,
        ),
        Panel(
            "Share of windows scored",
            "判定できた音の割合",
            "stat",
            (
                Query(
                    f'sum(increase({METRIC}windows_total{{outcome="scored"}}[7d]))'
                    f" / sum(increase({METRIC}windows_total[7d]))",
                    "",
                ),
            ),
            "percentunit",
            width=8,
            height=5,
        ),
        Panel(
            "Hours listened",
            "監視した時間",
            "table",
            (
                Query(
                    f'sum by (machine) (increase({METRIC}windows_total{{outcome="scored"}}[30d])) * 2 / 3600',
                    "{{machine}}",
                ),
            ),
            "h",
        ),
        Panel(
            "Alarms by machine in 30 days",
            "30日間の設備別警報",
            "table",
            (Query(f"sum by (machine, level) (increase({METRIC}alarms_total[30d]))", "{{machine}} {{level}}"),),
        ),
        Panel(
            "Course of the trial",
            "試行の経過",
            "states",
            (Query(f"{METRIC}alarm_level"),),
            width=24,
            height=10,
            levels=True,
        ),
        Panel(
            "What people did",
            "記録された操作",
            "stat",
            (Query(f"{METRIC}audit_entries", ""),),
            width=24,
            height=4,
            what="Entries of the audit log: acknowledged, shelved, confirmed, rejected.",
        ),
    ),
    since="now-30d",
)
BOARDS: tuple[Board, ...] = (LINE, MACHINE, SERVICE, TRIAL)


def expressions(machine: str) -> list[tuple[str, str, str]]:
    """Every query as (board, panel, expression), with a machine put in where one is chosen."""
    return [
        (board.uid, panel.title, query.expr.replace("$machine", machine))
        for board in BOARDS
        for panel in board.panels
        for query in panel.queries
    ]
