from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from sound_makers import (
    NOW_NS,
    SECOND_NS,
    FakeClock,
    news,
    noise,
    raw_wav,
    sound_file,
    until,
    until_quiet,
    windows,
)

from streams.capture import Event, Rejected, Source, SourceError, Stalled, open_source
from streams.capture.taken import Entry, Taken
from streams.soundfiles import SoundFileError, content_hash

NOW_S = NOW_NS / 1e9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def watch(folder: Path, clock: FakeClock | None = None, **options: object) -> Source:
    options = {"state_dir": folder.parent / "state", "clock": clock or FakeClock(), **options}
    return open_source(f"folder:{folder}", machine="press", mic="m1", **options)  # type: ignore[arg-type]  # options of many types


def reasons(events: list[Event]) -> list[str]:
    return [event.reason for event in news(events) if isinstance(event, Rejected | Stalled)]


def take_all(folder: Path, *, acknowledge: bool = True) -> list[Event]:
    with watch(folder) as source:
        events = until_quiet(source)
        if acknowledge:
            source.acknowledge()
    return events


def test_what_is_there_is_taken_by_time_then_name(folder: Path) -> None:
    """Older recordings first; the sound ends when the file was written, and never overlaps."""
    sound_file(folder / "b.wav", 4.0, 1, mtime_s=NOW_S - 10)
    sound_file(folder / "a.wav", 4.0, 2, mtime_s=NOW_S - 10)
    sound_file(folder / "sub/old.wav", 4.0, 3, mtime_s=NOW_S - 30)
    out = windows(take_all(folder))
    names = ("sub/old.wav", "a.wav", "b.wav")
    assert [w.session for w in out] == [content_hash(folder / name) for name in names for _ in range(2)]
    assert [(w.start_ns - NOW_NS) / 1e9 for w in out] == [-34, -32, -14, -12, -10, -8]
    assert all(w.gap_s == 0 for w in out)


def test_new_files_are_taken_as_they_appear(folder: Path) -> None:
    """The watch goes on; what was taken is not taken again."""
    clock = FakeClock()
    source = watch(folder, clock)
    assert windows(until_quiet(source)) == []
    sound_file(folder / "a.wav", 2.0, 1)
    assert [w.session for w in windows(until_quiet(source))] == [content_hash(folder / "a.wav")]
    sound_file(folder / "b.wav", 2.0, 2)
    assert [w.session for w in windows(until_quiet(source))] == [content_hash(folder / "b.wav")]
    source.close()


def test_a_file_that_is_being_written_is_left_alone(folder: Path) -> None:
    """While it grows it is no business of ours; when it has settled it is whole."""
    sound = sound_file(folder.parent / "whole.wav", 4.0).read_bytes()
    growing, clock = folder / "a.wav", FakeClock()

    def grow() -> None:
        size = growing.stat().st_size if growing.exists() else 0
        if size < len(sound):
            growing.write_bytes(sound[: size + 20_000])

    clock.on_sleep = grow
    events = until_quiet(watch(folder, clock), looks=15)
    assert reasons(events) == []
    assert [w.sequence for w in windows(events)] == [0, 1]
    assert clock.slept >= 7 + 3


