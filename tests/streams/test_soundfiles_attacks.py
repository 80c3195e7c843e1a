from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sound_makers import RATE, noise, raw_wav, sound_file

from streams.soundfiles import LIMITS, REASONS, Limits, SoundFileError, inspect, read_blocks, read_clip

PCM = (noise(1.0) * 32_767).astype("<i2").tobytes()


def reason_of(path: Path, limits: Limits = LIMITS, **options: int) -> str:
    with pytest.raises(SoundFileError) as refusal:
        list(read_blocks(path, limits=limits, **options))
    assert refusal.value.reason in REASONS
    assert str(path) in refusal.value.text
    return refusal.value.reason


def cut_to(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
    return path


def with_flac_length(path: Path, frames: int) -> Path:
    """STREAMINFO holds the length in the low 36 bits of the 8 bytes at offset 18."""
    sound_file(path)
    data = bytearray(path.read_bytes())
    packed = int.from_bytes(data[18:26], "big") >> 36 << 36 | frames
    data[18:26] = packed.to_bytes(8, "big")
    path.write_bytes(data)
    return path


def test_headers_that_lie_or_break_are_refused_with_their_reason(tmp_path: Path) -> None:
    """Every broken header has a reason of its own."""
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_bytes(b"not a sound file at all, but long enough to be read")
    (tmp_path / "no_data.wav").write_bytes(raw_wav(tmp_path / "x.wav", PCM).read_bytes()[:36])
    (tmp_path / "no_format.wav").write_bytes(b"RIFF\x24\0\0\0WAVEdata\x04\0\0\0abcd")
    (tmp_path / "half.flac").write_bytes(b"fLaC\0\0\0\x22" + bytes(6))
    found = {
        "empty_file": reason_of(tmp_path / "empty.wav"),
        "unknown_format": reason_of(tmp_path / "text.wav"),
        "broken_header": reason_of(tmp_path / "no_data.wav"),
        "no_frames": reason_of(raw_wav(tmp_path / "zero.wav", b"")),
        "false_size": reason_of(raw_wav(tmp_path / "4gb.wav", PCM, data_size=0xFFFF_FFFF)),
        "too_many_channels": reason_of(raw_wav(tmp_path / "1024.wav", PCM, channels=1024)),
        "unknown_length": reason_of(with_flac_length(tmp_path / "endless.flac", 0)),
        "too_long": reason_of(with_flac_length(tmp_path / "years.flac", 2**36 - 1)),
        "no_file": reason_of(tmp_path / "absent.wav"),
        "not_a_file": reason_of(tmp_path),
    }
    assert found == {reason: reason for reason in found}
    assert reason_of(tmp_path / "no_format.wav") == "broken_header"
    assert reason_of(tmp_path / "half.flac") == "broken_header"


@pytest.mark.parametrize("size", [0x7FFF_FFFF, 0xFFFF_FFF0, 0xFFFF_FFFF])
def test_a_size_of_gigabytes_in_a_small_file_is_called_false(tmp_path: Path, size: int) -> None:
    """What was promised and what was found stand in the text."""
    with pytest.raises(SoundFileError, match=rf"promises {size:,} .* holds {len(PCM):,}"):
        inspect(raw_wav(tmp_path / "a.wav", PCM, data_size=size))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".aiff"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    """A file that was cut short never passes for a shorter recording."""
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, noise(4.0), RATE)
    assert reason_of(cut_to(path, 0.5)) == "truncated"


def test_a_truncated_flac_gives_its_good_sound_first(tmp_path: Path) -> None:
    """What decoding shows comes after the blocks that were sound, and says how many samples there were."""
    path = cut_to(sound_file(tmp_path / "a.flac", 10.0), 0.6)
    good: list[int] = []
    with pytest.raises(SoundFileError, match="promises 160,000 samples, found"):
        good.extend(len(block) for block in read_blocks(path, block_s=0.5))
    assert 40_000 < sum(good) < 100_000


