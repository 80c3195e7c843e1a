"""The report as a person reads it: one self-contained HTML file, in Japanese or English, that prints on A4."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from monitor.roi import formats
from monitor.roi.chances import DRAWS, inputs_at
from monitor.roi.charts import charts, english_instead
from monitor.roi.formats import chance, money, percent, rate, short_money
from monitor.roi.measured import WEEK_H
from monitor.roi.money import break_even_false_alarms, break_even_found
from monitor.roi.page_tables import assumption_rows, event_rows, machine_rows, measured_rows, money_rows, payback_text
from monitor.roi.result import Result
from monitor.roi.rollout import Step
from monitor.roi.silence import reason
from monitor.roi.texts import words
from monitor.roi.verdict import LEAST_FAULTS


def write_page(result: Result, target: Path, *, lang: str = "en") -> None:
    """Write the page to `target`. Raises ValueError for a language other than ja and en."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("monitor"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("roi.html").render(**context(result, lang))
    target.write_text(text, encoding="utf-8")


def context(result: Result, lang: str) -> dict[str, Any]:
    """What the template shows."""
    w = words(lang)
    events, left = event_rows(result, lang)
    pictures = charts(result, lang)
    return {
        "lang": lang,
        "w": w,
        "scope": _scope(result, lang),
        "answer": result.verdict.answer,
        "answer_text": w[f"answer_{result.verdict.answer}"],
        "why": why(result, lang),
        "lever": lever(result, lang),
        "needs": needs(result, lang),
        "cards": cards(result, lang),
        "measured": measured_rows(result, lang),
        "basis": w[f"basis_{result.figures.basis}"].format(n=_basis_number(result)),
        "machines": machine_rows(result, lang),
        "events": events,
        "more_events": w["more_events"].format(n=left) if left else "",
        "money": money_rows(result, lang),
        "brief": w["brief_note"].format(listened=_listened(result, lang)) if result.brief and result.expected else "",
        "formula": _formula(result, lang),
        "no_money": _no_money(result, lang),
        "pictures": [(name, w[f"chart_{name}"], source, _alt(name, result, lang)) for name, source in pictures.items()],
        "english": w["chart_english"] if pictures and english_instead(lang) else "",
        "assumptions": assumption_rows(result, lang),
        "steps": [step_text(step, lang) for step in result.steps],
        "notes": notes(result, lang),
        "method": w["method_text"].format(detector=result.about.detector, seed=result.about.seed, draws=f"{DRAWS:,}"),
        "manifest": result.about.manifest,
    }


def _scope(result: Result, lang: str) -> str:
    w = words(lang)
    return w["scope"].format(
        machines=_machines(len(result.figures.machines), lang),
        service=_machines(result.machines, lang),
        recordings=f"{result.about.recordings:,}",
        date=formats.day(result.about.day, lang),
    )


def _machines(count: int, lang: str) -> str:
    return words(lang)["machines_1" if count == 1 else "machines_n"].format(n=count)


def lever(result: Result, lang: str) -> str:
    """Which figure the answer hangs on, and how far it is from break-even."""
    if result.expected is None or not result.bars:
        return ""
    w, limit = words(lang), result.expected.break_even_false_alarms
    text = w["lever"].format(name=w[f"f_{result.bars[0].name}"])
    if limit is None or limit <= 0:
        return text
    return text + w["lever_limit"].format(limit=rate(limit), rate=rate(result.known["false_alarms"].value))


def _basis_number(result: Result) -> str:
    costs = result.costs
    return rate(costs.listening_hours_per_week or 0 if result.figures.basis == "hours" else costs.recordings_per_week)


def why(result: Result, lang: str) -> str:
    """The verdict's reason in words."""
    verdict, known = result.verdict, result.known
    key = "none" if verdict.reason == "few" and not result.figures.events else verdict.reason
    best = known["found"].high if "found" in known else 1.0
    return words(lang)[f"why_{key}"].format(
        years=result.costs.years,
        found=percent(best),
        rate=rate(known["false_alarms"].low) if "false_alarms" in known else "–",
        events=result.figures.events,
        least=LEAST_FAULTS,
        chance=chance(verdict.chance or 0.0),
        draws=f"{DRAWS:,}",
        listened=_listened(result, lang),
        limit=_limit_shown(result),
    )


