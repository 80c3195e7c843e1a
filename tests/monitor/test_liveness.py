"""A microphone without signal is noticed, and one that says nothing by right is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from watchline import T0, S, make_line

from monitor.liveness import Heard, Liveness, Signal
from streams.records import Flag, Identity


def heard(mic: str, index: int, *, flags: set[Flag] | None = None, gap_s: float = 0.0, session: str = "s") -> Heard:
    start_ns = T0 + index * 2 * S
    return Heard(Identity(mic, session, index), start_ns, start_ns + 2 * S, -20.0, frozenset(flags or ()), gap_s)


@pytest.fixture
def ears(tmp_path: Path) -> Liveness:
    return Liveness(make_line(tmp_path, machines={"press": ("press-a", "press-b")}), T0)


def signals(ears: Liveness, wall_ns: int) -> dict[str, Signal]:
    return {mic: verdict.signal for mic, verdict in ears.verdicts(wall_ns)["press"].items()}


def test_a_microphone_that_falls_behind_is_lost(ears: Liveness) -> None:
    """On event time: 30 s after the newest window of all, a microphone without one is lost, and not a window before."""
    ears.hear(heard("press-a", 0), T0)
    ears.hear(heard("press-b", 0), T0)
    for index in range(1, 15):
        ears.hear(heard("press-a", index), T0)
        assert signals(ears, T0)["press-b"] == "live"
    ears.hear(heard("press-a", 15), T0)
    assert signals(ears, T0) == {"press-a": "live", "press-b": "lost"}
    verdict = ears.verdicts(T0)["press"]["press-b"]
    assert (verdict.since_ns, verdict.at_ns) == (T0 + 2 * S, T0 + 32 * S)
    assert verdict.first == Identity("press-b", "s", 0)


def test_one_never_heard_is_lost_too(ears: Liveness) -> None:
    """A microphone that never gave a window is lost once the others have been heard for long enough."""
    for index in range(14):
        ears.hear(heard("press-a", index), T0)
    assert signals(ears, T0)["press-b"] == "waiting"
    for index in range(14, 16):
        ears.hear(heard("press-a", index), T0)
    assert signals(ears, T0)["press-b"] == "lost"


def test_silence_of_the_whole_line_is_seen_on_the_wall_clock(ears: Liveness) -> None:
    """When nothing comes from anywhere, event time stands still, and the wall clock tells."""
    for mic in ("press-a", "press-b"):
        ears.hear(heard(mic, 0), T0 + 2 * S)
    assert set(signals(ears, T0 + 31 * S).values()) == {"live"}
    assert set(signals(ears, T0 + 32 * S).values()) == {"lost"}


def test_nothing_since_the_start_is_lost_in_time(ears: Liveness) -> None:
    """A line that never gives a window waits first and is lost after the delay."""
    assert set(signals(ears, T0 + 29 * S).values()) == {"waiting"}
    assert set(signals(ears, T0 + 30 * S).values()) == {"lost"}
    ears.awake(T0 + 40 * S)
    assert set(signals(ears, T0 + 60 * S).values()) == {"waiting"}


def test_a_clock_that_runs_ahead_does_not_lose_the_others(ears: Liveness) -> None:
    """One microphone a day ahead leaves another live as long as its windows come at their usual pace."""
    for index in range(20):
        ears.hear(heard("press-b", index), T0 + index * 2 * S)
    ears.hear(heard("press-a", 43_200), T0 + 39 * S)
    assert signals(ears, T0 + 40 * S)["press-b"] == "live"
    assert signals(ears, T0 + 50 * S)["press-b"] == "lost"


def test_silent_flags_for_long_enough_are_silence(ears: Liveness) -> None:
    """Windows that are flagged silent for 30 s make a microphone silent; one with sound makes it live."""
    for index in range(14):
        ears.hear(heard("press-a", index, flags={"silent"}), T0)
        assert signals(ears, T0)["press-a"] == "waiting"
    ears.hear(heard("press-a", 14, flags={"silent"}), T0)
    verdict = ears.verdicts(T0)["press"]["press-a"]
    assert (verdict.signal, verdict.since_ns, verdict.first.sequence) == ("silent", T0, 0)
    ears.hear(heard("press-a", 15), T0)
    assert signals(ears, T0)["press-a"] == "live"


def test_a_file_that_ended_is_not_lost(tmp_path: Path) -> None:
    """A source that ends by itself is never lost for want of windows, whatever the clocks say."""
    line = make_line(tmp_path, machines={"press": ("press-a", "press-b")})
    press = line.machine[0]
    file = press.mic[0].model_copy(update={"source": "file:x.wav"})
    line = line.model_copy(update={"machine": (press.model_copy(update={"mic": (file, press.mic[1])}),)})
    ears = Liveness(line, T0)
    ears.hear(heard("press-a", 0), T0)
    for index in range(100):
        ears.hear(heard("press-b", index), T0)
    assert signals(ears, T0 + 3600 * S) == {"press-a": "live", "press-b": "lost"}


def test_clipping_and_gaps_add_up(ears: Liveness) -> None:
    """Clipped windows and missing seconds are counted per microphone; the newest window gives level and flags."""
    ears.hear(heard("press-a", 0, flags={"clipped"}), T0)
    ears.hear(heard("press-a", 1, flags={"gap"}, gap_s=1.5), T0)
    ears.hear(heard("press-a", 2, flags={"clipped", "gap"}, gap_s=0.5), T0)
    ear = ears.ears["press-a"]
    assert (ear.windows, ear.clipped, ear.gap_s, ear.level_dbfs) == (3, 2, 2.0, -20.0)
    assert ear.flags == {"clipped", "gap"}


def test_strangers_are_ignored(ears: Liveness) -> None:
    """A microphone that is not of this line moves no clock."""
    ears.hear(heard("other-a", 1000), T0)
    assert set(signals(ears, T0).values()) == {"waiting"}


def test_a_folder_may_be_quiet_for_longer(tmp_path: Path) -> None:
    """A recorder that drops a file every ten minutes is no lost microphone; after a quarter of an hour it is."""
    line = make_line(tmp_path, machines={"press": ("press-a", "press-b")})
    machine = line.machine[0]
    folder = machine.mic[1].model_copy(update={"source": "folder:incoming"})
    machine = machine.model_copy(update={"mic": (machine.mic[0], folder)})
    ears = Liveness(line.model_copy(update={"machine": (machine,)}), T0)
    ears.hear(heard("press-b", 0), T0)
    ears.hear(heard("press-a", 299), T0)
    assert signals(ears, T0)["press-b"] == "live"
    ears.hear(heard("press-a", 450), T0)
    assert signals(ears, T0)["press-b"] == "lost"
