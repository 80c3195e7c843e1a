"""Windows to contexts, contexts to files, and what training sound is used."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from soundlab import FRONT_END, RATE, machine

from detectors import recordings
from detectors.aggregate import AGGREGATIONS, choose_aggregation, clips_evidence, context_starts, context_windows, join
from detectors.recordings import Clip, choose_contexts, hear

SIZE = 2_000  # samples per window in these tests: 0.125 s


def clip(windows: float, name: str) -> Clip:
    return Clip(torch.zeros(round(windows * SIZE)), name)


@given(st.integers(0, 60), st.integers(1, 8))
def test_contexts_cover_every_window(count: int, context: int) -> None:
    """Contexts lie inside the file, half a context apart, and leave no window unheard."""
    starts = context_starts(count, context)
    heard = {start + offset for start in starts for offset in range(context)}
    assert heard == (set(range(count)) if count >= context else set())
    assert all(later - earlier <= (context + 1) // 2 for earlier, later in pairwise(starts))


def test_join_puts_windows_behind_each_other() -> None:
    """A context is its windows, oldest first; batches of unequal contexts and empty ones are refused."""
    features = FRONT_END(torch.stack([machine(seed) for seed in range(4)]))
    rows = [features.row(number) for number in range(4)]
    both = join([rows[:2], rows[2:]])
    assert torch.equal(both.log_mel[1], torch.cat([features.log_mel[2], features.log_mel[3]], dim=1))
    assert both.level_dbfs.shape == (2, 2 * FRONT_END.frames(RATE))
    for wrong in ([rows[:1], rows], [], [[]]):
        with pytest.raises(ValueError, match="one length above 0"):
            join(wrong)


def test_a_short_file_uses_what_it_has() -> None:
    """Three windows of a context of five, and even half a window, give one context each; less than a frame raises."""
    sounds = [machine(0, 0.6), machine(1, 0.15), machine(2, 2.0)]
    three, half, whole = clips_evidence(sounds, FRONT_END, 3_200, 5)
    assert [len(one) for one in (three, half, whole)] == [1, 1, 3]
    assert three.log_mel.shape[-1] == 3 * FRONT_END.frames(3_200)
    assert half.log_mel.shape[-1] == FRONT_END.frames(2_400)
    with pytest.raises(ValueError, match="time >= 1024"):
        clips_evidence([torch.zeros(1000)], FRONT_END, 3_200, 5)
    assert context_windows(10.0, 2.0) == 5
    assert context_windows(1.0, 10.0) == 1


def test_files_of_one_context_need_no_aggregation() -> None:
    """Clips of ten seconds have one context: any way of joining is the same, and it is called mean."""
    assert choose_aggregation([torch.tensor([value]) for value in (1.0, 2.0, 3.0)]) == "mean"


def test_a_click_must_not_drown_in_a_mean() -> None:
    """Steady healthy files choose the maximum; files with erratic peaks choose something calmer."""
    generator = torch.Generator().manual_seed(0)
    steady = [torch.randn(20, generator=generator) for _ in range(40)]
    assert choose_aggregation(steady) == "max"
    erratic = [file.clone() for file in steady]
    for number in range(0, 40, 8):
        erratic[number][3] = 300.0
    assert choose_aggregation(erratic) == "mean"
    assert float(AGGREGATIONS["top-3 mean"](torch.tensor([1.0, 5.0, 3.0, 4.0]))) == pytest.approx(4.0)


def test_recordings_are_kept_apart() -> None:
    """Contexts never cross clips; clips of one recording share a number."""
    chosen = choose_contexts([clip(6, "a"), clip(5, "b"), clip(7, "a")], SIZE, RATE, 5, grouped=True, seed=0)
    assert [(span.clip, span.first, span.group) for span in chosen.spans] == [
        (0, 0, 0), (0, 1, 0), (1, 0, 1), (2, 0, 0), (2, 2, 0),
    ]  # fmt: skip
    assert chosen.recordings == 2
    assert not chosen.notes


def test_a_long_recording_is_cut_into_blocks_and_says_so() -> None:
    """Over two minutes alone become blocks of 60 s; groups given by the caller stay whole."""
    long = Clip(torch.zeros(200 * RATE), "long")
    blocks = choose_contexts([long], 2 * RATE, RATE, 5, grouped=False, seed=0)
    assert blocks.recordings == 4
    assert {span.first // 30 == (span.last - 1) // 30 for span in blocks.spans} == {True}
    assert "blocks of 60 s" in blocks.notes[0]
    assert choose_contexts([long], 2 * RATE, RATE, 5, grouped=True, seed=0).recordings == 1


def test_short_recordings_shrink_the_context() -> None:
    """Where most recordings are short the context shrinks to fit; where few are, those are left out. Both are said."""
    mostly_short = choose_contexts(
        [clip(2, str(n)) for n in range(5)] + [clip(9, "x")], SIZE, RATE, 5, grouped=True, seed=0
    )
    assert mostly_short.context == 2
    assert mostly_short.recordings == 6
    few_short = choose_contexts(
        [clip(9, str(n)) for n in range(5)] + [clip(2, "x")], SIZE, RATE, 5, grouped=True, seed=0
    )
    assert (few_short.context, few_short.recordings) == (5, 5)
    assert "1 of 6 clips" in few_short.notes[0]


def test_hours_of_sound_stay_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts are capped, evenly over recordings, by a seeded choice that the card names."""
    monkeypatch.setattr(recordings, "MOST_CONTEXTS", 30)
    clips = [clip(300, "long"), *(clip(6, f"short {n}") for n in range(9))]
    chosen = choose_contexts(clips, SIZE, RATE, 5, grouped=True, seed=1)
    counts = [sum(span.group == number for span in chosen.spans) for number in range(10)]
    assert len(chosen.spans) == 30
    assert counts == [12, *[2] * 9]
    assert "30 of 118 contexts" in chosen.notes[0]
    assert choose_contexts(clips, SIZE, RATE, 5, grouped=True, seed=1) == chosen
    assert choose_contexts(clips, SIZE, RATE, 5, grouped=True, seed=2) != chosen


def test_bad_sound_is_named() -> None:
    """Nothing as long as a window, whole numbers, and NaN raise ValueError; NaN names its recording."""
    with pytest.raises(ValueError, match="none as long as one window"):
        choose_contexts([clip(0.5, "a")], SIZE, RATE, 5, grouped=True, seed=0)
    with pytest.raises(ValueError, match="floating point"):
        choose_contexts([Clip(torch.zeros(10_000, dtype=torch.int16), "a")], SIZE, RATE, 5, grouped=True, seed=0)
    bad = [Clip(torch.full((4 * SIZE,), torch.nan), "press.wav")]
    chosen = choose_contexts(bad, SIZE, RATE, 2, grouped=True, seed=0)
    with pytest.raises(ValueError, match=r"press\.wav.*NaN"):
        hear(bad, chosen, FRONT_END, SIZE)
