"""How sure a rate of alarms on the development set is: files share recordings, background clips, and thresholds.

A test file is a real recording in three real background clips (make_dev_set.py draws them anew for every microphone and
seed), judged by a threshold from its seed's training recordings. Files that share any of these are not independent, in
five seeds over the same 40 recordings and 24 clips for each sort of background. The variance of a mean over crossed
groups is the sum of e_i e_j over the pairs of files that share a group (Cameron, Gelbach and Miller, "Robust inference
with multiway clustering", Journal of Business and Economic Statistics 29, 2011), which resampling groups would give in
the limit, save that resampling several sorts of groups at once counts each file's own scatter several times. The
interval is on the log odds, with Student's t of one degree of freedom less than the smallest number of groups.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

VIEWS = 8  # microphones of a recording, each with a background of its own
Shares = NDArray[np.bool_]  # [file, file]: whether two files share a group


class _Pool(list[NDArray[np.float32]]):
    """Stands for a kind's clips, and writes down which were drawn."""

    def __init__(self, kind: str, clips: int, drawn: list[str]) -> None:
        super().__init__([np.ones(1, dtype=np.float32)] * clips)
        self._kind, self._drawn = kind, drawn

    def __getitem__(self, number: Any) -> Any:
        self._drawn.append(f"{self._kind} {int(number)}")
        return super().__getitem__(number)


def tool_module(tool: Path) -> ModuleType:
    """make_dev_set.py as a module."""
    spec = importlib.util.spec_from_file_location("make_dev_set", tool)
    if spec is None or spec.loader is None:
        raise ValueError(f"{tool}: no Python file; give the path of make_dev_set.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def clips_of(made: ModuleType, counts: Mapping[str, int], recordings: Sequence[str], seed: int) -> dict[str, list[str]]:
    """The background clips of every test file `RECORDING-chN`, by the tool's own draws.

    counts: how many test clips each kind of background has.
    """
    found = {}
    for recording in recordings:
        for channel in range(VIEWS):
            drawn: list[str] = []
            pool = {(kind, True): _Pool(kind, count, drawn) for kind, count in counts.items()}
            rng = made.rng_for(recording, channel, seed)
            domain = "target" if rng.random() < 0.5 else "source"
            rng.uniform(-6, 6)  # the tool draws its level in between
            made.background(pool, domain, True, 1, rng)
            found[f"{recording}-ch{channel}"] = [domain, *drawn]
    return found


def groups(files: Sequence[Mapping[str, Any]], made: ModuleType) -> tuple[list[list[str]], list[list[str]]]:
    """Per file {"name", "recording", "domain", "seed"} its recording, and its clips.

    Raises ValueError where the tool's draws are not those of the files.
    """
    counts = {kind: len(clips) for (kind, test), clips in made.backgrounds().items() if test}
    heard: dict[int, dict[str, list[str]]] = {}
    for seed in sorted({file["seed"] for file in files}):
        mine = sorted({file["recording"] for file in files if file["seed"] == seed})
        heard[seed] = clips_of(made, counts, mine, seed)
    clips = []
    for file in files:
        domain, *drawn = heard[file["seed"]][file["name"]]
        if domain != file["domain"]:
            raise ValueError(f"{file['name']}: the background is {file['domain']}, the tool's draw is {domain}")
        clips.append(drawn)
    return [[file["recording"]] for file in files], clips


def shared(members: Sequence[Sequence[str]]) -> Shares:
    """Which files [file, file] have a group in common; members: the groups of each file."""
    names = sorted({name for each in members for name in each})
    inside = np.array([[name in each for name in names] for each in members], dtype=np.int64)
    return np.asarray(inside @ inside.T > 0)


def count(members: Sequence[Sequence[str]]) -> int:
    """How many groups there are."""
    return len({name for each in members for name in each})


def interval(values: NDArray[np.float64], *crossed: Sequence[Sequence[str]]) -> tuple[float, float]:
    """The 95% interval of the mean of values [file] in 0..1 over crossed groups, each given by its members per file."""
    rate, off = float(values.mean()), values - values.mean()
    if not 0.0 < rate < 1.0:
        return rate, rate
    related = np.logical_or.reduce([shared(members) for members in crossed])
    alone = [float(off @ shared(members) @ off) for members in crossed]
    variance = max(float(off @ related @ off), *alone, 0.0) / len(values) ** 2
    reach = float(student.ppf(0.975, min(count(members) for members in crossed) - 1))
    place, step = math.log(rate / (1 - rate)), reach * math.sqrt(variance) / (rate * (1 - rate))
    low, high = (1 / (1 + math.exp(-min(max(place + sign * step, -700.0), 700.0))) for sign in (-1, 1))
    return low, high
