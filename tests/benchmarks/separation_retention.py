"""What the separated path keeps of each kind of fault: its energy, and whether a detector still finds it.

Simulated machines, so the fault's own sound is known. A machine in a simulated hall, SNR_DB under the hall's noise, is
learned from healthy mixtures and from its own sound alone; then each of its faults comes, LEVEL_DB under the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from choice_worlds import LEVEL, RATE, SECONDS, Backgrounds, Sound, hall_pools, heard
from torch import Tensor

from detectors.base import Evidence
from detectors.neighbours import Neighbours
from detectors.paths import PATHS, Worst, machine_share
from monitor.stages import MaskStage
from sds_engine.physics.faults import FAULT_KINDS, FAULTS, Fault, add_fault
from sds_engine.physics.kinds import draw_machine
from sds_engine.physics.machines import Machine, draw_take, render_take
from sds_engine.separation.enrolment import site_statistics
from sds_engine.separation.extractor import load_extractor

SNR_DB, JITTER_DB, LEVEL_DB = -6.0, 3.0, -6.0
LEARN, TEST, ENROL = 16, 12, 3
COLUMNS = (*PATHS, "full")


def power(evidence: Evidence) -> Tensor:
    return 10.0 ** (evidence.log_mel / 10.0)


def kept(share: Tensor, part: Tensor) -> float:
    """How much of a part's power [batch, mel, frame] a share lets through."""
    return float((share * part).sum() / part.sum())


def auc(odd: Tensor, normal: Tensor) -> float:
    above = (odd[:, None] > normal[None]).double() + 0.5 * (odd[:, None] == normal[None]).double()
    return float(above.mean())


def takes(machine: Machine, count: int, rng: np.random.Generator) -> list[Sound]:
    return [render_take(draw_take(machine, SECONDS, RATE, rng)) for _ in range(count)]


def faulty(machine: Machine, kind: str, rng: np.random.Generator) -> tuple[list[Sound], list[Sound]]:
    """Recordings with the fault, and the fault's own part of each."""
    pairs = [
        add_fault(draw_take(machine, SECONDS, RATE, rng), Fault(kind, LEVEL_DB), int(rng.integers(2**31)))
        for _ in range(TEST)
    ]
    return [sound for sound, _ in pairs], [part for _, part in pairs]


class Scene:
    """One machine in its hall, learned: a stage, a detector for every path and their joint one."""

    def __init__(self, kind: str, seed: int) -> None:
        self.rng = np.random.default_rng([seed, sorted(FAULTS).index(kind), 4242])
        self.machine = draw_machine(kind, self.rng)
        self.hall = Backgrounds(hall_pools(self.rng, 4), self.rng)
        clean = takes(self.machine, LEARN, self.rng)
        self.gain = LEVEL / float(np.sqrt(np.mean(np.square(clean))))
        enrolment = [torch.from_numpy(self.gain * sound) for sound in clean[:ENROL]]
        train = self.mixed(clean, test=False)[0]
        self.stage = MaskStage(load_extractor()[0].net, site_statistics(enrolment)).learned(train)
        paths, groups = self.stage(train), torch.arange(LEARN)
        self.detectors = {path: Neighbours() for path in PATHS}
        statistics = torch.stack([self.detectors[path].cross_fit(paths[path], groups) for path in PATHS])
        self.worst, _ = Worst.settled(self.detectors, statistics, machine_share(paths))
        self.normal = self.scores(self.mixed(takes(self.machine, TEST, self.rng), test=True)[0])

    def mixed(self, sounds: Sequence[Sound], *, test: bool) -> tuple[Evidence, list[Sound]]:
        """The sounds in the hall, and the hall's part of each."""
        noises = []
        for _ in sounds:
            level = LEVEL * 10 ** ((-SNR_DB + self.rng.uniform(-JITTER_DB, JITTER_DB)) / 20)
            noises.append(level * self.hall.draw(rare=False, test=test, rng=self.rng))
        return heard([np.float32(self.gain * s + n) for s, n in zip(sounds, noises, strict=True)]), noises

    def scores(self, evidence: Evidence) -> dict[str, Tensor]:
        """The statistics [batch] of every path, and of the joint one."""
        paths = self.stage(evidence)
        statistics = {path: self.detectors[path].score(paths[path]) for path in PATHS}
        return {**statistics, "full": self.worst.join(torch.stack(list(statistics.values())))[0]}

    def row(self, fault: str) -> dict[str, Any]:
        """What is kept of the fault's, the machine's and the hall's power, and the AUC on every path."""
        sounds, parts = faulty(self.machine, fault, self.rng)
        evidence, noises = self.mixed(sounds, test=True)
        share = self.stage.share(evidence.log_mel)
        own = heard([np.float32(self.gain * part) for part in parts])
        healthy = heard([np.float32(self.gain * (s - p)) for s, p in zip(sounds, parts, strict=True)])
        found = self.scores(evidence)
        return {
            "fault": kept(share, power(own)),
            "machine": kept(share, power(healthy)),
            "hall": kept(share, power(heard(noises))),
            "auc": {name: auc(found[name], self.normal[name]) for name in COLUMNS},
        }


@torch.inference_mode()
def measure(seeds: int = 2) -> dict[str, Any]:
    """The means over machines that can have each fault (one of each kind of machine and seed)."""
    rows: dict[str, list[dict[str, Any]]] = {fault: [] for fault in FAULT_KINDS}
    for seed in range(seeds):
        for kind in sorted(FAULTS):
            scene = Scene(kind, seed)
            for fault in FAULTS[kind]:
                rows[fault].append(scene.row(fault))
    return {"seeds": seeds, "rows": {fault: _mean(some) for fault, some in rows.items()}}


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    energy = {name: float(np.mean([row[name] for row in rows])) for name in ("fault", "machine", "hall")}
    return {
        **energy,
        "machines": len(rows),
        "auc": {name: float(np.mean([row["auc"][name] for row in rows])) for name in COLUMNS},
    }


def section(found: Mapping[str, Any]) -> str:
    """The table of the page."""
    lines = [
        "| fault | machines | fault's power kept | machine's | hall's | "
        + " | ".join(f"AUC {name}" for name in COLUMNS)
        + " |",
        "|---|---:|---:|---:|---:|" + "---:|" * len(COLUMNS),
    ]
    for fault, row in found["rows"].items():
        aucs = " | ".join(f"{row['auc'][name]:.2f}" for name in COLUMNS)
        shares = " | ".join(f"{row[name]:.0%}" for name in ("fault", "machine", "hall"))
        lines.append(f"| {fault.replace('_', ' ')} | {row['machines']} | {shares} | {aucs} |")
    table = "\n".join(lines)
    return f"""## What is kept of a fault

Simulated machines of all kinds ({found["seeds"]} seeds) in simulated halls, {-SNR_DB:g} dB under the hall's noise (give
or take {JITTER_DB:g} dB); each fault at {LEVEL_DB:+g} dB of its machine. Power kept: of the fault's own sound, of the
healthy machine's and of the hall's, in the separated path; the rest is in the residual, nothing is lost. AUC: nearest
neighbour, faulty against healthy contexts, behind each path and behind all (`full`). The network is as it comes,
not adapted, enrolled with {ENROL} recordings of the machine alone.

{table}
"""
