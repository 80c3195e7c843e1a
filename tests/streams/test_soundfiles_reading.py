from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_makers import RATE, noise, sound_file

from streams.soundfiles import (
    FOREIGN_SUFFIXES,
    SUFFIXES,
    SoundFileError,
    content_hash,
    inspect,
    list_sounds,
    read_blocks,
    read_clip,
    walk_sounds,
    write_flac,
    write_wav,
)


def test_blocks_joined_are_the_file(tmp_path: Path) -> None:
    """Block size changes nothing, and the samples are soundfile's own."""
    path = sound_file(tmp_path / "a.flac", 3.3)
    whole, _ = soundfile.read(path, dtype="float32")
    for block_s in (0.01, 0.7, 60.0):
        blocks = list(read_blocks(path, block_s=block_s))
        assert all(block.dtype == np.float32 for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_the_channel_is_chosen_not_mixed(tmp_path: Path) -> None:
    """Channel 1 is channel 1 alone."""
    left, right = noise(1.0, 1), noise(1.0, 2)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read_clip(tmp_path / "a.wav", channel=1), right)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 96_000])
def test_a_higher_rate_is_resampled_to_the_same_tone(tmp_path: Path, rate: int) -> None:
    """A 1 kHz tone keeps its frequency, level and length, and what lies above half the line's rate is gone."""
    time = np.arange(2 * rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * time) + 0.3 * np.sin(2 * np.pi * 9_500 * time)
    soundfile.write(tmp_path / "a.wav", tone, rate)
    clip = np.concatenate(list(read_blocks(tmp_path / "a.wav", block_s=0.3)))
    assert abs(len(clip) - 2 * RATE) <= 1
    middle = clip[RATE // 2 : RATE // 2 + RATE]
    spectrum = np.abs(np.fft.rfft(middle)) / (RATE / 2)
    assert spectrum.argmax() == 1_000
    assert spectrum[1_000] == pytest.approx(0.5, rel=0.01)
    assert np.delete(spectrum, range(995, 1_006)).max() < 0.001


def test_a_clip_has_a_limit_on_its_duration(tmp_path: Path) -> None:
    """A clip is whole in memory, so a long one is refused by its header."""
    path = sound_file(tmp_path / "a.wav", 3.0)
    with pytest.raises(SoundFileError, match=r"3\.0 s long, allowed are 2\.0 s") as refusal:
        read_clip(path, max_duration_s=2.0)
    assert refusal.value.reason == "too_long"
    assert len(read_clip(path, max_duration_s=3.0)) == 3 * RATE


def test_inspect_tells_the_header(tmp_path: Path) -> None:
    """Frames, channels, rate and size are those of the file."""
    path = sound_file(tmp_path / "a.wav", 1.5, rate=48_000)
    info = inspect(path)
    assert (info.frames, info.channels, info.rate, info.duration_s) == (72_000, 1, 48_000, 1.5)
    assert info.size == path.stat().st_size


def test_sounds_are_listed_in_order_with_those_in_folders(tmp_path: Path) -> None:
    """Sorted, recursive, any case of suffix; hidden files and other kinds are left out."""
    for name in ("b.wav", "a/z.FLAC", "a/.hidden.wav", ".cache/c.wav", "note.txt", "phone.m4a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [path.relative_to(tmp_path).as_posix() for path in list_sounds(tmp_path)] == ["a/z.FLAC", "b.wav"]
    found = {path.name for path in walk_sounds(tmp_path, SUFFIXES + FOREIGN_SUFFIXES)}
    assert found == {"b.wav", "z.FLAC", "phone.m4a"}


def test_an_empty_or_absent_folder_is_a_clear_error(tmp_path: Path) -> None:
    """Each of the two says what to do."""
    with pytest.raises(SoundFileError, match="no sound files in it") as empty:
        list_sounds(tmp_path)
    with pytest.raises(SoundFileError, match="no such folder; make it") as absent:
        list_sounds(tmp_path / "absent")
    assert (empty.value.reason, absent.value.reason) == ("no_sounds", "no_folder")


def test_the_content_hash_is_of_the_bytes(tmp_path: Path) -> None:
    """It is the start of the SHA-256, whatever the name."""
    path = sound_file(tmp_path / "a.wav")
    assert content_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    with pytest.raises(SoundFileError):
        content_hash(tmp_path / "absent.wav")


@pytest.mark.parametrize("write", [write_wav, write_flac])
def test_written_sound_reads_back_within_a_step(tmp_path: Path, write: object) -> None:
    """16 bit out and in; full scale included, and nothing but the file is left behind."""
    sound = np.concatenate([noise(0.5), np.array([1.0, -1.0, 0.0], np.float32)])
    write(tmp_path / "a.snd", sound, RATE)  # type: ignore[operator]  # one of two functions of the same shape
    np.testing.assert_allclose(read_clip(tmp_path / "a.snd"), sound, atol=1.01 / 32_768)
    assert [path.name for path in tmp_path.iterdir()] == ["a.snd"]


def test_sound_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    """NaN, excess, nothing, and a folder that is not there."""
    for sound, reason in (
        (np.array([0.0, np.nan]), "not_finite"),
        (np.array([0.0, 1.2]), "over_range"),
        (np.zeros(0), "no_frames"),
        (np.zeros((4, 2)), "no_frames"),
    ):
        with pytest.raises(SoundFileError) as refusal:
            write_wav(tmp_path / "a.wav", sound, RATE)
        assert refusal.value.reason == reason
    with pytest.raises(SoundFileError, match="is the folder there") as refusal:
        write_flac(tmp_path / "absent" / "a.flac", noise(0.1), RATE)
    assert refusal.value.reason == "unwritable"
    assert list(tmp_path.iterdir()) == []
