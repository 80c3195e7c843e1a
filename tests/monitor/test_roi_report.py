"""The verdict and the page: clear answers for trials that lack something, in both languages."""

from __future__ import annotations

import json
import re
import string
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import trialcosts

from monitor.errors import WorkFailed
from monitor.roi import formats
from monitor.roi.chances import DRAWS
from monitor.roi.costs import Costs
from monitor.roi.measured import Figures, MachineFigures, Outcome
from monitor.roi.page import context, needs, verdict_lines, why, write_page
from monitor.roi.result import About, Result, as_json, weigh
from monitor.roi.rollout import next_steps
from monitor.roi.texts import TEXTS
from monitor.roi.trial import Event

COSTS: dict[str, Any] = {**trialcosts.COSTS, "share_early_if_unknown": 0.8}


def trial(found: int, events: int, false_alarms: int = 0, weeks: float = 60.0, lead_h: float | None = None) -> Figures:
    outcomes = tuple(
        Outcome(Event("press", f"F{n}", None), n < found, lead_h if n < found else None, ("a",) if n < found else ())
        for n in range(events)
    )
    machines = (MachineFigures("press", found, events, false_alarms, weeks * 2, weeks),)
    return Figures(outcomes, machines, "trial", 24.0, 1.0)


def result(figures: Figures, **changes: Any) -> Result:
    about = About(
        "trial.csv", 70, "fusion", 0, date(2026, 11, 21), True, {"press": 40}, {"press": False}, {"saw": "too little"}
    )
    return weigh(figures, Costs(**(COSTS | changes)), about)


def answer(figures: Figures, **changes: Any) -> tuple[str, str]:
    verdict = result(figures, **changes).verdict
    return verdict.answer, verdict.reason


def test_a_good_trial_goes() -> None:
    """Most faults found early, hardly a false alarm in a year of machine-weeks."""
    assert answer(trial(18, 20, 1, weeks=60, lead_h=72.0)) == ("go", "pays")


def test_few_faults_cannot_tell_and_say_how_many_more() -> None:
    """Three of three looks perfect and still is no evidence; the report names a number of further faults."""
    found = result(trial(3, 3, lead_h=72.0))
    assert (found.verdict.answer, found.verdict.reason) == ("extend", "few")
    assert found.verdict.more_faults is not None
    assert found.verdict.more_faults >= 2
    assert "annot tell yet" in why(found, "en")
    assert str(found.verdict.more_faults) in needs(found, "en")[0]
    assert "まだ判断できません" in why(found, "ja")


def test_no_faults_at_all() -> None:
    """Zero anomalies: no share found, no expected case, but what would be needed to break even."""
    found = result(trial(0, 0))
    assert (found.verdict.answer, found.verdict.reason) == ("extend", "few")
    assert found.expected is None
    assert "no fault" in why(found, "en")
    assert "at least" in context(found, "en")["no_money"]


def test_faults_only() -> None:
    """All anomalies: nothing is known of false alarms, so no money is shown, and healthy recordings are asked for."""
    found = result(trial(5, 8, weeks=0.0))
    assert (found.verdict.answer, found.verdict.reason) == ("extend", "no_healthy")
    assert found.spread is None
    assert any("Healthy test recordings" in line for line in needs(found, "en"))


def test_stop_has_three_reasons() -> None:
    """Costs that no detector can earn back; intervals that allow no way; draws that hardly ever pay."""
    assert answer(trial(18, 20), running_per_month=3_000_000) == ("stop", "ideal")
    assert answer(trial(18, 20, 600)) == ("stop", "loses")
    assert answer(trial(18, 20, 24, weeks=30.0)) == ("stop", "unlikely")


def test_failures_that_cost_nothing_more_stop() -> None:
    """Where an unplanned failure costs no more than a planned repair no warning can pay."""
    assert answer(trial(18, 20), unplanned_failure=200_000) == ("stop", "ideal")


def test_in_between_is_extended_by_a_number() -> None:
    """Neither nine in ten nor one in ten: further weeks or faults, or the assumption to firm up."""
    found = result(trial(8, 12, 6, weeks=30.0, lead_h=72.0))
    assert (found.verdict.answer, found.verdict.reason) == ("extend", "open")
    assert needs(found, "en")


def test_more_false_alarms_never_turn_a_verdict_to_the_better() -> None:
    """From go over extend to stop as false alarms rise, never back."""
    order = {"go": 0, "extend": 1, "stop": 2}
    ranks = [order[answer(trial(18, 20, count, lead_h=72.0))[0]] for count in (0, 1, 3, 8, 20, 80, 400)]
    assert ranks == sorted(ranks)
    assert (ranks[0], ranks[-1]) == (0, 2)


