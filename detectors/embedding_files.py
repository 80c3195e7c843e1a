"""The file of a pretrained network, as a user brings it: NAME.safetensors and beside it NAME.json.

NAME.json, every key but the first three optional:
  {"v": 1, "kind": "panns" | "vit", "name": "CNN14", "licence": "MIT", "source": "where it came from",
   "sha256": of the safetensors file, checked where given,
   "front_end": {the fields of `embedding_input.Wanted`: rate, n_fft, window, frame_s, mels, low_hz, high_hz, scale,
                 area, preemphasis, gain_db, log, mean, deviation},
   "heads": 12, "grid": [64, 8], "norm_first": true}                              (these three for "vit" only)
Examples for public checkpoints stand in docs/detection.md. The tensors keep the names of the public checkpoint; a
checkpoint in another format has to be converted where its origin is trusted: no pickle is ever read here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from detectors.embedding_input import Wanted
from detectors.embedding_networks import KINDS, build, translated

VERSION = 1
_KEYS = {"v", "kind", "name", "licence", "source", "sha256", "front_end", "heads", "grid", "norm_first"}


@dataclass(frozen=True)
class Pretrained:
    """A network that somebody else trained: what its JSON says (`about`), its parameters, and what runs them."""

    about: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    wanted: Wanted
    net: nn.Module = field(repr=False)

    @classmethod
    def of(cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Pretrained:
        """From the JSON's content and the tensors. Raises ValueError, with what is allowed, where they do not fit."""
        unknown = sorted(set(about) - _KEYS)
        if about.get("v") != VERSION or about.get("kind") not in KINDS or not about.get("name") or unknown:
            raise ValueError(
                f"description has v {about.get('v')!r}, kind {about.get('kind')!r}, name {about.get('name')!r}, "
                f"unknown keys {unknown}; allowed is v {VERSION}, kind {' or '.join(KINDS)}, a name, and no other keys"
            )
        wanted = _wanted(about.get("front_end", {}))
        grid, heads = about.get("grid", [64, 8]), about.get("heads", 12)
        if not (isinstance(grid, list) and len(grid) == 2 and all(isinstance(one, int) and one > 0 for one in grid)):
            raise ValueError(f"network grid is {grid!r}, allowed is [patches in time, patches in frequency]")
        if not isinstance(heads, int) or isinstance(heads, bool):
            raise ValueError(  # noqa: TRY004 - a mistake in a file, as all others here
                f"network heads is {heads!r}, allowed is a number of attention heads"
            )
        mine = translated(tensors)
        first = bool(about.get("norm_first", True))
        net = build(about["kind"], mine, heads=heads, grid=(grid[0], grid[1]), norm_first=first)
        if int(net.mels) != wanted.mels:  # type: ignore[arg-type]  # both networks have it
            raise ValueError(f"network takes {net.mels} bands, its front_end says {wanted.mels}")
        return cls(dict(about), mine, wanted, net)

    @property
    def words(self) -> str:
        """For the model card: what it is, under which licence, and its file's SHA-256."""
        licence = self.about.get("licence") or "licence not stated"
        return f"embedding network {self.about['name']} ({licence}), SHA-256 {self.about.get('sha256', 'not known')}"


def read_network(path: str | Path) -> Pretrained:
    """The network in NAME.safetensors, described by NAME.json beside it.

    Raises ValueError that names the file and the remedy, for missing, damaged, foreign and mismatched files.
    """
    path = Path(path)
    beside = path.with_suffix(".json")
    try:
        data = path.read_bytes()
        about = json.loads(beside.read_text(encoding="utf-8"))
        if not isinstance(about, dict):
            raise TypeError(f"{type(about).__name__} instead of an object")
        digest = hashlib.sha256(data).hexdigest()
        if about.get("sha256", digest) != digest:
            raise ValueError(f"the SHA-256 of {path.name} is {digest}, {beside.name} says {about['sha256']}")
        return Pretrained.of({**about, "sha256": digest}, load(data))
    except OSError as error:
        raise ValueError(
            f"{error.filename}: {error.strerror}; give NAME.safetensors with NAME.json beside it"
        ) from error
    except (SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a network that this program knows: {error}") from error


def _wanted(raw: Any) -> Wanted:  # noqa: ANN401 - JSON has any type
    known = {one.name: one.type for one in fields(Wanted)}
    kinds = {"int": int, "float": (int, float), "str": str, "bool": bool}
    if not isinstance(raw, dict) or set(raw) - set(known):
        raise ValueError(f"front_end is {raw!r}, allowed are the keys {', '.join(known)}")
    for key, value in raw.items():
        kind = kinds[str(known[key])]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):  # type: ignore[arg-type]
            raise ValueError(f"front_end.{key} is {value!r}, allowed is {known[key]}")
    return Wanted(**raw)
