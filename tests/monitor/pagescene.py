"""A plant for the page's tests, pictures and benchmark: machines with weeks of scores, an alarm since ten past two.

The scores are drawn, not measured; the sound is a tone. What is shown of the clip may be put there by someone else
(`tests/benchmarks/picture_page.py` puts the work of a trained model there).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import soundfile
from watchline import write_card

from monitor.action_store import ActionStore
from monitor.alarm_plan import Plan
from monitor.alarm_store import AlarmStore
from monitor.alarms import AlarmMachine, Update
from monitor.board import Facing, board
from monitor.evidence import mic_mark
from monitor.history import MINUTE, QUARTER, History
from monitor.keepsakes import folder_of
from monitor.liveness import Ear, Verdict
from monitor.metrics import Metrics
from monitor.settings import Line
from monitor.show_clip import SHOWN, png_grey, png_rgba
from monitor.web.app import make_app
from monitor.web.serve import WebThread, tls
from monitor.web.sources import Sources
from monitor.words import Facts
from streams.records import Alert, Identity, WindowScore

S = 1_000_000_000
ZONE = "Asia/Tokyo"
NOW = datetime(2026, 11, 20, 6, 50, tzinfo=ZoneInfo(ZONE))
NOW_S = int(NOW.timestamp())
BEGAN_S = int(datetime(2026, 11, 20, 2, 10, tzinfo=ZoneInfo(ZONE)).timestamp())
OPERATE, ADMIN, VIEW = "operate-token-for-tests", "admin-token-for-tests", "view-token-for-tests"
RULE = Plan(2.0, 0.01, 4, 6, 10.0, 0.2, supported=True)
NAMES = (
    ("press-3", "プレス 3号機", "Press 3"),
    ("press-1", "プレス 1号機", "Press 1"),
    ("press-2", "プレス 2号機", "Press 2"),
    ("pump-1", "冷却水ポンプ 1", "Cooling pump 1"),
    ("pump-2", "冷却水ポンプ 2", "Cooling pump 2"),
    ("fan-1", "集塵ファン", "Dust fan"),
    ("gear-1", "搬送減速機 東", "Conveyor gearbox, east"),
    ("gear-2", "搬送減速機 西", "Conveyor gearbox, west"),
    ("comp-1", "コンプレッサー A", "Compressor A"),
    ("comp-2", "コンプレッサー B", "Compressor B"),
    ("mill-1", "マシニング 1", "Machining centre 1"),
    ("robot-1", "溶接ロボット", "Welding robot"),
)


@dataclass(frozen=True)
class Plant:
    """A line's folder, its board at `NOW`, and the alarms."""

    line: Line
    board: dict[str, Any]
    alert: Alert

    @property
    def clip(self) -> str:
        return self.alert.clip


def make_plant(folder: Path, *, names: Sequence[tuple[str, str, str]] = NAMES, days: float = 2.0, **web: Any) -> Plant:
    """Everything on disk that the page reads; `web` overrides its settings."""
    line = _line(folder, names, web)
    for machine in line.machine:
        write_card(line, machine.id)
    fill_history(line, days)
    updates = _alarms(line)
    with AlarmStore(line.site.data / "alarms.sqlite") as store:
        store.commit(updates=updates)
    _sound(line, updates[0].alert)
    return Plant(line, make_board(line, updates), updates[0].alert)


def _line(folder: Path, names: Sequence[tuple[str, str, str]], web: dict[str, Any]) -> Line:
    tokens = [{"role": "view", "token": VIEW}, {"role": "operate", "token": OPERATE}, {"role": "admin", "token": ADMIN}]
    return Line.model_validate(
        {
            "site": {"name": "第二工場", "time_zone": ZONE, "lang": "ja", "data": folder / "data"},
            "web": {"port": 0, "tokens": tokens, **web},
            "machine": [
                {
                    "id": name,
                    "name_ja": ja,
                    "name_en": en,
                    "healthy": folder / "healthy",
                    "mic": [{"id": f"{name}-a", "source": f"mic:{name}", "people": name.startswith("robot")}],
                }
                for name, ja, en in names
            ],
        }
    )


