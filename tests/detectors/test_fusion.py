"""The parts of the default: levels in quiet moments, and sentinels that keep silent until something is very odd."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from soundlab import evidence, healthy, machine

from detectors.fusion import LATE, SENTINELS, SILENT, Fusion, QuickFusion, combine, member_weights, robust_scale
from detectors.lineup import DETECTORS
from detectors.mahalanobis import Mahalanobis, QuietMahalanobis
from detectors.neighbours import Neighbours, QuietNeighbours
from detectors.statistics import QUIET_FRAMES, QUIET_SHARE, band_quiet


class ThreeMembers(Fusion):
    """Members of which two see the same."""

    members = (Mahalanobis, QuietMahalanobis, QuietNeighbours)


def test_quiet_levels_are_a_slow_references() -> None:
    """Of every band: levels averaged over 0.2 s, half overlapping, and what a twentieth of them stay under."""
    heard = healthy(3)
    found = band_quiet(heard).numpy()
    for row, mels in enumerate(heard.log_mel.double().numpy()):
        starts = range(0, mels.shape[1] - QUIET_FRAMES + 1, QUIET_FRAMES // 2)
        smooth = np.sort([mels[:, start : start + QUIET_FRAMES].mean(1) for start in starts], axis=0)
        np.testing.assert_allclose(found[row], smooth[int(np.ceil(QUIET_SHARE * len(smooth))) - 1], atol=1e-4)


def test_quiet_levels_leave_out_what_is_not_believed() -> None:
    """A hole in a band under zero confidence does not become its quiet level; believed, it does."""
    heard = healthy(2)
    log_mel, doubt = heard.log_mel.clone(), torch.ones_like(heard.log_mel)
    log_mel[:, 30:50, :6] -= 60.0
    doubt[:, 30:50, :6] = 0.0
    plain = band_quiet(heard)[:, 30:50]
    assert ((band_quiet(replace(heard, log_mel=log_mel, confidence=doubt))[:, 30:50] - plain).abs() < 5.0).all()
    assert (band_quiet(replace(heard, log_mel=log_mel))[:, 30:50] < plain - 30.0).all()


def test_who_sees_the_same_looks_the_same_way() -> None:
    """Members of a fusion that share what they see share it rightly: the score is that of each on its own."""
    heard = healthy(2)
    looks: dict[str, torch.Tensor] = {}
    for kind in (one for one in DETECTORS if issubclass(one, Mahalanobis | Neighbours)):
        assert torch.equal(looks.setdefault(kind.sees, kind.statistic(heard)), kind.statistic(heard))
    assert len(looks) == 3
    fusion = ThreeMembers().fit(healthy(12))
    alone = fusion.join(torch.stack([one.score(heard) for one in fusion._parts]))
    assert torch.equal(fusion.score(heard), alone)


def test_doubt_in_one_context_changes_no_other() -> None:
    """Contexts without a weight of their own are smoothed plainly, beside doubted ones or alone."""
    heard = healthy(3)
    doubt = torch.ones_like(heard.log_mel)
    doubt[1, :, ::2] = 0.5
    mixed = band_quiet(replace(heard, confidence=doubt))
    assert torch.equal(mixed[[0, 2]], band_quiet(heard)[[0, 2]])
    assert torch.equal(mixed[1:2], band_quiet(replace(heard, confidence=doubt).rows([1])))


def test_a_background_that_pauses_moves_quiet_levels_less_than_means() -> None:
    """Noise 10 dB over the machine for half of the time moves a band's quiet level by a fraction of its mean's move."""
    sound = machine(3, 4.0)
    loud = sound.clone()
    hiss = torch.randn(len(sound), generator=torch.Generator().manual_seed(0)) * float(sound.square().mean().sqrt()) * 3
    loud[: len(sound) // 2] += hiss[: len(sound) // 2]
    both = evidence([sound, loud])
    quiet, mean = band_quiet(both), both.log_mel.mean(-1)
    assert float((quiet[1] - quiet[0]).abs().mean()) < 0.3 * float((mean[1] - mean[0]).abs().mean())


def test_a_sentinel_is_silent_until_something_is_very_odd() -> None:
    """Up to SILENT spreads a sentinel changes nothing at all, up or down; beyond, it adds without end but slowly."""
    members = torch.tensor([[0.0] * 5, [2.0] * 5], dtype=torch.float64)
    sentinel = torch.tensor([[-50.0, 0.0, SILENT, 4 * SILENT, 400 * SILENT]], dtype=torch.float64)
    plain = members.asinh().mean(0)
    excess = combine(members, sentinel, torch.full((2,), 0.5, dtype=torch.float64)) - plain
    assert torch.equal(excess[:3], torch.zeros(3, dtype=torch.float64))
    assert 1.0 < float(excess[3]) < 2.0
    assert 5.0 < float(excess[4]) < 7.0


def test_the_scale_is_that_of_the_upper_half() -> None:
    """A statistic whose upper tail is three times as wide has about thrice the spread; identical values the least."""
    values = torch.linspace(-1.0, 1.0, 2001, dtype=torch.float64)
    centre, spread = robust_scale(torch.stack([values, torch.where(values > 0, 3 * values, values), 0 * values]))
    torch.testing.assert_close(centre, torch.zeros(3, dtype=torch.float64))
    assert float(spread[1] / spread[0]) > 2.5
    assert float(spread[2]) == 1e-6


@pytest.mark.parametrize("kind", [Fusion, QuickFusion])
def test_every_part_is_in_the_state_under_its_name(kind: type[Fusion]) -> None:
    """A fusion's state holds members and sentinels, and a fusion of another make is refused."""
    state = kind().fit(healthy(8)).state()
    parts = (*kind.members, *SENTINELS)
    assert {key.partition(".")[0] for key in state if "." in key} == {one.name for one in parts}
    assert len(state["centre"]) == len(parts)
    other = QuickFusion if kind is Fusion else Fusion
    with pytest.raises(ValueError, match="centre"):
        other.restore(state)


def test_a_model_of_fewer_members_is_restored_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored before quiet levels joined, a fusion scores as it did then, by the members that it has."""
    few = tuple(one for one in QuickFusion.members if one not in LATE)
    monkeypatch.setattr(QuickFusion, "members", few)
    stored = QuickFusion().fit(healthy(8))
    before = stored.score(healthy(3, first=20))
    monkeypatch.undo()
    restored = QuickFusion.restore(stored.state())
    assert restored.members == few != QuickFusion.members
    assert torch.equal(restored.score(healthy(3, first=20)), before)


def test_every_recipe_is_a_member_once() -> None:
    """The default holds each detector that is no variant, control, or rule about states; the quick one all but nets."""
    variants = {"fusion", "quick-fusion", "states", "autoencoder", "impulses"}
    recipes = {kind.name for kind in DETECTORS} - variants
    assert {member.name for member in Fusion.members} == recipes
    assert {member.name for member in QuickFusion.members} == recipes - {"self-supervised"}


def test_a_member_that_follows_the_surroundings_weighs_less() -> None:
    """Of two members alike in all else, the one whose healthy scores tell rain from calm has a smaller say; alone with
    one kind of surroundings both weigh the same."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.arange(96) % 3
    own = torch.randn(2, 96, generator=generator, dtype=torch.float64)
    members = torch.stack([own[0], own[1] + 2.0 * kinds])
    steady, follower = member_weights(members, kinds).tolist()
    assert steady > 4 * follower > 0
    assert steady + follower == pytest.approx(1.0)
    assert member_weights(members, torch.zeros(96)).tolist() == pytest.approx([0.5, 0.5])
