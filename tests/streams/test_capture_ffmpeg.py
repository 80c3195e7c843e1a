from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from sound_makers import NOW_NS, RATE, FakeClock, news, noise, sound_file, until, windows

from streams.capture import Event, Rejected, SourceError, Stalled, SystemClock
from streams.capture.ffmpeg import FfmpegSource, command, is_live, masker
from streams.soundfiles import read_clip
from streams.windows import Cut

CUT = Cut("press", "m1")
URL = "rtsp://guard:s3cret@camera.local:554/line?token=abcdef"
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


class QuickClock(SystemClock):
    """The machine's clock, but pauses between two tries are only noted."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def sleep(self, seconds: float, stop: object) -> None:
        self.pauses.append(seconds)


def fake_ffmpeg(folder: Path, script: str) -> str:
    """A program in ffmpeg's place; $PCM names a file of 2.5 s of samples."""
    (folder / "pcm").write_bytes((noise(2.5) * 32_767).astype("<i2").tobytes())
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\nPCM={folder}/pcm\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def stream(program: str, url: str = URL, **options: Any) -> FfmpegSource:
    return FfmpegSource(CUT, url, program=program, clock=options.pop("clock", QuickClock()), **options)


def has_ended(group: int, within_s: float = 5.0) -> bool:
    """Whether nothing of this process group runs any more; the kernel takes a moment to end what was killed."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(is_running(process, group) for process in psutil.process_iter()):
            return True
    return False


def is_running(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ProcessLookupError):
        return False


def texts(events: list[Event]) -> str:
    return " ".join(event.text for event in news(events) if isinstance(event, Stalled | Rejected))


@needs_ffmpeg
def test_ffmpeg_reads_a_recording_once(tmp_path: Path) -> None:
    """A path is read to its end, as the samples are, and the source ends."""
    path = sound_file(tmp_path / "a.wav", 9.0)
    source = stream("ffmpeg", str(path), clock=FakeClock())
    events = list(source)
    out = windows(events)
    assert news(events) == []
    np.testing.assert_allclose(np.concatenate([w.samples for w in out]), read_clip(path)[: 8 * RATE], atol=1 / 32_768)
    assert len({w.session for w in out}) == 1
    assert [w.start_ns - out[0].start_ns for w in out] == [0, 2_000_000_000, 4_000_000_000, 6_000_000_000]
    assert abs(out[0].start_ns - NOW_NS) < 3_000_000_000
    assert (source.counts().dropped_samples, source.counts().reopened) == (RATE, 0)


@needs_ffmpeg
def test_ffmpeg_chooses_the_channel_and_the_rate(tmp_path: Path) -> None:
    """The right channel at 16 kHz, whatever the file has."""
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(4 * 48_000) / 48_000)
    soundfile.write(tmp_path / "a.flac", np.stack([noise(4.0, rate=48_000), tone], 1), 48_000)
    out = windows(stream("ffmpeg", str(tmp_path / "a.flac"), channel=1))
    assert [len(w.samples) for w in out] == [32_000, 32_000]
    assert np.abs(np.fft.rfft(out[0].samples)).argmax() == 1_000


@needs_ffmpeg
@pytest.mark.parametrize(("rate", "channel", "reason"), [(8_000, 0, "rate_too_low"), (RATE, 3, "no_such_channel")])
def test_what_the_stream_lacks_is_refused_not_filled_in(tmp_path: Path, rate: int, channel: int, reason: str) -> None:
    """ffmpeg itself would hand out silence for the bands or the channel that are not there."""
    path = sound_file(tmp_path / "a.wav", 4.0, rate=rate)
    events = list(stream("ffmpeg", str(path), channel=channel))
    assert windows(events) == []
    assert [event.reason for event in news(events)] == [reason]  # type: ignore[union-attr]  # all are Rejected


@needs_ffmpeg
def test_a_file_that_ffmpeg_cannot_read_is_refused(tmp_path: Path) -> None:
    """Its last words say why."""
    (tmp_path / "a.wav").write_text("no sound")
    events = list(stream("ffmpeg", str(tmp_path / "a.wav")))
    assert [event.reason for event in news(events)] == ["unreadable"]  # type: ignore[union-attr]  # all are Rejected
    assert "Invalid data found" in texts(events)


@needs_ffmpeg
def test_a_camera_that_is_off_is_told_without_its_password() -> None:
    """ffmpeg repeats the whole URL in its errors; the event does not."""
    source = stream("ffmpeg", "rtsp://guard:s3cret@127.0.0.1:9/line")
    events = until(source, lambda events: len(news(events)) == 2)
    source.close()
    assert {event.reason for event in news(events) if isinstance(event, Stalled)} == {"process_ended"}
    assert "Connection refused" in texts(events)
    assert "s3cret" not in repr(events)
    assert "guard" not in repr(events)


def test_a_stream_that_dies_is_started_again_as_a_new_session(tmp_path: Path) -> None:
    """Each start is a session; its first window carries the gap; the pauses begin anew after good sound."""
    clock = QuickClock()
    source = stream(fake_ffmpeg(tmp_path, 'cat "$PCM"; echo "$* went away" >&2; exit 7'), clock=clock)
    events = until(source, lambda events: len(windows(events)) == 3)
    source.close()
    out = windows(events)
    assert len({w.session for w in out}) == 3
    assert [w.sequence for w in out] == [0, 0, 0]
    assert out[0].flags == frozenset()
    assert "ended with code 7" in texts(events)
    assert "s3cret" not in repr(events)
    assert "abcdef" not in repr(events)
    assert set(clock.pauses) == {1.0}
    assert source.counts().reopened == 2
    assert RATE <= source.counts().dropped_samples <= 3 * RATE // 2


def test_a_live_stream_that_ends_well_is_started_again(tmp_path: Path) -> None:
    """A camera that closes the stream politely is still a microphone that fell silent."""
    source = stream(fake_ffmpeg(tmp_path, 'cat "$PCM"'))
    events = until(source, lambda events: len(windows(events)) == 2)
    source.close()
    assert [event.reason for event in news(events)] == ["process_ended"]  # type: ignore[union-attr]  # all are Stalled


def test_a_stream_that_stalls_is_ended_and_started_again(tmp_path: Path) -> None:
    """The watchdog ends the process and whatever it started."""
    script = f'cat "$PCM"; echo $$ >> {tmp_path}/pids; sleep 1000'
    source = stream(fake_ffmpeg(tmp_path, script), stall_s=0.3)
    events = until(source, lambda events: len(windows(events)) == 2)
    source.close()
    assert "no_samples" in {event.reason for event in news(events) if isinstance(event, Stalled)}
    assert all(has_ended(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_a_program_that_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing is bounded, even when the process ignores being asked."""
    monkeypatch.setattr("streams.capture.pipe._END_S", 0.1)
    script = f"trap '' TERM; cat \"$PCM\"; echo $$ > {tmp_path}/pid; while true; do sleep 1000; done"
    source = stream(fake_ffmpeg(tmp_path, script))
    until(source, lambda events: len(windows(events)) == 1 and (tmp_path / "pid").exists())
    begin = time.monotonic()
    source.close()
    assert time.monotonic() - begin < 5.0
    assert has_ended(int((tmp_path / "pid").read_text()))


