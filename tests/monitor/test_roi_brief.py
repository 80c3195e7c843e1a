"""A trial that listened for minutes: it neither pays nor stops, and its report shows no amounts that mean nothing."""

from __future__ import annotations

from datetime import date

import pytest
import trialcosts

from monitor.roi import formats
from monitor.roi.charts import bars_of
from monitor.roi.costs import Costs
from monitor.roi.intervals import exposure_needed, poisson
from monitor.roi.measured import Figures, MachineFigures, Outcome
from monitor.roi.page import context, needs, step_text, why
from monitor.roi.result import About, Result, as_json, weigh
from monitor.roi.rollout import Step, next_steps
from monitor.roi.silence import reason
from monitor.roi.trial import Event

MINUTES = 20 / (60 * 168)  # twenty minutes in weeks


def result(events: int, false_alarms: int, weeks: float, basis: str = "trial") -> Result:
    outcomes = tuple(Outcome(Event("press", f"F{n}", None), True, 72.0, ()) for n in range(events))
    machine = MachineFigures("press", events, events, false_alarms, weeks * 168, weeks)
    about = About("trial.csv", 70, "fusion", 0, date(2026, 11, 21), True, {"press": 40}, {"press": True}, {})
    return weigh(Figures(outcomes, (machine,), basis, 24.0, 1.0), Costs(**trialcosts.COSTS), about)


def test_a_short_trial_is_no_reason_to_stop() -> None:
    """Eight of eight faults found and no false alarm in twenty minutes: nobody can tell yet, whatever the draws say."""
    found = result(8, 0, MINUTES)
    assert (found.verdict.answer, found.verdict.reason) == ("extend", "short")
    assert "20 min" in why(found, "en")
    assert "20 分" in why(found, "ja")


def test_false_alarms_beyond_any_interval_still_stop_a_short_trial() -> None:
    """Enough alarms in a short time are evidence, and a trial of a year is not short."""
    assert result(8, 40, 0.6).verdict.reason == "loses"
    assert result(8, 44, 52.0).verdict.answer == "stop"


def test_minutes_more_do_not_settle_it() -> None:
    """What is asked for bounds the rate where it stays as it was: at none, below the limit that pays."""
    more = exposure_needed(0, MINUTES, 0.5)
    assert more is not None
    high = poisson(0, MINUTES + more)[1]
    assert high is not None
    assert high < 0.5
    assert more > 7


def test_the_page_leaves_out_what_means_nothing() -> None:
    """No interval of the money, no conservative case, no cash picture; JSON says why and keeps the numbers."""
    found = result(8, 0, MINUTES)
    assert found.brief
    page = context(found, "en")
    assert [value for _, value, _ in page["cards"][2:]] == ["not known"] * 3
    assert {row[2] for row in page["money"]} == {"–"}
    assert "20 min" in page["brief"]
    assert [name for name, *_ in page["pictures"]] == ["false", "tornado"]
    assert "false_alarms" not in {bar.name for bar in bars_of(found)}
    plain = as_json(found)
    assert plain["trial"]["too_brief"] is True
    assert plain["money"]["monte_carlo"] is not None
    assert not result(8, 0, 1.0).brief


def test_untimed_trials_are_asked_for_recordings() -> None:
    """Where recordings are counted, what is missing is a number of recordings."""
    found = result(8, 1, 1.2, "recordings")
    assert found.verdict.answer == "extend"
    (line,) = [line for line in needs(found, "en") if "test recordings" in line]
    assert found.verdict.more_weeks is not None
    assert f"About {round(found.verdict.more_weeks * 7)} more" in line


@pytest.mark.parametrize(
    ("value", "en", "ja"),
    [(0.005, "18 s", "18 秒"), (0.311, "18.7 min", "18.7 分"), (1.5, "1.5 h", "1.5 時間"), (72.0, "3 days", "3 日")],
)
def test_times_keep_their_size(value: float, en: str, ja: str) -> None:
    """A hundred seconds are not 0 hours."""
    assert (formats.hours(value, "en"), formats.hours(value, "ja")) == (en, ja)


def test_estimates_and_axes_have_few_digits() -> None:
    """Two figures for an estimate; axes in a unit that keeps labels short."""
    assert [formats.about(value) for value in (0.04, 1.5, 7.0, 22.3)] == ["0.1", "1.5", "7", "23"]
    assert formats.money_scale(2e11, "JPY", "en")[1] == "billion JPY"
    assert formats.money_scale(4.6e8, "JPY", "ja")[1] == "億円"


def test_machines_alike_share_a_sentence_and_start_only_where_it_goes() -> None:
    """Three machines with as many recordings are one line; without a go the start is conditional."""
    figures = result(8, 0, 30.0).figures
    counts = {"press": 40, "saw": 40, "fan": 12}
    steps = next_steps(figures, counts, 1.0, machines=3, mics=3, window_s=2.0, windows_per_s=99.0, go=False)
    assert [step.facts["machines"] for step in steps if step.kind == "healthy"] == [["press", "saw"], ["fan"]]
    start = next(step for step in steps if step.kind == "start")
    assert step_text(start, "en").startswith("If it goes ahead")
    assert "10.2 Mbit/s" in step_text(Step("uplink", {"mbit": 10.24, "limit": 10.0, "stays": True}), "en")


def test_why_a_machine_was_not_judged_is_said_in_japanese() -> None:
    """The detectors' own words in a Japanese report, and what is not known stays as it is."""
    text = "2 healthy recordings, at least 3 are needed: add recordings, or one of 3 min"
    assert reason(text, "ja") == "学習用の正常録音が 2 件です。3 件以上必要です"
    assert reason(text, "en") == text
    assert reason("something else", "ja") == "something else"
    assert "がありません" in reason(
        "no healthy recording to learn from: add some with split = train and label = normal", "ja"
    )


def test_without_faults_no_share_is_promised() -> None:
    """Zero anomalies: the least number of faults, not one that holds if they are found at a rate that nobody knows."""
    first = needs(result(0, 0, 30.0), "en")[0]
    assert first == "At least 5 more faults with recordings."
