"""How often a fault gets its right name: simulated machines, faults by other code than the library's.

The namer learns from the makers' faults in twelve healthy recordings; it is asked about faults of
`sds_engine.physics.faults` in other recordings of the same machine, and about the same faults once some of them were
confirmed by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from choice_worlds import RATE, SECONDS
from pay_worlds import CONTEXT, FRONT_END, WINDOW

from detectors.exposure_mix import Doses, expose, heard
from detectors.recordings import Clip, choose_contexts
from monitor.exposing import FaultOrder, Source, fault_sounds, machine_physics
from monitor.naming import Confirmed, Namer
from monitor.naming_store import EACH, HIGH_DB, LOW_DB, MIXED
from sds_engine.physics.faults import FAULTS, Fault, add_fault
from sds_engine.physics.kinds import draw_machine
from sds_engine.physics.machines import draw_take, render_take

MACHINES = ("fan", "pump", "compressor")
LEVELS = (0.0, -6.0, -12.0)
LEARN, TEST = 12, 5  # recordings; cases of each kind and level, of which the first three may be confirmed
CONFIRMED = (0, 1, 3)


def namer_of(kind: str, seed: int) -> tuple[Namer, Any, np.random.Generator]:
    """A namer for a new individual, the individual, and the random numbers to go on with."""
    rng = np.random.default_rng([seed, 74])
    machine = draw_machine(kind, rng)
    sounds = [render_take(draw_take(machine, SECONDS, RATE, rng)) for _ in range(LEARN)]
    clips = [Clip(torch.from_numpy(sound), str(number)) for number, sound in enumerate(sounds)]
    chosen = choose_contexts(clips, WINDOW, RATE, CONTEXT, grouped=True, seed=0)
    physics = machine_physics(sounds)
    library = []
    for number in range(EACH):
        source: Source = "adapted" if number % 2 else "physics"
        library += fault_sounds(source, FaultOrder(FAULTS[kind], len(FAULTS[kind]), number, kind, physics))
    doses = Doses(MIXED * len(library), LOW_DB, HIGH_DB, seed)
    exposed = expose(clips, chosen, library, FRONT_END, WINDOW, doses)
    healthy = heard([clip.samples for clip in clips], FRONT_END, WINDOW)
    return Namer.fit(healthy, exposed, [one.kind for one in library], seed), machine, rng


def measure_naming(
    done: Collection[str], seeds: Sequence[int] = (0, 1, 2)
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A row per case, level and number of confirmed windows, for each individual that is not done yet."""
    for seed in seeds:
        for kind in MACHINES:
            if f"{kind} {seed}" in done:
                continue
            rows: list[dict[str, Any]] = []
            namer, machine, rng = namer_of(kind, seed)
            for level in LEVELS:
                cases = [(fault, number) for fault in FAULTS[kind] for number in range(TEST)]
                sounds = []
                for fault, _ in cases:
                    take = draw_take(machine, SECONDS, RATE, rng)
                    sounds.append(torch.from_numpy(add_fault(take, Fault(fault, level), int(rng.integers(2**31)))[0]))
                with torch.inference_mode():
                    rows += _asked(namer, cases, namer.departure(heard(sounds, FRONT_END, WINDOW)), kind, level)
            yield f"{kind} {seed}", rows


def _asked(
    namer: Namer, cases: Sequence[tuple[str, int]], departures: torch.Tensor, kind: str, level: float
) -> list[dict[str, Any]]:
    """A row per case that is never confirmed, and number of confirmed windows of each fault."""
    found = []
    for count in CONFIRMED:
        known = [
            Confirmed(fault, row) for (fault, number), row in zip(cases, departures, strict=True) if number < count
        ]
        for (fault, number), row in zip(cases, departures, strict=True):
            if number < max(CONFIRMED):
                continue
            names = namer.names(row, known)
            found.append(
                {
                    "machine": kind,
                    "level": level,
                    "confirmed": count,
                    "fault": fault,
                    "first": names[0].kind == fault,
                    "three": fault in [one.kind for one in names],
                    "share": names[0].share,
                    "chance": 1.0 / len(namer.kinds),
                }
            )
    return found


def _mean(rows: Sequence[dict[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def naming_figures(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = sorted({(row["level"], row["confirmed"]) for row in rows}, key=lambda one: (-one[0], one[1]))
    found = []
    for level, count in keys:
        own = [row for row in rows if (row["level"], row["confirmed"]) == (level, count)]
        values = {key: round(_mean(own, key), 3) for key in ("first", "three", "share", "chance")}
        found.append({"level": level, "confirmed": count, "cases": len(own), **values})
    return found


def naming_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The table over all individuals, and the faults one by one."""
    lines = [
        "## Naming: is it the right name?",
        "",
        f"{len(MACHINES)} kinds of simulated machine, several individuals each. The library's faults come from the",
        "makers, those that are asked about from `sds_engine.physics.faults`, at a level over the machine.",
        "Confirmed: so many windows of each fault, from other recordings at that level, were given their name by",
        "staff. Sure: the share that the first name claims, on average; it should be near that of right first names.",
        "",
        "| level | confirmed windows | right name first | among the names told | sure | chance |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for one in naming_figures(rows):
        cells = " | ".join(f"{one[key]:.2f}" for key in ("first", "three", "share", "chance"))
        lines.append(f"| {one['level']:+g} dB | {one['confirmed']} | {cells} |")
    plain = [row for row in rows if row["confirmed"] == 0]
    faults = sorted({row["fault"] for row in plain})
    each = {fault: _mean([row for row in plain if row["fault"] == fault], "first") for fault in faults}
    told = ", ".join(
        f"{fault.replace('_', ' ')} {share:.2f}" for fault, share in sorted(each.items(), key=lambda x: -x[1])
    )
    return [*lines, "", f"Right first, without confirmed windows, by fault: {told}.", ""]
