"""What a sound file's first bytes promise, compared with what the file holds, before any decoder sees it.

Only the containers that we can judge reach libsndfile: RIFF and RF64 WAVE, AIFF, FLAC, Ogg, MP3. Its other twenty
parsers stay out of reach of hostile files.

Sizes: RIFF chunks are little-endian `id[4] size[4]`, AIFF (IFF) chunks big-endian, both padded to an even length;
RF64 keeps the true size of `data` in the chunk `ds64` at byte 8 (EBU Tech 3306). Ogg marks a stream's last page with
bit 4 of the header type at byte 5 of the page (RFC 3533, section 6). MP3 promises nothing that could be checked.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Literal, NamedTuple

Container = Literal["wav", "aiff", "flac", "ogg", "mp3"]

_MAX_CHUNKS = 1_000
_OGG_TAIL = 70_000  # an Ogg page is at most 65,307 bytes long
_NEVER_FILLED_IN = 0x7FF0_0000  # sizes from here on are what programs write that cannot seek back (ffmpeg, sox)


class Promise(NamedTuple):
    """`promised` bytes of sound by the header, `found` bytes in the file; `placeholder` where nobody filled it in."""

    promised: int
    found: int
    placeholder: bool

    @property
    def kept(self) -> bool:
        """Whether the file holds what its header says."""
        return self.found >= self.promised


def container(head: bytes) -> Container | None:
    """The container that these first 12 bytes open, or None for one that we do not read."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS":
        return "ogg"
    mpeg_layer_3 = len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
    return "mp3" if head[:3] == b"ID3" or mpeg_layer_3 else None


def promise(file: BinaryIO, size: int, kind: Container) -> Promise | None:
    """What the header of the open `file` of `size` bytes promises; None where it says nothing about bytes.

    Raises ValueError where a WAVE or AIFF file has no chunk of sound at all.
    """
    if kind == "wav":
        return _chunked(file, size, order="<", sound=b"data")
    if kind == "aiff":
        return _chunked(file, size, order=">", sound=b"SSND")
    return None


def _chunked(file: BinaryIO, size: int, order: str, sound: bytes) -> Promise:
    position, long_size = 12, 0
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            break
        name, length = struct.unpack(f"{order}4sI", header)
        if name == b"ds64":
            long_size = _ds64_data_size(file.read(16))
        if name == sound:
            if length == 0xFFFF_FFFF and long_size:
                length = long_size
            found = size - position - 8
            return Promise(length, found, placeholder=length >= _NEVER_FILLED_IN and found < length)
        position += 8 + length + length % 2
    raise ValueError(f"no chunk {sound.decode()!r} in {size} bytes")


def _ds64_data_size(body: bytes) -> int:
    return int(struct.unpack("<QQ", body)[1]) if len(body) == 16 else 0


def ogg_is_whole(file: BinaryIO, size: int) -> bool:
    """Whether the last Ogg page of the open file of `size` bytes says that it is the last."""
    file.seek(max(0, size - _OGG_TAIL))
    tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)
