"""The separating stage under kill -9 and under overload: it may be skipped, counted; a window is never lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from separatedline import EVERY, WINDOW_NS, send, separated_line, windows
from torch import Tensor

from detectors.store import load_models
from monitor.cascade import OVERLOAD
from monitor.line_broker import WORKERS, messages, open_line_broker
from monitor.metrics import Metrics
from monitor.pipeline import Pipeline
from monitor.run import drained
from monitor.settings import Line
from monitor.stages import MaskStage
from streams import codec
from streams.broker import Broker
from streams.records import TOPIC_SCORES, TOPIC_WINDOWS, Identity, WindowScore
from streams.worker import BatchLimits, run_worker

CHILD = Path(__file__).with_name("separating_child.py")
ROOT = Path(__file__).parents[2]
COST_NS = 3_000_000_000
DEATHS = ("separating:2", "separated:2", "written:2", "flushed:1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def line(folder: Path) -> Line:
    return separated_line(folder)


def opened(line: Line, folder: Path) -> Broker:
    settings = line.broker.model_copy(update={"url": f"embedded:{folder}", "partitions": 2})
    return open_line_broker(line.model_copy(update={"broker": settings}))


def scores(broker: Broker) -> dict[Identity, list[WindowScore]]:
    """Every score that was written, by window."""
    found: defaultdict[Identity, list[WindowScore]] = defaultdict(list)
    for message in messages(broker, TOPIC_SCORES):
        score = codec.decode_score(message)
        found[score.identity].append(score)
    return found


def work(broker: Broker, pipeline: Pipeline, batch: int) -> None:
    run_worker(
        broker,
        WORKERS,
        (TOPIC_WINDOWS,),
        pipeline,
        limits=BatchLimits(batch, 0.0),
        stop=lambda: drained(broker),
    )


def test_killed_within_the_stage_nothing_is_lost(line: Line, folder: Path, tmp_path: Path) -> None:
    """Killed before, in and after separation: every accepted window has the score of a worker that never died."""
    sent = [*windows("fan-a", 99), *windows("fan-b", 98)]
    broker = opened(line, tmp_path / "killed")
    send(broker, sent)
    for death in (*DEATHS, ""):
        command = [sys.executable, str(CHILD), str(folder / "line.toml"), str(tmp_path / "killed"), death]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, check=False, timeout=120)
        assert done.returncode == (-signal.SIGKILL if death else 0), death
    found = scores(broker)
    assert drained(broker)
    broker.close()
    assert found.keys() == {one.identity for one in sent}
    assert sum(map(len, found.values())) > len(sent), "no window was done twice: no death fell where it was meant to"
    calm = opened(line, tmp_path / "calm")
    send(calm, sent)
    chained = line.model_copy(update={"chain": EVERY})
    work(calm, Pipeline(chained, {"fan": load_models(line.models / "fan")}, calm, clock_ns=lambda: 0), 8)
    for identity, (expected,) in scores(calm).items():
        for one in found[identity]:
            assert (one.status, one.path) == (expected.status, expected.path)
            assert one.score == pytest.approx(expected.score, abs=1e-3, nan_ok=True)
    calm.close()


def test_overload_sheds_separation_and_no_window(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window a second comes, separating one takes 3 s: the worker keeps up, counts what it skips, and scores all."""
    clock = [0]
    share = MaskStage.share

    def slow(self: MaskStage, log_mel: Tensor) -> Tensor:
        clock[0] += COST_NS * len(log_mel)
        return share(self, log_mel)

    monkeypatch.setattr(MaskStage, "share", slow)
    broker = opened(line, tmp_path / "slow")
    chained = line.model_copy(update={"chain": EVERY})
    pipeline = Pipeline(chained, {"fan": load_models(line.models / "fan")}, broker, clock_ns=lambda: clock[0])
    metrics = Metrics(chained)
    due = sorted([*windows("fan-a", 99, 240.0), *windows("fan-b", 98, 240.0)], key=lambda one: one.end_ns)
    waiting = list(due)
    behind_s = []
    while waiting:
        clock[0] = max(clock[0], waiting[0].end_ns)
        ready = [one for one in waiting if one.end_ns <= clock[0]]
        waiting = waiting[len(ready) :]
        send(broker, ready)
        behind_s.append((clock[0] - ready[0].end_ns) / 1e9)
        work(broker, pipeline, 4)
    found = scores(broker)
    broker.close()
    assert found.keys() == {one.identity for one in due}
    assert all(len(some) == 1 for some in found.values())
    for (one,) in found.values():
        metrics.scored(one)
    shed = [one for (one,) in found.values() if one.reason == OVERLOAD]
    kept = [one for (one,) in found.values() if one.status == "ok" and not one.reason]
    assert len(shed) > len(kept) > 0
    counted = sum(
        metrics.registry.get_sample_value("factory_ear_separation_skipped_total", {"machine": "fan", "mic": mic}) or 0
        for mic in ("fan-a", "fan-b")
    )
    assert counted == len(shed)
    assert max(behind_s) < EVERY.overload_s + (4 * COST_NS + 2 * WINDOW_NS) / 1e9