def test_a_program_that_talks_for_ever_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Only the end of what it says is kept, and talking does not block its sound."""
    script = 'head -c 3000000 /dev/zero | tr "\\0" "x" >&2; echo " last words" >&2; cat "$PCM"; exit 1'
    source = stream(fake_ffmpeg(tmp_path, script))
    events = until(source, lambda events: bool(news(events)))
    source.close()
    assert len(windows(events)) == 1
    assert "last words" in texts(events)
    assert len(texts(events)) < 1_000


def test_half_a_sample_at_a_time_is_put_together(tmp_path: Path) -> None:
    """Pipes cut bytes anywhere."""
    path = tmp_path / "pcm"
    script = (
        f'head -c 1 "$PCM"; sleep 0.05; tail -c +2 "$PCM" | head -c 32000; sleep 0.05; tail -c +32002 "$PCM"; : {path}'
    )
    source = stream(fake_ffmpeg(tmp_path, script), url=str(path))
    out = windows(source)
    whole = np.frombuffer(path.read_bytes(), "<i2")[:32_000] / np.float32(32_768)
    np.testing.assert_array_equal(out[0].samples, whole)


def test_without_ffmpeg_the_error_says_what_to_install() -> None:
    """Told at opening, without the password."""
    with pytest.raises(SourceError, match="apt-get install ffmpeg") as error:
        stream("ffmpeg-that-is-not-there")
    assert "s3cret" not in str(error.value)


def test_a_url_is_never_an_option() -> None:
    """What begins with a dash would be obeyed, not read."""
    with pytest.raises(SourceError, match="not an option of ffmpeg"):
        stream("sh", "-f lavfi -i sine")


def test_the_command_is_a_list_and_names_the_url_once() -> None:
    """No shell sees the URL; RTSP runs over TCP; the channel goes through pan."""
    words = command("ffmpeg", "rtsp://camera/a b;rm", 2, RATE)
    assert words.count("rtsp://camera/a b;rm") == 1
    assert words[words.index("-i") + 1] == "rtsp://camera/a b;rm"
    assert words[words.index("-rtsp_transport") + 1] == "tcp"
    assert "-nostdin" in words
    assert "pan=mono|c0=c2" in words
    assert "-rtsp_transport" not in command("ffmpeg", "a.wav", 0, RATE)


@pytest.mark.parametrize(
    ("url", "live"),
    [
        ("rtsp://h/x", True),
        ("http://h/x.mp3", True),
        ("/srv/a.wav", False),
        ("file:///srv/a.wav", False),
        ("a.mkv", False),
    ],
)
def test_urls_are_live_and_paths_are_not(url: str, live: bool) -> None:
    """A recording ends; a stream is opened again."""
    assert is_live(url) is live


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://guard:s3cret@camera/line: Connection refused",
        "tried rtsp://guard:s3cret@camera/line and http://guard:s3cret@other/x",
        "Authorization failed for s3cret",
        "http://camera/x?user=guard&password=s3cret not found",
    ],
)
def test_no_secret_survives_the_mask(text: str) -> None:
    """Passwords go wherever they stand; the host stays, so that the text is of use."""
    masked = masker("rtsp://guard:s3cret@camera/line")(text)
    assert "s3cret" not in masked
    assert "guard" not in masked


def test_a_password_with_odd_characters_is_masked() -> None:
    """Even an @ within it, and its decoded form."""
    mask = masker("rtsp://u:p%40ss@w@camera/x")
    assert mask("rtsp://u:p%40ss@w@camera/x refused") == "rtsp://***@camera/x refused"
    assert "p@ss" not in mask("login p@ss@w refused")
