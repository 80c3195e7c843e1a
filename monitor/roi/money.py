"""The arithmetic: numbers in, money out. Every field may also be an array of draws [draw]; then so is every result.

    saved a year       = machines x failures x found x early x acted on x (unplanned - planned)
    inspections a year = machines x false alarms a week x 52.18 x inspection
    net a year         = saved - inspections - 12 x running
    NPV                = -investment + net x (1 - (1 + d)^-years) / d
    payback            = investment / net, in months

The first line counts avoided costs; NPV and the annuity factor are those of any textbook (Brealey, Myers and Allen,
Principles of Corporate Finance, ch. 2). docs/roi.md says more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

WEEKS_A_YEAR = 365.25 / 7

Number = float | NDArray[np.float64]


@dataclass(frozen=True)
class Inputs:
    """What the money follows from. Rates are per machine: failures a year, false alarms a week; shares are 0..1."""

    machines: Number
    failures: Number
    found: Number
    early: Number
    acted_on: Number
    false_alarms: Number
    unplanned: Number
    planned: Number
    inspection: Number
    running_month: Number
    investment: Number
    discount: Number
    years: int

    def at(self, **given: Number) -> Inputs:
        """The same with some figures given anew."""
        return replace(self, **cast("Any", given))


def saved_a_year(given: Inputs) -> Number:
    """What early warnings save. A planned repair that costs more than the failure saves nothing, and is not made."""
    each = np.maximum(np.subtract(given.unplanned, given.planned), 0.0)
    return given.machines * given.failures * given.found * given.early * given.acted_on * each


def inspections_a_year(given: Inputs) -> Number:
    """What false alarms cost."""
    return given.machines * given.false_alarms * WEEKS_A_YEAR * given.inspection


def net_a_year(given: Inputs) -> Number:
    """What is left of a year, before the investment."""
    return saved_a_year(given) - inspections_a_year(given) - 12.0 * given.running_month


def annuity(discount: Number, years: int) -> Number:
    """What one unit a year for `years` is worth today, paid at the ends of the years."""
    rate = np.asarray(discount, dtype=np.float64)
    factor = sum((1.0 + rate) ** -year for year in range(1, years + 1))
    return factor if np.ndim(discount) else float(factor)


def npv(given: Inputs) -> Number:
    """Net present value over the horizon."""
    return net_a_year(given) * annuity(given.discount, given.years) - given.investment


def payback_months(given: Inputs) -> float | None:
    """Months until the investment is earned back, undiscounted; None where it never is. Numbers only, no draws."""
    net = float(net_a_year(given))
    if net <= 0:
        return None
    return float(given.investment) / net * 12.0


def break_even_false_alarms(given: Inputs) -> float | None:
    """The false alarms per machine and week at which NPV is 0; below 0: none are few enough.

    None where inspections cost nothing: then no number of false alarms decides.
    """
    each = float(given.machines) * WEEKS_A_YEAR * float(given.inspection)
    if each <= 0:
        return None
    room = net_a_year(given.at(false_alarms=0.0)) - given.investment / annuity(given.discount, given.years)
    return float(room) / each


def break_even_found(given: Inputs) -> float | None:
    """The share of faults found at which NPV is 0; above 1: not even all pay. None: finding them saves nothing."""
    all_of_them = float(saved_a_year(given.at(found=1.0)))
    if all_of_them <= 0:
        return None
    spent = float(given.investment) / float(annuity(given.discount, given.years))
    return (float(inspections_a_year(given)) + 12.0 * float(given.running_month) + spent) / all_of_them
