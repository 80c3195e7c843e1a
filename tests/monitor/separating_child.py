"""A worker with the separating stage on that kills itself at the n-th passage of a named point, in or around it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from detectors.store import load_models
from monitor.line_broker import WORKERS
from monitor.pipeline import Pipeline
from monitor.run import drained
from monitor.settings import Chain, load_line
from monitor.stages import MaskStage
from streams.embedded.broker import EmbeddedBroker
from streams.embedded.store import Options
from streams.records import TOPIC_WINDOWS
from streams.worker import BatchLimits, run_worker

EVERY = Chain(stages=("raw", "separated"), cascade=False)
BATCH = 8
LEASE_S = 5.0  # longer than a batch takes on a busy machine, or nothing could ever be committed


def killer(at: str) -> Callable[[str], None]:
    """A probe that ends this process as `kill -9` does, at point:n."""
    name, _, number = at.partition(":")
    left = [int(number or 0)]

    def probe(point: str) -> None:
        if point == name:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return probe


def main(config: str, folder: str, death: str = "") -> None:
    """Score what there is and end; or die first."""
    torch.set_num_threads(1)
    probe = killer(death)
    share = MaskStage.share

    def probed(self: MaskStage, log_mel: Tensor) -> Tensor:
        probe("separating")
        made = share(self, log_mel)
        probe("separated")
        return made

    MaskStage.share = probed  # type: ignore[method-assign]  # the point of this child
    line = load_line(Path(config))
    line = line.model_copy(update={"chain": EVERY, "machine": line.machine[:1]})
    broker = EmbeddedBroker(folder, options=Options(lease_s=LEASE_S, min_free_bytes=0))
    models = {"fan": load_models(line.models / "fan")}
    run_worker(
        broker,
        WORKERS,
        (TOPIC_WINDOWS,),
        Pipeline(line, models, broker, clock_ns=lambda: 0),
        limits=BatchLimits(BATCH, 0.05),
        stop=lambda: drained(broker),
        probe=probe,
    )
    broker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