def test_nobody_knows_how_often_machines_fail() -> None:
    """Without the key and without faults to count the answer names the key."""
    with pytest.raises(WorkFailed, match="failures_per_machine_year"):
        result(trial(0, 0), failures_per_machine_year=None)
    assert result(trial(2, 4), failures_per_machine_year=None).known["failures"].value == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("lang", "figures"),
    [
        ("en", trial(18, 20, 1, lead_h=72.0)),
        ("ja", trial(3, 3)),
        *[(lang, figures) for lang in ("en", "ja") for figures in (trial(0, 0), trial(5, 8, weeks=0.0))],
    ],
)
def test_the_page_is_whole_in_both_languages(tmp_path: Path, lang: str, figures: Figures) -> None:
    """Self-contained, every picture with words beside it, no place for a fact left open."""
    found = result(figures)
    write_page(found, tmp_path / "roi.html", lang=lang)
    page = (tmp_path / "roi.html").read_text(encoding="utf-8")
    assert f'<html lang="{lang}">' in page
    assert not re.search(r"https?://|<script|\{\w+\}", page)
    pictures = re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]*)"', page)
    assert len(pictures) == page.count("<img") == (3 if found.expected else 0)
    assert all(len(alt) > 20 for alt in pictures)
    assert "@media print" in page
    assert TEXTS[lang][f"answer_{found.verdict.answer}"] in page
    assert TEXTS[lang][f"answer_{found.verdict.answer}"] in verdict_lines(found, lang)[0]


def test_html_in_names_stays_text(tmp_path: Path) -> None:
    """A machine's name cannot write into the page."""
    figures = trial(1, 2)
    machine = MachineFigures("<b>x</b>", 1, 2, 0, 1.0, 0.0)  # without exposure there are no pictures to draw
    write_page(result(Figures(figures.outcomes, (machine,), "trial", 24.0, 1.0)), tmp_path / "roi.html")
    assert "<b>x" not in (tmp_path / "roi.html").read_text(encoding="utf-8")


def test_the_json_is_for_machines() -> None:
    """It says what the page says, as plain JSON."""
    plain = json.loads(json.dumps(as_json(result(trial(18, 20, 1, lead_h=72.0))), allow_nan=False))
    assert plain["verdict"]["answer"] == "go"
    assert plain["money"]["monte_carlo"]["draws"] == DRAWS
    assert (plain["trial"]["found"], plain["trial"]["missed"]) == (18, 2)
    assert plain["money"]["conservative"]["npv"] < plain["money"]["expected"]["npv"]


def test_both_languages_have_the_same_texts() -> None:
    """The same keys, and the same facts in each."""

    def places(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    en, ja = TEXTS["en"], TEXTS["ja"]
    assert en.keys() == ja.keys()
    assert {key: places(text) for key, text in en.items()} == {key: places(text) for key, text in ja.items()}


def test_money_and_dates_as_the_reader_writes_them() -> None:
    """Currency, units and calendar by language; a negative amount has its sign in front."""
    assert formats.money(1_200_000, "JPY", "en") == "¥1,200,000"
    assert formats.money(-1_200_000, "JPY", "ja") == "−1,200,000円"
    assert formats.money(1_200_000.4, "CHF", "ja") == "CHF 1,200,000"
    assert formats.short_money(-52_090_769, "JPY", "en") == "−¥52.1 million"
    assert formats.short_money(-52_090_769, "JPY", "ja") == "−5,210万円"
    assert formats.short_money(187_400_000, "JPY", "ja") == "1.87億円"
    assert formats.day(date(2026, 11, 2), "ja") == "2026年11月2日"
    assert formats.day(date(2026, 11, 2), "en") == "2 November 2026"


def test_the_next_steps_follow_their_rules() -> None:
    """Ready machines first; missed and alarming ones wait; the fewest microphones that heard every found event."""
    heard = [({"a", "b"}, "F1"), ({"a"}, "F2"), ({"c"}, "F3")]
    outcomes = tuple(Outcome(Event("press", name, None), True, None, tuple(sorted(mics))) for mics, name in heard)
    machines = (
        MachineFigures("press", 3, 3, 0, 10, 10),
        MachineFigures("saw", 1, 4, 0, 10, 10),
        MachineFigures("fan", 4, 4, 50, 10, 10),
        MachineFigures("mill", 0, 0, 0, 10, 10),
    )
    steps = next_steps(
        Figures(outcomes, machines, "trial", 24.0, 1.0),
        {"press": 120, "saw": 12},
        1.0,
        machines=40,
        mics=120,
        window_s=2.0,
        windows_per_s=100.0,
    )
    kinds = {step.kind: step.facts for step in steps}
    assert kinds["start"]["machines"] == ["press"]
    assert kinds["wait_missed"]["machine"] == "saw"
    assert kinds["wait_false"]["machine"] == "fan"
    assert kinds["unproven"]["machine"] == "mill"
    assert (kinds["mics"]["first"], kinds["mics"]["later"]) == (["a", "c"], ["b"])
    assert (kinds["healthy"]["machines"], kinds["healthy"]["more"]) == (["saw"], 87)
    assert kinds["kafka"]["rate"] == 60.0
    assert kinds["uplink"]["stays"]
