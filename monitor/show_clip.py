"""What the page shows of an evidence clip, made by a process of its own: pictures, words, and what to compare with.

    python -m monitor.show_clip < JOBS

The monitor never imports torch; this does. It reads jobs as JSON lines on standard input and writes, for each, a folder
that appears whole: sound.png (log-mel, grey), heat.png (departure from healthy, transparent where there is none; red
louder, blue quieter), nearest.flac (the healthy recording that resembles it most, where it is still there),
separated.flac and enhanced.flac (the machine alone, where its model has those stages) and shown.json, last; then the
names of faults that it resembles (`monitor.naming_store`: fault.json, naming.json).
"""

from __future__ import annotations

import json
import logging
import shutil
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from detectors.model import Model
    from monitor.guesses import Explained
    from monitor.stages import Separator

SHOWN = "shown.json"
NEAREST_S = 10.0
HEAT_LIMIT = 4.0  # healthy spreads at which the colour is full
HEAT_LEAST = 1.5  # below this nothing is shown
LOUDER, QUIETER = (213, 94, 0), (0, 114, 178)  # Okabe and Ito
FLOOR_DB = 60.0  # how far below its loudest a spectrogram reaches
_log = logging.getLogger(__name__)
TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 16_000)


@dataclass(frozen=True, slots=True)
class Job:
    """One clip to show: the sound file, the model's folder, whose microphone it is, where the result goes.

    naming: where the microphone's namer is kept, empty: nothing is named; `prompt` says what machine it is, `channel`
    which of its recordings' channels is the microphone's; `confirmed` are faults and clips that staff have confirmed.
    """

    clip: str
    model: str
    mic: str
    healthy: str
    target: str
    naming: str = ""
    prompt: str = ""
    channel: int = 0
    confirmed: Sequence[Sequence[str]] = ()

    def line(self) -> str:
        """As a line of JSON."""
        return json.dumps(asdict(self)) + "\n"


