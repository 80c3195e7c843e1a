"""Finding a published model on this machine: a folder, or the hub's cache. Nothing is fetched unless one asks."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

# The parts of a pipeline, and no weights that would have to be unpickled.
PARTS = ("model_index.json", "*/*.json", "*/*.safetensors", "*/*.txt", "*/*.model")


def find_folder(model: str | Path, *, download: bool = False) -> Path:
    """The folder of a pipeline: `model` itself, or the cached copy of the hub's model of that name.

    download=True fetches what is missing (the licence may want an account and its token: the hub says so). Raises
    FileNotFoundError with what to do.
    """
    folder = Path(model)
    if (folder / "model_index.json").is_file():
        return folder
    if folder.is_dir():
        raise FileNotFoundError(f"{folder} holds no model_index.json: give the folder that save_pretrained wrote")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(model), allow_patterns=list(PARTS), local_files_only=not download))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        advice = "copy the model's folder here and name it" + ("" if download else ", or allow the download")
        raise FileNotFoundError(f"there is no model {model} on this machine: {advice} ({error})") from error


def digest(folder: Path) -> str:
    """The SHA-256 of all weights of a folder, names included, hexadecimal. Raises FileNotFoundError where none are."""
    weights = sorted(folder.rglob("*.safetensors"))
    if not weights:
        raise FileNotFoundError(f"{folder} holds no *.safetensors: other formats run code when they are read")
    total = hashlib.sha256()
    for path in weights:
        total.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Within it, what diffusers, transformers and torch deprecate of each other is not the user's to read."""
    from diffusers.utils.logging import disable_progress_bar

    disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def freeze(*modules: torch.nn.Module) -> None:
    """Set for use, not for training: no dropout, no gradients of the weights."""
    for module in modules:
        module.eval().requires_grad_(requires_grad=False)


def fit_length(wave: torch.Tensor, time: int) -> torch.Tensor:
    """`[..., any]` cut, or filled up with silence, to `[..., time]`."""
    return torch.nn.functional.pad(wave, (0, time - wave.shape[-1]))
