"""The same line on Kafka by changing one line of its settings: the same windows, scores and alarms."""

import subprocess
import sys
from pathlib import Path

import pytest
from hummingline import trained, write_line
from kafka_server import KafkaServer

from monitor.alarm_store import AlarmStore
from monitor.line_broker import WORKERS, messages, open_line_broker
from monitor.settings import load_line
from streams import codec
from streams.records import TOPIC_SCORES, TOPIC_WINDOWS

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.xdist_group("kafka")

Seen = tuple[dict[tuple[str, int], tuple[str, float]], list[tuple[object, ...]]]


def run_once(config: Path) -> Seen:
    """Scores by microphone and number, and the alarms with their times since the stream began."""
    command = [sys.executable, "-m", "monitor.cli", "run", "-c", str(config), "--once"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    line = load_line(config)
    broker = open_line_broker(line)
    scores = [codec.decode_score(message) for message in messages(broker, TOPIC_SCORES)]
    done_up_to = sum(broker.committed(WORKERS, TOPIC_WINDOWS).values())
    assert done_up_to == len(list(messages(broker, TOPIC_WINDOWS)))
    broker.close()
    begin_ns = min(score.start_ns for score in scores)
    with AlarmStore(line.site.data / "alarms.sqlite") as store:
        alerts = [update.alert for update in store.alerts(1000)]
    alarms = [
        (a.machine, a.level, a.mics, a.opened_ns - begin_ns, a.closed_ns and a.closed_ns - begin_ns) for a in alerts
    ]
    return {(s.mic, s.sequence): (s.status, round(s.score, 6)) for s in scores}, alarms


def test_one_line_of_settings_and_the_same_alarms(tmp_path: Path, kafka_server: KafkaServer) -> None:
    """`run` on Kafka scores every window as `run` on the embedded broker does, and raises the same alarms."""
    seen = {}
    for name, url in (("embedded", "embedded:data/broker"), ("kafka", kafka_server.url)):
        folder = tmp_path / name
        folder.mkdir()
        config = write_line(folder, live_s=240.0, fault=0.02)
        config.write_text(config.read_text().replace("[broker]\n", f'[broker]\nurl = "{url}"\n'))
        trained(config)
        seen[name] = run_once(config)
    assert len(seen["kafka"][0]) == 3 * 120
    assert repr(seen["kafka"][0]) == repr({key: seen["embedded"][0][key] for key in seen["kafka"][0]})  # NaN is NaN
    assert seen["kafka"][1] == seen["embedded"][1]
    assert {alarm[0] for alarm in seen["kafka"][1]} == {"fan"}