def test_a_file_that_stays_broken_is_refused_and_taken_when_it_is_replaced(folder: Path) -> None:
    """Broken after it has settled: one event. Changed: new sound."""
    clock = FakeClock()
    source = watch(folder, clock)
    raw_wav(folder / "a.wav", noise(1.0).tobytes(), data_size=200_000)
    (folder / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    (folder / "notes.txt").write_text("no sound, no event")
    assert sorted(reasons(until_quiet(source))) == ["truncated", "unknown_format"]
    sound_file(folder / "a.wav", 2.0)
    events = until_quiet(source)
    assert (len(windows(events)), reasons(events)) == (1, [])
    source.close()


def test_a_file_that_changes_while_it_is_read_is_taken_again(folder: Path) -> None:
    """Whoever writes so slowly that it looks settled is found out afterwards."""
    path = sound_file(folder / "a.wav", 4.0, mtime_s=NOW_S - 50)
    source = watch(folder)
    until(source, lambda events: len(windows(events)) == 1)
    sound_file(path, 6.0, 1, mtime_s=NOW_S - 5)
    events = until_quiet(source)
    assert "still_written" in reasons(events)
    assert [w.sequence for w in windows(events) if w.session == content_hash(path)] == [0, 1, 2]


def test_a_restart_neither_repeats_nor_skips(folder: Path) -> None:
    """What was acknowledged is not given again, what came meanwhile is, and the time line goes on."""
    sound_file(folder / "a.wav", 10.0, 1, mtime_s=NOW_S - 5)
    assert len(windows(take_all(folder))) == 5
    sound_file(folder / "b.wav", 4.0, 2, mtime_s=NOW_S - 4)
    out = windows(take_all(folder))
    assert {w.session for w in out} == {content_hash(folder / "b.wav")}
    assert out[0].start_ns == NOW_NS - 5 * SECOND_NS
    assert windows(take_all(folder)) == []


def test_what_was_not_acknowledged_comes_again_with_the_same_identity_and_time(folder: Path) -> None:
    """At least once: a crash before the acknowledgement repeats the windows exactly."""
    sound_file(folder / "a.wav", 6.0, 1, mtime_s=NOW_S - 9)
    sound_file(folder / "b.wav", 6.0, 2, mtime_s=NOW_S - 7)
    first = windows(take_all(folder, acknowledge=False))
    second = windows(take_all(folder))
    assert [(w.identity, w.start_ns) for w in first] == [(w.identity, w.start_ns) for w in second]
    assert len(first) == 6


@pytest.mark.parametrize("given", range(1, 7))
def test_a_crash_after_any_window_loses_none(folder: Path, given: int) -> None:
    """Acknowledged after each window or not, the two runs together hold every window with one time each."""
    sound_file(folder / "a.wav", 6.0, 1, mtime_s=NOW_S - 9)
    sound_file(folder / "b.wav", 6.0, 2, mtime_s=NOW_S - 7)
    source, before = watch(folder), []
    for event in source:
        before += windows([event])
        source.acknowledge()
        if len(before) == given:
            break
    source.close()
    after = windows(take_all(folder))
    times = {w.identity: {v.start_ns for v in before + after if v.identity == w.identity} for w in before + after}
    assert len(times) == 6
    assert all(len(starts) == 1 for starts in times.values())
    assert len(after) == 6 if given <= 3 else len(after) == 3


def test_a_file_that_cannot_be_read_now_is_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that hiccups costs a minute, never the recording."""
    sound_file(folder / "a.wav", 2.0)
    source = watch(folder)

    def hiccup(path: Path) -> str:
        raise SoundFileError("unreadable", f"{path}: Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("streams.soundfiles.content_hash", hiccup)
        assert reasons(until_quiet(source)) == ["unreadable"]
    source.acknowledge()
    events = until_quiet(source, looks=70)
    assert (len(windows(events)), reasons(events)) == (1, [])
    source.close()


def test_refusals_are_remembered_too(folder: Path) -> None:
    """A broken file is told once, not at every start."""
    raw_wav(folder / "a.wav", b"")
    assert reasons(take_all(folder)) == ["no_frames"]
    assert reasons(take_all(folder)) == []


def test_a_copy_is_refused_and_a_new_name_is_not(folder: Path) -> None:
    """The same bytes beside each other would overwrite each other's windows; a renamed file is no news."""
    data = sound_file(folder / "a.wav", 2.0, mtime_s=NOW_S - 50).read_bytes()
    (folder / "b.wav").write_bytes(data)
    assert reasons(take_all(folder)) == ["duplicate"]
    (folder / "a.wav").rename(folder / "c.wav")
    (folder / "b.wav").unlink()
    events = take_all(folder)
    assert (windows(events), reasons(events)) == ([], [])
    os.utime(folder / "c.wav")
    assert windows(take_all(folder)) == []


def test_an_absent_folder_is_told_once_and_taken_when_it_comes(tmp_path: Path) -> None:
    """A share that is not mounted stops nothing, and forgets nothing."""
    folder, clock = tmp_path / "in", FakeClock()
    source = watch(folder, clock)
    assert reasons(until_quiet(source)) == ["no_folder"]
    sound_file(folder / "a.wav", 2.0)
    assert len(windows(until_quiet(source))) == 1
    folder.rename(tmp_path / "away")
    assert reasons(until_quiet(source)) == ["no_folder"]
    (tmp_path / "away").rename(folder)
    events = until_quiet(source)
    assert (windows(events), reasons(events)) == ([], [])
    source.close()


def test_a_folder_without_news_is_stalled_where_that_is_asked_for(folder: Path) -> None:
    """Once per span of silence; never by default."""
    source = watch(folder, stall_s=20.0)
    events = until(source, lambda events: len(news(events)) == 2)
    assert reasons(events) == ["no_samples", "no_samples"]
    assert [event.quiet_s for event in news(events) if isinstance(event, Stalled)] == [20.0, 20.0]
    source.close()
    assert reasons(until_quiet(watch(folder), looks=500)) == []


def test_old_recordings_are_late(folder: Path) -> None:
    """Sound that is an hour old when it is taken says so."""
    sound_file(folder / "a.wav", 2.0, mtime_s=NOW_S - 3_600)
    assert [w.flags for w in windows(take_all(folder))] == [{"late"}]


def test_two_microphones_remember_apart(folder: Path) -> None:
    """Names that differ only in odd characters keep their memories apart."""
    sound_file(folder / "a.wav", 2.0)
    for mic in ("m/1", "m 1"):
        options = {"machine": "press", "mic": mic, "state_dir": folder.parent / "state", "clock": FakeClock()}
        with open_source(f"folder:{folder}", **options) as source:  # type: ignore[arg-type]  # options of many types
            assert len(windows(until_quiet(source))) == 1
            source.acknowledge()
    assert len(list((folder.parent / "state").iterdir())) == 2


def test_a_full_disk_keeps_what_is_to_be_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted and written with the next acknowledgement, and nothing is given twice meanwhile."""
    sound_file(folder / "a.wav", 2.0)
    source = watch(folder)
    assert len(windows(until_quiet(source))) == 1

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        source.acknowledge()
    assert source.counts().unsaved == 1
    assert windows(until_quiet(source)) == []
    source.acknowledge()
    source.close()
    assert windows(take_all(folder)) == []


def test_a_memory_that_cannot_be_written_is_refused_at_opening(folder: Path) -> None:
    """Better no start than a start that will repeat everything."""
    (folder.parent / "state").write_text("a file where a folder should be")
    with pytest.raises(SourceError, match="give a folder that can be written"):
        watch(folder)


def entry(number: int) -> Entry:
    return Entry(f"{number}.wav", 100 + number, number, f"{number:016x}", 1_000 * number)


def test_the_memory_survives_a_torn_line(tmp_path: Path) -> None:
    """Whatever a crash leaves of the last line, the others stand, and what follows is kept."""
    path = tmp_path / "taken.jsonl"
    Taken(path).add([entry(1), entry(2)])
    whole = path.read_bytes()
    for cut in range(1, 60):
        path.write_bytes(whole[:-cut])
        memory = Taken(path)
        assert memory.get("1.wav") == entry(1)
        assert memory.get("2.wav") is None
    path.write_bytes(whole + b'\n{"name": "x", "si')
    torn = Taken(tmp_path / "other.jsonl")
    torn.path = path
    torn.add([entry(3)])
    assert Taken(path).get("3.wav") == entry(3)


@pytest.mark.parametrize(
    "line", ["[]", "17", '{"name": 5}', json.dumps({"name": 1, "size": 1, "mtime_ns": 1, "hash": "", "end_ns": 1})]
)
def test_lines_that_are_no_entries_are_ignored(tmp_path: Path, line: str) -> None:
    """A foreign line costs a repeat, never a crash."""
    path = tmp_path / "taken.jsonl"
    path.write_text(
        f"{line}\n" + json.dumps({"name": "1.wav", "size": 101, "mtime_ns": 1, "hash": f"{1:016x}", "end_ns": 1_000})
    )
    assert Taken(path).get("1.wav") == entry(1)


def test_the_memory_is_as_large_as_the_folder(tmp_path: Path) -> None:
    """Files come and go for ever; the memory and its file stay within a bound, and the time line stays."""
    path = tmp_path / "taken.jsonl"
    memory = Taken(path)
    for first in range(0, 5_000, 100):
        memory.add([entry(number) for number in range(first, first + 100)])
        memory.forget_absent({f"{first + 99}.wav"})
    assert len(memory) <= 1_102
    assert path.stat().st_size < 300_000
    reopened = Taken(path)
    assert (reopened.end_ns, reopened.get("4999.wav")) == (4_999_000, entry(4_999))
