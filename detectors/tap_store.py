"""Tap models on disk: a folder with tap.json and tap.safetensors, checked against its SHA-256 before it is parsed.

tap.json: {"v": 2, "kind": "tap", "made", "rate", "parts", "sources": [{"file", "sha256", "seconds", "licence"}],
"modes": [{"hz", "zeta", "smallest_shift", "smallest_damping"}], "sha256"}. What stands under "modes" is for people.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, save

from detectors.card import ModelError, Source, sha256_of
from detectors.tap import TapModel

CARD, TENSORS = "tap.json", "tap.safetensors"
VERSION = 2  # 1: before reflections were reckoned with, when the same part had other dampings
SURE_Z = 5.0  # a departure of so many spreads is the oddest of some thirty healthy parts' many modes
_AGAIN = "learn it anew with: factory-ear score --tap FILE... --reference HEALTHY --model DIR"


def save_tap(folder: str | Path, model: TapModel, sources: Sequence[Source] = (), made: str = "") -> None:
    """Write the model; the card last, so that a crash between the two is noticed by the digest."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data = save({key: tensor.contiguous().clone() for key, tensor in model.state().items()})
    card = {
        "v": VERSION,
        "kind": "tap",
        "made": made or datetime.now(UTC).isoformat(timespec="seconds"),
        "rate": model.rate,
        "parts": model.effective_n,
        "sources": [asdict(source) for source in sources],
        "modes": modes_in_words(model),
        "sha256": sha256_of(data),
    }
    _replace(folder / TENSORS, data)
    _replace(folder / CARD, (json.dumps(card, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode())


def modes_in_words(model: TapModel) -> list[dict[str, float]]:
    """Each mode that the model knows, rising, and the smallest changes (shares) of it alone that it can be sure of."""
    reference = model.reference
    hz, zeta = np.exp(reference.centre)
    shift, damping = reference.smallest_shift(SURE_Z)
    return [
        {
            "hz": float(hz[one]),
            "zeta": float(zeta[one]),
            "smallest_shift": float(shift[one]),
            "smallest_damping": float(damping[one]),
        }
        for one in np.argsort(hz)
    ]


def load_tap(folder: str | Path) -> TapModel:
    """The model of a folder. Raises ModelError, naming file and remedy, for anything not as saved."""
    card, tensors = Path(folder) / CARD, Path(folder) / TENSORS
    try:
        raw: Any = json.loads(card.read_bytes())
        data = tensors.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{error.filename}: no such file, so {folder} holds no tap model; {_AGAIN}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{card}: cannot be read ({error}); {_AGAIN}") from error
    if isinstance(raw, dict) and raw.get("kind") == "tap" and raw.get("v") == 1:
        raise ModelError(f"{card}: from before reflections were reckoned with (version 1); {_AGAIN}")
    if not isinstance(raw, dict) or raw.get("v") != VERSION or raw.get("kind") != "tap":
        raise ModelError(f"{card}: not the card of a tap model of version {VERSION}; {_AGAIN}")
    if sha256_of(data) != raw.get("sha256"):
        raise ModelError(f"{tensors}: its SHA-256 is not the card's: it was damaged or changed; {_AGAIN}")
    try:
        return TapModel.restore(load(data))
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"{tensors}: not a model that this program knows ({error}); {_AGAIN}") from error


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.new")
    with part.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(path)
