"""The model card: what a model folder holds, how it came about, and the SHA-256 of every file. Imports no torch.

card.json: {"v": 2, "machine", "made": UTC in ISO 8601, "program", "mics": {mic or "*": MicCard's fields},
"sources": [{"file", "sha256", "seconds", "licence"}], "figures": {...}, "sha256": {file: digest}}.
Version 1 had no `recordings` and no `kinematics` per microphone, and is still read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

CARD = "card.json"
VERSION = 2
READABLE = (1, 2)
_MOST_BYTES = 64 * 1024 * 1024  # a card of this size is no card
_AGAIN = "train it anew with: factory-ear train"


class ModelError(Exception):
    """A model that must not be used; the text names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Source:
    """A recording that was learned from: name, SHA-256 of the file, length, and its licence where one was given."""

    file: str
    sha256: str
    seconds: float
    licence: str = ""


@dataclass(frozen=True, slots=True)
class MicCard:
    """One microphone's model (`*`: of all microphones). `file` holds its tensors; `notes` what a reader should know.

    `recordings` are what its library points to, by number; `kinematics` what `line.toml` said of the machine.
    """

    file: str
    model: str
    detector: str
    rate: int
    n_fft: int
    hop: int
    mels: int
    front_end: int
    window_s: float
    context_windows: int
    context_s: float
    effective_n: int
    level_dbfs: float
    notes: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    kinematics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Card:
    """A model folder in words. `sha256` covers every other file of the folder; `figures` is whatever was measured."""

    machine: str
    made: str
    program: str
    mics: Mapping[str, MicCard]
    sha256: Mapping[str, str]
    sources: Sequence[Source] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """As JSON."""
        return json.dumps({"v": VERSION, **asdict(self)}, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def read_card(folder: str | Path) -> Card:
    """The card of a model folder, checked. Raises ModelError for a missing, damaged or foreign one.

    The tensors are not opened: `store.load_models` checks them against the card.
    """
    path = Path(folder) / CARD
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(f"{path}: {path.stat().st_size} bytes is no model card; {_AGAIN}")
        raw = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(f"{path}: no such file, so {folder} holds no model; {_AGAIN}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}); {_AGAIN}") from error
    if not isinstance(raw, dict) or raw.get("v") not in READABLE:
        found = raw.get("v") if isinstance(raw, dict) else type(raw).__name__
        readable = " and ".join(str(version) for version in READABLE)
        raise ModelError(f"{path}: version is {found!r}, this program reads {readable}; {_AGAIN}")
    try:
        return _card(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: not a model card ({error!r}); {_AGAIN}") from error


def _card(raw: Mapping[str, Any]) -> Card:
    card = Card(
        machine=_is(str, raw["machine"], "machine"),
        made=_is(str, raw["made"], "made"),
        program=_is(str, raw["program"], "program"),
        mics={name: _mic(name, one) for name, one in _is(dict, raw["mics"], "mics").items()},
        sha256={name: _digest(name, digest) for name, digest in _is(dict, raw["sha256"], "sha256").items()},
        sources=tuple(Source(**one) for one in _is(list, raw["sources"], "sources")),
        figures=_is(dict, raw["figures"], "figures"),
    )
    if not card.mics:
        raise ValueError("mics is empty")
    for name, one in card.mics.items():
        if one.file not in card.sha256:
            raise ValueError(f"mics.{name}.file is {one.file!r}, which sha256 does not list")
    return card


def _mic(name: str, raw: Mapping[str, Any]) -> MicCard:
    kinds: dict[str, type | tuple[type, ...]] = {
        "int": int,
        "str": str,
        "float": (int, float),
        "tuple[str, ...]": list,
        "Mapping[str, float]": dict,
    }
    values: dict[str, Any] = {}
    for one in fields(MicCard):
        if one.name in ("recordings", "kinematics") and one.name not in raw:
            continue  # version 1
        value = _is(kinds[str(one.type)], raw[one.name], f"mics.{name}.{one.name}")
        values[one.name] = tuple(value) if isinstance(value, list) else value
    unknown = set(raw) - set(values)
    if unknown:
        raise ValueError(f"mics.{name} has unknown keys {sorted(unknown)}")
    for key, value in values.items():
        least = -math.inf if key == "level_dbfs" else 0
        if isinstance(value, int | float) and not (math.isfinite(value) and value > least):
            raise ValueError(f"mics.{name}.{key} is {value}")
    if values["file"] != Path(values["file"]).name:
        raise ValueError(f"mics.{name}.file is {values['file']!r}, allowed is a name inside the folder")
    return MicCard(**values)


def _digest(name: str, digest: object) -> str:
    text: str = _is(str, digest, f"sha256.{name}")
    if name != Path(name).name or len(text) != 64:
        raise ValueError(f"sha256.{name} is {digest!r}")
    return text


def _is(kind: type | tuple[type, ...], value: Any, name: str) -> Any:  # noqa: ANN401 - JSON has any type
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}")
    return value


def sha256_of(data: bytes) -> str:
    """The SHA-256 of bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()
