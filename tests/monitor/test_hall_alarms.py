"""A fault that neighbours hear calls people once; a noise of the hall is one alarm; nobody's own fault is hushed up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from watchline import T0, S, make_line, score

from monitor.alarm_plan import Plan
from monitor.alarms import Update
from monitor.judges import Judges
from monitor.settings import Line
from streams.records import WindowScore

RULE = Plan(threshold=2.0, p=0.01, k=3, n=4, context_s=10.0, expected_per_week=0.1, supported=True)
NAMES = ("press", "fan", "pump", "saw", "lathe")
QUIET = (0.0,) * 8
HUM = (0.2, 6.0, 7.0, 0.1, 0.0, 0.3, 0.0, 0.0)
FAINT = tuple(value / 3 for value in HUM)
SQUEAL = (0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 8.0, 5.0)

Course = Callable[[int], Sequence[float]]  # window -> profile; QUIET is healthy


def line(folder: Path, **alarms: object) -> Line:
    found = {"settle_s": 30.0, "off_delay_s": 20.0, "lateness_s": 60.0, **alarms}
    return make_line(folder, machines={name: (f"{name}-a",) for name in NAMES}, alarms=found)


def judges(made: Line) -> Judges:
    return Judges(made, {name: {"*": RULE} for name in NAMES})


def windows(courses: dict[str, Course], last: int, first: int = 0) -> list[WindowScore]:
    """A window of two seconds of each machine, in the order of their sound."""
    found = []
    for index in range(first, last):
        for name in NAMES:
            profile = tuple(courses.get(name, lambda _: QUIET)(index))
            odd = any(value >= 1 for value in profile)
            found.append(score(f"{name}-a", index, 3.0 if odd else 0.1, profile_db=profile))
    return found


def during(first: int, last: int, profile: Sequence[float]) -> Course:
    return lambda index: profile if first <= index < last else QUIET


def run(one: Judges, scores: list[WindowScore]) -> list[Update]:
    found = [update for each in scores for update in one.feed(each)]
    return found + one.settle()


def called(updates: list[Update]) -> list[tuple[str, bool]]:
    """For whom people are called: machine, and whether it is about a closing."""
    return [(one.alert.machine, bool(one.alert.closed_ns)) for one in updates if one.reach == "called"]


def final(updates: list[Update]) -> dict[str, Update]:
    return {one.alert.alert_id: one for one in updates}


def test_a_neighbour_that_only_hears_it_calls_nobody(tmp_path: Path) -> None:
    """The loud machine is announced once it has settled; the faint one is marked with its cause, and both close."""
    updates = run(judges(line(tmp_path)), windows({"press": during(20, 60, HUM), "fan": during(20, 60, FAINT)}, 140))
    assert called(updates) == [("press", False), ("press", True)]
    press, fan = sorted(final(updates).values(), key=lambda one: one.alert.machine, reverse=True)
    assert (fan.alert.cause, fan.alert.machines) == (press.alert.alert_id, ("press",))
    assert "probably the sound of press" in fan.alert.reason
    assert {one.reach for one in updates if one.alert.machine == "fan"} == {"stored", "topic"}
    assert any(one.alert.machines == ("fan",) and "fan can hear it too" in one.alert.reason for one in updates)
    assert fan.alert.closed_ns > 0


def test_the_louder_one_is_never_hushed_up(tmp_path: Path) -> None:
    """Whoever spoke first: the machine that rises more stands on its own."""
    courses = {"fan": during(15, 60, FAINT), "press": during(20, 60, HUM)}
    assert called(run(judges(line(tmp_path)), windows(courses, 60))) == [("press", False)]


def test_a_fault_of_its_own_is_announced_beside_a_louder_one(tmp_path: Path) -> None:
    """A sound in another part of the spectrum is nobody else's, however much weaker it is."""
    courses = {"press": during(20, 60, HUM), "fan": during(20, 60, [value / 3 for value in SQUEAL])}
    assert sorted(called(run(judges(line(tmp_path)), windows(courses, 60)))) == [("fan", False), ("press", False)]


def test_what_persists_stands_on_its_own(tmp_path: Path) -> None:
    """A consequence that goes on when the neighbour is quiet again closes, and an alarm of its own is announced."""
    courses = {"press": during(20, 60, HUM), "fan": during(20, 120, FAINT)}
    updates = run(judges(line(tmp_path)), windows(courses, 140))
    assert ("fan", False) in called(updates)
    first, second = [one for one in final(updates).values() if one.alert.machine == "fan"]
    assert first.alert.closed_ns == second.alert.opened_ns
    assert second.facts.since_ns >= T0 + 2 * 59 * S
    assert second.alert.cause == ""
    assert "goes on as an alarm of its own" in first.alert.reason


def test_what_does_not_rise_is_its_own(tmp_path: Path) -> None:
    """Odd looks without a rise (a level that fell, a pattern in time) are explained by nobody."""
    scores = windows({"press": during(20, 60, HUM)}, 60)
    scores = [
        score("fan-a", one.sequence, 3.0, profile_db=QUIET) if one.mic == "fan-a" and one.sequence >= 20 else one
        for one in scores
    ]
    assert ("fan", False) in called(run(judges(line(tmp_path)), scores))


