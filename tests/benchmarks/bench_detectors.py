"""Our detectors beside the plain pipeline that a user would write, in one run; writes the page it is quoted from.

The peer: librosa's log-mel (the same settings), mean and deviation per band, scikit-learn's StandardScaler and
LedoitWolf, one clip of 10 s at a time. Ours: the same statistic in batches, from samples in memory to scores. Both are
fitted on the same clips; the page says how far their scores differ.

    python tests/benchmarks/bench_detectors.py [--clips 240] [--repeats 7] [--threads 2] [--minutes 60]
        [--data MANIFEST]

writes docs/benchmarks/detectors.md and detectors.json. Also there: what it costs to fit the default and the quick one
on an hour of one microphone, and how large the models are on disk. With --data (a manifest, such as make_dev_set.py
writes) the page has the accuracy beside the speed.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.aggregate import clips_evidence
from detectors.base import Detector, Evidence, needs_waveform
from detectors.frontend import FrontEnd
from detectors.lineup import CONTROLS, DETECTORS
from detectors.model import Clip, fit_model
from detectors.recordings import stack
from detectors.store import save_models

RATE, WINDOW, CONTEXT = 16_000, 32_000, 5
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks"
Clips = NDArray[np.float32]


def clips(count: int, seed: int) -> Clips:
    """Seeded machine-like sound [clip, time], 10 s each: a hum, a hiss, a level that wanders."""
    generator = np.random.default_rng(seed)
    seconds = np.arange(CONTEXT * WINDOW) / RATE
    hum = np.sin(2 * np.pi * 120 * (1 + 0.01 * generator.normal(size=(count, 1))) * seconds)
    level = 10 ** (0.1 * generator.normal(size=(count, 1)))
    return np.asarray(level * (0.05 * hum + 0.02 * generator.normal(size=hum.shape)), dtype=np.float32)


def peer_statistic(clip: Clips) -> NDArray[np.float64]:
    """What a user would write: librosa per 2 s window, then mean and deviation over the clip's frames."""
    import librosa

    parts = []
    for window in clip.reshape(-1, WINDOW):
        power = librosa.feature.melspectrogram(
            y=window, sr=RATE, n_fft=1024, hop_length=512, center=False, n_mels=128, htk=True, norm=None
        )
        parts.append(librosa.power_to_db(power, top_db=None))
    frames = np.concatenate(parts, axis=1)
    return np.concatenate([frames.mean(axis=1), frames.std(axis=1)])


def peer(train: Clips) -> Callable[[Clips], NDArray[np.float64]]:
    """The fitted peer: clips to distances, one clip at a time."""
    from sklearn.covariance import LedoitWolf
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler, model = StandardScaler(), LedoitWolf()
    make_pipeline(scaler, model).fit(np.stack([peer_statistic(clip) for clip in train]))

    def score(test: Clips) -> NDArray[np.float64]:
        rows = [model.mahalanobis(scaler.transform(peer_statistic(clip)[None]))[0] for clip in test]
        return np.sqrt(np.array(rows))

    return score


def hear(samples: Clips, front_end: FrontEnd, *, waveform: bool) -> Evidence:
    """One context per clip."""
    return stack(clips_evidence(list(torch.from_numpy(samples)), front_end, WINDOW, CONTEXT, waveform=waveform))


def ours(detector: Detector, front_end: FrontEnd, batch: int) -> Callable[[Clips], NDArray[np.float64]]:
    """A fitted detector: clips to statistics, `batch` clips at a time, from samples in memory."""
    more = needs_waveform(detector)

    @torch.inference_mode()
    def score(test: Clips) -> NDArray[np.float64]:
        parts = np.split(test, range(batch, len(test), batch))
        return torch.cat([detector.score(hear(part, front_end, waveform=more)) for part in parts]).numpy()

    return score


def streamed(detector: Detector, front_end: FrontEnd, batch: int) -> Callable[[Clips], NDArray[np.float64]]:
    """As in a stream: every window is scored with the four before it, of which only the features are kept."""
    from detectors.aggregate import join

    @torch.inference_mode()
    def score(test: Clips) -> NDArray[np.float64]:
        windows = torch.from_numpy(test).reshape(-1, WINDOW)
        rows: list[Any] = []
        scores = []
        for start in range(0, len(windows), batch):
            features = front_end(windows[start : start + batch], waveform=needs_waveform(detector))
            rows = rows[-(CONTEXT - 1) :] if start else []
            rows += [features.row(number) for number in range(len(features))]
            contexts = [rows[end - CONTEXT : end] for end in range(CONTEXT, len(rows) + 1)]
            scores.append(detector.score(join(contexts)))
        return torch.cat(scores).numpy()

    return score


