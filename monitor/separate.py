"""`factory-ear separate`: one sound file in, what was asked for and the rest out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from monitor.console import progress, say
from monitor.errors import WorkFailed
from sds_engine.separation.base import Enhancer, Query, QueryError, Separator
from sds_engine.separation.by_sds import BySds
from sds_engine.separation.extractor import WeightsError
from sds_engine.separation.grid import RATE, Separated
from sds_engine.separation.lineup import SDS, MethodError, sds, separator_named
from streams.soundfiles import read_clip, write_wav

FAST = "extractor"
PIECE_S = 60.0  # longer sound is separated in pieces: memory stays bounded
OVERLAP_S = 1.0


def separate_file(
    source: Path,
    out: Path,
    *,
    prompt: str = "",
    enrol: Sequence[Path] = (),
    background: Sequence[Path] = (),
    method: str = "fast",
    nfe: int | None = None,
    others: Sequence[str] = (),
    iterations: int | None = None,
    seed: int = 0,
    unmasked: bool = False,
    channel: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write `NAME-target.wav`, `NAME-residual.wav` and `NAME-separated.json` into `out`; returns what the last says.

    16 kHz, mono. Target and residual add up to `scale` times the mixture, 16-bit rounding apart. `nfe` and `unmasked`
    are for Ex-Diff: how many evaluations, and whether to write its own answer too, as `NAME-unmasked.wav`; `others`
    (prompts of what else is heard), `iterations` and `seed` are for sds. Raises WorkFailed for a method that is not
    there and for a query that says too little.
    """
    separator = _separator(method, nfe, others, iterations, seed)
    if unmasked and not isinstance(separator, Enhancer):
        raise WorkFailed(f"--unmasked: method {separator.name} has no answer but the mask's; it goes with ex-diff")
    mix = torch.from_numpy(read_clip(source, rate=RATE, channel=channel))
    query = Query(
        tuple(torch.from_numpy(read_clip(path, rate=RATE)) for path in enrol),
        tuple(torch.from_numpy(read_clip(path, rate=RATE)) for path in background),
        _embedded(prompt) if prompt else None,
    )
    try:
        with _watched(separator, len(mix), quiet=quiet):
            found = in_pieces(separator, mix, query)
        own = in_pieces(_Unmasked(separator), mix, query) if isinstance(separator, Enhancer) and unmasked else None
    except QueryError as error:
        raise WorkFailed(str(error)) from error
    out.mkdir(parents=True, exist_ok=True)
    files, scale = _written(out, source.stem, found, own)
    said = {
        "source": str(source),
        "method": separator.name,
        "nfe": separator.nfe,
        **({"others": list(others), "seed": seed} if method == SDS else {}),
        "prompt": prompt,
        "enrolment": [str(path) for path in enrol],
        "seconds": len(mix) / RATE,
        "scale": scale,
        "share_of_power": _share(found, mix),
        **{name: str(path) for name, path in files.items()},
    }
    (out / f"{source.stem}-separated.json").write_text(json.dumps(said, ensure_ascii=False, indent=1) + "\n", "utf-8")
    for path in files.values():
        say(str(path), quiet=quiet)
    return said


def _written(out: Path, stem: str, found: Separated, own: Separated | None) -> tuple[dict[str, Path], float]:
    """The sound files by what they hold, and by how much all of them were turned down."""
    files = {"target": out / f"{stem}-target.wav", "residual": out / f"{stem}-residual.wav"}
    peak = max(float(found.target.abs().max()), float(found.residual.abs().max()))
    scale = min(1.0, 1.0 / peak) if peak else 1.0  # a part may reach beyond full scale where the mixture does not
    write_wav(files["target"], scale * found.target[0].numpy(), RATE)
    write_wav(files["residual"], scale * found.residual[0].numpy(), RATE)
    if own is not None:
        files["unmasked"] = out / f"{stem}-unmasked.wav"
        write_wav(files["unmasked"], scale * own.target[0].clamp(-1.0 / scale, 1.0 / scale).numpy(), RATE)
    return files, scale


class _Unmasked:
    """A method's own answer in the place of the masked one."""

    def __init__(self, method: Enhancer) -> None:
        self.name, self.nfe, self._method = "unmasked", 0, method

    def __call__(self, mix: Tensor, query: Query) -> Separated:
        found = self._method.enhance(mix, query)
        return Separated(found.unmasked, mix - found.unmasked, found.separated.mask)


def _separator(
    method: str, nfe: int | None = None, others: Sequence[str] = (), iterations: int | None = None, seed: int = 0
) -> Separator:
    if method != SDS and (others or iterations is not None):
        raise WorkFailed(f"--other and --iterations go with --method sds, not with {method}")
    try:
        if method == SDS and nfe is None:
            return sds(others=others, iterations=iterations, seed=seed)
        return separator_named(FAST if method == "fast" else method, nfe=nfe)
    except (MethodError, WeightsError) as error:
        raise WorkFailed(f"--method: {error}") from error


@contextmanager
def _watched(separator: Separator, samples: int, *, quiet: bool) -> Iterator[None]:
    """A progress bar for a method that takes its time."""
    if not isinstance(separator, BySds):
        yield
        return
    piece, overlap = round(PIECE_S * RATE), round(OVERLAP_S * RATE)
    begins = range(0, samples - overlap, piece - overlap) if samples > piece else [0]
    rounds = sum(separator.rounds(min(piece, samples - begin)) for begin in begins)
    with progress("separate", quiet=quiet) as step:
        steps = iter(step(range(rounds)))
        separator.watch = lambda: next(steps, None)
        yield
        for _ in steps:  # silence was skipped
            pass


def in_pieces(separator: Separator, mix: Tensor, query: Query) -> Separated:
    """A sound [time] of any length, in overlapping pieces that are faded into each other; the mask is the first's.

    Each piece adds up, and the fades add up to one, so the whole does.
    """
    piece, overlap = round(PIECE_S * RATE), round(OVERLAP_S * RATE)
    if len(mix) <= piece:
        return separator(mix[None], query)
    target = torch.zeros(1, len(mix))
    mask = torch.empty(0)
    for begin in range(0, len(mix) - overlap, piece - overlap):
        part = mix[begin : begin + piece]
        found = separator(part[None], query)
        fade = torch.ones(len(part))
        if begin:
            fade[:overlap] = torch.linspace(0.0, 1.0, overlap)
        else:
            mask = found.mask
        if begin + piece < len(mix):
            fade[-overlap:] = torch.linspace(1.0, 0.0, overlap)
        target[:, begin : begin + piece] += fade * found.target
    return Separated(target, mix[None] - target, mask)


def _embedded(prompt: str) -> Tensor:
    from sds_engine.priors.text import embed

    try:
        return embed([prompt])[0]
    except (ImportError, ValueError) as error:
        raise WorkFailed(f"--prompt: {error}") from error


def _share(found: Separated, mix: Tensor) -> float | None:
    whole = float(mix.square().sum())
    return float(found.target.square().sum()) / whole if whole else None
