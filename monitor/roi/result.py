"""All that a trial amounts to, as one value and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np

from monitor.roi.chances import (
    DRAWS,
    Bar,
    Known,
    conservative,
    inputs_at,
    known_figures,
    middle,
    monte_carlo,
    tornado,
)
from monitor.roi.costs import Costs
from monitor.roi.intervals import Pair, bootstrap_median, poisson, wilson
from monitor.roi.measured import Figures
from monitor.roi.money import (
    Inputs,
    annuity,
    break_even_false_alarms,
    break_even_found,
    inspections_a_year,
    net_a_year,
    npv,
    payback_months,
    saved_a_year,
)
from monitor.roi.rollout import Step
from monitor.roi.verdict import Verdict, decide

BRIEF = 7.0  # false alarms per machine and week


@dataclass(frozen=True)
class Scenario:
    """One case of the money, in units of the currency; rates per machine and week."""

    inputs: Inputs
    saved: float
    inspections: float
    running: float
    net: float
    npv: float
    payback_months: float | None
    break_even_false_alarms: float | None
    break_even_found: float | None


@dataclass(frozen=True)
class Spread:
    """What the Monte Carlo says: middle 95% of a year's net and of the NPV, and the cash of every year [year, 3]."""

    net: Pair
    net_median: float
    npv: Pair
    npv_median: float
    chance: float
    cash: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class About:
    """What the report is about: facts that do not decide anything."""

    manifest: str
    recordings: int
    detector: str
    seed: int
    day: date
    timed: bool
    healthy: dict[str, int]
    supported: dict[str, bool]
    silent: dict[str, str]


@dataclass(frozen=True)
class Result:
    """The whole report. `expected` and `conservative` are None where faults or healthy sound are missing."""

    about: About
    costs: Costs
    machines: int
    figures: Figures
    known: dict[str, Known]
    expected: Scenario | None
    conservative: Scenario | None
    spread: Spread | None
    bars: tuple[Bar, ...]
    verdict: Verdict
    lead_ci: Pair | None
    steps: tuple[Step, ...] = ()

    @property
    def brief(self) -> bool:
        """Whether healthy machines were listened to so briefly that not even one false alarm a day can be excluded.

        The money then follows from nothing that was measured: pages leave its intervals out, JSON keeps them.
        """
        high = poisson(0, self.figures.weeks)[1]
        return self.figures.weeks > 0 and high is not None and high > BRIEF


def weigh(figures: Figures, costs: Costs, about: About) -> Result:
    """From figures and costs to the verdict. Raises WorkFailed where nothing says how often machines fail."""
    machines = costs.machines or len(figures.machines) or 1
    known = known_figures(figures, costs)
    complete = figures.events > 0 and figures.weeks > 0
    base = inputs_at(known, costs, machines)
    drawn = monte_carlo(figures, known, costs, machines, about.seed) if figures.weeks > 0 else None
    return Result(
        about=about,
        costs=costs,
        machines=machines,
        figures=figures,
        known=known,
        expected=scenario(base) if complete else None,
        conservative=scenario(base.at(**conservative(known))) if complete else None,
        spread=None if drawn is None else spread(drawn),
        bars=tuple(tornado(known, base)) if complete else (),
        verdict=decide(figures, known, costs, machines, drawn),
        lead_ci=bootstrap_median(figures.leads_h, about.seed),
    )


def scenario(given: Inputs) -> Scenario:
    """One case worked out; numbers only."""
    return Scenario(
        inputs=given,
        saved=float(saved_a_year(given)),
        inspections=float(inspections_a_year(given)),
        running=12.0 * float(given.running_month),
        net=float(net_a_year(given)),
        npv=float(npv(given)),
        payback_months=payback_months(given),
        break_even_false_alarms=break_even_false_alarms(given),
        break_even_found=break_even_found(given),
    )


def spread(drawn: Inputs) -> Spread:
    """The draws summed up; the cash of a year is undiscounted and cumulated, year 0 is the investment."""
    net, value = np.asarray(net_a_year(drawn)), np.asarray(npv(drawn))
    cash = []
    for year in range(drawn.years + 1):
        low, high = middle(net * year - drawn.investment)
        cash.append((low, float(np.median(net * year - drawn.investment)), high))
    return Spread(
        net=middle(net),
        net_median=float(np.median(net)),
        npv=middle(value),
        npv_median=float(np.median(value)),
        chance=float(np.mean(value > 0)),
        cash=tuple(cash),
    )


def as_json(result: Result) -> dict[str, Any]:
    """The report for machines: amounts in `currency`, rates per machine and week, times in hours."""
    figures = result.figures
    return {
        "v": 1,
        "date": result.about.day.isoformat(),
        "manifest": result.about.manifest,
        "detector": result.about.detector,
        "seed": result.about.seed,
        "currency": result.costs.currency,
        "verdict": asdict(result.verdict),
        "trial": {
            "timed": result.about.timed,
            "recordings": result.about.recordings,
            "healthy_training_recordings": result.about.healthy,
            "not_judged": result.about.silent,
            "found": figures.found,
            "missed": figures.events - figures.found,
            "events": figures.events,
            "recall_ci": list(wilson(figures.found, figures.events)),
            "false_alarms": figures.false_alarms,
            "machine_weeks": figures.weeks,
            "basis": figures.basis,
            "false_alarms_per_machine_week": figures.false_alarms / figures.weeks if figures.weeks else None,
            "false_alarms_ci": list(poisson(figures.false_alarms, figures.weeks)),
            "listened_h": figures.listened_h,
            "too_brief": result.brief,
            "lead_h": list(figures.leads_h),
            "lead_median_ci": None if result.lead_ci is None else list(result.lead_ci),
            "machines": [asdict(one) for one in figures.machines],
            "events_list": [
                {
                    "machine": one.event.machine,
                    "event": one.event.name,
                    "found": one.found,
                    "lead_h": one.lead_h,
                    "mics": list(one.mics),
                }
                for one in figures.outcomes
            ],
        },
        "assumptions": {
            "machines": result.machines,
            "costs": result.costs.model_dump(),
            "figures": {name: asdict(one) for name, one in result.known.items()},
        },
        "money": {
            "expected": None if result.expected is None else asdict(result.expected),
            "conservative": None if result.conservative is None else asdict(result.conservative),
            "monte_carlo": None if result.spread is None else {"draws": DRAWS, **asdict(result.spread)},
            "annuity": annuity(result.costs.discount_rate, result.costs.years),
            "tornado": [asdict(one) for one in result.bars],
        },
        "next": [{"kind": step.kind, **step.facts} for step in result.steps],
    }
