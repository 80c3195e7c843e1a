"""kill -9 at any point: what a person was told is done is there, with its entry, and the audit log has no hole."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from monitor.action_store import ActionStore
from monitor.alarm_store import AlarmStore
from monitor.alarms import Update
from monitor.words import Facts
from streams.records import Alert

CHILD = Path(__file__).with_name("action_child.py")
POINTS = [f"{action}.{point}" for action in ("acknowledge", "shelve") for point in ("before", "inside", "after")]


def work(path: Path, point: str = "", nth: int = 0) -> tuple[int, list[str]]:
    root = CHILD.parent.parent.parent
    done = subprocess.run(
        [sys.executable, str(CHILD), str(path), point, str(nth)],
        env={"PYTHONPATH": f"{root}:{CHILD.parent}", "PATH": ""},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, done.stdout.split("\n")[:-1]


def test_what_was_told_is_kept_and_the_log_is_whole(tmp_path: Path) -> None:
    """Killed before, inside and after each transaction, the store has all that was confirmed, and one chain."""
    path = tmp_path / "alarms.sqlite"
    with AlarmStore(path) as alarms:
        updates = [Update(Alert(f"a{n}", "press", "alert", n, n), Facts("odd", 0, ())) for n in range(8)]
        alarms.commit(updates=updates)
    told, kills = [], 0
    for number, point in enumerate(POINTS):
        code, lines = work(path, point, 1 + number % 2)
        kills += code == -signal.SIGKILL
        told += lines
    assert kills == len(POINTS)
    told += work(path)[1]
    with ActionStore(path, ("press",)) as store:
        assert store.audit_faults() == []
        kept = [(entry.action, entry.who) for entry in reversed(store.audit(limit=1000))]
        assert [entry.number for entry in store.audit(limit=1000)] == list(range(len(kept), 0, -1))
        for line in told:
            action, turn = line.split(" ")
            assert (action, f"worker {turn}") in kept
        assert len(kept) - len(told) <= kills  # at most what was done and could not be told any more
        standing = store.standing([f"a{n}" for n in range(8)])
        assert {one.who for one in standing.acknowledged.values()} <= {who for _, who in kept}
        assert standing.shelves["press"].who == kept[-1][1]
