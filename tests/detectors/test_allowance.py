"""What strange surroundings explain of a score is taken off: as far as healthy sound shows it, and no further."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from soundlab import RATE, evidence, machine, whistle

from detectors.allowance import FEWEST, Allowance, Strangeness, Surroundings, distances
from detectors.base import Evidence
from detectors.fusion import Fusion, combine
from detectors.mahalanobis import Mahalanobis
from detectors.neighbours import Neighbours


class TwoMembers(Fusion):
    """A fusion that fits in no time."""

    members = (Mahalanobis, Neighbours)


def _beside_hiss(levels: list[float], first: int = 0) -> Evidence:
    """The healthy machine beside hiss of such levels."""
    generator = torch.Generator().manual_seed(first)
    return evidence(
        [machine(first + n) + level * torch.randn(RATE, generator=generator) for n, level in enumerate(levels)]
    )


MIXED = [0.004] * 42 + [0.02, 0.03, 0.04, 0.05, 0.06, 0.08]  # the last three recordings are beside something rare
HEARD = _beside_hiss(MIXED)
GROUPS = torch.arange(48) // 2


def test_distances_are_those_to_other_recordings_along_principal_components() -> None:
    """A reference in numpy: standardised statistics, eight axes of their covariance, the nearest other recording."""
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 12)) @ np.diag(np.arange(1.0, 13.0)))
    groups = torch.arange(40) // 4
    strangeness, found = Strangeness.of(values, groups)
    white = ((values - values.mean(0)) / values.std(0, correction=0)).numpy()
    axes = np.linalg.eigh(white.T @ white)[1][:, ::-1][:, :8]
    far = np.linalg.norm((white @ axes)[:, None] - (white @ axes)[None], axis=-1)
    far[groups[:, None].numpy() == groups[None].numpy()] = np.inf
    np.testing.assert_allclose(found.numpy(), np.log(far.min(1)), rtol=1e-9)
    other = (white + 0.5)[:5]
    expected = [np.linalg.norm((one - white) @ axes, axis=1).min() for one in other]
    scale = values.std(0, correction=0)
    later = Strangeness.restore(strangeness.state())(torch.from_numpy(other) * scale + values.mean(0))
    np.testing.assert_allclose(later.numpy(), np.log(expected), rtol=1e-9)


def test_a_batch_changes_no_distance() -> None:
    """Each row's distance is its own to the last bit, alone or among many; known sound is at a finite one."""
    values = torch.randn(60, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    strangeness, _ = Strangeness.of(values, torch.arange(60))
    heard = strangeness._heard
    other = heard[:40] + 0.3
    assert torch.equal(distances(other, heard)[7], distances(other[7:8], heard)[0])
    assert bool(torch.isfinite(strangeness(values)).all())


def test_the_slope_is_least_squares_times_how_well_it_explains() -> None:
    """A law without scatter is taken off whole, one that explains half of the variance by half, a falling one never."""
    x = torch.tensor([0.0, 1, 2, 3] * 2, dtype=torch.float64)
    assert Allowance.fit(x, 2.0 * x + 5.0).slope == pytest.approx(2.0)
    scatter = x.std(correction=0) * torch.tensor([1.0] * 4 + [-1] * 4, dtype=torch.float64)
    assert Allowance.fit(x, x + scatter).slope == pytest.approx(0.5)
    assert Allowance.fit(x, -x).slope == 0.0
    assert Allowance.fit(torch.ones(8, dtype=torch.float64), x).slope == 0.0
    assert Allowance.fit(x, torch.ones(8, dtype=torch.float64)).slope == 0.0


def test_no_more_is_allowed_than_healthy_sound_shows() -> None:
    """Farther than every healthy context is as the farthest, nearer than all as the nearest."""
    allowed = Allowance(2.0, 1.0, 3.0)(torch.tensor([-50.0, 1.0, 2.0, 3.0, 50.0]))
    assert allowed.tolist() == [2.0, 2.0, 4.0, 6.0, 6.0]


def test_strange_surroundings_raise_a_score_less_and_faults_stay_odd() -> None:
    """Hiss that three recordings of 24 had moves the score less than without an allowance; a whistle is odd still."""
    fusion = TwoMembers()
    healthy = fusion.cross_fit(HEARD, GROUPS)
    usual, loud = _beside_hiss([0.004] * 8, first=100), _beside_hiss([0.05] * 8, first=200)
    plain = TwoMembers.restore({key: value for key, value in fusion.state().items() if key != "allowance"})
    moved, before = (float(one.score(loud).mean() - one.score(usual).mean()) for one in (fusion, plain))
    assert moved < 0.8 * before
    odd = evidence([whistle(machine(300 + n), 0.05) for n in range(8)])
    assert float(fusion.score(odd).min()) > float(healthy.max())


def test_out_of_fold_and_later_are_treated_alike() -> None:
    """What `cross_fit` returns is the members' join less what the leave-one-recording-out distance explains."""
    fusion = TwoMembers()
    found = fusion.cross_fit(HEARD, GROUPS)
    parts = torch.stack([one.cross_fit(HEARD, GROUPS) for one in fusion.new_parts()])
    z = (parts - fusion._centre[:, None]) / fusion._spread[:, None]
    joined = combine(z[:2], z[2:], fusion._weight)
    distance = Surroundings.of(HEARD, GROUPS).distance
    torch.testing.assert_close(found, joined - Allowance.fit(distance, joined)(distance))


def test_a_model_keeps_what_it_allows() -> None:
    """Stored and restored it scores the same; without that part of its state it is the fusion of before."""
    fusion = TwoMembers()
    fusion.cross_fit(HEARD, GROUPS)
    other = _beside_hiss([0.01, 0.03], first=400)
    assert torch.equal(TwoMembers.restore(fusion.state()).score(other), fusion.score(other))
    with pytest.raises(ValueError, match="near_heard"):
        TwoMembers.restore({key: value for key, value in fusion.state().items() if key != "near_heard"})


def test_few_contexts_one_recording_and_a_mask_allow_nothing() -> None:
    """Where kinds cannot be told, where nothing is another recording, and behind a separator the score stays plain."""
    few = HEARD.rows(torch.arange(FEWEST - 1))
    assert Surroundings.of(few).strangeness is None
    assert Surroundings.of(HEARD, torch.zeros(48, dtype=torch.long)).strangeness is None
    behind = TwoMembers().behind_separator()
    behind.cross_fit(HEARD, GROUPS)
    assert "allowance" not in behind.state()
    fusion = TwoMembers()
    fusion.cross_fit(HEARD, GROUPS)
    assert "allowance" in fusion.state()
    fusion.cross_fit(few, torch.arange(FEWEST - 1))
    assert "allowance" not in fusion.state()  # a second fit forgets the first
