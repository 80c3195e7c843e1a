"""What to do next: which machines and microphones first, which labels to collect, cloud or edge. Rules, no learning.

Machines. A machine is ready when at least half of its events were found and its false alarms are at or below the
break-even rate; unproven when it had no event; else it waits. Ready ones go by share found, then by false alarms.
Microphones. The fewest that between them found every event that was found (greedy cover, the next one always the one
that adds most); the others confirm and may come later. Only where the manifest names microphones.
Labels. `HEALTHY` recordings per machine carry a threshold of one in a hundred; machines without an event need faults.
Edge or cloud. Sound that people may be in stays; beyond that it is the rate: up to half of what this computer scored,
an edge box does it; above, several workers with Kafka. Raw sound is 256 kbit/s per microphone (16 kHz, 16 bit); above
`UPLINK_MBIT` the sound stays on the site and only scores leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from monitor.roi.measured import Figures, MachineFigures

HEALTHY = 99  # 1 / (n + 1) = one in a hundred
HALF = 0.5
KBIT_PER_MIC = 256.0
UPLINK_MBIT = 10.0

Kind = Literal["start", "wait_missed", "wait_false", "unproven", "mics", "healthy", "faults", "edge", "kafka", "uplink"]


@dataclass(frozen=True)
class Step:
    """One suggestion: what kind, and the facts that its sentence is made of."""

    kind: Kind
    facts: Mapping[str, Any]


def next_steps(
    figures: Figures,
    healthy: Mapping[str, int],
    break_even: float | None,
    *,
    machines: int,
    mics: int,
    window_s: float,
    windows_per_s: float | None,
    go: bool = True,
) -> list[Step]:
    """Suggestions in the order in which they should be read.

    healthy: healthy training recordings per machine; break_even: false alarms per machine and week (None: any number);
    mics: microphones of the whole service; go: whether the verdict is to start.
    """
    return [
        *_machines(figures, break_even, go=go),
        *_microphones(figures),
        *_labels(figures, healthy),
        *_place(machines, mics, window_s, windows_per_s),
    ]


def _machines(figures: Figures, break_even: float | None, *, go: bool) -> list[Step]:
    ready: list[MachineFigures] = []
    others: list[Step] = []
    for one in figures.machines:
        rate = one.false_alarms / one.weeks if one.weeks > 0 else None
        facts = {"machine": one.machine, "found": one.found, "events": one.events, "rate": rate, "limit": break_even}
        if not one.events:
            others.append(Step("unproven", facts))
        elif one.found < HALF * one.events:
            others.append(Step("wait_missed", facts))
        elif rate is None or (break_even is not None and rate > break_even):
            others.append(Step("wait_false", facts))
        else:
            ready.append(one)
    ready.sort(key=lambda one: (-one.found / one.events, one.false_alarms / one.weeks))
    return ([Step("start", {"machines": [one.machine for one in ready], "go": go})] if ready else []) + others


def _microphones(figures: Figures) -> list[Step]:
    steps = []
    for one in figures.machines:
        heard = [set(event.mics) for event in figures.outcomes if event.event.machine == one.machine and event.found]
        every = sorted(set().union(*heard)) if heard else []
        if not heard or not all(heard) or len(every) < 2:
            continue
        first = _cover(heard)
        steps.append(
            Step("mics", {"machine": one.machine, "first": first, "later": [m for m in every if m not in first]})
        )
    return steps


def _cover(heard: list[set[str]]) -> list[str]:
    """The microphones that a greedy cover of the found events takes, in its order."""
    left, chosen = list(heard), []
    while left:
        names = sorted(set().union(*left))
        best = max(names, key=lambda name: sum(name in one for one in left))
        chosen.append(best)
        left = [one for one in left if best not in one]
    return chosen


def _labels(figures: Figures, healthy: Mapping[str, int]) -> list[Step]:
    alike: dict[int, list[str]] = {}
    for name, count in healthy.items():
        if count < HEALTHY:
            alike.setdefault(count, []).append(name)
    steps = [
        Step("healthy", {"machines": names, "have": count, "more": HEALTHY - count, "floor": 1 / (count + 1)})
        for count, names in alike.items()
    ]
    missed = [one.event for one in figures.outcomes if not one.found]
    if missed:
        steps.append(Step("faults", {"events": [f"{one.machine}: {one.name}" for one in missed]}))
    return steps


def _place(machines: int, mics: int, window_s: float, windows_per_s: float | None) -> list[Step]:
    rate = mics / window_s
    facts = {"mics": mics, "machines": machines, "rate": rate, "capacity": windows_per_s}
    kind: Kind = "edge" if windows_per_s is not None and rate <= windows_per_s / 2 else "kafka"
    steps = [Step(kind, facts)]
    mbit = mics * KBIT_PER_MIC / 1000
    return [*steps, Step("uplink", {"mbit": mbit, "limit": UPLINK_MBIT, "stays": mbit > UPLINK_MBIT})]
