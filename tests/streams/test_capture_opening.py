from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from sound_makers import FakeClock, sound_file

from streams import gate, soundfiles
from streams.capture import REJECT_REASONS, STALL_REASONS, Source, SourceError, open_source
from streams.capture.ffmpeg import FfmpegSource
from streams.capture.files import FileSource
from streams.capture.folder import FolderSource
from streams.capture.microphone import MicSource
from streams.capture.opening import memory_name
from streams.windows import Cut


def opened(source: str, **options: object) -> Source:
    return open_source(source, machine="press", mic="m1", **options)  # type: ignore[arg-type]  # options of many types


def test_each_scheme_opens_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four schemes, one interface, and nothing runs before the first event is asked for."""
    monkeypatch.setattr("streams.capture.microphone.load_sounddevice", SimpleNamespace)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    sound_file(tmp_path / "a.wav")
    kinds = {
        f"file:{tmp_path}/a.wav": FileSource,
        f"folder:{tmp_path}": FolderSource,
        "mic:default": MicSource,
        "ffmpeg:rtsp://u:secret@camera/x": FfmpegSource,
    }
    before = threading.active_count()
    for text, kind in kinds.items():
        with opened(text, channel=1) as source:
            assert type(source) is kind
            assert (source.machine, source.mic, source.channel) == ("press", "m1", 1)
            assert "secret" not in source.name
    assert threading.active_count() == before


@pytest.mark.parametrize("text", ["", "file:", "press.wav", "rtsp://camera", "http:x"])
def test_an_unknown_scheme_says_what_is_allowed(text: str) -> None:
    """What was given, what is allowed, what to do."""
    with pytest.raises(SourceError, match=r"source of m1 is .*start it with one of file:, folder:, mic:, ffmpeg:"):
        opened(text)


def test_memories_have_names_of_their_own() -> None:
    """Another microphone or another folder is another memory, whatever the names hold."""
    pairs = [("m/1", "/a"), ("m 1", "/a"), ("m1", "/b"), ("m1", "/a"), ("..", "/a"), ("音" * 100, "/a")]
    names = {memory_name(*pair) for pair in pairs}
    assert len(names) == len(pairs)
    assert all(name.isascii() and "/" not in name and len(name) < 80 for name in names)


def test_reasons_are_fixed_lists() -> None:
    """They become labels of metrics: unique, lower case, and those of the reader and the gate are among them."""
    assert len(set(REJECT_REASONS)) == len(REJECT_REASONS)
    assert set(soundfiles.REASONS) | set(gate.REASONS) < set(REJECT_REASONS)
    assert set(soundfiles.REASONS) == set(get_args(soundfiles.Reason))
    assert all(reason.replace("_", "").isalpha() and reason.islower() for reason in REJECT_REASONS + STALL_REASONS)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors where Linux lists them")
@pytest.mark.parametrize("kind", ["file", "folder", "mic", "ffmpeg"])
def test_sources_leave_nothing_behind(tmp_path: Path, kind: str) -> None:
    """Opened, used and closed 50 times: descriptors and threads stay within two."""
    if kind == "ffmpeg" and shutil.which("sh") is None:
        pytest.skip("there is no shell to stand in for ffmpeg")
    sound_file(tmp_path / "in/a.wav", 4.0)
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nhead -c 64000 /dev/zero\nexec sleep 100\n")
    program.chmod(0o755)
    cut = Cut("press", "m1")
    make: dict[str, Callable[[], Source]] = {
        "file": lambda: FileSource(cut, f"{tmp_path}/in/a.wav", speed=0.0),
        "folder": lambda: FolderSource(cut, tmp_path / "in", memory=tmp_path / "memory", clock=FakeClock()),
        "mic": lambda: MicSource(cut, "default", clock=FakeClock(), load=quiet_card),
        "ffmpeg": lambda: FfmpegSource(cut, "rtsp://camera", program=str(program)),
    }
    use(make[kind])
    before = (descriptors(), threading.active_count())
    for _ in range(50):
        use(make[kind])
    assert abs(descriptors() - before[0]) <= 2
    assert abs(threading.active_count() - before[1]) <= 2


def use(make: Callable[[], Source]) -> None:
    with make() as source:
        next(source)
        next(source)


def quiet_card() -> SimpleNamespace:
    """A card that is open and says nothing."""
    stream = SimpleNamespace(active=True, start=lambda: None, close=lambda ignore_errors: None)
    return SimpleNamespace(
        PortAudioError=RuntimeError, check_input_settings=lambda **_: None, InputStream=lambda **_: stream
    )
