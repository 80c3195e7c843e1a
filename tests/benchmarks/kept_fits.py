"""What detectors made of a data set, kept in a folder: a table that was cut off goes on where it stopped.

A fit is known by what was heard and by the sources that decide it: the module of its class and all that this imports
from `detectors` and `sds_engine`. Whoever changes one of them gets a new fit, and only of what depends on it; a fusion
that joins its members otherwise costs nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from dataclasses import fields
from functools import cache
from pathlib import Path

import numpy as np
import torch
from peers import Anything

from detectors.base import Detector
from monitor.evaluate_machine import Heard, Outcome
from monitor.evaluate_shared import Fitted, Shared

OURS = ("detectors", "sds_engine")


@cache
def sources(module: str) -> frozenset[str]:
    """The files that a module of ours consists of, its imports included."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        spec = importlib.util.find_spec(waiting.pop())
        if spec is None or spec.origin is None or spec.origin in seen:
            continue
        seen.add(spec.origin)
        nodes = ast.walk(ast.parse(Path(spec.origin).read_text("utf-8")))
        imports = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
        waiting += [name for name in imports if name.partition(".")[0] in OURS]
    return frozenset(seen)


def digest(module: str) -> str:
    """A short hash of these files."""
    found = hashlib.sha256()
    for path in sorted(sources(module)):
        found.update(Path(path).read_bytes())
    return found.hexdigest()[:16]


def heard_as(heard: Heard) -> str:
    """A short hash of a machine's evidence and its groups."""
    found = hashlib.sha256(heard.train_group.numpy().tobytes())
    for one in (heard.train, *(batch.evidence for batch in heard.batches)):
        for tensor in (one.log_mel, one.waveform):
            found.update(b"" if tensor is None else tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


class Kept(Shared):
    """`Shared` with a memory on disk."""

    def __init__(self, heard: Heard, folder: Path) -> None:
        super().__init__(heard.train, heard.train_group, [batch.evidence for batch in heard.batches])
        self._folder = folder
        self._heard = heard_as(heard)

    def fitted(self, detector: Detector) -> Fitted:
        """From the folder, or fitted and put there."""
        path = self._folder / f"{self._heard}-{detector.name}-{digest(type(detector).__module__)}.npz"
        if path.exists():
            with np.load(path) as stored:
                sizes = stored["sizes"].tolist()
                scores = torch.from_numpy(stored["scores"]).split(sizes)
                return Fitted(torch.from_numpy(stored["healthy"]), tuple(scores), *stored["seconds"].tolist())
        found = super().fitted(detector)
        self._folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            healthy=found.healthy.numpy(),
            scores=torch.cat(found.scores).numpy(),
            sizes=[len(one) for one in found.scores],
            seconds=[found.train_s, found.score_s],
        )
        return found


class KeptPeers:
    """What the peers made of a machine, in the same folder (None: nowhere); their own sources count, not ours."""

    def __init__(self, folder: Path | None, heard: Heard, key: str) -> None:
        here = Path(__file__).parent
        own = hashlib.sha256((here / "peers.py").read_bytes() + (here / "peer_autoencoder.py").read_bytes())
        name = f"{heard_as(heard)}-peers-{key}-{own.hexdigest()[:16]}.json"
        self._path = folder / name if folder else None
        self.found: dict[str, Outcome] = {}
        if self._path and self._path.exists():
            for name, row in json.loads(self._path.read_text("utf-8")).items():
                arrays = {key: np.array(row[key], dtype=np.float64) for key in ("statistic", "p")}
                self.found[name] = Outcome(**(row | arrays), calibration=Anything())  # type: ignore[arg-type] # no law

    def put(self, outcomes: dict[str, Outcome]) -> None:
        """Keep them."""
        self.found = outcomes
        if self._path:
            kept = {
                name: {key: value for key, value in vars_of(one).items() if key != "calibration"}
                for name, one in outcomes.items()
            }
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(kept), encoding="utf-8")


def vars_of(outcome: Outcome) -> dict[str, object]:
    """An outcome's fields, arrays as lists."""
    found = {field.name: getattr(outcome, field.name) for field in fields(outcome)}
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in found.items()}