def test_an_rf64_keeps_its_true_size_elsewhere(tmp_path: Path) -> None:
    """A size of 4 GB is no lie where the file says that the true one stands in ds64."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1.0), RATE, format="RF64", subtype="PCM_16")
    assert inspect(path).frames == RATE
    assert reason_of(cut_to(path, 0.5)) == "truncated"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    """NaN and infinity in a float file are found where they stand, and only in the channel that is used."""
    sound = np.stack([noise(2.0), noise(2.0, 1)], axis=1)
    sound[20_000, 1] = value
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    with pytest.raises(SoundFileError, match="sample 20,000") as refusal:
        read_clip(tmp_path / "a.wav", channel=1)
    assert refusal.value.reason == "not_finite"
    assert len(read_clip(tmp_path / "a.wav", channel=0)) == 2 * RATE


def test_samples_in_another_unit_are_refused_and_small_excess_is_clipped(tmp_path: Path) -> None:
    """Float samples counted in int16 steps are refused; a peak of 1.5 is cut at full scale."""
    soundfile.write(tmp_path / "steps.wav", noise(1.0) * 32_768, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "hot.wav", noise(1.0) * 1.5 / np.abs(noise(1.0)).max(), RATE, subtype="FLOAT")
    assert reason_of(tmp_path / "steps.wav") == "over_range"
    assert np.abs(read_clip(tmp_path / "hot.wav")).max() == 1.0


def test_a_decompression_bomb_is_refused_by_its_header_without_memory(tmp_path: Path) -> None:
    """Forty minutes of silence in a tenth of a megabyte are refused before a sample is decoded."""
    path = tmp_path / "bomb.flac"
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(40):
            file.write(np.zeros(60 * RATE, np.int16))
    tracemalloc.start()
    assert reason_of(path) == "decompression_bomb"
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    relaxed = Limits(bomb_ratio=1e9, max_decoded_bytes=10**6)
    assert reason_of(path, relaxed) == "too_long"


def test_reading_in_blocks_holds_no_whole_file(tmp_path: Path) -> None:
    """Five minutes in two channels need no more memory than a few blocks."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros((300 * RATE, 2), np.int16) + 7, RATE)
    tracemalloc.start()
    assert sum(len(block) for block in read_blocks(path)) == 300 * RATE
    assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    tracemalloc.stop()


def test_a_rate_below_the_line_is_refused_with_the_reason_why(tmp_path: Path) -> None:
    """The missing upper bands would look like a fault."""
    with pytest.raises(SoundFileError, match="above 4000 Hz would be missing and look like a fault") as refusal:
        read_clip(sound_file(tmp_path / "a.wav", rate=8_000))
    assert refusal.value.reason == "rate_too_low"
    assert reason_of(tmp_path / "a.wav", Limits(max_rate=4_000)) == "bad_rate"
    assert reason_of(sound_file(tmp_path / "b.wav"), channel=1) == "no_such_channel"


def test_devices_and_pipes_are_never_opened(tmp_path: Path) -> None:
    """A pipe that nobody writes to would block for ever."""
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    assert reason_of(tmp_path / "pipe.wav") == "not_a_file"
    assert reason_of(tmp_path / "zero.wav") == "not_a_file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_rights_is_unreadable(tmp_path: Path) -> None:
    """Missing rights are named as such."""
    sound_file(tmp_path / "a.wav").chmod(0)
    assert reason_of(tmp_path / "a.wav") == "unreadable"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from([".wav", ".flac", ".ogg", ".aiff"]))
def test_damaged_bytes_end_in_sound_or_a_refusal(tmp_path: Path, data: st.DataObject, suffix: str) -> None:
    """Whatever bytes are flipped, cut or appended, there is finite sound within limits or a SoundFileError."""
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, noise(0.2), RATE)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        where = data.draw(st.integers(0, min(len(damaged), 200) - 1) | st.integers(0, len(damaged) - 1))
        damaged[where] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.integers(12, len(damaged)))])
    try:
        clip, reason = read_clip(path, max_duration_s=60.0), REASONS[0]
    except SoundFileError as refusal:
        clip, reason = np.zeros(0, np.float32), refusal.reason
    assert reason in REASONS
    assert np.isfinite(clip).all()
    assert np.abs(clip).max(initial=0.0) <= 1.0
