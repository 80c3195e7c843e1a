"""An alarm opens on k of n independent looks, closes after its delay, and nothing in between changes its name."""

from __future__ import annotations

import math
import random

import pytest

from monitor.alarms import AlarmMachine, Plan, Update, expected_false_alarms, plan
from monitor.liveness import Verdict
from monitor.settings import Alarms
from streams.records import Identity, WindowScore, alert_id

S = 1_000_000_000
T0 = 1_800_000_000 * S
RULE = Plan(threshold=2.0, p=0.01, k=3, n=4, context_s=10.0, expected_per_week=0.1, supported=True)
SETTINGS = Alarms(looks=4, off_delay_s=20.0, danger_after_s=600.0, hysteresis=0.3)


def window(index: int, score: float, mic: str = "press-a", *, step_s: float = 10.0, **more: object) -> WindowScore:
    values: dict[str, object] = {
        "machine": "press",
        "mic": mic,
        "session": "s1",
        "sequence": index,
        "start_ns": T0 + round(index * step_s * S),
        "duration_s": 2.0,
        "status": "ok",
        "score": score,
        "band_hz": (2100.0, 2600.0),
        "band_db": 9.0,
    }
    return WindowScore(**{**values, **more})  # type: ignore[arg-type]  # a test's shorthand


def machine(settings: Alarms = SETTINGS, rule: Plan = RULE) -> AlarmMachine:
    return AlarmMachine("press", {"*": rule}, settings)


def run(one: AlarmMachine, scores: list[float], start: int = 0, mic: str = "press-a") -> list[Update]:
    return [update for index, score in enumerate(scores, start) for update in one.feed(window(index, score, mic))]


def test_opens_at_the_kth_odd_look_with_the_id_of_the_first() -> None:
    """The alarm opens when the third odd look ends and is named after the first window of the run."""
    updates = run(machine(), [0.1, 0.2, 2.5, 0.3, 3.1, 2.2])
    (update,) = updates
    assert update.opened
    assert update.alert.alert_id == alert_id("press", Identity("press-a", "s1", 2))
    assert update.alert.opened_ns == window(5, 0).end_ns
    assert update.alert.peak_score == 3.1
    assert update.facts.since_ns == window(2, 0).start_ns
    assert update.alert.reason == (
        "press: odd since 08:00, strongest around 2.1-2.6 kHz (+9 dB) on mic press-a, 3 of the last 4 looks"
    )


def test_windows_within_one_context_are_one_look() -> None:
    """Odd windows that share their sound are one piece of evidence, not five."""
    one = machine()
    updates = [update for index in range(10) for update in one.feed(window(index, 5.0, step_s=2.0))]
    assert updates == []
    assert len(one.mics["press-a"].trail.looks) == 2


@pytest.mark.parametrize("status", ["warming_up", "bad_input", "dead"])
def test_only_scored_windows_are_looks(status: str) -> None:
    """A window without a score counts neither for nor against an alarm."""
    one = machine()
    run(one, [5.0, 5.0])
    for index in range(2, 8):
        assert one.feed(window(index, math.nan, status=status)) == []
    assert len(run(one, [5.0], start=8)) == 1


def test_closes_after_the_off_delay() -> None:
    """An alarm closes once fewer than k looks are odd for the off delay, and not before."""
    one = machine()
    run(one, [5.0, 5.0, 5.0])
    assert run(one, [0.1, 0.1, 0.1], start=3) == []  # off since the end of look 4, 10 s ago
    (closed,) = run(one, [0.1], start=6)
    assert closed.alert.closed_ns == window(6, 0).end_ns
    assert "back to normal at" in closed.alert.reason
    assert one.alarm is None


def test_hysteresis_holds_the_alarm_open() -> None:
    """Scores that fall just below the threshold neither close the alarm nor open another."""
    one = machine()
    assert len(run(one, [2.0, 2.0, 2.0])) == 1
    assert run(one, [1.8, 2.1] * 20, start=3) == []
    assert run(one, [1.6] * 4, start=43)[-1].alert.closed_ns > 0


def test_on_delay_keeps_a_short_oddity_quiet() -> None:
    """Nothing opens before k of n has held for the on delay."""
    one = machine(SETTINGS.model_copy(update={"on_delay_s": 20.0}))
    assert run(one, [5.0] * 4) == []
    assert len(run(one, [5.0], start=4)) == 1


def test_danger_needs_persistence_not_height() -> None:
    """A huge score is an alert; ten minutes of a small one are danger."""
    one = machine()
    assert [update.alert.level for update in run(one, [9.0] * 3)] == ["alert"]
    danger = run(one, [2.1] * 60, start=3)
    assert [update.alert.level for update in danger] == ["danger"]
    assert danger[0].alert.updated_ns - danger[0].alert.opened_ns == 600 * S


