"""What the rows of a report share changes no figure: a fusion's members are fitted once for all rows."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from detectors.fusion import MEMBERS, SENTINELS, Fusion
from detectors.lineup import new_detector
from monitor.evaluate_machine import Heard, hear_machine, run_detector, share
from monitor.evaluate_shared import Shared
from monitor.manifest import read_manifest

RATE = 16_000
ROWS = ("fusion", "quick-fusion", "mahalanobis", "self-supervised", "impulses", "states", "loudness")


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    folder = tmp_path_factory.mktemp("shared")
    lines = ["file,machine,split,label,recording"]
    for number in range(14):
        rng = np.random.default_rng(number)
        time = np.arange(round(2.2 * RATE)) / RATE
        sound = 0.05 * np.sin(2 * np.pi * 120 * time * (1 + 0.01 * rng.normal())) + 0.02 * rng.normal(size=len(time))
        soundfile.write(folder / f"{number}.wav", sound, RATE, subtype="PCM_16")
        split, label = ("train", "normal") if number < 8 else ("test", ("normal", "anomaly")[number % 2])
        lines.append(f"{number}.wav,fan,{split},{label},r{number}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return hear_machine(read_manifest(folder / "manifest.csv"), "fan", 0)


def test_sharing_changes_no_figure(heard: Heard) -> None:
    """Every row says to the last bit what it says when it is fitted for itself alone."""
    shared = share(heard)
    with torch.inference_mode():
        for name in ROWS:
            alone, among = new_detector(name), run_detector(new_detector(name), heard, shared)
            healthy = alone.cross_fit(heard.train, heard.train_group)
            tested = torch.cat([alone.score(batch.evidence) for batch in heard.batches])
            assert np.array_equal(among.statistic, tested.numpy()), name
            assert torch.equal(among.calibration.healthy, healthy.sort().values), name


def test_every_part_is_fitted_once(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default, the quick fusion and the rows of their members come to one fit of each part."""
    fitted: list[str] = []
    plain = Shared.fitted
    monkeypatch.setattr(Shared, "fitted", lambda self, one: (fitted.append(one.name), plain(self, one))[1])
    shared = share(heard)
    parts = [kind.name for kind in (*MEMBERS, *SENTINELS)]
    for name in ("quick-fusion", "fusion", *parts):
        run_detector(new_detector(name), heard, shared)
    assert sorted(fitted) == sorted(parts)


def test_the_seconds_are_those_of_a_row_alone(heard: Heard) -> None:
    """A fusion is charged for its parts, also where other rows have fitted them before."""
    shared = share(heard)
    parts = [shared(one) for one in Fusion().new_parts()]
    joined = shared(Fusion())
    assert joined.train_s >= sum(one.train_s for one in parts)
    assert joined.score_s >= sum(one.score_s for one in parts)