def windows_per_s(
    contenders: dict[str, tuple[Callable[[Clips], object], Clips]], repeats: int
) -> dict[str, list[float]]:
    """The rates of each round. All contenders run once in every round, so that a busy machine is busy for all."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, (score, test) in contenders.items():
            started = time.perf_counter()
            score(test)
            if turn:  # the first round warms up
                rates[name].append(len(test) * CONTEXT / (time.perf_counter() - started))
    return rates


def front_end_only(front_end: FrontEnd) -> Callable[[Clips], object]:
    """The log-mel alone."""
    return lambda test: [front_end(torch.from_numpy(part).reshape(-1, WINDOW)) for part in np.array_split(test, 16)]


def cpu() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def measure(count: int, repeats: int, threads: int) -> dict[str, Any]:
    """All figures, peer and ours alternating in one process."""
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    train, test = clips(96, 0), clips(count, 1)
    front_end = FrontEnd.at(RATE)
    heard = hear(train, front_end, waveform=True)
    fitted = {kind.name: kind().fit(heard) for kind in (*DETECTORS, *CONTROLS)}
    with threadpool_limits(threads):
        plain = peer(train)
        few = test[: max(8, count // 8)]
        theirs, mine = plain(few), ours(fitted["mahalanobis"], front_end, 64)(few)
        contenders = {"peer": (plain, few), "front end alone": (front_end_only(front_end), test)}
        contenders |= {name: (ours(one, front_end, 16), test) for name, one in fitted.items()}
        for name in ("mahalanobis", "fusion"):
            contenders[f"{name}, streamed"] = (streamed(fitted[name], front_end, 64), test)
        rates = windows_per_s(contenders, repeats)
    times = [mine / theirs for mine, theirs in zip(rates["mahalanobis"], rates["peer"], strict=True)]
    names = ("torch", "numpy", "librosa", "scikit-learn")
    return {
        "machine": {"cpu": cpu(), "threads": threads, "python": platform.python_version()},
        "versions": {name: version(name) for name in names},
        "repeats": repeats,
        "clips": count,
        "windows_per_s": {name: statistics.median(each) for name, each in rates.items()},
        "times_the_peer": statistics.median(times),
        "times_the_peer_at_least": min(times),
        "largest_relative_difference": float(np.max(np.abs(mine - theirs) / theirs)),
    }


def costs(minutes: float) -> dict[str, dict[str, float]]:
    """Seconds to fit on `minutes` of one microphone, from samples in memory to a calibrated model, and its size."""
    import tempfile

    sound = torch.from_numpy(np.concatenate([clips(6, minute).reshape(-1) for minute in range(round(minutes))]))
    found = {}
    for name in ("fusion", "quick-fusion"):
        started = time.perf_counter()
        model = fit_model([Clip(sound, "hour")], detector=name)
        seconds = time.perf_counter() - started
        with tempfile.TemporaryDirectory() as folder:
            save_models(Path(folder) / "model", {"mic": model}, machine="hour")
            size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        found[name] = {"fit_s": seconds, "megabytes": size / 1e6, "recordings": float(model.effective_n)}
    return found


def accuracy(manifest: Path) -> dict[str, Any]:
    """Official score with its interval per detector."""
    import tempfile

    from monitor.evaluate import evaluate

    with tempfile.TemporaryDirectory() as folder:
        results = evaluate(manifest, folder)["results"]
    return {name: {"official": one["official"], "official_ci": one["official_ci"]} for name, one in results.items()}


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    machine, rates = found["machine"], found["windows_per_s"]
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    how = (
        f"{machine['cpu']}, {machine['threads']} threads, Python {machine['python']}, {versions}. Medians of "
        f"{found['repeats']} rounds in which all take turns, over clips of 10 s in memory; a window is 2 s. The peer: "
        "librosa's log-mel, mean and deviation per band, StandardScaler and LedoitWolf, one clip at a time."
    )
    verdict = (
        f"Mahalanobis is **{found['times_the_peer']:.1f} times** as fast as the peer (at least "
        f"{found['times_the_peer_at_least']:.1f} in every round), at the same scores (largest relative difference "
        f"{found['largest_relative_difference']:.1e}). *Streamed* scores every window with the four before it, as "
        "`run` does; the other rows score each clip once."
    )
    lines = ["# Detectors: speed beside the plain pipeline", ""]
    lines += ["Written by `python tests/benchmarks/bench_detectors.py`; do not edit.", "", how, ""]
    lines += ["| from samples to score | windows/s |", "|---|---:|"]
    lines += [f"| {name} | {rate:,.0f} |" for name, rate in rates.items()]
    lines += ["", verdict]
    if found.get("costs"):
        lines += ["", f"Fitted on {found['minutes']:g} minutes of one microphone, calibrated and stored:", ""]
        lines += ["| | seconds | megabytes |", "|---|---:|---:|"]
        lines += [f"| {name} | {one['fit_s']:.0f} | {one['megabytes']:.1f} |" for name, one in found["costs"].items()]
    if found.get("accuracy"):
        lines += ["", f"Accuracy on {found['data']} (official score of DCASE Task 2, 95% bootstrap interval):", ""]
        lines += ["| | official |", "|---|---|"]
        for name, one in found["accuracy"].items():
            low, high = one["official_ci"]
            lines.append(f"| {name} | {one['official']:.3f} [{low:.3f}, {high:.3f}] |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the page."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--clips", type=int, default=240)
    args.add_argument("--repeats", type=int, default=7)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--minutes", type=float, default=60.0, help="of sound to fit on; 0 leaves that out")
    args.add_argument("--data", type=Path)
    args.add_argument("--name", default="labelled recordings", help="what --data is, for the page")
    given = args.parse_args()
    found = measure(given.clips, given.repeats, given.threads)
    if given.minutes:
        found |= {"minutes": given.minutes, "costs": costs(given.minutes)}
    if given.data:
        found |= {"data": given.name, "accuracy": accuracy(given.data)}
    PAGE.mkdir(parents=True, exist_ok=True)
    (PAGE / "detectors.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (PAGE / "detectors.md").write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