def needs(result: Result, lang: str) -> list[str]:
    """What would settle it, where the verdict is to extend the trial."""
    verdict, w = result.verdict, words(lang)
    if verdict.answer != "extend":
        return []
    lines = [*_need_faults(result, lang), *_need_weeks(result, lang)]
    if not lines and result.bars:
        assumed = [bar for bar in result.bars if not result.known[bar.name].measured]
        lines = [w["need_costs"].format(name=w[f"f_{(assumed or list(result.bars))[0].name}"])]
    return lines


def _need_faults(result: Result, lang: str) -> list[str]:
    w, more = words(lang), result.verdict.more_faults
    share = break_even_found(inputs_at(result.known, result.costs, result.machines))
    shown = percent(min(share, 1.0)) if share is not None else "–"
    if more is None:
        return [w["need_faults_none"].format(share=shown)]
    if not more:
        return []
    useful = result.figures.events > 0 and share is not None and 0 < share < 1 and "false_alarms" in result.known
    lines = [w["need_faults" if useful else "need_faults_least"].format(n=more, share=shown)]
    a_year = result.known["failures"].value * max(1, len(result.figures.machines))
    if a_year > 0:
        years = more / a_year
        if years > 0.25:
            lines.append(w["need_faults_wait"].format(rate=formats.about(a_year), n=more, years=formats.about(years)))
    return lines


def _need_weeks(result: Result, lang: str) -> list[str]:
    w, more, figures = words(lang), result.verdict.more_weeks, result.figures
    if result.verdict.reason == "no_healthy":
        return [w["need_healthy"]]
    shown = _limit_shown(result)
    if more is None:
        return [w["need_weeks_none"].format(limit=shown)]
    if not more:
        return []
    if figures.basis == "recordings":
        count = math.ceil(more * result.costs.recordings_per_week)
        return [w["need_recordings"].format(n=count, limit=shown)]
    machines = max(1, len(figures.machines))
    weeks, calendar = formats.about(more), formats.about(more / machines)
    return [w["need_weeks"].format(weeks=weeks, calendar=calendar, machines=_machines(machines, lang), limit=shown)]


def _limit_shown(result: Result) -> str:
    """The false alarms that still pay, with the share found shrunk as in the verdict."""
    found = (result.figures.found + 0.5) / (result.figures.events + 1)
    limit = break_even_false_alarms(inputs_at(result.known, result.costs, result.machines, found=found))
    return "–" if limit is None else rate(limit)


def cards(result: Result, lang: str) -> list[tuple[str, str, str]]:
    """The five numbers at the top: title, value, interval."""
    w, figures, known = words(lang), result.figures, result.known
    currency, years = result.costs.currency, result.costs.years

    def between(pair: tuple[str, str]) -> str:
        return w["card_ci"].format(low=pair[0], high=pair[1])

    def amount(value: float) -> str:
        return short_money(value, currency, lang)

    rows = [(w["card_found"], w["unknown"], "")]
    if "found" in known:
        share = known["found"]
        value = w["card_found_value"].format(found=figures.found, events=figures.events)
        rows = [(w["card_found"], value, between((percent(share.low), percent(share.high))))]
    alarms = known.get("false_alarms")
    rows.append(
        (w["card_false"], w["unknown"], "")
        if alarms is None
        else (w["card_false"], rate(alarms.value), between((rate(alarms.low), rate(alarms.high))))
    )
    npv_title = w["card_npv"].format(years=years)
    if result.brief:
        title, hint = npv_title, w["card_brief"].format(listened=_listened(result, lang))
        return [*rows, *((one, w["unknown"], hint) for one in (w["card_net"], title, w["card_payback"]))]
    if result.expected is None or result.spread is None:
        return [*rows, (w["card_net"], w["unknown"], ""), (npv_title, w["unknown"], "")]
    spread, payback = result.spread, payback_text(result.expected, lang)
    return [
        *rows,
        (w["card_net"], amount(result.expected.net), between((amount(spread.net[0]), amount(spread.net[1])))),
        (npv_title, amount(result.expected.npv), between((amount(spread.npv[0]), amount(spread.npv[1])))),
        (w["card_payback"], payback, ""),
    ]