def test_several_microphones_make_one_alarm() -> None:
    """A second odd microphone joins the alarm, and both must be quiet before it closes."""
    one = machine()
    (opened,) = run(one, [5.0] * 3)
    (joined,) = run(one, [5.0] * 3, mic="press-b")
    assert joined.alert.alert_id == opened.alert.alert_id
    assert joined.alert.mics == ("press-a", "press-b")
    assert run(one, [0.1] * 6, start=3) == []
    (closed,) = [u for u in run(one, [0.1] * 6, start=3, mic="press-b") if u.alert.closed_ns]
    assert closed.alert.alert_id == opened.alert.alert_id


def test_a_healthy_neighbour_changes_nothing() -> None:
    """A microphone that hears nothing odd neither closes the alarm of another nor takes part in it."""
    one = machine()
    run(one, [5.0] * 3)
    assert run(one, [0.1] * 20, mic="press-b") == []
    assert one.alarm is not None
    assert one.alarm.alert.mics == ("press-a",)


def test_a_second_alarm_has_its_own_id() -> None:
    """After an alarm has closed, new odd looks open another one, even with no off delay."""
    one = machine(SETTINGS.model_copy(update={"off_delay_s": 0.0}))
    updates = run(one, [5.0, 5.0, 5.0, 0.1, 0.1, 5.0, 5.0, 0.1, 5.0, 0.1, 0.1])
    ids = [update.alert.alert_id for update in updates if update.opened]
    assert len(ids) == len(set(ids)) == 2


def test_a_window_that_undoes_an_alarm_does_not_let_it_open_twice() -> None:
    """An alarm that a window out of order has closed never opens again under the id that was announced."""
    one = machine(SETTINGS.model_copy(update={"off_delay_s": 0.0}))

    def at(second: int, value: float) -> list[Update]:
        return one.feed(window(second, value, step_s=1.0))

    updates = [*at(0, 5.0), *at(12, 5.0), *at(24, 5.0)]
    updates += at(10, 0.1)  # takes the place of the look at 12
    assert [bool(update.alert.closed_ns) for update in updates] == [False, True]
    updates += [*at(36, 5.0), *at(48, 5.0)]
    ids = [update.alert.alert_id for update in updates if update.opened]
    assert len(ids) == len(set(ids)) == 2


def test_late_windows_are_counted_and_ignored() -> None:
    """A window that ends more than the lateness before the newest of its microphone is counted, not judged."""
    one = machine()
    run(one, [0.1], start=10)
    before = one.state()
    assert one.feed(window(3, 9.0)) == []
    assert (one.late, one.state()) == (1, before)
    one.feed(window(4, 9.0))  # 60 s behind: just in time
    assert one.late == 1


def test_a_microphone_behind_the_others_is_not_late() -> None:
    """A microphone that is an hour behind while a backlog is worked off still raises its alarm."""
    one = machine()
    run(one, [0.1], start=360, mic="press-b")
    assert len(run(one, [5.0] * 3)) == 1
    assert one.late == 0


def test_a_clock_that_was_set_back_does_not_deafen() -> None:
    """A new capture session with older times starts the microphone's time anew instead of being late for a day."""
    one = machine()
    run(one, [0.1] * 5, start=8640)
    updates = [u for i in range(3) for u in one.feed(window(i, 5.0, session="s2"))]
    assert len(updates) == 1


def test_unknown_is_separate_and_survives_waiting() -> None:
    """Loss of signal opens an alarm of level unknown, which only a live signal closes; an alert stays beside it."""
    one = machine()
    run(one, [5.0] * 3)
    lost = Verdict("lost", T0 + 40 * S, T0 + 70 * S, Identity("press-a", "s1", 0))  # also the first odd window
    (opened,) = one.signal({"press-a": lost})
    assert (opened.alert.level, opened.alert.opened_ns) == ("unknown", T0 + 70 * S)
    assert opened.alert.reason == "press: no signal from mic press-a since 08:00"
    assert one.alarm is not None
    assert opened.alert.alert_id != one.alarm.alert.alert_id
    assert one.signal({"press-a": lost}) == []
    assert one.signal({"press-a": Verdict("waiting", T0, T0, lost.first)}) == []
    (closed,) = one.signal({"press-a": Verdict("live", T0 + 90 * S, T0 + 90 * S, Identity("press-a", "s2", 0))})
    assert closed.alert.alert_id == opened.alert.alert_id
    assert closed.alert.closed_ns == T0 + 90 * S


def test_a_microphone_without_a_rule_is_not_judged() -> None:
    """Scores for which nobody planned a rule raise nothing."""
    one = AlarmMachine("press", {"press-b": RULE}, SETTINGS)
    assert run(one, [9.0] * 9) == []


def test_state_of_another_version_is_refused() -> None:
    """State that this version did not write is an error that names the remedy."""
    with pytest.raises(ValueError, match=r"version 99.*remove alarms\.sqlite"):
        machine().restore({"v": 99})


@pytest.mark.parametrize(("n", "p"), [(12, 1 / 13), (98, 1 / 99), (5000, 0.01)])
def test_the_threshold_is_what_the_recordings_support(n: int, p: float) -> None:
    """n recordings support one in n + 1, and never more than the floor."""
    assert plan(n, 10.0, Alarms()).threshold == pytest.approx(-math.log10(p))


