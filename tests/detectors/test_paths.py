"""Several paths scored as one: the separated one leads, the others speak when they are far beyond it."""

import pytest
import torch
from torch import Tensor

from detectors.base import Evidence
from detectors.fusion import LATE, Fusion, QuickFusion
from detectors.mahalanobis import Mahalanobis, QuietMahalanobis
from detectors.neighbours import Neighbours
from detectors.paths import PATHS, PathModel, Paths, path_detector

MELS, FRAMES, RECORDINGS = 16, 20, 40


class BandFusion(Fusion):
    """Members that need no waveform."""

    members = (Mahalanobis, Neighbours, QuietMahalanobis)


def contexts(count: int, seed: int, *, odd: dict[str, float] | None = None, under_db: float = 3.0) -> Paths:
    """Healthy contexts of every path, with so many dB more in some bands of the paths named in `odd`.

    The separated path has `under_db` less power than raw sound.
    """
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for path in PATHS:
        level = -50.0 + 2.0 * torch.randn(count, MELS, 1, generator=generator)
        log_mel = level + torch.randn(count, MELS, FRAMES, generator=generator)
        log_mel[:, 3:6] += (odd or {}).get(path, 0.0)
        shown = log_mel.new_full((count, FRAMES), -30.0 - under_db * (path == "separated"))
        made[path] = Evidence(log_mel, torch.ones_like(log_mel), shown)
    return made


def fitted(seed: int = 0) -> PathModel:
    groups = torch.arange(RECORDINGS).repeat_interleave(2)
    return PathModel.fit("neighbours", contexts(2 * RECORDINGS, seed), groups, {"net.x": torch.zeros(2)})


def rate(score: Tensor, alpha: float) -> float:
    return float((score >= -torch.log10(torch.tensor(alpha))).double().mean())


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_the_maximum_keeps_its_false_alarm_rate(alpha: float) -> None:
    """Fresh healthy sound alarms about as often as asked; three scores each calibrated alone alarm far more often."""
    model = fitted()
    found = [model.score(contexts(400, 100 + seed)).score for seed in range(3)]
    assert rate(torch.cat(found), alpha) <= 1.6 * alpha


@pytest.mark.parametrize("path", PATHS)
def test_whichever_path_hears_the_fault_speaks(path: str) -> None:
    """A loud fault on one path raises the score and the path is named."""
    model = fitted()
    found = model.score(contexts(20, 7, odd={path: 60.0}))
    assert float(found.score.median()) > 1.5
    assert {PATHS[number] for number in found.path.tolist()} == {path}


def test_raw_sound_counts_by_the_machines_share_of_it() -> None:
    """What moves raw sound moves the score where raw sound is the machine's, and hardly where it is background."""
    groups = torch.arange(RECORDINGS).repeat_interleave(2)
    moved = []
    for under_db in (1.0, 15.0):
        model = PathModel.fit("neighbours", contexts(2 * RECORDINGS, 0, under_db=under_db), groups, {})
        calm, odd = (model.score(contexts(40, 7, odd=odd, under_db=under_db)).score for odd in ({}, {"raw": 6.0}))
        moved.append(float((odd - calm).median()))
    assert moved[0] > 0.3
    assert moved[1] < 0.3 * moved[0]


def test_a_fusion_listens_to_quiet_moments_of_raw_sound_alone() -> None:
    """Behind a separator a fusion goes without the members of quiet levels, and so do its stored models."""
    for path in PATHS:
        detector = path_detector("quick-fusion", path)
        assert isinstance(detector, Fusion)
        assert bool(set(LATE) & set(detector.members)) == (path == "raw")
    assert path_detector("neighbours", "separated").name == "neighbours"
    assert set(LATE) < set(QuickFusion().members)
    healthy, groups = contexts(24, 3)["separated"], torch.arange(12).repeat_interleave(2)
    fusion = BandFusion().behind_separator().fit(healthy, groups)
    again = BandFusion.restore(fusion.state())
    assert again.members == fusion.members == (Mahalanobis, Neighbours)
    assert torch.equal(again.score(healthy), fusion.score(healthy))


def test_a_row_stands_alone_and_state_restores_it() -> None:
    """Batch mates change nothing, and a model restored from its tensors gives the same scores."""
    model = fitted()
    some = contexts(6, 3)
    whole = model.score(some)
    alone = model.score({path: one.rows([4]) for path, one in some.items()})
    assert torch.allclose(whole.score[4], alone.score[0])
    again = PathModel.restore(dict(model.state()), "neighbours").score(some)
    assert torch.equal(again.score, whole.score)
    assert torch.equal(again.path, whole.path)


def test_missing_paths_are_told() -> None:
    """A path that is not there is an error that names it."""
    some = dict(contexts(8, 0))
    del some["residual"]
    with pytest.raises(ValueError, match="residual"):
        PathModel.fit("neighbours", some, torch.arange(8), {})