def show(job: Job) -> None:
    """Do one job. Raises what goes wrong; `failed` notes it."""
    import soundfile

    from detectors.store import load_models
    from monitor.clip_score import score_clip
    from monitor.guesses import explain_clip
    from monitor.pictures import smooth
    from monitor.score import choose
    from monitor.stages import RATE
    from streams import soundfiles

    model = choose(load_models(Path(job.model)), job.mic, Path(job.model))
    samples = soundfiles.read_clip(Path(job.clip), rate=model.rate)
    scored = score_clip(Path(job.clip), samples, model)
    explained = explain_clip(samples, model, scored)
    with _folder(Path(job.target)) as part:
        (part / "sound.png").write_bytes(png_grey(_grey(scored.log_mel)))
        (part / "heat.png").write_bytes(png_rgba(_coloured(smooth(scored.heat))))
        nearest = explained.explanation.nearest
        found = _cut(Path(job.healthy), nearest.recording, nearest.start_s, part / "nearest.flac") if nearest else False
        hz = np.asarray(model.band_edges_hz)
        shown = {
            **explained.plain(),
            "duration_s": len(scored.rows) * model.window_s,
            "ticks": [[tick, _height(tick, hz)] for tick in TICKS_HZ if tick <= hz[-1]],
            "frames": [[_height(one.low_hz, hz), _height(one.high_hz, hz)] for one in explained.explanation.bands],
            "has_nearest": found,
        }
        if model.paths is not None and model.rate == RATE:
            for stage in _stages(model.paths.separator):
                sound = np.clip(separated(stage, samples), -1.0, 1.0)
                soundfile.write(part / f"{stage.name}.flac", sound, RATE, format="FLAC", subtype="PCM_16")
        (part / SHOWN).write_text(json.dumps(shown, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    if job.naming:
        try:
            _name(job, model, samples, explained)
        except Exception:  # noqa: BLE001 - the pictures stand, named or not
            _log.exception("clip %s was not named", job.clip)


def _name(job: Job, model: Model, samples: NDArray[np.float32], explained: Explained) -> None:
    """Which faults the worst context resembles; the pictures are there already, since a new namer takes seconds."""
    import torch

    from detectors.exposure_mix import heard
    from monitor.naming_store import kept_namer, name_clip, read_confirmed

    own = Path(job.healthy) / job.mic
    namer = kept_namer(Path(job.naming), model, own if own.is_dir() else Path(job.healthy), job.prompt, job.channel)
    size = round(model.rate * model.window_s)
    first, last = (round(moment_s * model.rate) for moment_s in (explained.start_s, explained.end_s))
    if namer is None or last - first < size * model.context_windows:  # shorter: no context of its own
        return
    sound = torch.from_numpy(np.ascontiguousarray(samples[first:last]))
    confirmed = read_confirmed(Path(job.target).parent, job.confirmed)
    name_clip(namer, heard([sound], model.front_end, size), confirmed, Path(job.target))


def _stages(kept: Mapping[str, Tensor]) -> tuple[Separator, ...]:
    """The stage that a model keeps, and the extractor's before it."""
    from monitor.enhancing import EnhancedStage, separator_of

    stage = separator_of(kept)
    return (stage.mask, stage) if isinstance(stage, EnhancedStage) else (stage,)


def separated(stage: Separator, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The machine's own part of a sound [time] at 16 kHz, by the mask that the machine's model separates with."""
    import torch

    from detectors.base import Evidence
    from sds_engine.separation.exdiff.cells import decibels, pooled
    from sds_engine.separation.grid import analyse, apply_mask, log_mel, mel_to_bins, power

    mix = torch.from_numpy(np.ascontiguousarray(samples))[None]
    bins = power(analyse(mix))
    heard, fine = log_mel(bins), decibels(pooled(bins.transpose(1, 2))).transpose(1, 2)
    share = stage.shares(Evidence(heard, torch.ones_like(heard), heard.mean(1), None, fine)).share  # [1, mel, frame]
    return np.asarray(apply_mask(mix, mel_to_bins(share)).target[0].numpy(), np.float32)


def failed(job: Job, why: str) -> None:
    """Say in the target that there is nothing to show, so that nobody waits for it."""
    with _folder(Path(job.target)) as part:
        (part / SHOWN).write_text(json.dumps({"failed": why[:500]}, ensure_ascii=False), encoding="utf-8")


class _folder:  # noqa: N801 - a context manager that reads as a verb
    """A folder that appears under its name when all in it is whole; versions that lie there already are kept."""

    def __init__(self, target: Path) -> None:
        self._target, self._part = target, target.with_name(f".{target.name}.part")

    def __enter__(self) -> Path:
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir(parents=True)
        return self._part

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._target.mkdir(exist_ok=True)
            for path in sorted(self._part.iterdir(), key=lambda one: one.name == SHOWN):
                path.replace(self._target / path.name)
        shutil.rmtree(self._part, ignore_errors=True)


def _height(hz: float, edges_hz: NDArray[np.float64]) -> float:
    """Where a frequency stands on the mel axis, 0 at the bottom and 1 at the top."""
    return round(float(np.interp(hz, edges_hz, np.linspace(0, 1, len(edges_hz)))), 4)


def _cut(folder: Path, name: str, start_s: float, target: Path) -> bool:
    """Copy ten seconds of a healthy recording, which is looked for in its folder only."""
    import soundfile

    path = next((one for one in folder.rglob("*") if one.name == Path(name).name and one.is_file()), None)
    if path is None:
        return False
    with soundfile.SoundFile(path) as file:
        file.seek(min(file.frames, round(start_s * file.samplerate)))
        sound = file.read(round(NEAREST_S * file.samplerate), dtype="float32", always_2d=True)[:, 0]
        if len(sound):
            soundfile.write(target, sound, file.samplerate, format="FLAC", subtype="PCM_16")
    return bool(len(sound))


def _grey(log_mel: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Log-mel [mel, frame] in dB as brightness, low frequencies at the bottom."""
    top = float(np.quantile(log_mel, 0.999))
    shade = np.clip((log_mel - (top - FLOOR_DB)) / FLOOR_DB, 0.0, 1.0)
    return np.asarray(np.flipud(shade**1.3) * 235, np.uint8)


def _coloured(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Departure [mel, frame] in healthy spreads as colour and opacity [mel, frame, 4]."""
    odd = np.flipud(heat)
    strength = np.clip((np.abs(odd) - HEAT_LEAST) / (HEAT_LIMIT - HEAT_LEAST), 0.0, 1.0)
    colour = np.where(odd[..., None] > 0, np.array(LOUDER), np.array(QUIETER))
    return np.concatenate([colour, (strength * 215)[..., None]], axis=2).astype(np.uint8)


def png_grey(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of [height, width] grey values."""
    return _png(pixels, 0, pixels.shape[1])


def png_rgba(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of [height, width, 4] red, green, blue, opacity."""
    return _png(pixels, 6, pixels.shape[1] * 4)


def _png(pixels: NDArray[np.uint8], kind: int, stride: int) -> bytes:
    """The PNG specification, sections 11.2.2 to 11.2.5: header, rows with filter 0, end."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, stride)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 6)) + chunk(b"IEND", b"")


def main() -> None:
    """Do the jobs that come, one after the other, until standard input ends."""
    import torch

    torch.set_num_threads(1)
    for text in sys.stdin:
        raw: dict[str, Any] = json.loads(text)
        job = Job(**raw)
        try:
            show(job)
        except Exception as error:  # noqa: BLE001 - one clip that cannot be shown stops no other
            failed(job, str(error))


if __name__ == "__main__":
    main()
