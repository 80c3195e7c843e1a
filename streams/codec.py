"""The wire, version 1. Whoever reads or writes our topics from outside needs nothing but this schema.

`audio.windows`: one message per window of one microphone
    key       the microphone's id
    value     PCM, int16, little-endian, mono; a sample is value / 32768, so that full scale is 1.0
    headers   UTF-8 text
        v         "1"
        machine   the machine's id                      mic       the microphone's id, equal to the key
        session   new whenever capture starts anew      sequence  0, 1, 2, ... within the session
        start_ns  UTC of sample 0, ns since 1970        rate      sampling rate in Hz
        dtype     "<i2"                                 flags     of gap,clipped,silent,late; comma between, or ""
        gap_s     seconds of sound missing before this window, as a decimal number

`audio.scores`, `audio.alerts`, `audio.dead`: one JSON object per message, UTF-8
    key       the machine's id
    value     {"v": 1, ...} and the field names of `records.WindowScore`, `records.Alert`, `dead.DeadLetter`
        times are whole numbers of ns since 1970; NaN is null, the infinities are "inf" and "-inf";
        sets and tuples are lists; `DeadLetter.value` is base64 of the message's value

Readers ignore JSON fields and headers that they do not know and refuse a `v` that they do not know. `(mic, session,
sequence)` names a window for ever: a second score with the same identity is a repetition, not another window.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.contract import MAX_MESSAGE_BYTES, Message
from streams.dead import DeadLetter
from streams.fields import (
    BOOLEAN,
    BYTES,
    HEADERS,
    INTEGER,
    NUMBER,
    NUMBERS,
    PAIR,
    SERIES,
    TEXT,
    TEXT_SET,
    TEXTS,
    CodecError,
    Fields,
    read,
    write,
)
from streams.records import FLAGS, Alert, AudioWindow, Flag, WindowScore

__all__ = [
    "VERSION",
    "CodecError",
    "DeadLetter",
    "Wire",
    "decode_alert",
    "decode_dead",
    "decode_score",
    "decode_window",
    "encode_alert",
    "encode_dead",
    "encode_score",
    "encode_window",
]

VERSION = 1
DTYPE = "<i2"
FULL_SCALE = 32_768

_WRITER = "see who writes to the topic"
_SCORE: Fields = {
    "machine": TEXT,
    "mic": TEXT,
    "session": TEXT,
    "sequence": INTEGER,
    "start_ns": INTEGER,
    "duration_s": NUMBER,
    "status": TEXT,
    "score": NUMBER,
    "extrapolated": BOOLEAN,
    "path": TEXT,
    "detector": TEXT,
    "model": TEXT,
    "flags": TEXT_SET,
    "level_dbfs": NUMBER,
    "band_hz": PAIR,
    "band_db": NUMBER,
    "profile_db": SERIES,
    "reason": TEXT,
    "stage_seconds": NUMBERS,
    "scored_ns": INTEGER,
}
_ALERT: Fields = {
    "alert_id": TEXT,
    "machine": TEXT,
    "level": TEXT,
    "opened_ns": INTEGER,
    "updated_ns": INTEGER,
    "closed_ns": INTEGER,
    "peak_score": NUMBER,
    "mics": TEXTS,
    "reason": TEXT,
    "clip": TEXT,
    "cause": TEXT,
    "machines": TEXTS,
    "faults": NUMBERS,
}
_DEAD: Fields = {
    "reason": TEXT,
    "detail": TEXT,
    "at_ns": INTEGER,
    "topic": TEXT,
    "partition": INTEGER,
    "offset": INTEGER,
    "source": TEXT,
    "key": TEXT,
    "headers": HEADERS,
    "value": BYTES,
}

Record = TypeVar("Record", WindowScore, Alert, DeadLetter)


class Wire(NamedTuple):
    """A message to be sent: `producer.send(topic, *wire)`."""

    key: str
    value: bytes
    headers: dict[str, str]


def encode_window(window: AudioWindow) -> Wire:
    """The message of a window. Raises CodecError for samples that are not finite or beyond full scale 1.0."""
    headers = {
        "v": str(VERSION),
        "machine": window.machine,
        "mic": window.mic,
        "session": window.session,
        "sequence": str(int(window.sequence)),
        "start_ns": str(int(window.start_ns)),
        "rate": str(int(window.rate)),
        "dtype": DTYPE,
        "flags": ",".join(flag for flag in FLAGS if flag in window.flags),
        "gap_s": repr(float(window.gap_s)),
    }
    for name in ("machine", "mic", "session"):
        if not _is_utf8(headers[name]):
            raise CodecError(name, headers[name], "valid Unicode", "rename it")
    return Wire(window.mic, _pcm(window.samples), headers)


def decode_window(message: Message) -> AudioWindow:
    """The window of a message. Raises CodecError for a message that is no window."""
    headers = message.headers
    _expect("v", headers.get("v"), str(VERSION), "update the older side, writer or reader")
    _expect("dtype", headers.get("dtype"), DTYPE, "send int16, little-endian")
    _expect("mic", headers.get("mic"), message.key, "the key is the microphone's id")
    if len(message.value) % 2:
        raise CodecError("value", f"{len(message.value)} bytes", "an even number: int16 samples", _WRITER)
    samples = np.frombuffer(message.value, dtype=DTYPE).astype(np.float32) / np.float32(FULL_SCALE)
    samples.flags.writeable = False  # ours alone: the record need not copy it
    try:
        return AudioWindow(
            machine=_header(message, "machine"),
            mic=_header(message, "mic"),
            session=_header(message, "session"),
            sequence=_whole(message, "sequence"),
            start_ns=_whole(message, "start_ns"),
            rate=_whole(message, "rate"),
            samples=samples,
            flags=_flags(message),
            gap_s=_seconds(message, "gap_s"),
        )
    except CodecError:
        raise
    except ValueError as error:
        raise CodecError("headers", str(error), "those of a window", _WRITER) from error


def encode_score(score: WindowScore) -> tuple[str, bytes]:
    """Key and value of a score."""
    return score.machine, write(score, _SCORE, VERSION)


def decode_score(message: Message) -> WindowScore:
    """The score of a message. Raises CodecError for anything else."""
    return _decode(message, WindowScore, _SCORE)


def encode_alert(alert: Alert) -> tuple[str, bytes]:
    """Key and value of an alert."""
    return alert.machine, write(alert, _ALERT, VERSION)


def decode_alert(message: Message) -> Alert:
    """The alert of a message. Raises CodecError for anything else."""
    return _decode(message, Alert, _ALERT)


def encode_dead(letter: DeadLetter) -> tuple[str, bytes]:
    """Key and value of a dead letter, cut so that it always fits: first the value goes, then the headers."""
    detail, source = _shown(letter.detail[:4_000]), _shown(letter.source)
    letter = dataclasses.replace(letter, detail=detail, source=source)
    without = f"{letter.detail} (its {len(letter.value)} bytes are not kept here: see its offset)"
    small = dataclasses.replace(letter, value=b"", detail=without)
    bare = dataclasses.replace(small, headers={}, key=letter.key[:200], source=letter.source[:4_000])
    for candidate in (letter, small, bare):
        key, value = candidate.machine[:200], write(candidate, _DEAD, VERSION)
        if len(key.encode()) + len(value) <= MAX_MESSAGE_BYTES:
            break
    return key, value


def decode_dead(message: Message) -> DeadLetter:
    """The dead letter of a message. Raises CodecError for anything else."""
    return _decode(message, DeadLetter, _DEAD)


def _decode(message: Message, make: type[Record], fields: Fields) -> Record:
    required = frozenset(
        field.name
        for field in dataclasses.fields(make)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    values: dict[str, Any] = read(message.value, fields, required, VERSION)
    try:
        return make(**values)
    except ValueError as error:
        raise CodecError("value", str(error), f"a {make.__name__}", _WRITER) from error


def _pcm(samples: NDArray[np.float32]) -> bytes:
    if len(samples):
        peak = float(np.max(np.abs(samples)))  # NaN wins a maximum
        if not peak <= 1.0:
            raise CodecError("samples", peak, "finite and within -1.0 to 1.0", "let the gate refuse it before encoding")
    scaled = np.rint(samples * np.float32(FULL_SCALE))
    pcm: bytes = np.minimum(scaled, FULL_SCALE - 1).astype(DTYPE).tobytes()  # +1.0 is one step beyond int16
    return pcm


def _shown(text: str) -> str:
    """A file name or an error's words as valid Unicode: bytes that are none stay readable as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _expect(name: str, value: str | None, allowed: str, remedy: str) -> None:
    if value != allowed:
        raise CodecError(name, value, repr(allowed), remedy)


def _header(message: Message, name: str) -> str:
    value = message.headers.get(name)
    if value is None:
        raise CodecError(name, None, "a header of this name", _WRITER)
    return value


def _whole(message: Message, name: str) -> int:
    text = _header(message, name)
    if not re.fullmatch(r"-?[0-9]{1,19}", text):
        raise CodecError(name, text, "a whole number in decimal", _WRITER)
    return int(text)


def _seconds(message: Message, name: str) -> float:
    text = _header(message, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CodecError(name, text, "a finite number of seconds", _WRITER)
    return value


def _flags(message: Message) -> frozenset[Flag]:
    texts = {text for text in _header(message, "flags").split(",") if text}
    known = frozenset(flag for flag in FLAGS if flag in texts)
    if len(known) != len(texts):
        raise CodecError("flags", ",".join(sorted(texts)), ", ".join(FLAGS), "update the older side, writer or reader")
    return known
