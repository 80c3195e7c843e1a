"""`factory-ear worker`: one process that turns windows into scores until it is stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from detectors.store import load_models
from monitor.console import warn
from monitor.line_broker import WORKERS, open_line_broker
from monitor.pipeline import Pipeline
from monitor.processes import Stop
from monitor.settings import Line
from streams.records import TOPIC_WINDOWS
from streams.worker import BatchLimits, WorkerTotals, run_worker


def work_line(line: Line, *, stop: Stop) -> int:
    """Score until `stop`. Raises ModelError where a model is damaged or foreign: it refuses to start."""
    torch.set_num_threads(line.chain.threads)
    models = {machine.id: load_models(line.models / machine.id) for machine in line.machine}
    broker = open_line_broker(line, stop=stop)
    try:
        _run_worker(line)(
            broker,
            WORKERS,
            (TOPIC_WINDOWS,),
            Pipeline(line, models, broker),
            limits=BatchLimits(line.chain.max_batch, line.chain.max_wait_s),
            stop=stop,
        )
    finally:
        broker.close()
    return 0


def _run_worker(line: Line) -> Callable[..., WorkerTotals]:
    """The same loop on either broker; on Kafka Faust feeds it."""
    if not line.broker.url.startswith("kafka://"):
        return run_worker
    from streams.faust_app.consumer import ConsumerStuck
    from streams.faust_app.worker import run_faust_worker

    def run(*given: Any, **options: Any) -> WorkerTotals:  # noqa: ANN401  # passed on as they are
        try:
            return run_faust_worker(*given, **options)
        except ConsumerStuck as error:  # its threads would keep the process: nothing may hold the partitions
            warn(str(error))
            os._exit(1)

    return run