def test_k_is_the_smallest_within_the_budget() -> None:
    """One look less would break the budget; a larger budget never asks for more looks."""
    for budget in (0.01, 0.1, 1.0, 10.0, 1000.0):
        chosen = plan(40, 10.0, Alarms(false_alarms_per_week=budget))
        assert chosen.supported
        assert chosen.expected_per_week <= budget
        assert chosen.k == 1 or expected_false_alarms(chosen.p, chosen.k - 1, chosen.n, 10.0) > budget


def test_a_budget_that_nothing_holds_is_said() -> None:
    """Where even k = n is too many, the plan takes k = n and says that it is not supported."""
    chosen = plan(2, 10.0, Alarms(looks=2))
    assert (chosen.k, chosen.supported) == (2, False)
    assert chosen.expected_per_week > 1


def test_no_recordings_is_an_error() -> None:
    """A plan without healthy recordings names what was given."""
    with pytest.raises(ValueError, match="effective_n is 0"):
        plan(0, 10.0, Alarms())


@pytest.mark.parametrize(("p", "k", "n"), [(0.2, 3, 4), (0.1, 2, 6), (0.3, 4, 4)])
def test_the_formula_agrees_with_a_simulation(p: float, k: int, n: int) -> None:
    """Healthy looks drawn by chance open about as many alarms as the formula says, and not more."""
    rng = random.Random(7)
    looks, opened, last = 60_000, 0, [False] * n
    for _ in range(looks):
        before = sum(last)
        last = [*last[1:], rng.random() < p]
        opened += before < k <= sum(last)
    expected = expected_false_alarms(p, k, n, 10.0) * looks * 10.0 / (7 * 86_400)
    assert opened == pytest.approx(expected, abs=4 * math.sqrt(expected))


def test_the_machine_opens_no_more_than_the_formula_says() -> None:
    """The machine itself, fed with healthy scores, stays within what its plan expects."""
    chosen = plan(4, 10.0, Alarms(looks=3, false_alarms_per_week=2500.0))
    one = machine(Alarms(looks=3, off_delay_s=0.0, hysteresis=0.0), chosen)
    rng = random.Random(3)
    looks = 20_000
    updates = run(one, [-math.log10(1.0 - rng.random()) for _ in range(looks)])
    opened = sum(update.opened for update in updates)
    expected = chosen.expected_per_week * looks * 10.0 / (7 * 86_400)
    assert opened == pytest.approx(expected, abs=4 * math.sqrt(expected))


FEW = plan(12, 10.0, Alarms())


def recordings(one: AlarmMachine, scores: list[float]) -> list[Update]:
    """Each score from a recording of its own."""
    return [u for n, score in enumerate(scores) for u in one.feed(window(n, score, session=f"r{n}"))]


def test_few_healthy_recordings_judge_runs_of_recordings() -> None:
    """Recordings made apart, each in the upper half of healthy ones, are an alarm; looks of one stream are not."""
    one = machine(Alarms(), FEW)
    updates = recordings(one, [0.42] * 20)
    assert [update.opened for update in updates] == [True]
    assert updates[0].facts.recordings
    assert "19 of the last 19 recordings" in updates[0].alert.reason
    assert run(machine(Alarms(), FEW), [0.42] * 200) == []


def test_runs_of_recordings_survive_a_restart() -> None:
    """The sessions seen so far are part of the state."""
    one = machine(Alarms(), FEW)
    recordings(one, [0.42] * 12)
    again = machine(Alarms(), FEW)
    again.restore(one.state())
    late = [u for n in range(12, 20) for u in again.feed(window(n, 0.42, session=f"r{n}"))]
    assert [update.opened for update in late] == [True]


def test_runs_of_recordings_can_be_switched_off_and_need_few() -> None:
    """With enough healthy recordings, or when told so, only looks are judged."""
    assert plan(12, 10.0, Alarms(judge_recordings=False)).recordings == ()
    assert plan(40, 10.0, Alarms()).recordings == ()
    assert plan(12, 10.0, Alarms(false_alarms_per_week=1e-9)).recordings == ()


@pytest.mark.parametrize("effective_n", [6, 12, 25, 39])
def test_all_rules_together_hold_the_budget(effective_n: int) -> None:
    """What looks and recordings may cost together is within the budget, by the formula that the simulation confirms."""
    rule = plan(effective_n, 10.0, Alarms(looks=10))
    runs = sum(expected_false_alarms(one.p, one.k, one.n, 10.0) for one in rule.recordings)
    assert rule.expected_per_week + runs <= 1.0
    assert all(one.k > one.p * one.n for one in rule.recordings)


def test_healthy_recordings_rarely_run_odd() -> None:
    """Simulated healthy recordings (uniform p-values) raise no more alarms than planned."""
    dice = random.Random(5)
    one = machine(Alarms(off_delay_s=0.0), FEW)
    weeks = 20_000 * 10.0 / (7 * 86_400.0)
    opened = sum(update.opened for update in recordings(one, [-math.log10(1 - dice.random()) for _ in range(20_000)]))
    assert opened <= 5 * weeks + 3
