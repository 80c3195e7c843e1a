"""From a manifest's columns to events, alarms and figures; without any sound being heard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitor.alarm_plan import Plan
from monitor.manifest import ManifestError, read_manifest
from monitor.roi.costs import Costs
from monitor.roi.measured import Figures, measure
from monitor.roi.replay import Alarm, Judged, alarms_of
from monitor.roi.trial import Recording, Trial, read_trial
from monitor.settings import Alarms

HEADER = "file,machine,split,label,recording,start,event,failed_at"
HEALTHY = "a.wav,fan,test,normal,r1,2026-04-01T08:00,,"
FAULTY = "b.wav,fan,test,anomaly,r2,2026-04-02T08:00,E1,2026-04-05T08:00"
RULE = Plan(threshold=1.0, p=0.1, k=2, n=3, context_s=10.0, expected_per_week=0.5, supported=True)
HOUR_NS = 3_600 * 10**9
COSTS = Costs(
    currency="EUR",
    planned_repair=1,
    unplanned_failure=10,
    inspection=1,
    running_per_month=1,
    investment=1,
    share_acted_on=1,
    discount_rate=0,
    failures_per_machine_year=1,
)


def trial_of(folder: Path, *lines: str, header: str = HEADER) -> Trial:
    for name in ("a.wav", "b.wav", "c.wav"):
        (folder / name).touch()
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return read_trial(read_manifest(path))


def recording(number: int, start_h: float | None, event: str = "", group: str = "", mic: str = "m") -> Recording:
    start_ns = None if start_h is None else round(start_h * HOUR_NS)
    return Recording(number, Path("x.wav"), "fan", mic, group or str(number), bool(event), event, start_ns)


def figures_of(judged: list[Judged], failed_h: dict[str, float | None], **changes: Any) -> Figures:
    from monitor.roi.trial import Event

    events = tuple(Event("fan", name, None if at is None else round(at * HOUR_NS)) for name, at in failed_h.items())
    timed = judged[0].recording.start_ns is not None
    trial = Trial(timed, tuple(one.recording for one in judged), events, ("fan",))
    alarms = alarms_of(judged, {"fan": RULE}, Alarms())
    return measure(trial, judged, alarms, COSTS.model_copy(update=changes))


ODD, FINE = (2.0, 2.0, 2.0), (0.1, 0.1, 0.1)


def test_times_and_events_are_read(tmp_path: Path) -> None:
    """A trial with times: in their order, its event with the moment of failure."""
    trial = trial_of(tmp_path, FAULTY, HEALTHY)
    assert trial.timed
    assert [one.faulty for one in trial.recordings] == [False, True]
    (event,) = trial.events
    assert event.failed_ns is not None
    assert event.failed_ns - (trial.recordings[1].start_ns or 0) == 72 * HOUR_NS


def test_without_times_each_faulty_recording_is_an_event(tmp_path: Path) -> None:
    """Two files of one recording are one event; times are unknown."""
    header = "file,machine,split,label,recording"
    trial = trial_of(tmp_path, "a.wav,fan,test,anomaly,r1", "b.wav,fan,test,anomaly,r1", header=header)
    assert not trial.timed
    assert [(one.name, one.failed_ns) for one in trial.events] == [("r1", None)]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((HEALTHY, "b.wav,fan,test,normal,r2,,,"), "line 3: start is empty"),
        ((HEALTHY.replace("2026-04-01T08:00", "yesterday"),), "line 2: start is 'yesterday'; write it as 2026-04-01"),
        ((HEALTHY.replace("08:00,,", "08:00,E1,"),), "line 2: a normal recording with event 'E1'"),
        ((FAULTY.replace("04-05", "04-01"),), "failed before its first recording began"),
        ((FAULTY.replace("2026-04-02T08:00", ""),), "line 2: failed_at without start"),
        ((FAULTY, FAULTY.replace("b.wav", "c.wav").replace("04-05", "04-06")), "line 3: event 'E1' of fan has two"),
        ((HEALTHY, FAULTY.replace("2026-04-02T08:00", "2026-04-02T08:00Z")), "line 3 has a time with an offset"),
        (("a.wav,fan,train,normal,r1,,,",), "no test recordings"),
    ],
)
def test_times_that_do_not_fit_are_named(tmp_path: Path, lines: tuple[str, ...], words: str) -> None:
    """The message names the line and what to do."""
    with pytest.raises(ManifestError, match=words):
        trial_of(tmp_path, *lines)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    """A manifest without labels is refused before anything is learned."""
    with pytest.raises(ManifestError, match="column label is missing"):
        trial_of(tmp_path, "a.wav,fan,test", header="file,machine,split")


def test_channels_that_began_together_are_microphones(tmp_path: Path) -> None:
    """Two files of one moment without a microphone's name do not hide each other."""
    trial = trial_of(tmp_path, HEALTHY, HEALTHY.replace("a.wav", "b.wav"))
    assert {one.mic for one in trial.recordings} == {"channel 0", "channel 1"}


