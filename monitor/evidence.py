"""The sound behind an alarm: ten minutes per microphone in a ring on disk, and a FLAC clip when an alarm opens.

A ring file has `slots` slots of equal size, each a header and the window's PCM as it came over the wire (int16
little-endian, mono). Its size never changes and nothing of it is held in memory but an index. Schema of a slot:

    crc      u32   CRC-32 of all that follows, up to the last sample
    magic    4s    b"FEW1"
    count    u64   how many windows were written before: the order of the slots
    name     u64   the first 8 bytes of SHA-256 of session and sequence
    start    i64   UTC of sample 0, nanoseconds
    rate     u32   Hz
    samples  u32   how many samples follow

A write that a crash has torn fails its checksum and is left out. The ring is not synced to disk: it is a copy, the
broker holds what was accepted.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monitor.alarm_store import ClipRequest
from monitor.settings import Line
from monitor.words import Facts
from streams.records import Alert

RING_S = 600.0
PRE_S = 10.0
POST_S = 20.0
LONGEST_S = 120.0
CLIP_ID = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")

_HEADER = struct.Struct("<I4sQQqII")
_MAGIC = b"FEW1"
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Pcm:
    """The sound of one window: int16 `[time]` at `rate` Hz, from `start_ns` on."""

    start_ns: int
    rate: int
    samples: NDArray[np.int16]

    @property
    def end_ns(self) -> int:
        """UTC of the first sample after it."""
        return self.start_ns + round(len(self.samples) / self.rate * 1e9)


class Ring:
    """The last `slots` windows of one microphone, in one file of fixed size.

    `longest` is the most samples that a window may have. A file of another size is started anew.
    """

    def __init__(self, path: Path, slots: int, longest: int) -> None:
        self._slots = slots
        self._capacity = longest * 2
        self._size = -(-(_HEADER.size + self._capacity) // _PAGE) * _PAGE
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        if os.fstat(self._fd).st_size != slots * self._size:
            os.ftruncate(self._fd, 0)
            os.ftruncate(self._fd, slots * self._size)
        self._names: NDArray[np.uint64] = np.zeros(slots, np.uint64)
        self._spans: NDArray[np.int64] = np.zeros((slots, 2), np.int64)  # start and end of each slot's window
        self._count = 0
        self._scan()

    def _scan(self) -> None:
        for slot in range(self._slots):
            header = os.pread(self._fd, _HEADER.size, slot * self._size)
            _, magic, count, name, start_ns, rate, samples = _HEADER.unpack(header)
            if magic == _MAGIC and rate and samples * 2 <= self._capacity:
                self._note(slot, name, start_ns, rate, samples)
                self._count = max(self._count, count + 1)

    def _note(self, slot: int, name: int, start_ns: int, rate: int, samples: int) -> None:
        self._names[slot] = name
        self._spans[slot] = start_ns, start_ns + round(samples / rate * 1e9)

    @property
    def newest_ns(self) -> int:
        """The end of the newest sound."""
        return int(self._spans[:, 1].max())

    def put(self, session: str, sequence: int, start_ns: int, rate: int, pcm: bytes) -> bool:
        """Keep one window; False where it is there already or is too long. Raises OSError when the disk is full."""
        digest = hashlib.sha256(f"{session}\x1f{sequence}".encode()).digest()
        name = int.from_bytes(digest[:8], "little")
        if not pcm or len(pcm) > self._capacity or self._has(name):
            return False
        slot, samples = self._count % self._slots, len(pcm) // 2
        body = _HEADER.pack(0, _MAGIC, self._count, name, start_ns, rate, samples)[4:] + pcm
        record = zlib.crc32(body).to_bytes(4, "little") + body
        if os.pwrite(self._fd, record, slot * self._size) != len(record):
            raise OSError(f"evidence ring: the disk took a part of window {sequence} only; free some space")
        self._note(slot, name, start_ns, rate, samples)
        self._count += 1
        return True

    def _has(self, name: int) -> bool:
        """Whether the window is there whole; a torn one may be written again."""
        for slot in np.flatnonzero(self._names == np.uint64(name)).tolist():
            if self._slot(slot):
                return True
            self._names[slot] = 0
            self._spans[slot] = 0
        return False

    def read(self, from_ns: int, to_ns: int) -> Iterator[Pcm]:
        """The windows that overlap the span, by time; torn ones are left out."""
        starts, ends = self._spans.T
        for slot in np.flatnonzero((starts < to_ns) & (ends > from_ns)).tolist():
            pcm = self._slot(slot)
            if pcm:
                yield pcm

    def _slot(self, slot: int) -> Pcm | None:
        record = os.pread(self._fd, self._size, slot * self._size)
        crc, magic, _, _, start_ns, rate, samples = _HEADER.unpack_from(record)
        end = _HEADER.size + samples * 2
        if magic != _MAGIC or end > len(record) or zlib.crc32(memoryview(record)[4:end]) != crc:
            return None
        return Pcm(start_ns, rate, np.frombuffer(record, np.int16, samples, _HEADER.size))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def clip_request(alert: Alert, facts: Facts, line: Line) -> ClipRequest | None:
    """The clip that an alarm which has just opened should have; None where no microphone of it may keep evidence.

    From `PRE_S` before the oddity began to `POST_S` after the alarm opened, at most `LONGEST_S`.
    """
    allowed = {mic.id for machine in line.machine for mic in machine.mic if mic.evidence}
    mic = next((mic for mic in alert.mics if mic in allowed), None)
    if mic is None or facts.kind != "odd":
        return None
    to_ns = alert.opened_ns + round(POST_S * 1e9)
    from_ns = max(facts.since_ns - round(PRE_S * 1e9), to_ns - round(LONGEST_S * 1e9))
    return ClipRequest(f"{alert.alert_id}-{mic_mark(mic)}", alert.alert_id, mic, from_ns, to_ns)


def mic_mark(mic: str) -> str:
    """What of a clip's id names the microphone."""
    return hashlib.sha256(mic.encode()).hexdigest()[:8]


