"""JSON fields of the wire: what each kind of value looks like there, and what is refused.

JSON has no NaN and no infinity: NaN is null, the infinities are the texts "inf" and "-inf".
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class CodecError(ValueError):
    """Not on the wire's terms; the text names the field, its value, what is allowed and what to do."""

    def __init__(self, field: str, value: object, allowed: str, remedy: str) -> None:
        shown = ascii(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        super().__init__(f"{field} is {shown}, allowed is {allowed}: {remedy}")
        self.field = field


class Kind(NamedTuple):
    """How one kind of field is written and read; `read` raises ValueError or TypeError for anything else."""

    allowed: str
    write: Callable[[Any], object]
    read: Callable[[Any], object]


def _exactly(of: type) -> Callable[[Any], object]:
    def read(value: object) -> object:
        if type(value) is not of:  # a bool is no int
            raise TypeError
        return value

    return read


def _write_number(value: float) -> object:
    value = float(value)
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def _read_number(value: object) -> float:
    if value is None:
        return math.nan
    if value in ("inf", "-inf"):
        return float(str(value))
    if type(value) not in (int, float):
        raise TypeError
    number = float(value)  # type: ignore[arg-type]  # the line above says so
    if not math.isfinite(number):
        raise ValueError
    return number


def _list_of(
    read: Callable[[Any], object], make: Callable[[list[object]], object], length: int | None = None
) -> Callable[[Any], object]:
    def read_list(value: object) -> object:
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise TypeError
        return make([read(item) for item in value])

    return read_list


def _mapping_of(read: Callable[[Any], object]) -> Callable[[Any], object]:
    def read_mapping(value: object) -> object:
        if not isinstance(value, dict):
            raise TypeError
        return {key: read(item) for key, item in value.items()}

    return read_mapping


def _write_bytes(value: bytes) -> object:
    return base64.b64encode(value).decode()


def _read_bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    return base64.b64decode(value, validate=True)  # binascii.Error is a ValueError


_text = _exactly(str)
TEXT = Kind("text", str, _text)
INTEGER = Kind("a whole number", int, _exactly(int))
BOOLEAN = Kind("true or false", bool, _exactly(bool))
NUMBER = Kind('a number, null or "inf"', _write_number, _read_number)
TEXTS = Kind("a list of texts", list, _list_of(_text, tuple))
TEXT_SET = Kind("a list of texts", sorted, _list_of(_text, frozenset))
PAIR = Kind("two numbers", lambda pair: [_write_number(x) for x in pair], _list_of(_read_number, tuple, 2))
SERIES = Kind("a list of numbers", lambda row: [_write_number(x) for x in row], _list_of(_read_number, tuple))
NUMBERS = Kind(
    "names with numbers", lambda names: {k: _write_number(v) for k, v in names.items()}, _mapping_of(_read_number)
)
HEADERS = Kind("names with texts", dict, _mapping_of(_text))
BYTES = Kind("base64", _write_bytes, _read_bytes)

Fields = Mapping[str, Kind]


def write(record: object, fields: Fields, version: int) -> bytes:
    """The record as UTF-8 JSON with `v` first. Raises CodecError for text that UTF-8 cannot carry."""
    document = {"v": version, **{name: kind.write(getattr(record, name)) for name, kind in fields.items()}}
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        wrong = error.object[error.start : error.end]
        raise CodecError(type(record).__name__, wrong, "valid Unicode", "rename the machine, mic or file") from error


def read(value: bytes, fields: Fields, required: frozenset[str], version: int) -> dict[str, Any]:
    """The fields of a document; those it lacks are left out unless required, those we do not know are ignored."""
    try:
        document = json.loads(value.decode())
    except (ValueError, RecursionError) as error:
        raise CodecError(
            "value", value[:40], "a JSON object in UTF-8", f"{error}; see who writes to the topic"
        ) from error
    if not isinstance(document, dict):
        raise CodecError("value", document, "a JSON object", "see who writes to the topic")
    if type(document.get("v")) is not int or document["v"] != version:
        raise CodecError("v", document.get("v"), str(version), "update the older side, writer or reader")
    missing = sorted(required - document.keys())
    if missing:
        raise CodecError(
            missing[0], None, fields[missing[0]].allowed, "the field is missing; see who writes to the topic"
        )
    return {name: _read(name, kind, document[name]) for name, kind in fields.items() if name in document}


def _read(name: str, kind: Kind, value: object) -> object:
    try:
        return kind.read(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(name, value, kind.allowed, "see who writes to the topic") from error
