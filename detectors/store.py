"""Models on disk: a folder of safetensors and a card, written whole or not at all, and never a pickle.

models/<machine>/card.json, models/<machine>/<model id>.safetensors. Every byte is checked against the card's SHA-256
before it is parsed: safetensors itself loads a flipped bit without a word.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from detectors.card import CARD, Card, MicCard, ModelError, Source, read_card, sha256_of
from detectors.frontend import FrontEnd
from detectors.model import Model

_AGAIN = "train it anew with: factory-ear train"


def save_models(
    folder: str | Path,
    models: Mapping[str, Model],
    *,
    machine: str,
    sources: Sequence[Source] = (),
    figures: Mapping[str, Any] | None = None,
    made: str = "",
) -> Card:
    """Write the models of a machine's microphones (`*`: of all) and their card; returns the card.

    The folder is replaced in one step: a crash leaves the old models, or a folder `.NAME.old` beside the new
    ones, never half a model. `made` is when, in ISO 8601; empty: now. Raises ValueError for no models.
    """
    if not models:
        raise ValueError("there are no models to save")
    folder = Path(folder)
    new, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    digests = {}
    for model in {model.id: model for model in models.values()}.values():
        data = save({key: tensor.contiguous().clone() for key, tensor in model.state().items()})
        _write(new / _file(model), data)
        digests[_file(model)] = sha256_of(data)
    card = Card(
        machine=machine,
        made=made or datetime.now(UTC).isoformat(timespec="seconds"),
        program=program(),
        mics={mic: _mic_card(model) for mic, model in models.items()},
        sha256=digests,
        sources=tuple(sources),
        figures=dict(figures or {}),
    )
    _write(new / CARD, card.text().encode())
    _sync_folder(new)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
    return card


def load_models(folder: str | Path) -> dict[str, Model]:
    """The models of a folder by microphone. Raises ModelError, naming file and remedy, for anything not as saved."""
    folder = Path(folder)
    folder = _old_if_interrupted(folder)
    card = read_card(folder)
    strangers = sorted(path.name for path in folder.iterdir() if path.name not in {CARD, *card.sha256})
    if strangers:
        raise ModelError(f"{folder / strangers[0]}: the card does not know this file; remove it, or {_AGAIN}")
    files = {name: _checked(folder / name, digest) for name, digest in card.sha256.items()}
    loaded = {one.file: _model(folder / one.file, files[one.file], one) for one in card.mics.values()}
    return {mic: loaded[one.file] for mic, one in card.mics.items()}


def _old_if_interrupted(folder: Path) -> Path:
    """Between the two renames of `save_models` the folder is missing and the old one, beside it, is whole."""
    old = folder.with_name(f".{folder.name}.old")
    return old if not folder.exists() and (old / CARD).exists() else folder


def _checked(path: Path, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}), but the card lists it; {_AGAIN}") from error
    if sha256_of(data) != digest:
        raise ModelError(f"{path}: its SHA-256 is not the card's: it was damaged or changed; {_AGAIN}")
    return data


def _model(path: Path, data: bytes, card: MicCard) -> Model:
    try:
        front_end = FrontEnd(card.rate, card.n_fft, card.hop, card.mels, card.front_end)
        settings = (card.window_s, card.context_windows, card.detector, card.recordings, card.kinematics)
        model = Model.restore(load(data), front_end, *settings)
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: not a model that this program knows ({error}); {_AGAIN}") from error
    if model.id != card.model:
        raise ModelError(f"{path}: the card's settings are not those of the model {card.model}; {_AGAIN}")
    return model


def _mic_card(model: Model) -> MicCard:
    return MicCard(
        file=_file(model),
        model=model.id,
        detector=model.detector_name,
        rate=model.rate,
        n_fft=model.front_end.n_fft,
        hop=model.front_end.hop,
        mels=model.front_end.mels,
        front_end=model.front_end.version,
        window_s=model.window_s,
        context_windows=model.context_windows,
        context_s=model.context_s,
        effective_n=model.effective_n,
        level_dbfs=model.healthy.level_dbfs,
        notes=model.notes,
        recordings=model.library.recordings if model.library else (),
        kinematics=model.kinematics.plain(),
    )


def _file(model: Model) -> str:
    return f"{model.id}.safetensors"


def program() -> str:
    """Name and version of this program, for model cards; says so where it is not installed."""
    try:
        return f"factory-ear {version('factory-ear')}"
    except PackageNotFoundError:
        return "factory-ear, not installed"


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