def test_a_noise_of_the_hall_is_one_alarm(tmp_path: Path) -> None:
    """What begins in most machines at once, and is about as loud everywhere, is announced once, with their names."""
    noise = [[4.0 + 0.9 * ((3 * i + 5 * j) % 4) for j in range(8)] for i in range(5)]
    courses = {name: during(20, 60, noise[i]) for i, name in enumerate(NAMES)}
    updates = run(judges(line(tmp_path)), windows(courses, 140))
    assert called(updates) == [("hall", False), ("hall", True)]
    hall = next(one for one in final(updates).values() if one.alert.machine == "hall")
    assert sorted(hall.alert.machines) == sorted(NAMES)
    assert len(hall.facts.alerts) == len(NAMES)
    members = [one for one in final(updates).values() if one.alert.machine != "hall"]
    assert {one.alert.cause for one in members} == {hall.alert.alert_id}


def test_who_stands_out_of_the_noise_is_announced(tmp_path: Path) -> None:
    """A machine that stays odd after the noise of the hall has gone gets an alarm of its own."""
    noise = [[4.0 + 0.9 * ((3 * i + 5 * j) % 4) for j in range(8)] for i in range(5)]
    courses = {name: during(20, 60 if name != "saw" else 120, noise[i]) for i, name in enumerate(NAMES)}
    found = called(run(judges(line(tmp_path)), windows(courses, 140)))
    assert found[0] == ("hall", False)
    assert ("saw", False) in found
    assert not any(name in ("press", "fan", "pump", "lathe") for name, _ in found)


def test_a_flood_is_gathered_and_what_outlasts_it_is_told(tmp_path: Path) -> None:
    """After so many alarms in ten minutes further ones make one alarm; those still open at its end are announced."""
    each = {name: [0.0] * i + [9.0] + [0.0] * (7 - i) for i, name in enumerate(NAMES)}
    starts = {"press": 20, "fan": 50, "pump": 80, "saw": 110, "lathe": 140}
    courses = {
        name: during(start, 2000 if name == "lathe" else start + 25, each[name]) for name, start in starts.items()
    }
    updates = run(judges(line(tmp_path, flood_alarms=4)), windows(courses, 700))
    opened = [name for name, closed in called(updates) if not closed]
    assert opened[:4] == ["press", "fan", "pump", "hall"]
    assert opened[-1] == "lathe"
    hall = next(one for one in final(updates).values() if one.alert.machine == "hall")
    assert hall.alert.machines == ("saw", "lathe")
    assert hall.alert.closed_ns > 0
    assert "more alarms than one can follow" in hall.alert.reason


def test_nothing_waits_for_a_line_that_has_gone_quiet(tmp_path: Path) -> None:
    """An alarm that is settling when all sound ends is announced when that is known."""
    one = judges(line(tmp_path))
    updates = run(one, windows({"press": during(20, 60, HUM)}, 36))
    assert called(updates) == []
    assert called(one.settle(over=True)) == [("press", False)]


def test_a_machine_whose_scores_never_come_is_not_waited_for(tmp_path: Path) -> None:
    """Told in the order of time, the louder machine is called alone; where its scores are missing, the other one is."""
    scores = windows({"press": during(20, 60, HUM), "fan": during(20, 60, FAINT)}, 60)
    by_machine = sorted(scores, key=lambda one: NAMES.index(one.machine) if one.machine != "press" else 9)
    one, other = judges(line(tmp_path)), judges(line(tmp_path))
    straight = run(one, scores)
    crooked = run(other, by_machine[: len(scores) - 60])
    assert called(crooked) == [("fan", False)]
    assert called(straight) == [("press", False)]


@pytest.mark.parametrize("cut", [0, 101, 155, 180, 240, 333, 480])
def test_a_restart_anywhere_changes_nothing(tmp_path: Path, cut: int) -> None:
    """State that went through JSON in the middle of settling, of a consequence, of a hall's alarm gives the same."""
    noise = [[4.0 + 0.9 * ((3 * i + 5 * j) % 4) for j in range(8)] for i in range(5)]
    courses = {name: during(60, 80, noise[i]) for i, name in enumerate(NAMES)}
    courses["press"] = lambda index: HUM if 10 <= index < 40 else during(60, 80, noise[0])(index)
    courses["fan"] = lambda index: FAINT if 10 <= index < 45 else during(60, 80, noise[1])(index)
    scores = windows(courses, 130)
    whole = judges(line(tmp_path))
    expected = [update for each in scores for update in whole.feed(each)]
    first, second = judges(line(tmp_path)), judges(line(tmp_path))
    before = [update for each in scores[:cut] for update in first.feed(each)]
    second.restore(json.loads(json.dumps(first.states(NAMES))))
    assert before + [update for each in scores[cut:] for update in second.feed(each)] == expected
    assert second.states(NAMES) == whole.states(NAMES)
    assert {"hall", "press"} <= {name for name, _ in called(expected)}


def test_switched_off_everybody_is_called_at_once(tmp_path: Path) -> None:
    """With settle_s = 0 each machine's alarm is announced when it opens, whoever is louder."""
    courses = {"press": during(20, 60, HUM), "fan": during(20, 60, FAINT)}
    one = judges(line(tmp_path, settle_s=0.0))
    assert sorted(called(run(one, windows(courses, 60)))) == [("fan", False), ("press", False)]
    assert one.roles() == {"fan": "own", "press": "own"}
