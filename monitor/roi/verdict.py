"""Go, extend the trial (by what), or stop: rules that a manager can check, in their order.

1. stop, `ideal`: even if every fault were found in time without a false alarm, NPV is not above 0.
2. extend, `no_healthy`: no healthy machine was listened to, so nothing is known of false alarms.
3. stop, `loses`: with the best that the intervals allow (most found and early, fewest false alarms) NPV is not above 0.
4. extend, `few`: fewer than `LEAST_FAULTS` events. Cannot tell yet, however good it looks.
5. go: NPV is above 0 in at least nine of ten draws.
6. extend, `short`: in at most one of ten, but even without a single false alarm so short a trial could not have shown
   that they are few enough. What it did not listen to is no reason to stop.
7. stop, `unlikely`: in at most one of ten. extend, `open`: in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitor.roi.chances import Known, inputs_at
from monitor.roi.costs import Costs
from monitor.roi.intervals import exposure_needed, faults_needed, poisson
from monitor.roi.measured import Figures
from monitor.roi.money import Inputs, break_even_false_alarms, break_even_found, npv

Answer = Literal["go", "extend", "stop"]
Reason = Literal["ideal", "no_healthy", "loses", "few", "pays", "unlikely", "short", "open"]

LEAST_FAULTS = 5
SURE = 0.9


@dataclass(frozen=True)
class Verdict:
    """The answer and why. `chance` is the share of draws with NPV above 0; None where nothing could be drawn.

    `more_faults` and `more_weeks` (machine-weeks of healthy service) would narrow the intervals enough; None: no such
    number within reach, 0: not what is missing.
    """

    answer: Answer
    reason: Reason
    chance: float | None
    more_faults: int | None = 0
    more_weeks: float | None = 0.0


def decide(figures: Figures, known: dict[str, Known], costs: Costs, machines: int, drawn: Inputs | None) -> Verdict:
    """The verdict on a trial; `drawn` are the Monte Carlo's inputs, None without healthy exposure."""
    chance = None if drawn is None else float(np.mean(np.asarray(npv(drawn)) > 0))
    ideal = inputs_at(known, costs, machines, found=1.0, early=1.0, false_alarms=0.0)
    if npv(ideal) <= 0:
        return Verdict("stop", "ideal", chance)
    if chance is None:
        return Verdict("extend", "no_healthy", None, max(0, LEAST_FAULTS - figures.events), None)
    found = known["found"].high if "found" in known else 1.0
    best = ideal.at(found=found, early=known["early"].high, false_alarms=known["false_alarms"].low)
    if npv(best) <= 0:
        return Verdict("stop", "loses", chance)
    if figures.events < LEAST_FAULTS:
        return _extend("few", chance, figures, known, costs, machines)
    if chance >= SURE:
        return Verdict("go", "pays", chance)
    if chance <= 1 - SURE:
        if too_short(figures, known, costs, machines):
            return _extend("short", chance, figures, known, costs, machines)
        return Verdict("stop", "unlikely", chance)
    return _extend("open", chance, figures, known, costs, machines)


def too_short(figures: Figures, known: dict[str, Known], costs: Costs, machines: int) -> bool:
    """Whether not even a trial as long without a single false alarm could have shown that few enough come to pay."""
    shrunk = (figures.found + 0.5) / (figures.events + 1)
    limit = break_even_false_alarms(inputs_at(known, costs, machines, found=shrunk))
    high = poisson(0, figures.weeks)[1]
    return limit is not None and limit > 0 and (high is None or high > limit)


def _extend(
    reason: Reason, chance: float, figures: Figures, known: dict[str, Known], costs: Costs, machines: int
) -> Verdict:
    """What would settle it, one figure at a time with the others at their values."""
    shrunk = (figures.found + 0.5) / (figures.events + 1)
    at_values = inputs_at(known, costs, machines, found=shrunk)
    least = max(0, LEAST_FAULTS - figures.events)
    share = break_even_found(at_values)
    faults = None if share is None else faults_needed(figures.found, figures.events, min(max(share, 0.0), 1.0))
    if not figures.events or (share is not None and not 0 < share < 1):
        faults = 0  # nobody knows the rate, or no share found would change the answer: the false alarms decide
    rate = break_even_false_alarms(at_values)
    weeks: float | None = 0.0
    if rate is not None and rate > 0:
        weeks = exposure_needed(figures.false_alarms, figures.weeks, rate)
    return Verdict("extend", reason, chance, None if faults is None else max(faults, least), weeks)
