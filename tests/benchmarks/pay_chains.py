"""The chains of the ablation: raw sound, the separated path, and all paths joined as `run` joins them.

As in `monitor.evaluate_chain`: the separator learns the machine's usual levels, each path has a detector of its own,
the full chain joins their statistics (`detectors.paths.Worst`), and every chain is calibrated as one statistic. With
faults in training each path's detector has a head of its own, which heard the faulty contexts through the same stage.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pay_worlds import FRONT_END, WINDOW, World, sounds_of
from torch import Tensor

from detectors.base import Evidence
from detectors.calibrate import calibrate
from detectors.exposure import ExposedQuickFusion, Head, Values
from detectors.exposure_mix import Doses, Exposed, expose
from detectors.fusion import QuickFusion
from detectors.paths import PATHS, Worst, machine_share
from detectors.surroundings import kinds_of
from monitor.exposing import SOURCES
from monitor.site_sound import adapted_stage
from monitor.stages import Identity, Stage

CHAINS: dict[str, tuple[str, ...]] = {"raw": ("raw",), "separated": ("separated",), "full": PATHS}
DOSES = 96  # contexts with faults, the same for every source
ALPHA = 0.1


class Statistics(NamedTuple):
    """Of healthy contexts out of fold, of normal and of odd test contexts, each [batch]."""

    fold: Tensor
    normal: Tensor
    odd: Tensor


class OnePath(NamedTuple):
    """One path of a world, and what the fusion without faults says of it."""

    train: Evidence
    normal: Evidence
    odd: Evidence
    base: Statistics


def stage_of(world: World, chains: Sequence[str]) -> Stage:
    """The world's separator, enrolled but not fine-tuned; none where raw sound alone is asked for."""
    if set(chains) == {"raw"}:
        return Identity()
    assert world.site is not None
    stage, _ = adapted_stage(world.site, steps=0, seed=world.seed)
    return stage.learned(world.train)


def paths_heard(world: World, stage: Stage, wanted: Sequence[str]) -> tuple[dict[str, OnePath], float]:
    """The wanted paths, each with its base fitted, and the machine's share of raw sound."""
    train, normal, odd = (stage(one) for one in (world.train, world.normal, world.odd))
    found = {}
    for path in wanted:
        base = QuickFusion()
        fold = base.cross_fit(train[path], world.groups)
        statistics = Statistics(fold, base.score(normal[path]), base.score(odd[path]))
        found[path] = OnePath(train[path], normal[path], odd[path], statistics)
    return found, machine_share(train)


def with_faults(path: OnePath, exposed: Exposed, heard: Evidence, world: World) -> Statistics:
    """The path's statistics with a head beside its base; `heard` is the exposed contexts on that path."""
    head = Head(Values(Head.values(heard), exposed.group), world.seed)
    joint = ExposedQuickFusion()  # its base is fitted once for all sources
    fold = joint.settle(path.base.fold, head.cross_fit(path.train, world.groups), kinds_of(path.train))
    normal, odd = head.score(path.normal), head.score(path.odd)
    return Statistics(fold, joint.join(path.base.normal, normal), joint.join(path.base.odd, odd))


def joined(chain: str, found: Mapping[str, Statistics], share: float) -> Statistics:
    """The chain's statistics from its paths'."""
    if chain != "full":
        return found[chain]
    fold, normal, odd = (torch.stack(each) for each in zip(*(found[path] for path in PATHS), strict=True))
    worst, statistic = Worst.settled({}, fold, share)
    return Statistics(statistic, worst.join(normal)[0], worst.join(odd)[0])


@torch.inference_mode()
def measure(world: World, chains: Sequence[str], keep: Path) -> Iterator[dict[str, Any]]:
    """A row per source and chain: the statistics of the test contexts, and which of them are beyond the threshold."""
    with torch.inference_mode(mode=False):
        stage = stage_of(world, chains)
    wanted = [path for path in PATHS if any(path in CHAINS[chain] for chain in chains)]
    paths, share = paths_heard(world, stage, wanted)
    kinds = kinds_of(world.train)
    for source in SOURCES:
        began = time.process_time()
        found = {name: path.base for name, path in paths.items()}
        if source != "none":
            sounds = sounds_of(source, world, keep / "sds")
            exposed = expose(world.clips, world.chosen, sounds, FRONT_END, WINDOW, Doses(DOSES, seed=world.seed))
            heard = stage(exposed.evidence)
            found = {name: with_faults(path, exposed, heard[name], world) for name, path in paths.items()}
        spent_s = time.process_time() - began
        for chain in chains:
            yield _row(world, chain, source, joined(chain, found, share), kinds) | {"cpu_s": spent_s / len(chains)}


def _row(world: World, chain: str, source: str, found: Statistics, kinds: Tensor) -> dict[str, Any]:
    calibration = calibrate(found.fold, world.groups, kinds)
    return {
        "world": world.name,
        "family": world.family,
        "snr_db": world.snr_db,
        "seed": world.seed,
        "chain": chain,
        "source": source,
        "normal": found.normal.tolist(),
        "odd": found.odd.tolist(),
        "normal_recording": world.normal_recording.tolist(),
        "odd_recording": world.odd_recording.tolist(),
        "rare": world.rare.tolist(),
        "healthy_alarms": (calibration(found.normal).score >= -np.log10(ALPHA) - 1e-9).tolist(),
        "hits": (calibration(found.odd).score >= -np.log10(ALPHA) - 1e-9).tolist(),
    }