class Evidence:
    """The rings and the clips of a line, under `folder`. Only microphones with `evidence = true` are kept."""

    def __init__(self, line: Line, folder: Path) -> None:
        self.clips = folder / "clips"
        self.clips.mkdir(parents=True, exist_ok=True)
        self.shown = folder / "shown"  # what `show_clip` makes, a folder per clip
        self._made: dict[str, tuple[int, int]] = {}
        rings = folder / "rings"
        rings.mkdir(exist_ok=True)
        slots = max(2, round(RING_S / line.site.window_s))
        longest = round(line.site.rate * line.site.window_s * 1.25)
        self.refused = 0
        self._rings = {
            mic.id: Ring(rings / f"{hashlib.sha256(mic.id.encode()).hexdigest()[:16]}.ring", slots, longest)
            for machine in line.machine
            for mic in machine.mic
            if mic.evidence
        }

    def hear(self, mic: str, session: str, sequence: int, start_ns: int, rate: int, pcm: bytes) -> None:
        """Keep one window; what does not fit and what the disk refuses is counted in `refused`."""
        ring = self._rings.get(mic)
        if ring is None:
            return
        try:
            ring.put(session, sequence, start_ns, rate, pcm)
        except OSError:
            self.refused += 1

    def ready(self, request: ClipRequest) -> bool:
        """Whether the clip's last sound is there."""
        ring = self._rings.get(request.mic)
        return ring is None or ring.newest_ns >= request.to_ns

    def sound(self, mic: str, from_ns: int, to_ns: int) -> list[Pcm]:
        """What the ring has of a microphone's sound between two moments, by time."""
        ring = self._rings.get(mic)
        return sorted(ring.read(from_ns, to_ns), key=lambda one: one.start_ns) if ring else []

    def write(self, request: ClipRequest) -> bool:
        """Write the clip; False where the ring has nothing of it. Raises OSError when the disk is full."""
        pieces = self.sound(request.mic, request.from_ns, request.to_ns)
        if not pieces:
            return False
        write_flac(self.path(request.clip_id), pieces)
        return True

    def path(self, clip_id: str) -> Path:
        """Where the clip lies. Raises ValueError for anything that is not a clip's id."""
        if not CLIP_ID.fullmatch(clip_id):
            raise ValueError(f"clip id is {clip_id!r}, allowed is what clip_request makes")
        return self.clips / f"{clip_id}.flac"

    def expire(self, now_s: float, keep_s: float, keep_bytes: int) -> int:
        """Remove clips older than `keep_s`, then the oldest until all fit into `keep_bytes`; returns how many.

        What was made of a clip for the page (`shown`) counts with it, and goes with it.
        """
        found = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self.clips.glob("*.flac"))
        self._made = {path.stem: self._made_of(path.stem) for _, _, path in found}
        total, removed = sum(size + self._made[path.stem][1] for _, size, path in found), 0
        for modified_s, size, path in found:
            if now_s - modified_s <= keep_s and total <= keep_bytes:
                break
            path.unlink(missing_ok=True)
            shutil.rmtree(self.shown / path.stem, ignore_errors=True)
            total -= size + self._made.pop(path.stem)[1]
            removed += 1
        return removed

    def _made_of(self, clip_id: str) -> tuple[int, int]:
        """When the folder of what was made of a clip changed, and its bytes; looked into only where that is news."""
        folder = self.shown / clip_id
        try:
            changed_ns = folder.stat().st_mtime_ns
            known = self._made.get(clip_id)
            if known and known[0] == changed_ns:
                return known
            return changed_ns, sum(path.stat().st_size for path in folder.iterdir())
        except FileNotFoundError:  # nothing was made yet, or it is being replaced
            return 0, 0

    def close(self) -> None:
        """Let go of the rings."""
        for ring in self._rings.values():
            ring.close()


def write_flac(path: Path, pieces: list[Pcm]) -> None:
    """Write the pieces, in order of time, as one mono FLAC file; missing sound becomes silence of the same length.

    Pieces of another rate than the first are left out, overlaps are cut. The file appears whole or not at all.
    """
    import soundfile

    rate, origin_ns = pieces[0].rate, pieces[0].start_ns
    part = path.with_suffix(".part")
    with soundfile.SoundFile(part, "w", samplerate=rate, channels=1, format="FLAC", subtype="PCM_16") as file:
        position = 0
        for piece in (one for one in pieces if one.rate == rate):
            due = round((piece.start_ns - origin_ns) * rate / 1e9)
            if due > position + rate // 100:  # less than 10 ms is the clock's jitter, not a gap
                file.write(np.zeros(due - position, np.int16))
                position = due
            samples = piece.samples[max(0, position - due) if position > due + rate // 100 else 0 :]
            file.write(samples)
            position += len(samples)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(path)
