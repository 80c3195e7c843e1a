"""The money with uncertain numbers: scenarios, a seeded Monte Carlo, and how much each assumption matters.

Measured figures are drawn from their posteriors (`intervals.draw_share`, `draw_rate`), assumptions from triangular laws
that reach `uncertainty` to both sides (JCGM 101:2008 6.4.5). Everything is drawn by inversion from the same uniform
numbers, so that two trials compare draw by draw: more false alarms never pay better in any of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitor.errors import WorkFailed
from monitor.roi.costs import Costs
from monitor.roi.intervals import Array, Pair, draw_rate, draw_share, poisson, wilson
from monitor.roi.measured import Figures
from monitor.roi.money import Inputs, Number, npv

DRAWS = 4000
MEASURED = ("found", "early", "false_alarms", "failures")
ASSUMED = ("unplanned", "planned", "inspection", "running_month", "investment", "acted_on", "discount")
SHARES = ("early", "acted_on", "found")


@dataclass(frozen=True)
class Known:
    """A figure: its value and its interval. `measured` says whether the trial gave it, else costs.toml assumed it."""

    value: float
    low: float
    high: float
    measured: bool


@dataclass(frozen=True)
class Bar:
    """One bar of the tornado: NPV with the figure at its low and at its high end."""

    name: str
    low: float
    high: float
    npv_low: float
    npv_high: float

    @property
    def swing(self) -> float:
        """How much it moves the NPV."""
        return abs(self.npv_high - self.npv_low)


def around(value: float, costs: Costs, *, share: bool = False) -> Known:
    """An assumption and how far it may be off."""
    low, high = value * (1 - costs.uncertainty), value * (1 + costs.uncertainty)
    return Known(value, low, min(1.0, high) if share else high, measured=False)


def known_figures(figures: Figures, costs: Costs) -> dict[str, Known]:
    """Every uncertain figure by name, as `Inputs` calls it; those that nobody knows are absent.

    Raises WorkFailed where neither costs.toml nor the trial says how often machines fail.
    """
    known = {
        "failures": _failures(figures, costs),
        "early": _early(figures, costs),
        "unplanned": around(costs.unplanned_failure, costs),
        "planned": around(costs.planned_repair, costs),
        "inspection": around(costs.inspection, costs),
        "running_month": around(costs.running_per_month, costs),
        "investment": around(costs.investment, costs),
        "acted_on": around(costs.share_acted_on, costs, share=True),
        "discount": around(costs.discount_rate, costs),
    }
    if figures.events:
        low, high = wilson(figures.found, figures.events)
        known["found"] = Known(figures.found / figures.events, low, high, measured=True)
    if figures.weeks > 0:
        low, upper = poisson(figures.false_alarms, figures.weeks)
        known["false_alarms"] = Known(figures.false_alarms / figures.weeks, low, upper or low, measured=True)
    return known


def _failures(figures: Figures, costs: Costs) -> Known:
    if costs.failures_per_machine_year is not None:
        return around(costs.failures_per_machine_year, costs)
    if not figures.events or figures.machine_years <= 0:
        raise WorkFailed(
            "costs.toml has no failures_per_machine_year, and this trial cannot count them (that needs faults and "
            "times): add the key, from your maintenance records"
        )
    low, high = poisson(figures.events, figures.machine_years)
    return Known(figures.events / figures.machine_years, low, high or low, measured=True)


def _early(figures: Figures, costs: Costs) -> Known:
    leads = figures.leads_h
    if not leads:
        return around(costs.share_early_if_unknown, costs, share=True)
    low, high = wilson(figures.early, len(leads))
    return Known(figures.early / len(leads), low, high, measured=True)


def inputs_at(known: dict[str, Known], costs: Costs, machines: int, **given: Number) -> Inputs:
    """The inputs with every figure at its value, or as given; an unknown figure that is not given counts as 0."""
    values = {name: given.get(name, known[name].value if name in known else 0.0) for name in (*MEASURED, *ASSUMED)}
    return Inputs(machines=machines, years=costs.years, **values)


def conservative(known: dict[str, Known]) -> dict[str, Number]:
    """Measured figures at the bad ends of their intervals: fewest found and early, most false alarms."""
    bad: dict[str, Number] = {}
    for name in MEASURED:
        if name in known and (known[name].measured or name == "early"):
            bad[name] = known[name].high if name == "false_alarms" else known[name].low
    return bad


def monte_carlo(figures: Figures, known: dict[str, Known], costs: Costs, machines: int, seed: int) -> Inputs:
    """Inputs with `DRAWS` draws each. Needs healthy exposure; without events any share found is possible."""
    generator = np.random.default_rng(seed)
    uniform = {name: generator.random(DRAWS) for name in (*MEASURED, *ASSUMED)}
    drawn: dict[str, Number] = {name: _triangular(known[name], uniform[name]) for name in ASSUMED}
    drawn["found"] = draw_share(figures.found, figures.events, uniform["found"])
    drawn["false_alarms"] = draw_rate(figures.false_alarms, figures.weeks, uniform["false_alarms"])
    leads = figures.leads_h
    drawn["early"] = (
        draw_share(figures.early, len(leads), uniform["early"])
        if known["early"].measured
        else _triangular(known["early"], uniform["early"])
    )
    drawn["failures"] = (
        draw_rate(figures.events, figures.machine_years, uniform["failures"])
        if known["failures"].measured
        else _triangular(known["failures"], uniform["failures"])
    )
    return inputs_at(known, costs, machines, **drawn)


def _triangular(known: Known, uniform: Array) -> Array:
    """A triangular law from low over value to high, by inversion."""
    low, mode, high = known.low, known.value, known.high
    if high <= low:
        return np.full_like(uniform, mode)
    rising = low + np.sqrt(uniform * (high - low) * (mode - low))
    falling = high - np.sqrt((1 - uniform) * (high - low) * (high - mode))
    return np.where(uniform < (mode - low) / (high - low), rising, falling)


def tornado(known: dict[str, Known], base: Inputs) -> list[Bar]:
    """How far each figure alone moves the NPV between the ends of its interval, the strongest first."""
    bars = []
    for name, one in known.items():
        low, high = (float(npv(base.at(**{name: end}))) for end in (one.low, one.high))
        bars.append(Bar(name, one.low, one.high, low, high))
    return sorted((bar for bar in bars if bar.swing > 0), key=lambda bar: -bar.swing)


def middle(values: Array, share: float = 0.95) -> Pair:
    """The middle part of the draws."""
    low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
