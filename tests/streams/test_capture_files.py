from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sound_makers import NOW_NS, RATE, SECOND_NS, FakeClock, news, noise, raw_wav, sound_file, windows

from streams.capture import IDLE, REJECT_REASONS, Idle, Rejected, Source, SourceError, open_source
from streams.soundfiles import content_hash, read_clip


def replay(pattern: Path, **options: object) -> Source:
    options = {"speed": 0.0, "clock": FakeClock(), **options}
    return open_source(f"file:{pattern}", machine="press", mic="m1", **options)  # type: ignore[arg-type]  # options of many types


def test_a_file_becomes_its_windows(tmp_path: Path) -> None:
    """The windows joined are the file; the rest is counted; the session is the content."""
    path = sound_file(tmp_path / "a.wav", 9.0)
    with replay(path) as source:
        events = list(source)
    assert len(windows(events)) == len(events) == 4
    np.testing.assert_array_equal(np.concatenate([w.samples for w in windows(events)]), read_clip(path)[: 8 * RATE])
    assert {window.session for window in windows(events)} == {content_hash(path)}
    assert [window.sequence for window in windows(events)] == [0, 1, 2, 3]
    counts = source.counts()
    assert (counts.windows, counts.files, counts.dropped_samples, counts.rejected) == (4, 1, RATE, 0)


