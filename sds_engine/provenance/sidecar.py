"""The JSON file beside a generated sound.

`NAME.provenance.json`, UTF-8, beside `NAME.flac` or `NAME.wav`; all keys are required, others are errors:

    {"schema": 1,
     "maker": "impact",             what made it
     "prompt": "...",               the words that it was made for; "" where there were none
     "seed": 7,                     of the noise source
     "parameters": {"mass_kg": 1},  of the maker: JSON values, names end in SI units
     "prior_sha256": "64 hex",      of the prior's weights; "" where no prior took part
     "version": "0.1.0",            of the program
     "date": "2026-11-21T08:00:00+00:00",   UTC
     "audio": {"file": "NAME.flac", "sha256": "64 hex", "rate": 16000, "samples": 32000},
     "watermark": {"payload": 51423, "z": 31.2} or null where the sound cannot carry one}

`sha256` of the audio is over the bytes of the file. The payload is the first 16 bits of the SHA-256 of everything above
`audio`, as canonical JSON: a mark found in an MP3 can be matched with the sidecars of a library.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from sds_engine.provenance.chips import PAYLOAD_BITS

SCHEMA = 1
SUFFIX = ".provenance.json"
MOST_BYTES = 1 << 20
_HASH = re.compile(r"[0-9a-f]{64}")
Verdict = Literal["intact", "changed", "no_file"]


class ProvenanceError(Exception):
    """A sidecar or sound that cannot be used: what is wrong and what to do, in one line."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a sound was made: see the schema. `parameters` holds JSON values only, in SI units."""

    maker: str
    prompt: str
    seed: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    prior_sha256: str = ""
    version: str = ""
    date: str = ""

    def complete(self, now: datetime | None = None) -> Provenance:
        """Itself with `version` and `date` filled in where they are empty."""
        date = self.date or (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
        return Provenance(
            self.maker, self.prompt, self.seed, self.parameters, self.prior_sha256, self.version or _version(), date
        )

    @property
    def payload(self) -> int:
        """The 16 bits that the mark carries."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> (32 - PAYLOAD_BITS)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the file beside a sound says. `payload` is None and `z` 0 where the sound carries no mark."""

    provenance: Provenance
    file: str
    sha256: str
    rate: int
    samples: int
    payload: int | None
    z: float

    def as_dict(self) -> dict[str, Any]:
        """The schema's JSON object."""
        mark = None if self.payload is None else {"payload": self.payload, "z": self.z}
        audio = {"file": self.file, "sha256": self.sha256, "rate": self.rate, "samples": self.samples}
        return {"schema": SCHEMA, **asdict(self.provenance), "audio": audio, "watermark": mark}


def sidecar_of(sound: Path) -> Path:
    """Where the sidecar of a sound lies: NAME.flac -> NAME.provenance.json."""
    return sound.with_name(sound.stem + SUFFIX)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hex: of a sound, or of a prior's weights."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_sidecar(sidecar: Sidecar, sound: Path) -> Path:
    """Write it beside the sound, whole or not at all. Raises ValueError for parameters that are no JSON."""
    path = sidecar_of(sound)
    try:
        text = json.dumps(sidecar.as_dict(), ensure_ascii=False, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"parameters must be JSON values without NaN: {error}") from error
    part = path.with_name(path.name + ".part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)
    return path


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar in that file. Raises ProvenanceError where it is missing, damaged or of another schema."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ProvenanceError(f"{path}: larger than {MOST_BYTES} bytes, that is no sidecar")
        return _parsed(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ProvenanceError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProvenanceError(f"{path}: not a sidecar of schema {SCHEMA} ({error})") from error


def verify_sidecar(sidecar: Sidecar, sound: Path) -> Verdict:
    """Whether the sound's bytes are those that the sidecar was written for."""
    if not sound.is_file():
        return "no_file"
    return "intact" if file_sha256(sound) == sidecar.sha256 else "changed"


def _parsed(found: dict[str, Any]) -> Sidecar:
    top = {"schema", "maker", "prompt", "seed", "parameters", "prior_sha256", "version", "date", "audio", "watermark"}
    if set(found) != top or found["schema"] != SCHEMA:
        raise ValueError(f"keys are {sorted(found)}, schema {found.get('schema')!r}")
    made = Provenance(**{key: found[key] for key in top - {"schema", "audio", "watermark"}})
    texts = (made.maker, made.prompt, made.prior_sha256, made.version, made.date)
    audio, mark = found["audio"], found["watermark"]
    good = (
        all(isinstance(text, str) for text in texts)
        and isinstance(made.parameters, dict)
        and set(audio) == {"file", "sha256", "rate", "samples"}
        and _HASH.fullmatch(audio["sha256"]) is not None
        and (made.prior_sha256 == "" or _HASH.fullmatch(made.prior_sha256) is not None)
        and all(type(n) is int and n >= 0 for n in (made.seed, audio["rate"], audio["samples"]))
    )
    if not good or (mark is not None and not _is_mark(mark)):
        raise ValueError("a value is of the wrong kind")
    datetime.fromisoformat(made.date)
    payload, z = (None, 0.0) if mark is None else (mark["payload"], float(mark["z"]))
    return Sidecar(made, audio["file"], audio["sha256"], audio["rate"], audio["samples"], payload, z)


def _is_mark(mark: dict[str, Any]) -> bool:
    payload, z = mark["payload"], mark["z"]
    fits = type(payload) is int and 0 <= payload < 1 << PAYLOAD_BITS
    return set(mark) == {"payload", "z"} and fits and isinstance(z, int | float) and math.isfinite(z)


def _version() -> str:
    try:
        return metadata.version("factory-ear")
    except metadata.PackageNotFoundError:
        return "unknown"
