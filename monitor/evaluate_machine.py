"""One machine of an evaluation: its files to evidence once, then every detector on the same evidence."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detectors.aggregate import AGGREGATIONS, choose_aggregation, clips_evidence, context_windows
from detectors.base import CONTEXT_S, Detector, Evidence, needs_waveform
from detectors.calibrate import Calibration, calibrate
from detectors.frontend import FrontEnd
from detectors.lineup import DETECTORS
from detectors.recordings import Chosen, Clip, choose_contexts, hear, stack
from monitor.evaluate_shared import Shared
from monitor.manifest import Manifest, ManifestError, Row
from monitor.roc import TestSet
from streams.soundfiles import SoundFileError, read_clip

RATE = 16_000
WINDOW_S = 2.0
_FILES = 32  # files in memory at a time
LEAST_RECORDINGS = 3
WAVEFORM = any(needs_waveform(kind) for kind in DETECTORS)


@dataclass(frozen=True, slots=True)
class Batch:
    """Contexts of one length, and the number of the test file that each belongs to."""

    evidence: Evidence
    file: Tensor


@dataclass(frozen=True)
class Heard:
    """A machine's training contexts with recording and file numbers [batch], and its test files in batches.

    recordings: how many training recordings there are; windows: of `window_s`, in the test files. front_s and wave_s:
    the front end's seconds without and with the waveform, for the training and for the test files.
    """

    train: Evidence
    train_group: Tensor
    train_file: Tensor
    recordings: int
    context: int
    batches: tuple[Batch, ...]
    test: TestSet
    windows: int
    front_s: tuple[float, float]
    wave_s: tuple[float, float]
    notes: tuple[str, ...]
    window_s: float = WINDOW_S


@dataclass(frozen=True)
class Outcome:
    """What a detector made of the test files: uncalibrated statistic and p-value [file]; times in seconds."""

    statistic: NDArray[np.float64]
    p: NDArray[np.float64]
    calibration: Calibration
    aggregation: str
    context_s: float
    train_s: float
    score_s: float
    windows: int

    def supports(self, alpha: float) -> bool:
        """Whether a false-alarm rate of `alpha` can be counted from the training recordings."""
        return self.calibration.supports(alpha)


@torch.inference_mode()
def hear_machine(
    manifest: Manifest, machine: str, seed: int, window_s: float = WINDOW_S, *, fine: bool = False
) -> Heard:
    """Read a machine's files; `fine` is the front end's.

    ValueError where there is too little to learn from; ManifestError for a bad file.
    """
    rows = [row for row in manifest.rows if row.machine == machine and row.label in ("normal", "anomaly")]
    learn = [row for row in rows if row.split == "train"]
    clips = [Clip(_read(manifest, row), row.recording) for row in learn]
    size = round(RATE * window_s)
    wanted = context_windows(CONTEXT_S, window_s)
    grouped = "recording" in manifest.columns
    chosen = choose_contexts(clips, size, RATE, wanted, grouped=grouped, seed=seed)
    if chosen.recordings < LEAST_RECORDINGS:
        raise ValueError(f"{chosen.recordings} healthy training recordings, at least {LEAST_RECORDINGS} are needed")
    front_end = replace(FrontEnd.at(RATE), fine=fine)
    started = time.perf_counter()
    train, groups = hear(clips, chosen, front_end, size)
    train_front_s = time.perf_counter() - started
    train_wave_s = train_front_s
    if WAVEFORM:  # heard once more, so that each detector is charged with what it needs
        train, groups = hear(clips, chosen, front_end, size, waveform=True)
        train_wave_s = time.perf_counter() - started - train_front_s
    tested = [row for row in rows if row.split == "test"]
    batches, windows, test_front_s, test_wave_s = _hear_tests(manifest, tested, front_end, chosen, size)
    return Heard(
        train=train,
        train_group=groups,
        train_file=torch.tensor([span.clip for span in chosen.spans]),
        recordings=chosen.recordings,
        context=chosen.context,
        batches=tuple(batches),
        test=TestSet(
            anomaly=np.array([row.label == "anomaly" for row in tested], dtype=bool),
            domain=np.array([row.domain for row in tested], dtype=np.str_),
            recording=np.array([row.recording for row in tested], dtype=np.str_),
        ),
        windows=windows,
        front_s=(train_front_s, test_front_s),
        wave_s=(train_wave_s, test_wave_s),
        notes=chosen.notes,
        window_s=window_s,
    )


def _read(manifest: Manifest, row: Row) -> Tensor:
    try:
        return torch.from_numpy(read_clip(row.file, rate=RATE))
    except SoundFileError as error:
        raise ManifestError(
            f"{manifest.path}, line {row.number}: {error}; replace the file or remove the row"
        ) from error


def _hear_tests(
    manifest: Manifest, rows: Sequence[Row], front_end: FrontEnd, chosen: Chosen, size: int
) -> tuple[list[Batch], int, float, float]:
    """The test files as batches of contexts of one length, the windows in them, and the front end's two times."""
    batches: list[Batch] = []
    windows = 0
    seconds = wave_s = 0.0
    for start in range(0, len(rows), _FILES):
        clips = [_read(manifest, row) for row in rows[start : start + _FILES]]
        for clip, row in zip(clips, rows[start:], strict=False):
            if len(clip) < front_end.n_fft:
                raise ManifestError(
                    f"{manifest.path}, line {row.number}: {row.file}: {len(clip) / RATE:.3f} s of sound, at least "
                    f"{front_end.n_fft / RATE:g} s are needed; remove the row"
                )
        began = time.perf_counter()
        heard = clips_evidence(clips, front_end, size, chosen.context)
        plain_s = time.perf_counter() - began
        if WAVEFORM:
            heard = clips_evidence(clips, front_end, size, chosen.context, waveform=True)
        wave_s += time.perf_counter() - began - plain_s * WAVEFORM
        seconds += plain_s
        by_length: dict[int, list[tuple[int, Evidence]]] = {}
        for number, evidence in enumerate(heard, start):
            by_length.setdefault(evidence.log_mel.shape[-1], []).append((number, evidence))
        batches += [_batch(same) for same in by_length.values()]
        windows += sum(max(1, len(clip) // size) for clip in clips)
    return batches, windows, seconds, wave_s


def _batch(files: Sequence[tuple[int, Evidence]]) -> Batch:
    numbers = [torch.full((len(evidence),), number) for number, evidence in files]
    return Batch(stack([evidence for _, evidence in files]), torch.cat(numbers))


@torch.inference_mode()
def run_detector(detector: Detector, heard: Heard, shared: Shared | None = None) -> Outcome:
    """Fit, choose the aggregation and calibrate out of fold, then score the test files.

    `shared` (`share`) keeps what several detectors have in common; the outcome is the same without it.
    """
    train_front_s, test_front_s = heard.wave_s if needs_waveform(detector) else heard.front_s
    shared = shared or share(heard)
    found = shared(detector)
    started = time.perf_counter()
    files, first = _by_file(found.healthy, heard.train_file)
    aggregation = choose_aggregation(files)
    combine = AGGREGATIONS[aggregation]
    calibration = calibrate(
        torch.stack([combine(file) for file in files]), heard.train_group[first], shared.kinds[first]
    )
    train_s = time.perf_counter() - started + found.train_s + train_front_s
    values = torch.cat(found.scores) if found.scores else torch.empty(0, dtype=torch.float64)
    numbers = torch.cat([batch.file for batch in heard.batches]) if found.scores else torch.empty(0, dtype=torch.long)
    statistic = [combine(file) for file in _by_file(values, numbers)[0]]
    tested = torch.stack(statistic) if statistic else values
    return Outcome(
        statistic=tested.numpy(),
        p=np.power(10.0, -calibration(tested).score.numpy()),
        calibration=calibration,
        aggregation=aggregation,
        context_s=heard.context * heard.window_s,
        train_s=train_s,
        score_s=found.score_s + test_front_s,
        windows=heard.windows,
    )


def share(heard: Heard) -> Shared:
    """What the detectors of one machine share."""
    return Shared(heard.train, heard.train_group, [batch.evidence for batch in heard.batches])


def _by_file(values: Tensor, file: Tensor) -> tuple[list[Tensor], list[int]]:
    """The values of each file in the order of file numbers, and the place of its first value."""
    numbers = sorted(set(file.tolist()))
    return [values[file == number] for number in numbers], [int((file == number).nonzero()[0]) for number in numbers]
