"""A real fan, levelled so that loudness tells nothing: healthy recordings raise no alarm, faulty ones open one."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from prometheus_client import generate_latest

from monitor.alarm_store import AlarmStore
from monitor.ingest import ingest_line
from monitor.line_broker import open_line_broker
from monitor.rounds import Monitor
from monitor.run import judged
from monitor.score import score_files
from monitor.settings import Line, load_line
from monitor.train import train_line
from monitor.worker import work_line
from streams.records import TOPIC_WINDOWS, Alert

FAN = Path(__file__).parents[3] / "shared" / "data" / "mimii_fan_id00"
pytestmark = pytest.mark.skipif(not FAN.is_dir(), reason=f"needs {FAN}, which is not part of the project")
HEALTHY_TO_LEARN = 12


def levelled(path: Path, channels: list[int]) -> np.ndarray:
    sound = soundfile.read(path, dtype="float32")[0][:, channels]
    sound = sound - sound.mean(axis=0)
    return np.asarray(0.03 * sound / np.sqrt((sound**2).mean(axis=0)), dtype=np.float32)


def write_fan(folder: Path, channels: list[int]) -> Path:
    """Twelve healthy recordings to learn from, the others and the faulty ones to replay; a microphone per channel."""
    files = [*sorted((FAN / "normal").glob("*.flac")), *sorted((FAN / "abnormal").glob("*.flac"))]
    for number, path in enumerate(files):
        kind = "healthy" if number < HEALTHY_TO_LEARN else "good" if path.parent.name == "normal" else "bad"
        (folder / kind).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / kind / f"{path.stem}.wav", levelled(path, channels), 16_000, subtype="PCM_16")
    mics = "".join(
        f'[[machine.mic]]\nid = "fan-{n}"\nsource = "file:good/*.wav"\nspeed = 0\nchannel = {n}\n'
        for n in range(len(channels))
    )
    text = f'[broker]\nmin_free_mb = 0\n[[machine]]\nid = "fan"\nhealthy = "healthy"\n{mics}'
    (folder / "line.toml").write_text(text, encoding="utf-8")
    (folder / "bad.toml").write_text(text.replace("file:good/", "file:bad/"), encoding="utf-8")
    return folder


def replay(line: Line) -> tuple[list[Alert], str]:
    """Capture, score and judge everything the line's files hold; the alerts, and what /metrics says."""
    assert ingest_line(line, stop=lambda: False) == 0
    broker = open_line_broker(line)
    ends = sum(end for _, end in broker.bounds(TOPIC_WINDOWS).values())
    work_line(line, stop=lambda: sum(broker.committed("workers", TOPIC_WINDOWS).values()) >= ends)
    with AlarmStore(line.site.data / "alarms.sqlite") as store:
        store.own()
        monitor = Monitor(line, broker, store)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not judged(line, broker):
            monitor.tick(0.05)
        for _ in range(10):
            monitor.tick(0.05)
        metrics = generate_latest(monitor.metrics.registry).decode()
        monitor.finish()
        alerts = [update.alert for update in store.alerts()]
    broker.close()
    return alerts, metrics


@pytest.mark.parametrize("channels", [[0], [0, 1, 2, 3, 4, 5, 6, 7]], ids=["one microphone", "eight microphones"])
def test_the_real_fan(tmp_path: Path, channels: list[int]) -> None:
    """Trained on twelve healthy recordings: the other eight raise no alarm, the faulty ones open one with a clip."""
    write_fan(tmp_path, channels)
    line = load_line(tmp_path / "line.toml")
    train_line(line, quiet=True)
    alerts, metrics = replay(line)
    assert alerts == []
    assert 'factory_ear_alarm_level{machine="fan"} 0.0' in metrics
    alerts, metrics = replay(load_line(tmp_path / "bad.toml"))
    assert {alert.machine for alert in alerts} == {"fan"}
    assert {alert.level for alert in alerts} <= {"alert", "danger"}
    assert 'factory_ear_alarms_total{level="alert",machine="fan"}' in metrics
    clip, rate = soundfile.read(line.site.data / "evidence" / "clips" / f"{alerts[-1].clip}.flac")
    assert rate == 16_000
    assert len(clip) >= 10 * rate
    assert 0.01 < float(np.sqrt((clip**2).mean())) < 0.1


def test_score_draws_where_a_faulty_fan_differs(tmp_path: Path) -> None:
    """`score --plot` on real recordings: faulty ones score higher, and a picture is drawn."""
    write_fan(tmp_path, [3])
    line = load_line(tmp_path / "line.toml")
    train_line(line, quiet=True)
    files = [*sorted((tmp_path / "good").glob("*.wav"))[:4], *sorted((tmp_path / "bad").glob("*.wav"))[:4]]
    out = tmp_path / "scores.csv"
    score_files(files, line.models / "fan", out=out, plot=True)
    with out.open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["status"] == "ok"]
    good, bad = ([float(r["score"]) for r in rows if f"/{kind}/" in r["file"]] for kind in ("good", "bad"))
    assert np.median(bad) > np.median(good)
    assert (tmp_path / f"{files[-1].stem}.heat.png").stat().st_size > 20_000
