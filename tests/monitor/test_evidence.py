"""The sound behind an alarm is on disk, in bounded room, and comes back bit by bit."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from watchline import T0, S, make_line

from monitor.alarm_store import ClipRequest
from monitor.evidence import Evidence, Pcm, Ring, clip_request, write_flac
from monitor.settings import Line
from monitor.words import Facts
from streams.records import Alert

RATE = 8000


def pcm(index: int) -> bytes:
    return np.full(2 * RATE, index + 1, "<i2").tobytes()


def put(ring: Ring, index: int) -> bool:
    return ring.put("s", index, T0 + index * 2 * S, RATE, pcm(index))


def levels(ring: Ring, first: int = 0, last: int = 1000) -> list[int]:
    found = sorted(ring.read(T0 + first * 2 * S, T0 + last * 2 * S), key=lambda one: one.start_ns)
    return [int(one.samples[0]) - 1 for one in found]


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path / "a.ring", slots=5, longest=2 * RATE)


def test_the_newest_windows_are_kept_in_a_file_that_does_not_grow(tmp_path: Path, ring: Ring) -> None:
    """After more windows than slots the last ones are there, and the file is as large as at the start."""
    size = (tmp_path / "a.ring").stat().st_size
    assert all(put(ring, index) for index in range(12))
    assert levels(ring) == [7, 8, 9, 10, 11]
    assert (tmp_path / "a.ring").stat().st_size == size


def test_a_restart_goes_on_where_it_was(tmp_path: Path, ring: Ring) -> None:
    """A ring that is opened anew has what was written and overwrites the oldest first."""
    for index in range(7):
        put(ring, index)
    ring.close()
    again = Ring(tmp_path / "a.ring", slots=5, longest=2 * RATE)
    assert levels(again) == [2, 3, 4, 5, 6]
    put(again, 7)
    assert levels(again) == [3, 4, 5, 6, 7]
    again.close()


def test_a_repeated_window_takes_no_second_slot(ring: Ring) -> None:
    """A replay of windows that are there pushes nothing out."""
    for index in range(5):
        put(ring, index)
    assert not any(put(ring, index) for index in range(5))
    assert levels(ring) == [0, 1, 2, 3, 4]


def test_a_torn_slot_is_left_out_and_may_be_written_again(tmp_path: Path, ring: Ring) -> None:
    """A slot whose bytes do not fit its checksum is not sound; a replay brings it back."""
    for index in range(3):
        put(ring, index)
    slot = (tmp_path / "a.ring").stat().st_size // 5
    with (tmp_path / "a.ring").open("r+b") as file:
        file.seek(slot + 5000)
        file.write(b"\xff" * 100)
    assert levels(ring) == [0, 2]
    ring.close()
    again = Ring(tmp_path / "a.ring", slots=5, longest=2 * RATE)
    assert put(again, 1)
    assert levels(again) == [0, 1, 2]
    again.close()


def test_a_ring_of_another_size_is_started_anew(tmp_path: Path, ring: Ring) -> None:
    """Settings that changed the windows do not make old bytes look like sound."""
    put(ring, 0)
    ring.close()
    other = Ring(tmp_path / "a.ring", slots=7, longest=2 * RATE)
    assert levels(other) == []
    other.close()


def test_what_is_too_long_is_refused(ring: Ring) -> None:
    """A window that does not fit a slot is refused whole."""
    assert not ring.put("s", 0, T0, RATE, bytes(4 * RATE + 2))
    assert levels(ring) == []


def alert(mics: tuple[str, ...] = ("press-a",)) -> tuple[Alert, Facts]:
    opened_ns = T0 + 60 * S
    facts = Facts("odd", T0 + 40 * S, mics)
    return Alert("0123456789abcdef", "press", "alert", opened_ns, opened_ns, mics=mics), facts


def test_a_clip_has_its_pre_roll_and_plays(tmp_path: Path) -> None:
    """The clip begins before the oddity, ends after the opening and holds the very samples that came."""
    line = make_line(tmp_path)
    evidence = Evidence(line, tmp_path / "evidence")
    request = clip_request(*alert(), line)
    assert request is not None
    for index in range(40):
        assert evidence.ready(request) == (index >= 40)
        evidence.hear("press-a", "s", index, T0 + index * 2 * S, RATE, pcm(index))
    assert evidence.ready(request)
    assert evidence.write(request)
    sound, rate = soundfile.read(evidence.path(request.clip_id), dtype="int16")
    assert rate == RATE
    assert len(sound) == 50 * RATE  # from 10 s before 40 s to 20 s after 60 s
    np.testing.assert_array_equal(sound[:: 2 * RATE], np.arange(15, 40) + 1)
    evidence.close()


def test_missing_sound_becomes_silence_of_its_length(tmp_path: Path) -> None:
    """A gap is as long in the clip as it was, and jitter of a few samples is no gap."""
    pieces = [Pcm(T0, RATE, np.full(RATE, 5, np.int16)), Pcm(T0 + 3 * S, RATE, np.full(RATE, 6, np.int16))]
    pieces.append(Pcm(T0 + 4 * S + 1_000_000, RATE, np.full(RATE, 7, np.int16)))
    write_flac(tmp_path / "x.flac", pieces)
    sound, _ = soundfile.read(tmp_path / "x.flac", dtype="int16")
    assert [int(sound[round(at * RATE)]) for at in (0.5, 1.5, 2.5, 3.5, 4.5)] == [5, 0, 0, 6, 7]
    assert len(sound) == 5 * RATE
    assert not list(tmp_path.glob("*.part"))


def muted(line: Line, mic: str) -> Line:
    machines = tuple(
        one.model_copy(update={"mic": tuple(m.model_copy(update={"evidence": m.id != mic}) for m in one.mic)})
        for one in line.machine
    )
    return line.model_copy(update={"machine": machines})


def test_where_people_talk_nothing_is_kept(tmp_path: Path) -> None:
    """A microphone without evidence has no ring and no clip; another one of the same alarm may speak for it."""
    line = muted(make_line(tmp_path), "press-a")
    evidence = Evidence(line, tmp_path / "evidence")
    evidence.hear("press-a", "s", 0, T0, RATE, pcm(0))
    assert clip_request(*alert(), line) is None
    other = clip_request(*alert(("press-a", "press-b")), line)
    assert other is not None
    assert other.mic == "press-b"
    assert len(list((tmp_path / "evidence" / "rings").iterdir())) == 2
    assert not evidence.write(ClipRequest("0123456789abcdef-00000000", "0123456789abcdef", "press-a", T0, T0 + S))
    evidence.close()


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "0123456789abcdef-0000000g", "0123456789abcdef-00000000\n"])
def test_only_clip_ids_become_paths(tmp_path: Path, name: str) -> None:
    """Nothing but a clip's id ever becomes a path."""
    evidence = Evidence(make_line(tmp_path), tmp_path / "evidence")
    with pytest.raises(ValueError, match="clip id is"):
        evidence.path(name)
    evidence.close()


