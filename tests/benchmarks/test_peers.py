"""The peers of the benchmarks: each ranks an obvious anomaly on top, and its rows have the report's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from bench_peers import joined, page
from peer_autoencoder import fit_baseline, trained, vectors
from peers import Learned, clip_vector, fit_clip_vectors, log_mel, nominal_p

RATE = 16_000
PEERS = (
    "DCASE autoencoder, MSE",
    "DCASE autoencoder, Mahalanobis",
    "PyOD KNN",
    "PyOD LOF",
    "PyOD IForest",
    "one-class SVM",
)


def sound(seed: int, *, faulty: bool = False, seconds: float = 1.0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A hum and a hiss; faulty ones hiss 18 dB louder."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    made = 0.05 * np.sin(2 * np.pi * 120 * time) + (0.16 if faulty else 0.02) * generator.standard_normal(len(time))
    return made.astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Learned]:
    clips = [sound(seed) for seed in range(8)]
    domains = ["source"] * 6 + ["target"] * 2
    return {**fit_baseline(clips, domains, 0, epochs=700), **fit_clip_vectors(clips, domains, 0)}


def test_the_peers_are_those_that_are_promised(fitted: dict[str, Learned]) -> None:
    """Six rows, and no score of a clip depends on the others in the call."""
    assert tuple(fitted) == PEERS
    clips = [sound(100), sound(101, faulty=True), sound(102)]
    for one in fitted.values():
        alone = np.concatenate([one.score([clip]) for clip in clips])
        np.testing.assert_allclose(one.score(clips), alone, rtol=1e-4)


@pytest.mark.parametrize("name", PEERS)
def test_an_obvious_anomaly_ranks_on_top(fitted: dict[str, Learned], name: str) -> None:
    """A loud hiss scores above all healthy clips, and the peer's own threshold finds it."""
    healthy = fitted[name].score([sound(seed) for seed in range(200, 206)])
    faulty = fitted[name].score([sound(seed, faulty=True) for seed in range(300, 303)])
    assert faulty.min() > healthy.max()
    assert nominal_p(faulty, fitted[name]).max() <= 0.1


def test_the_features_are_librosas() -> None:
    """The log-mel is librosa's own in dB, a clip is its mean and deviation, five frames make a vector."""
    import librosa

    clip = sound(1)
    theirs = librosa.power_to_db(
        librosa.feature.melspectrogram(y=clip, sr=RATE, n_fft=1024, hop_length=512), top_db=None
    )
    mine = log_mel(clip)
    loud = theirs > -60
    np.testing.assert_allclose(mine[loud], theirs[loud], atol=1e-3)
    np.testing.assert_allclose(clip_vector(clip)[:128], mine.mean(1), rtol=1e-5)
    stacked = vectors(clip)
    assert stacked.shape == (mine.shape[1] - 4, 640)
    np.testing.assert_array_equal(stacked[7], mine[:, 7:12].T.reshape(-1))


def test_the_network_is_the_published_one() -> None:
    """Ten linear layers with the bottleneck of eight, and one seed gives one network."""
    data = vectors(sound(1))
    net = trained(data, 0, 1)
    widths = [layer.out_features for layer in net if hasattr(layer, "out_features")]
    assert widths == [128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    again = trained(data, 0, 1)
    for left, right in zip(net.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(left.detach().numpy(), right.detach().numpy())


def test_detectors_and_peers_stand_in_one_report(tmp_path: Path) -> None:
    """The same files, the same keys, kind peer, a paired difference to the default; and the page says it all."""
    lines = ["file,machine,split,label,recording,domain"]
    for number in range(20):
        faulty, test = number >= 14, number >= 8
        soundfile.write(tmp_path / f"{number}.wav", sound(number, faulty=faulty, seconds=2.0), RATE)
        cells = (
            "test" if test else "train",
            "anomaly" if faulty else "normal",
            number,
            ("source", "target")[number % 2],
        )
        lines.append(f"{number}.wav,fan,{cells[0]},{cells[1]},{cells[2]},{cells[3]}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    report = joined(tmp_path / "manifest.csv", 0, "neighbours", epochs=2)
    results = report["results"]
    assert [name for name, row in results.items() if row["kind"] == "peer"] == list(PEERS)
    keys = set(results["neighbours"])
    for name in PEERS:
        assert set(results[name]) == keys
        assert results[name]["auc"] > 0.9 or name.startswith("DCASE")  # that learns nothing in 2 epochs
        assert results[name]["delta_ci"] is not None
        assert None not in results[name]["fpr_at"].values()
    written = page({"0": [report]}, 1, 2)
    assert all(f"| {name} |" in written for name in (*PEERS, "neighbours"))