def fill_history(line: Line, days: float) -> None:
    """Scores as a healthy machine gives them, with a fault on the first machine since `BEGAN_S`."""
    mics = [mic.id for machine in line.machine for mic in machine.mic]
    history = History(line.site.data / "history.sqlite", mics, 400)
    rng = np.random.default_rng(7)
    with history._db as db:
        db.execute("BEGIN")
        for number, mic in enumerate(mics):
            for step, span_s in ((MINUTE, min(days, 3.0) * 86_400), (QUARTER, days * 86_400)):
                at = np.arange((NOW_S - span_s) // step * step, NOW_S, step)
                db.executemany(
                    "INSERT INTO points SELECT ?, number, ?, ?, ?, ?, ?, ? FROM mics WHERE mic = ?",
                    _points(rng, step, at, mic, BEGAN_S if number == 0 else 0),
                )
    history.close()


def _points(rng: np.random.Generator, step: int, at: np.ndarray, mic: str, began_s: int) -> list[tuple[Any, ...]]:
    busy = 0.12 * (1 + np.sin(2 * np.pi * at / 86_400))
    middle = np.clip(rng.gamma(4.0, 0.08, len(at)) + busy, 0, None)
    top = middle + rng.gamma(2.0 if step == MINUTE else 4.0, 0.18, len(at))
    if began_s:
        grown = np.clip((at - began_s) / 3600, 0, None)
        fault = np.where(at >= began_s, 1.9 + 0.35 * np.sqrt(grown), 0.0)
        middle, top = middle + 0.9 * fault, top + fault
    level = rng.normal(-310, 6, len(at))
    windows = step // 2
    return [
        (step, int(a), int(100 * t), int(100 * m), windows, int(windows * (t > 2)), int(v), mic)
        for a, t, m, v in zip(at, top, middle, level, strict=True)
    ]


def _alarms(line: Line) -> list[Update]:
    machine = line.machine[0]
    mic = machine.mic[0].id
    name = "5c3b1f0a9d2e4476"
    facts = Facts("odd", BEGAN_S * S, (mic,), mic, (2900.0, 4100.0), 11.0, 6, 6, danger=True)
    opened_ns = (BEGAN_S + 40) * S
    alert = Alert(name, machine.id, "danger", opened_ns, NOW_S * S, 0, 3.4, (mic,), "", f"{name}-{mic_mark(mic)}")
    past = []
    for number, (hours, lasted_s, level) in enumerate(
        ((31, 900, "alert"), (190, 2600, "alert"), (400, 240, "unknown"))
    ):
        at_ns = (NOW_S - hours * 3600) * S
        who = line.machine[min(number, len(line.machine) - 1)]
        other = who.mic[0].id
        kind = "lost" if level == "unknown" else "odd"
        end_ns = at_ns + lasted_s * S
        said = Facts(kind, at_ns, (other,), other, (620.0, 900.0) if kind == "odd" else (0, 0), 6.0, closed_ns=end_ns)  # type: ignore[arg-type]
        peak = 2.3 if kind == "odd" else math.nan
        past.append(Update(Alert(f"{number:016x}", who.id, level, at_ns, end_ns, end_ns, peak, (other,)), said))  # type: ignore[arg-type]
    return [Update(alert, facts), *past]


def make_board(line: Line, updates: Sequence[Update]) -> dict[str, Any]:
    """How things stand at `NOW`: the first machine in danger, one microphone lost, all others normal."""
    machines = {one.id: AlarmMachine(one.id, {"*": RULE}, line.alarms) for one in line.machine}
    machines[line.machine[0].id].alarm = updates[0]
    facing = Facing(since_ns={one.id: (NOW_S - 9 * 86_400) * S for one in line.machine})
    ears: dict[str, Ear] = {}
    verdicts: dict[str, dict[str, Verdict]] = {}
    rng = np.random.default_rng(3)
    for number, machine in enumerate(line.machine):
        for mic in machine.mic:
            lost = number == 5
            end_ns = (NOW_S - (1500 if lost else 1)) * S
            identity = Identity(mic.id, "s", 9)
            ears[mic.id] = Ear(machine.id, mic.id, finite=False, last=identity, after_ns=30 * S, end_ns=end_ns)
            ears[mic.id].level_dbfs = float(rng.normal(-31, 3))
            ears[mic.id].clipped = 3 if number == 3 else 0
            verdicts[machine.id] = {mic.id: Verdict("lost" if lost else "live", end_ns, NOW_S * S, identity)}
            value = 3.4 if number == 0 else float(rng.gamma(4.0, 0.12))
            facing.newest[mic.id] = WindowScore(
                machine.id, mic.id, "s", 9, end_ns - 2 * S, 2.0, "ok", value, detector="fusion"
            )
        if number == 5:
            machines[machine.id].signal(verdicts[machine.id])
    more = [one.unknown for one in machines.values() if one.unknown]
    return board(line, machines, ears, verdicts, [updates[0], *more, *updates[1:]], facing, NOW_S * S)


def _sound(line: Line, alert: Alert) -> None:
    """A clip, a healthy one of last week, a separated version, and pictures of them."""
    evidence = line.site.data / "evidence"
    (evidence / "clips").mkdir(parents=True)
    t = np.arange(10 * 16_000) / 16_000
    hum = 0.1 * np.sin(2 * np.pi * 120 * t)
    odd = hum + 0.05 * np.sin(2 * np.pi * 3300 * t) * (np.sin(2 * np.pi * 7 * t) > 0.6)
    soundfile.write(evidence / "clips" / f"{alert.clip}.flac", odd, 16_000)
    folder = folder_of(evidence, alert.mics[0])
    folder.mkdir(parents=True)
    soundfile.write(folder / f"{(BEGAN_S - 7 * 86_400) * S}.flac", hum, 16_000)
    shown = evidence / "shown" / alert.clip
    shown.mkdir(parents=True)
    soundfile.write(shown / "separated.flac", odd - hum, 16_000)
    rng = np.random.default_rng(1)
    heat = np.zeros((128, 300, 4), np.uint8)
    heat[20:40, ::7] = (213, 94, 0, 200)
    (shown / "sound.png").write_bytes(png_grey(rng.integers(0, 120, (128, 300)).astype(np.uint8)))
    (shown / "heat.png").write_bytes(png_rgba(heat))
    words = {
        "ja": ["1. 2.9〜4.1 kHz (+11 dB)：毎秒 7.0 回の衝撃"],
        "en": ["1. 2.9-4.1 kHz (+11 dB): impacts, 7.0 a second"],
    }
    values = {"words": words, "start_s": 0.0, "end_s": 10.0, "duration_s": 10.0, "ticks": [[500, 0.25], [2000, 0.6]]}
    (shown / SHOWN).write_text(json.dumps({**values, "frames": [[0.7, 0.85]], "bands": []}))


class Scene:
    """A plant with its page up. `board` may be replaced; `close` takes it down."""

    def __init__(self, plant: Plant) -> None:
        self.plant, self.line, self.board = plant, plant.line, plant.board
        self.now_ns = NOW_S * S
        path = self.line.site.data / "alarms.sqlite"
        machines = [one.id for one in self.line.machine]
        self.actions = ActionStore(path, machines, clock_ns=lambda: self.now_ns)
        clips = self.line.site.data / "evidence" / "clips"
        registry = Metrics(self.line).registry
        sources = Sources(lambda: self.board, lambda: True, lambda name: clips / f"{name}.flac", registry, self.actions)
        app = make_app(self.line, sources, now_ns=lambda: self.now_ns)
        context = tls(self.line.web.certfile, self.line.web.keyfile)
        self.web = WebThread(app, self.line.web.host, self.line.web.port, context)
        self.url = self.web.start().rstrip("/")

    def close(self) -> None:
        self.web.close()
        self.actions.close()
