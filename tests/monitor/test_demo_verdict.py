"""The demo's verdict: what counts as found, as a false alarm, as lost."""

from dataclasses import replace

import pytest

from monitor.demo.report import uncovered
from monitor.demo.verdict import GRACE_S, Planned, judge
from streams.records import Alert

MACHINES = ("fan-1", "pump-1")
GOOD = {"sent": 10, "accepted": 10, "scored": 9, "rejected": 1, "dead": 0, "expired": 0}
LEAK = Planned("pump-1", "leak", 100.0, 200.0, -6.0)


def alert(machine: str, opened_s: float, level: str = "alert", mics: tuple[str, ...] = ("m",)) -> Alert:
    return Alert(f"{machine}-{opened_s}", machine, level, round(opened_s * 1e9), round(opened_s * 1e9), mics=mics)  # type: ignore[arg-type]


def test_a_found_fault_has_its_delay() -> None:
    """The first alarm inside the fault's time finds it; nothing failed."""
    verdict = judge(MACHINES, [LEAK], [alert("pump-1", 140.0), alert("pump-1", 190.0)], GOOD, 0)
    row = next(row for row in verdict.rows if row.kind)
    assert row.found
    assert row.delay_s == pytest.approx(40.0)
    assert verdict.failures == ()


def test_a_missed_fault_fails() -> None:
    """No alarm, no pass; unless the plan says that it need not be found."""
    assert judge(MACHINES, [LEAK], [], GOOD, 0).failures == ("pump-1: leak was not found",)
    optional = Planned("pump-1", "leak", 100.0, 200.0, must_find=False)
    assert judge(MACHINES, [optional], [], GOOD, 0).failures == ()


@pytest.mark.parametrize("opened_s", [99.0, 200.0 + GRACE_S + 1])
def test_an_alarm_outside_the_fault_is_false(opened_s: float) -> None:
    """An alarm before the fault, or long after it, finds nothing and counts against the machine."""
    failures = judge(MACHINES, [LEAK], [alert("pump-1", opened_s)], GOOD, 0).failures
    assert failures == ("pump-1: leak was not found", "pump-1: 1 false alarms")


def test_an_alarm_of_another_machine_is_false() -> None:
    """A healthy machine that alarms fails the demo, whatever its neighbour does."""
    failures = judge(MACHINES, [LEAK], [alert("pump-1", 150.0), alert("fan-1", 150.0)], GOOD, 0).failures
    assert failures == ("fan-1: 1 false alarms",)


def test_a_lost_signal_is_found_by_unknown_of_that_microphone_only() -> None:
    """Level unknown finds it, on its own microphone; level alert does not."""
    lost = Planned("fan-1", "no signal", 50.0, 90.0, mic="fan-1-b")
    assert judge(MACHINES, [lost], [alert("fan-1", 80.0, "unknown", ("fan-1-b",))], GOOD, 0).failures == ()
    assert len(judge(MACHINES, [lost], [alert("fan-1", 80.0, "unknown", ("fan-1-a",))], GOOD, 0).failures) == 2
    assert len(judge(MACHINES, [lost], [alert("fan-1", 80.0, "alert", ("fan-1-b",))], GOOD, 0).failures) == 2


@pytest.mark.parametrize("name", ["accepted", "scored", "sent"])
def test_counts_must_add_up(name: str) -> None:
    """One window more or less than is accounted for fails the demo."""
    assert judge(MACHINES, [LEAK], [alert("pump-1", 150.0)], GOOD | {name: GOOD[name] - 1}, 0).failures


def marked(machine: str, opened_s: float, cause: str) -> Alert:
    return replace(alert(machine, opened_s), cause=cause, machines=("pump-1",))


def test_a_consequence_of_a_real_fault_is_no_false_alarm_and_finds_nothing() -> None:
    """A healthy machine whose alarm is marked as the faulty neighbour's passes; its own fault is not found by it."""
    found = alert("pump-1", 140.0)
    verdict = judge(MACHINES, [LEAK], [found, marked("fan-1", 145.0, found.alert_id)], GOOD, 0)
    assert verdict.failures == ()
    assert verdict.notes == ("fan-1: an alarm was marked as that of pump-1",)
    own = Planned("fan-1", "outer_race", 120.0, 180.0)
    failures = judge(MACHINES, [LEAK, own], [found, marked("fan-1", 145.0, found.alert_id)], GOOD, 0).failures
    assert failures == ("fan-1: outer_race was not found",)


@pytest.mark.parametrize("cause", ["nobody's", "pump-1-50.0"])
def test_a_consequence_of_a_false_alarm_is_false(cause: str) -> None:
    """Being marked excuses nothing where the alarm it points to is false or not there."""
    alerts = [alert("pump-1", 140.0), alert("pump-1", 50.0), marked("fan-1", 145.0, cause)]
    assert "fan-1: 1 false alarms" in judge(MACHINES, [LEAK], alerts, GOOD, 0).failures


def test_an_alarm_of_the_hall_needs_something_that_happens() -> None:
    """One alarm for many machines is explained while a fault lasts, and false while nothing does."""
    found = alert("pump-1", 140.0)
    assert judge(MACHINES, [LEAK], [found, alert("hall", 150.0)], GOOD, 0).failures == ()
    assert judge(MACHINES, [LEAK], [found, alert("hall", 50.0)], GOOD, 0).failures == ("hall: 1 false alarms",)


def test_what_the_raw_detector_missed_is_said_and_fails_nothing() -> None:
    """A fault that separation alone found is told so, one that both found too, a lost signal not; nothing fails."""
    lost = Planned("fan-1", "no signal", 50.0, 90.0, mic="fan-1-b")
    alerts = [alert("pump-1", 140.0), alert("fan-1", 80.0, "unknown", ("fan-1-b",))]
    for raw, expected in (([], False), ([alert("pump-1", 150.0)], True), (None, None)):
        verdict = judge(MACHINES, [LEAK, lost], alerts, GOOD, 0, raw)
        assert verdict.failures == ()
        assert {row.kind: row.raw for row in verdict.rows} == {"leak": expected, "no signal": None}
        assert [("pump-1" in text) for text in uncovered(verdict, "en")] == ([True] if expected is False else [])
        assert len(uncovered(verdict, "ja")) == len(uncovered(verdict, "en"))
