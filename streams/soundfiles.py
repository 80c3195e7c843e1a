"""Safe reading of sound files: every file is held for hostile until its header has been weighed.

`inspect` refuses by the header, before anything is decoded; `read_blocks` decodes in blocks of bounded size and
refuses what only shows there (NaN, sound that ends before the header said). Every refusal is a `SoundFileError` whose
`reason` comes from `REASONS`: a fixed list, fit for a metric's label.

Known limitation: an MP3 that was cut short reads as a shorter MP3, because its header promises nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from streams import soundheaders

Reason = Literal[
    "no_file",
    "no_folder",
    "no_sounds",
    "not_a_file",
    "unreadable",
    "unwritable",
    "empty_file",
    "unknown_format",
    "broken_header",
    "unknown_length",
    "false_size",
    "truncated",
    "no_frames",
    "too_many_channels",
    "no_such_channel",
    "bad_rate",
    "rate_too_low",
    "too_long",
    "decompression_bomb",
    "not_finite",
    "over_range",
]
REASONS: tuple[Reason, ...] = get_args(Reason)

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".rf64")
FOREIGN_SUFFIXES = (".m4a", ".aac", ".wma", ".amr", ".mp4", ".webm", ".ac3")  # sound that we cannot read: say so

_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "MP3", "MPEG"})
_EXACT = frozenset({"WAV", "WAVEX", "RF64", "AIFF", "FLAC"})  # the header counts frames, so fewer is a fault
_MAX_BLOCK_SAMPLES = 1 << 20  # frames x channels in memory at once, 4 MiB as float32
_CONVERT = "Convert it: ffmpeg -i IN -c:a flac OUT.flac"


class SoundFileError(Exception):
    """A sound file that cannot be used: `reason` for machines, the text for people."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason: Reason = reason
        self.text = text


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may be before it is decoded.

    `max_decoded_bytes` counts frames x channels as int16. A file beyond `bomb_bytes` decoded that is `bomb_ratio`
    times smaller on disk is a decompression bomb: real recordings compress 2 to 50 times, and only hours of digital
    silence reach 500. `max_peak` is for float files: sound a little over full scale is clipped to it (and
    flagged by capture), sound far beyond it was stored in some other unit.
    """

    max_duration_s: float = 86_400.0
    max_channels: int = 64
    max_rate: int = 384_000
    max_decoded_bytes: int = 20 * 1024**3
    bomb_bytes: int = 64 * 1024**2
    bomb_ratio: float = 200.0
    max_peak: float = 4.0


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class SoundInfo:
    """What a checked header says; `rate` in Hz, `size` in bytes on disk."""

    path: Path
    frames: int
    channels: int
    rate: int
    format: str
    subtype: str
    size: int

    @property
    def duration_s(self) -> float:
        """How long the file sounds."""
        return self.frames / self.rate


def inspect(path: str | Path, limits: Limits = LIMITS) -> SoundInfo:
    """Weigh the header of `path` without decoding. Raises SoundFileError."""
    path = Path(path)
    size = _regular_size(path)
    _weigh_container(path, size)
    try:
        with soundfile.SoundFile(str(path)) as file:
            info = SoundInfo(path, file.frames, file.channels, file.samplerate, file.format, file.subtype, size)
    except (soundfile.SoundFileError, TypeError) as error:
        raise SoundFileError("broken_header", f"{path}: the header cannot be read ({error}). {_CONVERT}") from error
    _weigh(info, limits)
    return info


def _regular_size(path: Path) -> int:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise SoundFileError("no_file", f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise SoundFileError("unreadable", f"{path}: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise SoundFileError("not_a_file", f"{path}: not a regular file; give a sound file")
    if status.st_size == 0:
        raise SoundFileError("empty_file", f"{path}: 0 bytes; record it again")
    return status.st_size


def _weigh_container(path: Path, size: int) -> None:
    try:
        with path.open("rb") as file:
            kind = soundheaders.container(file.read(12))
            if kind is None:
                known = ", ".join(SUFFIXES)
                raise SoundFileError("unknown_format", f"{path}: not a format that we read ({known}). {_CONVERT}")
            said = soundheaders.promise(file, size, kind)
            whole = kind != "ogg" or soundheaders.ogg_is_whole(file, size)
    except ValueError as error:
        raise SoundFileError("broken_header", f"{path}: {error}. {_CONVERT}") from error
    except OSError as error:
        raise SoundFileError("unreadable", f"{path}: {error.strerror}") from error
    if said is not None and said.placeholder:
        raise SoundFileError(
            "false_size",
            f"{path}: the header promises {said.promised:,} bytes of sound, the file holds {said.found:,}: its "
            f"writer never filled the size in. {_CONVERT}",
        )
    if said is not None and not said.kept:
        raise _truncated(path, f"{said.promised:,} bytes of sound", f"{said.found:,}")
    if not whole:
        raise _truncated(path, "an end of stream", "none in its last page")


def _truncated(path: Path, promised: str, found: str) -> SoundFileError:
    text = f"{path}: promises {promised}, found {found}: cut short or damaged; copy or record it again"
    return SoundFileError("truncated", text)


def _weigh(info: SoundInfo, limits: Limits) -> None:
    path = info.path
    if info.format not in _FORMATS:
        raise SoundFileError("unknown_format", f"{path}: format {info.format} is not read here. {_CONVERT}")
    if info.frames >= 1 << 62:
        raise SoundFileError("unknown_length", f"{path}: the header does not say how long it is. {_CONVERT}")
    if info.frames <= 0:
        raise SoundFileError("no_frames", f"{path}: no sound in {info.size:,} bytes; was the recording ever finished?")
    if info.channels > limits.max_channels:
        allowed = f"1 to {limits.max_channels} channels are allowed"
        raise SoundFileError("too_many_channels", f"{path}: {info.channels} channels, {allowed}")
    if not 1 <= info.rate <= limits.max_rate:
        raise SoundFileError("bad_rate", f"{path}: {info.rate} Hz, allowed is 1 to {limits.max_rate} Hz")
    if info.duration_s > limits.max_duration_s:
        raise _too_long(info, limits.max_duration_s)
    decoded = info.frames * info.channels * 2
    if decoded > limits.max_decoded_bytes:
        allowed = f"{limits.max_decoded_bytes:,} are allowed; cut it into shorter files"
        raise SoundFileError("too_long", f"{path}: {decoded:,} bytes when decoded, {allowed}")
    if decoded > limits.bomb_bytes and decoded > limits.bomb_ratio * info.size:
        raise SoundFileError(
            "decompression_bomb",
            f"{path}: {info.size:,} bytes that decode to {decoded:,} ({decoded / info.size:.0f} times as many, "
            f"allowed is {limits.bomb_ratio:.0f}): hours of nothing, or an attack. Cut the silence out",
        )


def _too_long(info: SoundInfo, max_duration_s: float) -> SoundFileError:
    text = f"{info.path}: {info.duration_s:,.1f} s long, allowed are {max_duration_s:,.1f} s; cut it into shorter files"
    return SoundFileError("too_long", text)


def read_blocks(
    path: str | Path, rate: int = 16_000, channel: int = 0, block_s: float = 1.0, limits: Limits = LIMITS
) -> Iterator[NDArray[np.float32]]:
    """Decode one channel in blocks: float32 [time] at `rate` Hz within full scale 1.0, each about `block_s` long.

    A file above the line's rate is resampled; one below is refused, since its upper bands would be missing and look
    like a fault. Raises SoundFileError, at the first block for what the header shows, later for what only
    decoding shows: the blocks before are good sound.
    """
    info = inspect(path, limits)
    if channel >= info.channels:
        has = f"has {info.channels}, counted from 0"
        raise SoundFileError("no_such_channel", f"{path}: channel {channel} was asked for, the file {has}")
    if info.rate < rate:
        raise SoundFileError(
            "rate_too_low",
            f"{path}: {info.rate} Hz, the line runs at {rate} Hz: everything above {info.rate // 2} Hz would be "
            f"missing and look like a fault. Record at {rate} Hz or more, or set site.rate lower and train again",
        )
    if info.rate == rate:
        for block in _decode(info, channel, block_s, limits):
            yield np.clip(block, -1.0, 1.0)
        return
    resampler = soxr.ResampleStream(info.rate, rate, 1, dtype="float32")
    for block in _decode(info, channel, block_s, limits):
        yield from _some(resampler.resample_chunk(block))
    yield from _some(resampler.resample_chunk(np.zeros(0, np.float32), last=True))


def _some(block: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    if len(block):
        yield np.clip(block, -1.0, 1.0)  # a resampled clipped peak swings past full scale


def _decode(info: SoundInfo, channel: int, block_s: float, limits: Limits) -> Iterator[NDArray[np.float32]]:
    frames = max(1, min(round(block_s * info.rate), _MAX_BLOCK_SAMPLES // info.channels))
    done, longest = 0, limits.max_duration_s * info.rate
    try:
        with soundfile.SoundFile(str(info.path)) as file:
            while len(block := file.read(frames, dtype="float32", always_2d=True)):
                yield _checked(np.ascontiguousarray(block[:, channel]), info, done, limits)
                done += len(block)
                if done > longest:
                    raise _too_long(info, limits.max_duration_s)
    except soundfile.SoundFileError as error:
        raise _truncated(info.path, f"{info.frames:,} samples", f"{done:,} ({error})") from error
    if done < info.frames and info.format in _EXACT:
        raise _truncated(info.path, f"{info.frames:,} samples", f"{done:,}")


def _checked(block: NDArray[np.float32], info: SoundInfo, done: int, limits: Limits) -> NDArray[np.float32]:
    peak = float(np.maximum(block.max(), -block.min()))
    if not np.isfinite(peak):
        first = done + int(np.argmin(np.isfinite(block)))
        text = f"{info.path}: sample {first:,} is not a finite number; export it again as 16 bit"
        raise SoundFileError("not_finite", text)
    if peak > limits.max_peak:
        text = f"{info.path}: samples reach {peak:g}, full scale is 1.0; export it again as 16 bit"
        raise SoundFileError("over_range", text)
    return block


def read_clip(
    path: str | Path, rate: int = 16_000, channel: int = 0, max_duration_s: float = 3_600.0, limits: Limits = LIMITS
) -> NDArray[np.float32]:
    """One whole recording, float32 [time] at `rate` Hz, for offline use. Raises SoundFileError."""
    limits = replace(limits, max_duration_s=min(max_duration_s, limits.max_duration_s))
    blocks = list(read_blocks(path, rate, channel, block_s=30.0, limits=limits))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def list_sounds(folder: str | Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """The sound files under `folder`, sub-folders included, sorted; hidden files are left out.

    Raises SoundFileError where the folder is absent or holds none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SoundFileError("no_folder", f"{folder}: no such folder; make it or correct the path")
    found = sorted(walk_sounds(folder, suffixes))
    if not found:
        raise SoundFileError("no_sounds", f"{folder}: no sound files in it (looked for {', '.join(suffixes)})")
    return found