def test_an_alarm_in_time_is_found_with_its_lead() -> None:
    """Opened 30 hours (less two looks of 10 s) before the failure: found, and early."""
    found = figures_of([Judged(recording(1, 0), 30, FINE), Judged(recording(2, 24, "E"), 30, ODD)], {"E": 54.0})
    assert found.found == found.early == 1
    assert found.leads_h == pytest.approx([30 - 20 / 3600])
    assert found.false_alarms == 0


def test_too_late_is_missed() -> None:
    """An alarm that opens after the failure finds nothing, and is no false alarm either."""
    late = [Judged(recording(1, 0, "E"), 30, FINE), Judged(recording(2, 24, "E"), 30, ODD)]
    found = figures_of(late, {"E": 12.0})
    assert (found.found, found.events, found.false_alarms) == (0, 1, 0)


def test_short_notice_is_found_but_not_early() -> None:
    """Found an hour before the failure, where a day is needed."""
    found = figures_of([Judged(recording(1, 0, "E"), 30, ODD)], {"E": 1.0})
    assert (found.found, found.early) == (1, 0)


def test_an_alarm_that_merely_stays_open_finds_nothing() -> None:
    """It opened on healthy sound: one false alarm, and the event that follows is missed."""
    judged = [Judged(recording(1, 0), 30, ODD), Judged(recording(2, 24, "E"), 30, ODD)]
    found = figures_of(judged, {"E": 100.0})
    assert (found.found, found.false_alarms) == (0, 1)


def test_exposure_in_a_trial_with_times() -> None:
    """Daily recordings speak for their day; the faulty day does not count; the last counts its own length."""
    judged = [Judged(recording(day, 24 * day, "E" if day == 2 else ""), 3600, FINE) for day in range(4)]
    found = figures_of(judged, {"E": None})
    assert found.weeks == pytest.approx((24 + 24 + 1) / 168)
    assert found.listened_h == pytest.approx(3)
    hours = figures_of(judged, {"E": None}, listening_hours_per_week=1.5)
    assert (hours.basis, hours.weeks) == ("hours", pytest.approx(2.0))


def test_without_times_recordings_are_counted() -> None:
    """Four channels of one healthy recording alarm together: one false alarm of one recording."""
    healthy = [Judged(recording(n, None, group="r", mic=""), 10, ODD) for n in range(4)]
    found = figures_of([*healthy, Judged(recording(9, None, "E"), 10, ODD)], {"E": None}, recordings_per_week=2)
    assert (found.false_alarms, found.weeks, found.basis) == (1, 0.5, "recordings")
    assert found.listened_h == pytest.approx(10 / 3600)
    assert found.found == 1
    assert found.leads_h == ()


def test_a_state_that_lasts_alarms_by_the_rules_share() -> None:
    """Two of three looks: a recording half odd stays silent, two thirds alarm; one without a look never does."""
    for scores, alarms in (((2.0, 0.0), 0), ((2.0, 2.0, 0.0), 1), ((2.0,), 1), ((), 0)):
        assert len(alarms_of([Judged(recording(1, None), 10, scores)], {"fan": RULE}, Alarms())) == alarms


def test_order_of_files_does_not_matter() -> None:
    """The same recordings in another order give the same alarms."""
    judged = [Judged(recording(n, 24 * n, "E" if n > 3 else ""), 30, ODD if n > 3 else FINE) for n in range(6)]

    def moments(some: list[Judged]) -> list[tuple[int, int | None]]:
        found: list[Alarm] = alarms_of(some, {"fan": replace(RULE)}, Alarms())
        return [(one.recording.number, one.at_ns) for one in found]

    assert moments(judged) == moments(judged[::-1])
    assert moments(judged)