def test_clips_expire_by_age_and_by_room(tmp_path: Path) -> None:
    """Old clips go first, then the oldest of the rest until all fit."""
    evidence = Evidence(make_line(tmp_path), tmp_path / "evidence")
    for number in range(6):
        path = evidence.path(f"{number:016x}-00000000")
        path.write_bytes(bytes(1000))
        os.utime(path, (number * 100.0, number * 100.0))
    assert evidence.expire(now_s=600.0, keep_s=450.0, keep_bytes=10_000) == 2
    assert evidence.expire(now_s=600.0, keep_s=450.0, keep_bytes=2_500) == 2
    assert sorted(int(path.stem.partition("-")[0], 16) for path in evidence.clips.iterdir()) == [4, 5]
    evidence.close()


def test_what_was_made_of_a_clip_counts_with_it(tmp_path: Path) -> None:
    """Pictures and versions take of the clips' room, also those that come later, and go with their clip."""
    evidence = Evidence(make_line(tmp_path), tmp_path / "evidence")
    for number in range(4):
        path = evidence.path(f"{number:016x}-00000000")
        path.write_bytes(bytes(1000))
        os.utime(path, (number * 100.0, number * 100.0))
        made = evidence.shown / path.stem
        made.mkdir(parents=True)
        (made / "sound.png").write_bytes(bytes(1500))
    bound = {"now_s": 400.0, "keep_s": 1e6}
    assert evidence.expire(**bound, keep_bytes=10_000) == 0
    assert evidence.expire(**bound, keep_bytes=9_999) == 1
    later = evidence.shown / f"{3:016x}-00000000" / "enhanced.flac"
    later.write_bytes(bytes(2000))
    assert evidence.expire(**bound, keep_bytes=7_500) == 1
    kept = [path for folder in (evidence.clips, evidence.shown) for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) == 7_000
    left = [f"{number:016x}-00000000" for number in (2, 3)]
    assert sorted(path.name for path in evidence.shown.iterdir()) == left
    assert list(evidence._made) == left, "what is remembered must be bounded by the clips that are there"
    evidence.close()


def test_memory_is_flat_with_a_hundred_microphones(tmp_path: Path) -> None:
    """More sound of a hundred microphones takes disk, not memory."""
    mics = tuple(f"big-{n}" for n in range(100))
    line = make_line(tmp_path, machines={"big": mics})
    evidence = Evidence(line, tmp_path / "evidence")

    def hear(index: int) -> None:
        for mic in mics:
            evidence.hear(mic, "s", index, T0 + index * 2 * S, RATE, pcm(index))

    hear(0)
    tracemalloc.start()
    for index in range(1, 4):
        hear(index)
    grown, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 100_000
    assert peak < 1_000_000
    assert evidence.refused == 0
    evidence.close()