def _listened(result: Result, lang: str) -> str:
    """For how long the healthy machines were listened to, as the false alarms are counted."""
    figures, costs = result.figures, result.costs
    if figures.basis == "recordings":
        count = round(figures.weeks * costs.recordings_per_week)
        return words(lang)["recordings_1" if count == 1 else "recordings_n"].format(n=count)
    return formats.hours(figures.listened_h if figures.basis == "hours" else figures.weeks * WEEK_H, lang)


def _formula(result: Result, lang: str) -> str:
    if result.expected is None:
        return ""
    given, currency = result.expected.inputs, result.costs.currency
    return words(lang)["formula"].format(
        machines=result.machines,
        failures=rate(float(given.failures)),
        found=percent(float(given.found)),
        early=percent(float(given.early)),
        acted=percent(float(given.acted_on)),
        unplanned=money(float(given.unplanned), currency, lang),
        planned=money(float(given.planned), currency, lang),
        saved=money(result.expected.saved, currency, lang),
    )


def _no_money(result: Result, lang: str) -> str:
    w = words(lang)
    if result.expected is not None:
        return ""
    if "false_alarms" not in result.known:
        return w["no_money"]
    share = break_even_found(inputs_at(result.known, result.costs, result.machines))
    return w["no_expected"].format(share=w["more_than_all"] if share is None or share > 1 else percent(share))


def _alt(name: str, result: Result, lang: str) -> str:
    w, currency = words(lang), result.costs.currency
    assert result.spread is not None and result.expected is not None  # noqa: S101, PT018 - there are no pictures without
    low, median, high = (short_money(value, currency, lang) for value in result.spread.cash[-1])
    limit = result.expected.break_even_false_alarms
    return w[f"chart_{name}_alt"].format(
        years=result.costs.years,
        low=low,
        middle=median,
        high=high,
        first=w[f"f_{result.bars[0].name}"] if result.bars else "–",
        limit="–" if limit is None else rate(limit),
        rate=rate(result.known["false_alarms"].value),
    )


def step_text(step: Step, lang: str) -> str:
    """A suggestion as a sentence."""
    w, facts = words(lang), dict(step.facts)
    key = f"s_{step.kind}"
    if step.kind == "uplink":
        key += "_stays" if facts["stays"] else "_may"
    if step.kind == "start" and not facts["go"]:
        key += "_if"
    if step.kind == "mics" and not facts["later"]:
        key += "_all"
    if step.kind == "wait_false" and (facts["rate"] is None or facts["limit"] is None):
        key += "_limit_none"
    if step.kind == "wait_false" and facts["limit"] is not None:
        facts["limit"] = max(0.0, facts["limit"])
    shown: dict[str, str] = {}
    for name, value in facts.items():
        if isinstance(value, list):
            kept = value if len(value) <= 8 else [*value[:8], "…"]
            shown[name] = formats.listed(kept, lang)
        elif isinstance(value, float):
            shown[name] = percent(value) if name == "floor" else f"{value:.1f}" if name == "mbit" else rate(value)
        else:
            shown[name] = "–" if value is None else str(value)
    return w[key].format(**shown)


def notes(result: Result, lang: str) -> list[str]:
    """What limits the report."""
    w, about = words(lang), result.about
    lines = [] if about.timed else [w["n_untimed"]]
    lines += [w["n_silent"].format(machine=machine, why=reason(text, lang)) for machine, text in about.silent.items()]
    lines += [
        w["n_few_healthy"].format(machine=machine, n=about.healthy[machine])
        for machine, supported in about.supported.items()
        if not supported
    ]
    return [*lines, w["n_same_faults"], w["n_means"]]


def verdict_lines(result: Result, lang: str) -> list[str]:
    """What the command prints: the answer, why, what is needed, and the numbers."""
    w = words(lang)
    stop = "。" if lang == "ja" else ". "
    lines = [f"{w['answer_' + result.verdict.answer]}{stop}{why(result, lang)}", *filter(None, [lever(result, lang)])]
    lines += [f"- {line}" for line in needs(result, lang)]
    return lines + [f"{title}: {value}{f' ({ci})' if ci else ''}" for title, value, ci in cards(result, lang)]
