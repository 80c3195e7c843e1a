"""`factory-ear run` with real processes: it finds the fault, and killing any of them loses nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import psutil
import pytest
from hummingline import MACHINES, trained, write_line

from monitor.alarm_store import AlarmStore
from monitor.line_broker import messages, open_line_broker
from monitor.settings import Line, load_line
from streams import codec
from streams.records import TOPIC_ALERTS, TOPIC_SCORES, TOPIC_WINDOWS, Alert, Identity, WindowScore

ROOT = Path(__file__).parent.parent.parent
MICS = [mic for _, mics in MACHINES.values() for mic in mics]


def start(config: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "monitor.cli", "run", "-c", str(config), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outcome(line: Line) -> tuple[list[Identity], dict[Identity, WindowScore], int, list[Alert]]:
    """Identities in the windows topic, unique scores, how many scores there are in all, and the alerts."""
    broker = open_line_broker(line)
    accepted = [codec.decode_window(message).identity for message in messages(broker, TOPIC_WINDOWS)]
    found = [codec.decode_score(message) for message in messages(broker, TOPIC_SCORES)]
    broker.close()
    with AlarmStore(line.site.data / "alarms.sqlite") as store:
        alerts = [update.alert for update in store.alerts(1000)]
    return accepted, {score.identity: score for score in found}, len(found), alerts


def wait_for(process: subprocess.Popen[str], seconds: float = 150.0) -> str:
    try:
        text, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        text, _ = process.communicate()
        pytest.fail(f"run did not end: {text[-2000:]}")
    return text


def test_a_line_runs_to_its_end_and_finds_the_fault(tmp_path: Path) -> None:
    """All windows are scored once, the machine with the fault alarms with a clip that plays, the other does not."""
    config = write_line(tmp_path, live_s=240.0, fault=0.02)
    line = trained(config)
    process = start(config, "--once")
    text = wait_for(process)
    assert process.returncode == 0, text
    accepted, scores, total, alerts = outcome(line)
    assert Counter(identity.mic for identity in accepted) == dict.fromkeys(MICS, 120)
    assert set(accepted) == set(scores)
    assert total == len(scores)
    assert {alert.machine for alert in alerts} == {"fan"}
    assert "fan-a" in alerts[0].mics
    begin_ns = min(score.start_ns for score in scores.values())
    assert 120 <= (alerts[0].opened_ns - begin_ns) / 1e9 <= 200
    assert list((line.site.data / "evidence" / "clips").glob(f"{alerts[0].clip}.flac"))


def test_kill_any_process_at_any_time(tmp_path: Path) -> None:
    """`kill -9` of capture, worker and monitor in turn: every accepted window is scored, no alarm has a second id."""
    config = write_line(tmp_path, live_s=400.0, fault=0.02, speed=20.0)
    line = trained(config)
    process = start(config, "--once")
    killed = kill_children(process, times=9, every_s=2.0)
    text = wait_for(process, 200.0)
    assert process.returncode == 0, text
    assert sum(killed.values()) >= 6, killed
    assert set(killed) >= {"worker", "ingest", "monitor"}, killed
    accepted, scores, _, alerts = outcome(line)
    assert set(accepted) == set(scores)
    assert Counter(identity.mic for identity in set(accepted)) == dict.fromkeys(MICS, 200)
    broker = open_line_broker(line)
    told = [codec.decode_alert(message) for message in messages(broker, TOPIC_ALERTS)]
    broker.close()
    assert {alert.alert_id for alert in told} == {alert.alert_id for alert in alerts}
    openings = Counter((alert.machine, alert.opened_ns) for alert in alerts)
    assert max(openings.values()) == 1
    assert {alert.machine for alert in alerts} == {"fan"}


def kill_children(process: subprocess.Popen[str], times: int, every_s: float) -> Counter[str]:
    """Kill a child of the supervisor every so often, each kind in turn; counts whom."""
    killed: Counter[str] = Counter()
    dice = random.Random(0)
    kinds = ["worker", "ingest", "monitor"] * times
    for kind in kinds[:times]:
        time.sleep(every_s * dice.uniform(0.7, 1.3))
        if process.poll() is not None:
            break
        for child in psutil.Process(process.pid).children():
            with_arguments = child.cmdline()
            if kind in with_arguments:
                os.kill(child.pid, signal.SIGKILL)
                killed[kind] += 1
                break
    return killed


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    """`kill -9` of the supervisor itself: its processes notice and stop in order."""
    config = write_line(tmp_path, live_s=60.0, speed=1.0)
    trained(config)
    process = start(config)
    children = wait_until_up(process)
    process.kill()
    process.wait()
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert process.stdout
    process.stdout.close()
    assert not alive
    assert len(gone) == 3


def wait_until_up(process: subprocess.Popen[str]) -> list[psutil.Process]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = psutil.Process(process.pid).children()
        if len(children) == 3 and process.stdout and "page http" in process.stdout.readline():
            return children
        time.sleep(0.2)
    process.kill()
    pytest.fail("the line did not come up")


def test_a_stop_is_orderly(tmp_path: Path) -> None:
    """SIGTERM ends it with code 0; the page answered before, and a second run goes on where the first stopped."""
    config = write_line(tmp_path, live_s=30.0, speed=2.0)
    line = trained(config)
    process = start(config)
    pages: list[str] = []
    reader = threading.Thread(target=lambda: pages.extend(process.stdout or ()))
    reader.start()
    deadline = time.monotonic() + 60
    while not any("page http" in text for text in pages) and time.monotonic() < deadline:
        time.sleep(0.1)
    url = next(text for text in pages if "page http" in text).split("page ")[1].strip()
    with urllib.request.urlopen(url + "-/healthy", timeout=10) as answer:
        assert answer.status == 200
    time.sleep(6)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    reader.join()
    if process.stdout:
        process.stdout.close()
    text = wait_for(start(config, "--once"))
    accepted, scores, _, _ = outcome(line)
    assert set(accepted) == set(scores), text
    assert Counter(identity.mic for identity in set(accepted)) == dict.fromkeys(MICS, 15)


def test_a_damaged_model_refuses_to_start(tmp_path: Path) -> None:
    """One flipped bit in a model: the worker says which file, and scores nothing with it."""
    config = write_line(tmp_path, live_s=10.0)
    line = trained(config)
    tensors = next((line.models / "fan").glob("*.safetensors"))
    data = bytearray(tensors.read_bytes())
    data[-1] ^= 1
    tensors.write_bytes(data)
    command = [sys.executable, "-m", "monitor.cli", "worker", "-c", str(config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert tensors.name in done.stderr
    assert done.stderr.count("\n") == 1
    assert load_line(config) == line
