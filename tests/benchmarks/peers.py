"""Other people's recipes, as they would be written without this project: clips in, one score per clip out.

- DCASE Task 2 baseline autoencoder, MSE and selective Mahalanobis (`peer_autoencoder`);
- PyOD's KNN, LOF and IForest, and librosa with scikit-learn's one-class SVM: one vector per clip, mean and deviation of
  each of librosa's 128 log-mel bands over the clip, standardised; every parameter as the library sets it
  (LOF: as many neighbours as there are, where its 20 are more).

Thresholds are the recipes' own too: a quantile of the training scores, or of a gamma law fitted to them (the baseline).
A peer never refuses a rate that its recordings cannot support.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from monitor.evaluate_machine import RATE, WINDOW_S, Heard, Outcome
from monitor.manifest import Manifest
from streams.soundfiles import read_clip

Sound = NDArray[np.float32]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Learned:
    """A fitted peer: scores of training clips, of other clips, and whether its thresholds come from a gamma law."""

    score: Callable[[Sequence[Sound]], Scores]
    train: Scores
    gamma: bool = False


class Fit(Protocol):
    """Learns from healthy clips and their domains; one fit may give several peers by name."""

    def __call__(self, clips: Sequence[Sound], domains: Sequence[str], seed: int) -> Mapping[str, Learned]: ...


@dataclass(frozen=True)
class Anything:
    """What a peer has in the place of a calibration: it never refuses."""

    def supports(self, alpha: float) -> bool:
        return True


def log_mel(sound: Sound) -> NDArray[np.float32]:
    """librosa's log-mel [128, frame] in dB at the settings of the DCASE baseline."""
    import librosa

    power = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=1024, hop_length=512, n_mels=128, power=2.0)
    return np.asarray(10.0 * np.log10(np.maximum(power, np.finfo(np.float32).eps)), dtype=np.float32)


def clip_vector(sound: Sound) -> Scores:
    """One clip as mean and deviation of every band [256]."""
    frames = log_mel(sound)
    return np.concatenate([frames.mean(1), frames.std(1)]).astype(np.float64)


def _outlier_detectors(seed: int, count: int) -> dict[str, Any]:
    from pyod.models.iforest import IForest
    from pyod.models.knn import KNN
    from pyod.models.lof import LOF
    from sklearn.svm import OneClassSVM

    return {
        "PyOD KNN": KNN(),
        "PyOD LOF": LOF(n_neighbors=min(20, count - 1)),
        "PyOD IForest": IForest(random_state=seed),
        "one-class SVM": OneClassSVM(),
    }


def fit_clip_vectors(clips: Sequence[Sound], domains: Sequence[str], seed: int) -> dict[str, Learned]:
    """The four outlier detectors on one vector per clip."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    train = scaler.fit_transform(np.stack([clip_vector(clip) for clip in clips]))
    found = {}
    for name, model in _outlier_detectors(seed, len(train)).items():
        model.fit(train)
        if name == "one-class SVM":
            found[name] = Learned(
                lambda rows, m=model: -m.decision_function(_vectors(scaler, rows)), -model.decision_function(train)
            )
        else:
            found[name] = Learned(
                lambda rows, m=model: m.decision_function(_vectors(scaler, rows)), model.decision_scores_
            )
    return found


def _vectors(scaler: Any, clips: Sequence[Sound]) -> Scores:
    return np.asarray(scaler.transform(np.stack([clip_vector(clip) for clip in clips])))


def nominal_p(scores: Scores, learned: Learned) -> Scores:
    """What the recipe itself takes for the p-value: how far beyond its training scores a score lies."""
    if learned.gamma:
        from scipy.stats import gamma

        shape, place, scale = gamma.fit(learned.train)
        return np.asarray(gamma.sf(scores, shape, loc=place, scale=scale))
    ranked = np.sort(learned.train)
    return 1.0 - np.searchsorted(ranked, scores, side="right") / len(ranked)


def run_peers(manifest: Manifest, machine: str, heard: Heard, fits: Sequence[Fit], seed: int) -> dict[str, Outcome]:
    """Every peer on the same files as `heard`, as outcomes that `monitor.evaluate` can put into its table."""
    rows = [row for row in manifest.rows if row.machine == machine and row.label in ("normal", "anomaly")]
    learn = [row for row in rows if row.split == "train"]
    clips = [read_clip(row.file, rate=RATE) for row in learn]
    tested = [read_clip(row.file, rate=RATE) for row in rows if row.split == "test"]
    found = {}
    for fit in fits:
        started = time.perf_counter()
        learned = fit(clips, [row.domain for row in learn], seed)
        train_s = time.perf_counter() - started
        for name, one in learned.items():
            started = time.perf_counter()
            statistic = np.asarray(one.score(tested), dtype=np.float64)
            found[name] = Outcome(
                statistic=statistic,
                p=nominal_p(statistic, one),
                calibration=Anything(),  # type: ignore[arg-type]
                aggregation="whole clip",
                context_s=heard.context * WINDOW_S,
                train_s=train_s,
                score_s=time.perf_counter() - started,
                windows=heard.windows,
            )
    return found
