from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sound_makers import NOW_NS, RATE, SECOND_NS, noise

from streams.records import AudioWindow
from streams.windows import Chunker, Cut

CUT = Cut("press", "m1")


def push_live(chunker: Chunker, seconds: float, ends_ns: int, step_s: float = 0.1) -> list[AudioWindow]:
    """Blocks of `step_s` whose last one ends at `ends_ns` by the wall clock."""
    count = round(seconds / step_s)
    out = []
    for index in range(count):
        arrived_ns = ends_ns - round((count - 1 - index) * step_s * 1e9)
        out += chunker.push(noise(step_s, index), arrived_ns)
    return out


@given(sizes=st.lists(st.integers(1, 70_000), max_size=12))
def test_windows_are_the_sound_cut_without_overlap(sizes: list[int]) -> None:
    """However it comes in, the windows joined are the sound, numbered and placed by the sample count."""
    sound = np.arange(sum(sizes), dtype=np.float32) % 65_536 / 80_000
    chunker, out, at = Chunker(CUT, "s", NOW_NS), [], 0
    for size in sizes:
        out += chunker.push(sound[at : at + size])
        at += size
    whole = len(sound) // 32_000
    assert [window.sequence for window in out] == list(range(whole))
    assert [window.start_ns for window in out] == [NOW_NS + index * 2 * SECOND_NS for index in range(whole)]
    assert all(not window.gap_s and not window.flags - {"silent"} for window in out)
    np.testing.assert_array_equal(np.concatenate([w.samples for w in out] or [sound[:0]]), sound[: whole * 32_000])
    assert chunker.finish() == len(sound) - whole * 32_000 == chunker.dropped_samples
    assert chunker.finish() == 0


def test_a_window_is_not_changed_by_what_comes_later() -> None:
    """The chunker fills one buffer again and again; windows must not share it."""
    chunker = Chunker(CUT, "s", NOW_NS)
    (first,) = chunker.push(noise(2.0, 1))
    before = first.samples.copy()
    chunker.push(noise(2.0, 2))
    np.testing.assert_array_equal(first.samples, before)
    assert not first.samples.flags.writeable


def test_rates_that_do_not_divide_a_second_do_not_drift() -> None:
    """Time is counted from the anchor, so rounding never adds up."""
    cut = Cut("press", "m1", rate=22_050, window_s=1 / 3)
    out = Chunker(cut, "s", NOW_NS).push(noise(1_000 / 3 + 0.01, rate=22_050, level=0.01))
    assert len(out) == 1_000
    assert out[-1].start_ns == NOW_NS + 999 * 7_350 * SECOND_NS // 22_050


def test_lost_samples_make_a_gap_and_never_a_window_across_it() -> None:
    """The piece before the hole is dropped; the next window says how much sound is missing before it."""
    chunker = Chunker(CUT, "s", NOW_NS)
    assert chunker.push(noise(3.0))[0].gap_s == 0
    chunker.lost(8_000)
    after, later = chunker.push(noise(4.0, 1))
    np.testing.assert_array_equal(after.samples, noise(4.0, 1)[:32_000])
    assert after.flags == {"gap"}
    assert after.gap_s == pytest.approx(1.0 + 0.5)
    assert after.start_ns == NOW_NS + round(3.5e9)
    assert (after.sequence, later.sequence, later.gap_s, later.flags) == (1, 2, 0.0, frozenset())
    assert (chunker.lost_samples, chunker.dropped_samples) == (8_000, 16_000)


def test_two_holes_in_one_window_add_up() -> None:
    """Nothing of a gap is forgotten when the next one follows before a window is whole."""
    chunker = Chunker(CUT, "s", NOW_NS)
    chunker.push(noise(0.5))
    chunker.lost(1_600)
    chunker.push(noise(0.25))
    chunker.lost(1_600)
    (window,) = chunker.push(noise(2.0))
    assert window.gap_s == pytest.approx(0.5 + 0.1 + 0.25 + 0.1)
    assert window.start_ns == NOW_NS + round(0.95e9)


def test_a_hole_of_unknown_size_is_measured_by_the_clock() -> None:
    """The sound goes on where the clock says, at least one sample later."""
    chunker = Chunker(CUT, "s", NOW_NS)
    chunker.push(noise(2.0))
    chunker.resume_at(NOW_NS + 5 * SECOND_NS)
    (window,) = chunker.push(noise(2.0))
    assert (window.start_ns, window.gap_s) == (NOW_NS + 5 * SECOND_NS, 3.0)
    chunker.resume_at(NOW_NS)
    (window,) = chunker.push(noise(2.0))
    assert "gap" in window.flags
    assert chunker.lost_samples == 3 * RATE + 1


