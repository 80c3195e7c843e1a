"""The counts add up: every window once, under names that the settings know."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from watchline import S, make_line, score, window

from monitor.alarms import Update
from monitor.liveness import Heard
from monitor.metrics import Metrics, level_dbfs
from monitor.once import SPAN, Once
from monitor.words import Facts
from streams.dead import DeadLetter
from streams.records import Alert, AudioWindow, Identity


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    return Metrics(make_line(tmp_path))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"factory_ear_{name}", labels)


def windows(metrics: Metrics, outcome: str, mic: str = "press-a") -> float | None:
    machine = "unknown" if mic == "unknown" else mic.partition("-")[0]
    return value(metrics, "windows_total", machine=machine, mic=mic, outcome=outcome)


def letter(index: int, reason: str = "bad_message", **headers: str) -> DeadLetter:
    named = {"machine": "press", "mic": "press-a", "session": "s", "sequence": str(index)}
    return DeadLetter(reason, "text", 0, topic="audio.windows", headers=named | headers)


def test_each_window_ends_once(metrics: Metrics) -> None:
    """Scored, rejected and dead windows are counted by outcome, and a replay adds nothing."""
    for _ in range(2):
        metrics.scored(score("press-a", 0))
        metrics.scored(score("press-a", 1, math.nan, status="warming_up"))
        metrics.scored(score("press-a", 2, math.nan, status="bad_input"))
        metrics.dead_letter(letter(3))
    assert [windows(metrics, one) for one in ("scored", "rejected", "dead", "expired")] == [2, 1, 1, 0]
    assert value(metrics, "end_to_end_seconds_count") == 3
    assert value(metrics, "stage_seconds_count", stage="score") == 3
    assert value(metrics, "score", machine="press", mic="press-a") == 0.2


def test_labels_come_from_the_settings(metrics: Metrics) -> None:
    """Whatever arrives, no label value appears that neither the settings nor a fixed list has."""
    metrics.scored(score("stranger-1", 0, stage_seconds={"x" * 50: 1.0}))
    metrics.scored(score("press-a", 0, stage_seconds={"surprise": 1.0}))
    metrics.dead_letter(letter(0, "never_heard_of", mic="stranger-2"))
    text = generate_latest(metrics.registry).decode()
    assert "stranger" not in text
    assert "surprise" not in text
    assert "never_heard_of" not in text
    assert windows(metrics, "scored", "unknown") == 1
    assert value(metrics, "dead_letters_total", reason="other") == 1
    assert value(metrics, "stage_seconds_count", stage="other") == 1


def test_a_refused_file_is_a_letter_but_no_window(metrics: Metrics) -> None:
    """What never was an accepted window ends none."""
    metrics.dead_letter(DeadLetter("not_finite", "NaN", 0, source="x.wav", headers={"mic": "press-a"}))
    assert value(metrics, "dead_letters_total", reason="not_finite") == 1
    assert windows(metrics, "dead") == 0


def test_windows_that_retention_took_are_counted_once(metrics: Metrics) -> None:
    """A gap between the workers' position and the oldest kept window is expired windows, however often it is seen."""
    for _ in range(3):
        metrics.expired({0: (10, 50), 1: (0, 5)}, {0: 4})
    assert windows(metrics, "expired", "unknown") == 6
    metrics.expired({0: (12, 50), 1: (0, 5)}, {0: 11})
    assert windows(metrics, "expired", "unknown") == 7


def test_lag_counts_what_waits(metrics: Metrics) -> None:
    """Lag is what is kept and not yet read, per partition."""
    assert metrics.lag("audio.windows", {0: (10, 50), 1: (0, 5), 2: (0, 9)}, {0: 4, 1: 5}) == 49
    assert value(metrics, "lag_windows", topic="audio.windows", partition="0") == 40
    assert value(metrics, "lag_windows", topic="audio.windows", partition="1") == 0


def test_alarms_are_counted_when_they_open_and_when_they_escalate(metrics: Metrics) -> None:
    """Updates in between and closings count nothing; the level shows the worst that is open."""
    alert = Alert("0" * 16, "press", "alert", 0, 0)
    facts = Facts("odd", 0, ("press-a",))
    danger = Alert("0" * 16, "press", "danger", 0, 0)
    metrics.alarm(Update(alert, facts, opened=True))
    metrics.alarm(Update(alert, facts))
    metrics.alarm(Update(danger, facts, escalated=True))
    metrics.alarm(Update(danger, facts))
    assert value(metrics, "alarms_total", machine="press", level="alert") == 1
    assert value(metrics, "alarms_total", machine="press", level="danger") == 1
    for level, number in (("danger", 2), ("alert", 1), (None, 0), ("unknown", -1)):
        metrics.level("press", level)
        assert value(metrics, "alarm_level", machine="press") == number


def test_what_was_heard_shows_level_and_time(metrics: Metrics) -> None:
    """The newest window of a microphone gives its level and its time in seconds."""
    one = window("press-a", 5)
    metrics.heard(Heard(one.identity, one.start_ns, one.end_ns, level_dbfs(one)))
    at = value(metrics, "last_window_timestamp_seconds", machine="press", mic="press-a")
    assert at == one.end_ns / S
    assert value(metrics, "level_dbfs", machine="press", mic="press-a") == pytest.approx(-23.0, abs=0.1)


def test_silence_has_no_level(metrics: Metrics) -> None:
    """Digital silence is minus infinity, not an error."""
    silent = AudioWindow("press", "press-a", "s", 0, 0, 8000, np.zeros(8, np.float32))
    assert level_dbfs(silent) == -math.inf
    metrics.heard(Heard(silent.identity, 0, 1, level_dbfs(silent)))
    assert b'level_dbfs{machine="press",mic="press-a"} -Inf' in generate_latest(metrics.registry)


def test_prometheus_can_read_it(metrics: Metrics) -> None:
    """The text parses, every name has the prefix and a help text, and durations are in seconds."""
    metrics.scored(score("press-a", 0))
    metrics.model("press", "fusion", "m1")
    families = list(text_string_to_metric_families(generate_latest(metrics.registry).decode()))
    names = {family.name for family in families}
    assert all(family.documentation for family in families)
    assert all(name.startswith("factory_ear_") for name in names)
    assert {f"factory_ear_{name}" for name in DESIGN} <= names
    assert not any("created" in sample.name for family in families for sample in family.samples)


DESIGN = (
    "windows",
    "score",
    "alarm_level",
    "alarms",
    "stage_seconds",
    "end_to_end_seconds",
    "last_window_timestamp_seconds",
    "level_dbfs",
    "lag_windows",
    "dead_letters",
    "model_info",
)

identities = st.lists(
    st.builds(Identity, st.sampled_from(["a", "b"]), st.sampled_from(["s", "t"]), st.integers(0, SPAN - 1)),
    max_size=200,
)


@given(identities)
def test_once_is_once(drawn: list[Identity]) -> None:
    """Within the span, whatever the order, an identity is new exactly the first time."""
    once, seen = Once(), set()
    for identity in drawn:
        assert once.first(identity) == (identity not in seen)
        seen.add(identity)


def test_once_is_bounded() -> None:
    """A long life of one microphone takes no more memory than its span and a few sessions."""
    once = Once()
    for number in range(50):
        for sequence in range(0, 100_000, 1000):
            once.first(Identity("a", f"s{number}", sequence))
    sessions = once._mics["a"]
    assert len(sessions) <= 8
    assert all(one.bits.bit_length() <= SPAN for one in sessions.values())
    assert not once.first(Identity("a", "s49", 1))
