"""kill -9 at any named point: no alarm is lost and none gets a second id, by a ledger that the monitor never sees."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from watchline import T0, S, make_line, open_line_broker, score, send

from streams import codec
from streams.broker import TopicPartition
from streams.records import TOPIC_ALERTS, Alert

ODD = ((30, 60), (110, 140), (200, 235), (290, 320))  # the ledger: between these windows the press is odd
WINDOWS = 380
CHILD = Path(__file__).with_name("alarm_child.py")


def feed(folder: Path) -> None:
    broker = open_line_broker(make_line(folder, machines={"press": ("press-a",)}))
    odd = {index for first, last in ODD for index in range(first, last)}
    send(broker, [score("press-a", index, 4.0 if index in odd else 0.1) for index in range(WINDOWS)])
    broker.close()


def monitor(folder: Path, point: str = "", nth: int = 0, store: str = "whole") -> int:
    root = CHILD.parent.parent.parent
    done = subprocess.run(
        [sys.executable, str(CHILD), str(folder), store, point, str(nth)],
        env={"PYTHONPATH": f"{root}:{CHILD.parent}", "PATH": ""},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def announced(folder: Path) -> list[Alert]:
    broker = open_line_broker(make_line(folder, machines={"press": ("press-a",)}))
    found = []
    for partition in broker.bounds(TOPIC_ALERTS):
        found += [
            codec.decode_alert(message) for message in broker.read(TopicPartition(TOPIC_ALERTS, partition), 0, 999)
        ]
    broker.close()
    return [alert for alert in found if alert.level != "unknown"]


def check(alerts: list[Alert]) -> None:
    """Each odd stretch of the ledger has one alarm with one id, which has closed, and there is no other."""
    ids, closed = defaultdict(set), set()
    for alert in alerts:
        index = (alert.opened_ns - T0) // (2 * S)
        ids[next((odd for odd in ODD if odd[0] <= index <= odd[1]), None)].add(alert.alert_id)
        if alert.closed_ns:
            closed.add(alert.alert_id)
    assert set(ids) == set(ODD), "an alarm was lost or invented"
    assert all(len(names) == 1 for names in ids.values()), "an alarm got a second id"
    assert closed == set().union(*ids.values()), "an alarm was never closed"


POINTS = ("commit.before", "commit.inside", "commit.after", "publish.before", "publish.after")


def test_no_alarm_is_lost_and_none_is_renamed(tmp_path: Path) -> None:
    """Killed twice at each point around the transaction and the publishing, the line still tells each alarm once."""
    feed(tmp_path)
    kills = [monitor(tmp_path, point, nth) for nth in (2, 1) for point in POINTS]
    assert kills.count(-signal.SIGKILL) >= 8
    assert monitor(tmp_path) == 0
    alerts = announced(tmp_path)
    check(alerts)
    told = [(alert.alert_id, alert.updated_ns, alert.closed_ns) for alert in alerts]
    assert len(told) > len(set(told)), "a kill after publishing must have made a repetition"


def test_offsets_stored_before_their_alarms_are_caught(tmp_path: Path) -> None:
    """The same check fails for a store that commits the offsets first and is killed before the rest."""
    feed(tmp_path)
    assert monitor(tmp_path, "split", 2, store="offsets-first") == -signal.SIGKILL
    assert monitor(tmp_path, store="offsets-first") == 0
    with pytest.raises(AssertionError, match="lost or invented"):
        check(announced(tmp_path))