def test_jitter_does_not_move_the_time_line() -> None:
    """Blocks that arrive late in a burst are no drift: the promptest block of a window counts."""
    chunker = Chunker(CUT, "s", NOW_NS)
    out, ends = [], NOW_NS
    for index in range(100):
        ends += SECOND_NS // 10
        late = SECOND_NS if index % 10 else 0
        out += chunker.push(noise(0.1, index), ends + late)
    assert [window.start_ns - NOW_NS for window in out] == [index * 2 * SECOND_NS for index in range(5)]
    assert chunker.anchors_moved == 0


def test_sound_that_went_missing_unnoticed_becomes_a_gap() -> None:
    """When the wall clock has run ahead of the sample count, the next window is placed by the clock."""
    chunker = Chunker(CUT, "s", NOW_NS)
    push_live(chunker, 4.0, NOW_NS + 4 * SECOND_NS)
    noticed, after = push_live(chunker, 4.0, NOW_NS + 9 * SECOND_NS)
    assert (noticed.start_ns, noticed.gap_s) == (NOW_NS + 4 * SECOND_NS, 0.0)
    assert (after.start_ns, after.gap_s, after.flags) == (NOW_NS + 7 * SECOND_NS, 1.0, {"gap"})
    assert (chunker.anchors_moved, chunker.lost_samples) == (1, RATE)


def test_a_clock_that_was_set_back_moves_the_time_line_without_a_gap() -> None:
    """No sound is missing, so there is no gap."""
    chunker = Chunker(CUT, "s", NOW_NS)
    push_live(chunker, 4.0, NOW_NS + 4 * SECOND_NS)
    _, after = push_live(chunker, 4.0, NOW_NS - 92 * SECOND_NS)
    assert (after.start_ns, after.gap_s, after.flags) == (NOW_NS - 94 * SECOND_NS, 0.0, frozenset())


def test_a_session_that_begins_with_a_burst_is_placed_by_its_promptest_block() -> None:
    """A stream that hands out two seconds at once, then goes on in time: the sound began before it was heard."""
    late = NOW_NS + round(1.9e9)
    chunker, out = Chunker(CUT, "s", late, gap_s=5.0), []
    for block in range(40):
        out += chunker.push(noise(0.1, block), max(late + SECOND_NS // 10, NOW_NS + (block + 1) * SECOND_NS // 10))
    assert [window.start_ns for window in out] == [NOW_NS, NOW_NS + 2 * SECOND_NS]
    assert [window.gap_s for window in out] == [pytest.approx(3.1), 0.0]
    assert chunker.anchors_moved == 0


def test_a_drift_within_the_bound_is_left_alone() -> None:
    """Half a second is the bound; 0.4 s is no reason."""
    chunker = Chunker(CUT, "s", NOW_NS)
    push_live(chunker, 20.0, NOW_NS + round(20.4e9))
    assert chunker.anchors_moved == 0


def test_a_window_that_leaves_long_after_its_sound_is_late() -> None:
    """Late is told by the clock that is handed in; without one nothing is late."""
    now = NOW_NS + 62 * SECOND_NS
    out = Chunker(CUT, "s", NOW_NS, now_ns=lambda: now).push(noise(2.0))
    assert out[0].flags == frozenset()
    now += 1
    assert Chunker(CUT, "s", NOW_NS, now_ns=lambda: now).push(noise(2.0))[0].flags == {"late"}
    assert Chunker(CUT, "s", 0).push(noise(2.0))[0].flags == frozenset()


def test_a_session_may_begin_with_a_gap() -> None:
    """A stream that was opened again carries the missing time in its first window only."""
    first, second = Chunker(CUT, "s2", NOW_NS, gap_s=7.5).push(noise(4.0))
    assert (first.gap_s, first.flags) == (7.5, {"gap"})
    assert (second.gap_s, second.flags) == (0.0, frozenset())


def test_what_the_sound_is_like_travels_as_flags() -> None:
    """Clipped and silent windows are flagged, not refused."""
    silent, clipped = Chunker(CUT, "s", NOW_NS).push(
        np.concatenate([np.zeros(2 * RATE, np.float32), (9 * noise(2.0)).clip(-1, 1)])
    )
    assert (silent.flags, clipped.flags) == ({"silent"}, {"clipped"})


def test_a_window_of_less_than_a_sample_is_refused() -> None:
    """A cut that can never make a window is a mistake, and says which."""
    with pytest.raises(ValueError, match="window_s is 0"):
        Chunker(Cut("press", "m1", window_s=0.0), "s", NOW_NS)