def test_files_follow_each_other_on_one_time_line_by_name(tmp_path: Path) -> None:
    """Each file is a session; the next starts where the one before ended, its dropped rest included."""
    for index, name in enumerate(("c.wav", "a.wav", "b.wav")):
        sound_file(tmp_path / name, 5.0, seed=index)
    out = windows(replay(tmp_path / "*.wav", start_ns=7 * SECOND_NS))
    assert [w.start_ns // SECOND_NS for w in out] == [7, 9, 12, 14, 17, 19]
    sessions = [content_hash(tmp_path / name) for name in ("a.wav", "b.wav", "c.wav")]
    assert [w.session for w in out] == [session for session in sessions for _ in range(2)]
    assert all(w.flags == frozenset() for w in out)


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_sound_is_given_out_when_it_would_have_ended(tmp_path: Path, speed: float) -> None:
    """At speed 1 a window comes when its sound is over, at 4 in a quarter of that; an idle precedes each wait."""
    sound_file(tmp_path / "a.wav", 4.0, 1)
    sound_file(tmp_path / "b.wav", 4.0, 2)
    clock = FakeClock()
    source = replay(tmp_path / "*.wav", speed=speed, clock=clock)
    given = [(type(event).__name__, clock.seconds - 100.0) for event in source]
    due = [0.0, *(2 * number / speed for number in range(1, 5))]
    expected = [pair for before, now in pairwise(due) for pair in (("Idle", before), ("AudioWindow", now))]
    assert given == expected
    assert all(window.start_ns >= NOW_NS for window in windows(replay(tmp_path / "*.wav")))


def test_a_slow_consumer_is_not_made_slower(tmp_path: Path) -> None:
    """Who fell behind gets what is due without a wait."""
    clock = FakeClock()
    source = replay(sound_file(tmp_path / "a.wav", 8.0), speed=1.0, clock=clock)
    assert next(source) is IDLE
    assert len(windows([next(source)])) == 1
    clock.pass_(60.0)
    rest = list(source)
    assert len(windows(rest)) == len(rest) == 3


def test_a_bad_file_is_an_event_and_the_next_one_follows(tmp_path: Path) -> None:
    """Refused files take no time on the line and stop nothing."""
    sound_file(tmp_path / "a.wav", 4.0, 1)
    raw_wav(tmp_path / "b.wav", b"", data_size=0)
    sound_file(tmp_path / "c.wav", 4.0, rate=8_000)
    sound_file(tmp_path / "d.wav", 1.5, 2)
    (tmp_path / "e.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    sound_file(tmp_path / "f.wav", 4.0, 3)
    with replay(tmp_path / "*.wav", start_ns=0) as source:
        events = list(source)
    refused = [event for event in events if isinstance(event, Rejected)]
    assert [(event.reason, Path(event.source).name) for event in refused] == [
        ("no_frames", "b.wav"),
        ("rate_too_low", "c.wav"),
        ("too_short", "d.wav"),
        ("duplicate", "e.wav"),
    ]
    assert all(event.reason in REJECT_REASONS and (event.machine, event.mic) == ("press", "m1") for event in refused)
    assert [w.start_ns / SECOND_NS for w in windows(events)] == [0.0, 2.0, 5.5, 7.5]
    assert source.counts().rejected == 4


def test_a_file_that_breaks_off_gives_its_good_windows_first(tmp_path: Path) -> None:
    """What was sound before the damage is heard, then the file is refused, and time goes on from there."""
    path = sound_file(tmp_path / "a.flac", 20.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sound_file(tmp_path / "b.wav", 2.0, 1)
    events = list(replay(tmp_path / "*", start_ns=0))
    good = [w for w in windows(events) if w.session == content_hash(path)]
    assert 3 <= len(good) <= 5
    assert [event.reason for event in news(events)] == ["truncated"]  # type: ignore[union-attr]  # all are Rejected
    assert windows(events)[-1].start_ns >= good[-1].end_ns


def test_a_replay_has_the_same_identities(tmp_path: Path) -> None:
    """A replay overwrites and never duplicates."""
    sound_file(tmp_path / "a.wav", 6.0)
    first, second = (windows(replay(tmp_path / "a.wav")) for _ in range(2))
    assert [w.identity for w in first] == [w.identity for w in second]


def test_another_channel_and_rate_are_taken_from_a_file(tmp_path: Path) -> None:
    """The channel is chosen and 48 kHz becomes 16 kHz."""
    import soundfile

    tone = np.sin(2 * np.pi * 500 * np.arange(4 * 48_000) / 48_000) * 0.5
    soundfile.write(tmp_path / "a.wav", np.stack([noise(4.0, rate=48_000), tone], 1), 48_000)
    out = windows(replay(tmp_path / "a.wav", channel=1))
    assert [len(w.samples) for w in out] == [32_000, 32_000]
    assert np.abs(np.fft.rfft(out[1].samples)).argmax() == 1_000
    assert [event.reason for event in news(replay(tmp_path / "a.wav", channel=2))] == ["no_such_channel"]  # type: ignore[union-attr]  # all are Rejected


def test_stop_ends_the_iteration_at_once(tmp_path: Path) -> None:
    """After a stop nothing more comes, and closing twice does no harm."""
    source = replay(sound_file(tmp_path / "a.wav", 20.0))
    assert len(windows([next(source)])) == 1
    source.stop()
    assert list(source) == []
    source.close()
    source.close()
    fresh = replay(tmp_path / "a.wav")
    fresh.stop()
    assert list(fresh) == []


def test_a_stop_during_a_wait_ends_it(tmp_path: Path) -> None:
    """The wait for a window's time is over when somebody stops the source."""
    clock = FakeClock()
    source = replay(sound_file(tmp_path / "a.wav", 20.0), speed=0.001, clock=clock)
    clock.on_sleep = source.stop
    assert [event for event in source if not isinstance(event, Idle)][1:] == []
    assert clock.slept == 1


def test_a_pattern_without_a_file_is_refused_at_opening(tmp_path: Path) -> None:
    """The mistake is in the settings, so it is told before anything runs."""
    with pytest.raises(SourceError, match="no file matches"):
        replay(tmp_path / "*.wav")
    with pytest.raises(SourceError, match="speed is -1"):
        replay(sound_file(tmp_path / "a.wav"), speed=-1.0)


def test_a_name_with_brackets_is_a_name_first(tmp_path: Path) -> None:
    """A file that exists is taken literally, whatever its name looks like."""
    path = sound_file(tmp_path / "press[1].wav", 2.0)
    assert len(windows(replay(path))) == 1
