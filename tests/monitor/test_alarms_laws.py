"""Laws of the alarm state machine, over any sequence of scores."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from monitor.alarms import AlarmMachine, Plan, Update
from monitor.settings import Alarms
from streams.records import WindowScore

S = 1_000_000_000
T0 = 1_800_000_000 * S
RULE = Plan(threshold=2.0, p=0.01, k=2, n=3, context_s=10.0, expected_per_week=0.1, supported=True)
SETTINGS = Alarms(looks=3, off_delay_s=15.0, danger_after_s=60.0, hysteresis=0.5)

values = st.sampled_from([0.0, 1.4, 1.5, 1.9, 2.0, 2.5, 6.0])
statuses = st.sampled_from(["ok", "ok", "ok", "ok", "warming_up", "bad_input"])
events = st.lists(st.tuples(values, statuses, st.sampled_from(["a", "b"])), min_size=1, max_size=120)


def windows(drawn: list[tuple[float, str, str]], step_s: float = 5.0) -> list[WindowScore]:
    return [
        WindowScore(
            machine="m",
            mic=mic,
            session="s",
            sequence=index,
            start_ns=T0 + round(index * step_s * S),
            duration_s=2.0,
            status=status,  # type: ignore[arg-type]  # drawn from the allowed ones
            score=score if status == "ok" else float("nan"),
        )
        for index, (score, status, mic) in enumerate(drawn)
    ]


def machine() -> AlarmMachine:
    return AlarmMachine("m", {"*": RULE}, SETTINGS)


def feed(one: AlarmMachine, scores: list[WindowScore]) -> list[Update]:
    return [update for score in scores for update in one.feed(score)]


def plain(one: AlarmMachine) -> str:
    return json.dumps(one.state(), sort_keys=True)


@given(events)
def test_never_opens_below_k(drawn: list[tuple[float, str, str]]) -> None:
    """Whenever an alarm opens, at least k scored windows of that microphone, a context apart, were odd."""
    one, heard = machine(), []
    for score in windows(drawn):
        heard.append(score)
        for update in one.feed(score):
            if update.opened:
                odd = [w for w in heard if w.mic == score.mic and w.status == "ok" and w.score >= RULE.threshold]
                recent = [w for w in odd if w.start_ns >= update.facts.since_ns]
                assert len(recent) >= RULE.k
                assert recent[-1].start_ns - recent[0].start_ns >= (RULE.k - 1) * 10 * S - 10_000_000


@given(events)
def test_closing_needs_the_off_delay(drawn: list[tuple[float, str, str]]) -> None:
    """No alarm closes within the off delay of a moment at which it still held."""
    one, held_ns = machine(), 0
    for score in windows(drawn):
        updates = one.feed(score)
        if any(update.alert.closed_ns for update in updates):
            assert score.end_ns - held_ns >= 15 * S
        if one.alarm is not None and not one.mics[score.mic].trail.off_ns and score.mic in one.alarm.alert.mics:
            held_ns = score.end_ns


@given(st.lists(st.sampled_from([1.5, 1.9, 2.0, 2.5, 6.0]), max_size=80))
def test_scores_within_the_hysteresis_never_close(scores: list[float]) -> None:
    """While no score falls below the lowered threshold there is at most one alarm, and it stays open."""
    updates = feed(machine(), windows([(score, "ok", "a") for score in scores]))
    assert sum(update.opened for update in updates) <= 1
    assert not any(update.alert.closed_ns for update in updates)


@given(events, st.integers(0, 120))
def test_a_restart_anywhere_changes_nothing(drawn: list[tuple[float, str, str]], cut: int) -> None:
    """State that went through JSON gives the same alerts as a machine that was never stopped."""
    scores = windows(drawn)
    whole = machine()
    expected = feed(whole, scores)
    first = machine()
    before = feed(first, scores[:cut])
    second = machine()
    second.restore(json.loads(json.dumps(first.state())))
    assert before + feed(second, scores[cut:]) == expected
    assert plain(second) == plain(whole)


@given(events, st.randoms(use_true_random=False))
def test_duplicates_change_nothing(drawn: list[tuple[float, str, str]], rng: object) -> None:
    """Windows that come again, at once or within the lateness, leave alerts and state as they were."""
    scores = windows(drawn)
    expected, whole = machine(), machine()
    single = feed(expected, scores)
    doubled = []
    for index, score in enumerate(scores):
        doubled += whole.feed(score)
        doubled += whole.feed(score)
        doubled += whole.feed(scores[max(0, index - 7)])
    assert doubled == single
    assert plain(whole) == plain(expected)


@given(events)
def test_ids_are_never_used_twice_and_alarms_do_not_overlap(drawn: list[tuple[float, str, str]]) -> None:
    """Each opening has its own id, and the one before has closed."""
    updates = feed(machine(), windows(drawn))
    opened = [update.alert.alert_id for update in updates if update.opened]
    assert len(opened) == len(set(opened))
    for one, after in pairwise(updates):
        assert (one.alert.closed_ns > 0) == after.opened


@given(events, st.lists(st.integers(0, 10), min_size=120, max_size=120))
def test_order_within_the_lateness_leaves_the_same_knowledge(
    drawn: list[tuple[float, str, str]], delays: list[int]
) -> None:
    """Windows shuffled by less than the lateness leave each microphone's trail as if they had come in order."""
    scores = windows(drawn)
    shuffled = [score for _, score in sorted(zip(delays, scores, strict=False), key=lambda it: it[1].sequence + it[0])]
    assert {score.identity for score in shuffled} == {score.identity for score in scores}
    straight, crooked = machine(), machine()
    feed(straight, scores)
    feed(crooked, shuffled)
    assert crooked.late == 0
    assert {m: s.trail for m, s in crooked.mics.items()} == {m: s.trail for m, s in straight.mics.items()}
    quiet = windows([(0.0, "ok", mic) for mic in "ab" * 40])
    later = [
        WindowScore(**{**fields(w), "start_ns": w.start_ns + 700 * S, "sequence": w.sequence + 500}) for w in quiet
    ]
    feed(straight, later)
    feed(crooked, later)
    assert (straight.alarm is None) == (crooked.alarm is None)


def fields(score: WindowScore) -> dict[str, object]:
    return {name: getattr(score, name) for name in WindowScore.__dataclass_fields__}
