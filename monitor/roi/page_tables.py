"""The report's tables as rows of ready text."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.roi import formats
from monitor.roi.formats import money, percent, rate
from monitor.roi.intervals import poisson, wilson
from monitor.roi.result import Result, Scenario
from monitor.roi.texts import words

MOST_EVENTS = 12
Row = tuple[str, ...]


def measured_rows(result: Result, lang: str) -> list[Row]:
    """What the trial measured: figure, value, interval, how."""
    w, figures = words(lang), result.figures
    rows: list[Row] = []
    if figures.events:
        low, high = wilson(figures.found, figures.events)
        value = w["card_found_value"].format(found=figures.found, events=figures.events)
        value = f"{value} ({percent(figures.found / figures.events)})"
        rows.append((w["row_found"], value, f"{percent(low)} – {percent(high)}", w["how_wilson"]))
        rows.append((w["row_missed"], str(figures.events - figures.found), "", ""))
    else:
        rows.append((w["row_found"], w["unknown"], "", ""))
    rows.append((w["row_listened"], formats.hours(figures.listened_h, lang), "", ""))
    if figures.weeks > 0:
        rows += _false_rows(result, lang)
    return [*rows, *_lead_rows(result, lang)]


def _false_rows(result: Result, lang: str) -> list[Row]:
    w, figures = words(lang), result.figures
    low, high = poisson(figures.false_alarms, figures.weeks)
    value = figures.false_alarms / figures.weeks
    rows: list[Row] = [
        (w["row_false"], str(figures.false_alarms), "", ""),
        (w["row_false_rate"], rate(value), f"{rate(low)} – {rate(high or 0)}", w["how_poisson"]),
    ]
    if figures.listened_h > 0 and result.about.timed:  # without times a recording stands for more than its length
        each = figures.listened_h / 100
        low, high = poisson(figures.false_alarms, each)
        interval = f"{rate(low)} – {rate(high or 0)}"
        rows.append((w["row_per_hour"], rate(figures.false_alarms / each), interval, w["how_poisson"]))
    return rows


def _lead_rows(result: Result, lang: str) -> list[Row]:
    w, figures, early = words(lang), result.figures, result.known["early"]
    title = w["row_early"].format(hours=formats.hours(figures.least_lead_h, lang))
    if not early.measured:
        interval = f"{percent(early.low)} – {percent(early.high)}"
        unknown = w["how_assumed"] if not result.about.timed else w["how_lead_unknown"]
        return [(title, percent(early.value), interval, unknown)]
    leads = sorted(figures.leads_h)
    count = len(leads)
    median = (leads[(count - 1) // 2] + leads[count // 2]) / 2
    pair = result.lead_ci
    interval = "" if pair is None else f"{formats.hours(pair[0], lang)} – {formats.hours(pair[1], lang)}"
    share = f"{figures.early} / {count} ({percent(early.value)})"
    return [
        (title, share, f"{percent(early.low)} – {percent(early.high)}", w["how_wilson"]),
        (w["row_lead"], formats.hours(median, lang), interval, w["how_bootstrap"] if pair else ""),
    ]


def machine_rows(result: Result, lang: str) -> list[Row]:
    """A row per machine: found, false alarms, a week, listened, learned from."""
    w = words(lang)
    return [
        (
            one.machine,
            f"{one.found} / {one.events}",
            str(one.false_alarms),
            rate(one.false_alarms / one.weeks) if one.weeks > 0 else "–",
            formats.hours(one.listened_h, lang),
            w["recordings_n"].format(n=result.about.healthy.get(one.machine, 0)),
        )
        for one in result.figures.machines
    ]


def event_rows(result: Result, lang: str) -> tuple[list[Row], int]:
    """The faults, missed ones first, and how many are left out: machine, event, outcome, lead."""
    w = words(lang)
    ordered = sorted(result.figures.outcomes, key=lambda one: one.found)
    rows: list[Row] = [
        (
            one.event.machine,
            one.event.name,
            w["yes"] if one.found else w["no"],
            formats.hours(one.lead_h, lang) if one.lead_h is not None else "–",
        )
        for one in ordered[:MOST_EVENTS]
    ]
    return rows, max(0, len(ordered) - MOST_EVENTS)


def money_rows(result: Result, lang: str) -> list[Row]:
    """The two cases beside each other; empty where the money is unknown."""
    if result.expected is None or result.conservative is None:
        return []
    w, currency = words(lang), result.costs.currency
    both = (result.expected, result.conservative)

    def row(title: str, cells: Sequence[str]) -> Row:
        return (title, cells[0], "–" if result.brief else cells[1])

    def amounts(key: str, values: Sequence[float], **facts: object) -> Row:
        return row(w[key].format(**facts), [money(value, currency, lang) for value in values])

    years = result.costs.years
    return [
        amounts("m_saved", [one.saved for one in both]),
        amounts("m_inspections", [-one.inspections for one in both]),
        amounts("m_running", [-one.running for one in both]),
        amounts("m_net", [one.net for one in both]),
        amounts("m_investment", [-float(one.inputs.investment) for one in both]),
        amounts("m_npv", [one.npv for one in both], years=years),
        row(w["m_payback"], [payback_text(one, lang) for one in both]),
        row(w["m_limit"], [_limit(one, lang) for one in both]),
        row(w["m_share"], [_share(one, lang) for one in both]),
    ]


def payback_text(one: Scenario, lang: str) -> str:
    """The payback in months, or that there is none."""
    w, months = words(lang), one.payback_months
    if months is None:
        return w["never"]
    return w["months"].format(n=f"{months:,.1f}" if months < 10 else f"{months:,.0f}")


def _limit(one: Scenario, lang: str) -> str:
    w, limit = words(lang), one.break_even_false_alarms
    if limit is None:
        return w["no_limit"]
    return rate(limit) if limit >= 0 else w["not_reachable"]


def _share(one: Scenario, lang: str) -> str:
    w, share = words(lang), one.break_even_found
    return w["more_than_all"] if share is None or share > 1 else percent(share)


def assumption_rows(result: Result, lang: str) -> list[Row]:
    """Every figure that the money follows from: name, value, range, where it is from."""
    w, costs = words(lang), result.costs

    def shown(name: str, value: float) -> str:
        if name in ("unplanned", "planned", "inspection", "running_month", "investment"):
            return money(value, costs.currency, lang)
        if name in ("found", "early", "acted_on"):
            return percent(value)
        return f"{100 * value:.1f}%" if name == "discount" else rate(value)

    order = ("found", "early", "false_alarms", "failures", "unplanned", "planned", "inspection", "running_month")
    rows: list[Row] = []
    for name in (*order, "investment", "acted_on", "discount"):
        one = result.known.get(name)
        if one is None:
            continue
        source = w["from_trial"] if one.measured else w["from_costs"].format(share=percent(costs.uncertainty))
        rows.append(
            (w[f"f_{name}"], shown(name, one.value), f"{shown(name, one.low)} – {shown(name, one.high)}", source)
        )
    exact = (("machines", result.machines), ("years", costs.years), ("least_lead", costs.least_lead_hours))
    return rows + [(w[f"f_{name}"], f"{value:g}", "", w["from_costs_exact"]) for name, value in exact]
