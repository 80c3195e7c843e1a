"""What `run` would have said of each recording of a trial: models from the training split, a score per look.

The only part of `roi` that needs torch. A model per machine, as `factory-ear train` makes it; thresholds and k of n
from `alarm_plan.plan` with the budget of line.toml's defaults. Nothing is learned or chosen on test recordings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from detectors.aggregate import cut, join
from detectors.exposure_mix import FaultSound
from detectors.model import Clip, Model, fit_model
from monitor.alarm_plan import Plan, plan
from monitor.enhancing import separator_of
from monitor.evaluate_chain import site_stage
from monitor.manifest import Manifest, ManifestError
from monitor.roi.replay import Alarm, Judged, alarms_of
from monitor.roi.trial import Recording, Trial
from monitor.settings import Alarms
from monitor.site_sound import MINUTES, SiteRecordings, adapted_stage
from monitor.stages import MaskStage
from streams.soundfiles import SoundFileError, read_clip

RATE = 16_000
WINDOW_S = 2.0
Chain = Literal["raw", "full"]
Progress = Callable[[Sequence[str]], Iterable[str]]


@dataclass(frozen=True)
class Heard:
    """What was heard. `plans` has the machines that could be learned; `silent` says why the others could not."""

    judged: tuple[Judged, ...]
    alarms: tuple[Alarm, ...]
    plans: dict[str, Plan]
    silent: dict[str, str]
    recordings: dict[str, int]
    detector: str
    windows_per_s: float | None
    window_s: float = WINDOW_S
    notes: tuple[str, ...] = ()


def listen(
    manifest: Manifest,
    trial: Trial,
    settings: Alarms,
    *,
    detector: str = "",
    chain: Chain = "raw",
    adapt_minutes: float = MINUTES,
    seed: int = 0,
    window_s: float = WINDOW_S,
    faults: Mapping[str, Sequence[FaultSound]] | None = None,
    step: Progress | None = None,
) -> Heard:
    """Learn every machine of the trial, then hear its test recordings. Raises ManifestError for what is no sound.

    With chain `full` a separator is adapted to each machine and the worst of the paths speaks, as in `run` with the
    stages raw and separated. faults: by machine, for a detector that can hear faults in training.
    """
    judged: list[Judged] = []
    plans: dict[str, Plan] = {}
    silent: dict[str, str] = {}
    counts: dict[str, int] = {}
    notes: list[str] = []
    seconds, windows, name = 0.0, 0, detector
    for machine in (step or (lambda items: items))(list(trial.machines)):
        try:
            stage = _stage(manifest, machine, chain, seed, adapt_minutes, notes)
            how = {"detector": detector or None, "seed": seed, "window_s": window_s, "separation": stage}
            model = _learn(manifest, machine, how | {"faults": (faults or {}).get(machine, ())})
        except ValueError as error:  # too little to learn from: an answer, not a crash
            silent[machine] = str(error)
            continue
        name = model.detector_name if chain == "raw" else f"{model.detector_name}+{chain}"
        counts[machine] = model.effective_n
        plans[machine] = plan(model.effective_n, model.context_s, settings)
        for one in trial.of(machine):
            samples = _read(manifest, one)
            began = time.perf_counter()
            scores = look_scores(samples, model)
            seconds += time.perf_counter() - began
            windows += max(1, round(len(samples) / (RATE * window_s)))
            judged.append(Judged(one, len(samples) / RATE, scores))
    alarms = alarms_of(judged, plans, settings)
    rate = windows / seconds if seconds else None
    return Heard(tuple(judged), tuple(alarms), plans, silent, counts, name, rate, window_s, tuple(notes))


def _stage(
    manifest: Manifest, machine: str, chain: Chain, seed: int, minutes: float, notes: list[str]
) -> MaskStage | None:
    """The machine's separator from its training rows; its notes are added to `notes`."""
    if chain == "raw":
        return None
    found: list[MaskStage] = []

    def adapt(recordings: SiteRecordings, *, minutes: float, seed: int) -> tuple[MaskStage, tuple[str, ...]]:
        stage, said = adapted_stage(recordings, minutes=minutes, seed=seed)
        found.append(stage)
        return stage, said

    notes += [f"{machine}: {note}" for note in site_stage(manifest, machine, seed, minutes, adapt)[1]]
    return found[0]


def _learn(manifest: Manifest, machine: str, how: Mapping[str, Any]) -> Model:
    rows = [row for row in manifest.rows if (row.machine, row.split, row.label) == (machine, "train", "normal")]
    clips = []
    for row in rows:
        try:
            clips.append(Clip(torch.from_numpy(read_clip(row.file, rate=RATE)), row.recording, str(row.file)))
        except SoundFileError as error:
            raise ManifestError(f"{manifest.path}, line {row.number}: {error}; replace the file") from error
    if not clips:
        raise ValueError("no healthy recording to learn from: add some with split = train and label = normal")
    return fit_model(clips, rate=RATE, grouped="recording" in manifest.columns, **how)


def _read(manifest: Manifest, one: Recording) -> Tensor:
    try:
        return torch.from_numpy(read_clip(one.file, rate=RATE))
    except SoundFileError as error:
        raise ManifestError(f"{manifest.path}, line {one.number}: {error}; replace the file") from error


@torch.inference_mode()
def look_scores(samples: Tensor, model: Model) -> tuple[float, ...]:
    """The calibrated scores of a recording's looks: contexts one after another, as the alarm logic counts them.

    A recording that is shorter than a context is one look on all it has; the empty tuple for one shorter than a frame.
    """
    if len(samples) < model.front_end.n_fft:
        return ()
    windows = cut(samples, round(RATE * model.window_s))
    features = model.front_end(windows, waveform=model.needs_waveform)
    rows = [features.row(number) for number in range(len(windows))]
    fitting = min(model.context_windows, len(rows))
    contexts = [rows[start : start + fitting] for start in range(0, len(rows) - fitting + 1, fitting)]
    evidence = join(contexts)
    if model.paths is not None:
        return tuple(model.score_paths(separator_of(model.paths.separator)(evidence)).score.tolist())
    return tuple(model.score(evidence).score.tolist())