def walk_sounds(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[Path]:
    """The sound files under `folder` in no order, none where it is absent; links to folders are not followed."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and name.lower().endswith(suffixes):
                yield Path(root, name)


def content_hash(path: str | Path) -> str:
    """The first 16 hex digits of the file's SHA-256: the session of a file. Raises SoundFileError (unreadable)."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise SoundFileError("unreadable", f"{path}: {error.strerror}") from error


def write_flac(path: str | Path, samples: NDArray[np.floating], rate: int) -> None:
    """Write mono `samples` [time], full scale 1.0, as 16 bit FLAC. Raises SoundFileError; see `write_wav`."""
    _write(Path(path), samples, rate, "FLAC")


def write_wav(path: str | Path, samples: NDArray[np.floating], rate: int) -> None:
    """Write mono `samples` [time], full scale 1.0, as 16 bit WAV.

    The file appears under its name only when it is whole. Raises SoundFileError: NaN, samples beyond full
    scale, or a disk that does not take it.
    """
    _write(Path(path), samples, rate, "WAV")


def _write(path: Path, samples: NDArray[np.floating], rate: int, kind: str) -> None:
    if samples.ndim != 1 or not len(samples):
        text = f"{path}: samples have shape {samples.shape}, allowed is [time] with time > 0"
        raise SoundFileError("no_frames", text)
    peak = float(np.abs(samples).max())
    if not np.isfinite(peak):
        raise SoundFileError("not_finite", f"{path}: samples hold NaN or infinity; nothing was written")
    if peak > 1.0:
        raise SoundFileError("over_range", f"{path}: samples reach {peak:g}, full scale is 1.0; nothing was written")
    pcm = np.clip(np.round(samples * 32_768.0), -32_768, 32_767).astype(np.int16)
    part = path.with_name(f".{path.name}.part")
    try:
        soundfile.write(str(part), pcm, rate, format=kind, subtype="PCM_16")
        part.replace(path)
    except (OSError, soundfile.SoundFileError) as error:
        with suppress(OSError):
            part.unlink()
        raise SoundFileError("unwritable", f"{path}: {error}; is the folder there, writable and not full?") from error
