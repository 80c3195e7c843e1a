"""Whether the levels that a microphone's own sound foretells hold for faults that are injected into the demo's hall.

Foretold: `monitor.detectable` on the healthy recordings that the model learned from, with faults of the makers.
Checked: faults of `sds_engine.physics.faults`, through the machine's own body and the hall to the microphone, in
moments that the model never heard. Both in dB over the healthy sound at the microphone.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from detectors.model import Clip, fit_model
from monitor.alarm_plan import plan
from monitor.detectable import Audible, Pair, hear_levels, pairs_of
from monitor.exposing import FaultOrder, machine_physics
from monitor.settings import Alarms
from monitor.train_faults import library
from sds_engine.physics.faults import FAULTS
from sds_engine.physics.hall import FaultEvent
from sds_engine.physics.line import SimulatedLine, demo_line

MICS = ("fan-1", "pump-1", "gearbox-1", "press-1", "conveyor-1")
RECORDINGS, SECONDS, SESSIONS = 24, 10.0, 6
INJECTED_DB = 0.0  # over the machine at 1 m; scaled afterwards


def _stretch(line: SimulatedLine, mic: str, number: int, faults: Sequence[FaultEvent] = ()) -> torch.Tensor:
    blocks = line.blocks(SECONDS, faults, [mic], number=number)
    return torch.from_numpy(np.concatenate([block[mic] for block in blocks]))


def _injected(line: SimulatedLine, mic: str) -> list[Pair]:
    machine = line.mics[mic]
    found = []
    for number in range(SESSIONS):
        healthy = _stretch(line, mic, number)
        level = healthy.square().mean().sqrt()
        for kind in FAULTS[machine]:
            fault = FaultEvent(machine, kind, 0.0, SECONDS + 10.0, INJECTED_DB)
            part = _stretch(line, mic, number, [fault]) - healthy
            found.append(Pair(kind, healthy, part * (level / part.square().mean().sqrt())))
    return found


def measure_levels(done: Collection[str], seed: int = 0) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A row per fault, for each microphone that is not done yet."""
    line = demo_line(seed)
    for mic in MICS:
        if mic in done:
            continue
        began = time.process_time()
        machine = line.mics[mic]
        healthy = line.training(mic, RECORDINGS, SECONDS)
        clips = [Clip(torch.from_numpy(sound), str(number)) for number, sound in enumerate(healthy)]
        model = fit_model(clips, detector="quick-fusion", grouped=True, kinematics=None)
        order = FaultOrder(FAULTS[machine], seed=9000, prompt=machine, physics=machine_physics(healthy))
        threshold = plan(model.effective_n, model.context_s, Alarms()).threshold
        fitted = time.process_time()
        foretold = {one.kind: one for one in hear_levels(model, pairs_of(model, clips, library(order)), threshold)}
        took = time.process_time() - fitted
        checked = {one.kind: one for one in hear_levels(model, _injected(line, mic), threshold)}
        rows = [
            {"mic": mic, "kind": kind, "foretold": _figures(foretold[kind]), "injected": _figures(checked[kind])}
            for kind in FAULTS[machine]
        ]
        print(mic, round(took), "s of", round(time.process_time() - began), rows[-1], flush=True)
        yield mic, rows


def _figures(one: Audible) -> list[float | None]:
    """At 50% and 90%, and the interval of the first; None is never."""
    values = (one.at(0.5), one.at(0.9), *one.interval(0.5))
    return [round(x, 2) if np.isfinite(x) else None for x in values]


def levels_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The table of all rows, and how far foretold and injected levels lie apart."""
    lines = [
        "## From which level on a fault is heard, foretold and injected",
        "",
        "Five microphones of the demo's hall (`factory-ear train --levels`, `monitor/detectable.py`). Level in dB over",
        "all that the microphone hears when healthy, at which half and nine in ten of the cases reach the alarm",
        f"threshold. Foretold: from {RECORDINGS} healthy recordings and the makers' faults. Injected: {SESSIONS} other",
        "moments, faults of the simulated machine itself, through hall and distance. `never`: not at +12 dB.",
        "",
        "| microphone | fault | foretold 50% [95%] | foretold 90% | injected 50% [95%] | injected 90% |",
        "|---|---|---|---:|---|---:|",
    ]
    for row in rows:
        cells = []
        for name in ("foretold", "injected"):
            half, most, low, high = ("never" if x is None else f"{x:+.0f}" for x in row[name])
            cells += [f"{half} [{low}, {high}]", most]
        lines.append(f"| {row['mic']} | {row['kind'].replace('_', ' ')} | {' | '.join(cells)} |")
    both = [row for row in rows if None not in (row["foretold"][0], row["injected"][0])]
    off = np.array([row["foretold"][0] - row["injected"][0] for row in both])
    order = np.corrcoef(*(np.argsort(np.argsort([row[name][0] for row in both])) for name in ("foretold", "injected")))[
        0, 1
    ]
    size = np.abs(off)
    lines += [
        "",
        f"Over {len(both)} of {len(rows)} cases with both figures: foretold less injected is {off.mean():+.1f} dB on",
        f"average, {size.mean():.1f} dB in size, {size.max():.0f} dB at worst; rank correlation {order:.2f}.",
        "",
    ]
    return lines
