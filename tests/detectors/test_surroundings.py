"""Kinds of surroundings: found without labels, told apart from the machine, and weighed when their mix may change."""

from __future__ import annotations

import math

import pytest
import torch
from soundlab import RATE, evidence, machine

from detectors.calibrate import calibrate
from detectors.surroundings import DOUBT, KINDS, PER_KIND, SETTLED, between_kinds, doubted, kinds_of, share_within


def _sounds(count: int) -> list[torch.Tensor]:
    """Healthy sound, in turn alone, beside a hum at 600 Hz, and under hiss."""
    time = torch.arange(RATE) / RATE
    beside = (0 * time, 0.3 * torch.sin(2 * math.pi * 600.0 * time), 0.2 * torch.randn(RATE))
    return [machine(seed) + beside[seed % 3] * 10 ** (0.05 * (seed % 5)) for seed in range(count)]


def test_kinds_are_found_without_labels() -> None:
    """No kind mixes sounds of different surroundings, and the same sound gives the same kinds."""
    heard = evidence(_sounds(3 * PER_KIND))
    kinds = kinds_of(heard)
    for kind in kinds.unique():
        assert len({number % 3 for number in torch.nonzero(kinds == kind).flatten().tolist()}) == 1
    assert torch.equal(kinds, kinds_of(heard))


def test_too_few_contexts_are_of_one_kind() -> None:
    """With fewer than PER_KIND contexts a kind nothing is told apart; with many there are at most KINDS."""
    assert set(kinds_of(evidence(_sounds(2 * PER_KIND - 1))).tolist()) == {0}
    assert len(kinds_of(evidence(_sounds((KINDS + 2) * PER_KIND))).unique()) <= KINDS


def test_identical_contexts_are_survived() -> None:
    """The same sound many times over has no kinds, and is no error."""
    assert len(kinds_of(evidence([machine(0)] * 40)).unique()) == 1


def test_the_share_within_is_an_analysis_of_variance() -> None:
    """Scatter that is all between kinds has a share of 0, none between them 1, and the rest what the sums give."""
    kinds = torch.tensor([0, 0, 1, 1])
    rows = torch.tensor([[1.0, 1, 3, 3], [0, 2, 0, 2], [0, 2, 2, 4], [5, 5, 5, 5]], dtype=torch.float64)
    assert share_within(rows, kinds).tolist() == pytest.approx([0.0, 1.0, 0.5, 1.0])


def test_a_rare_kind_weighs_as_if_heard_more_often() -> None:
    """Where kinds do not differ, two of twelve recordings count as their share of the mix under doubt."""
    statistic = torch.tensor([0.0, 1] * 6, dtype=torch.float64)
    found = doubted(statistic, torch.ones(12, dtype=torch.float64), torch.tensor([0] * 10 + [1] * 2))
    assert torch.equal(found.statistic, statistic[found.place])
    assert float(found.weight.sum()) == pytest.approx(12.0)
    share = DOUBT * (1 - 12 / SETTLED)
    assert float(found.weight[found.place >= 10].sum() / 12) == pytest.approx(0.5 * share + 2 / 12 * (1 - share))


@pytest.mark.parametrize(("recordings", "kinds"), [(12, 1), (SETTLED, 4)])
def test_one_kind_and_many_recordings_leave_no_doubt(recordings: int, kinds: int) -> None:
    """Where no kinds can be told apart, or as much as settles the mix was heard, values and weights stay."""
    statistic = torch.rand(recordings, dtype=torch.float64)
    found = doubted(statistic, torch.ones(recordings, dtype=torch.float64), torch.arange(recordings) % kinds)
    assert torch.equal(found.statistic, statistic)
    assert torch.equal(found.weight, torch.ones(recordings, dtype=torch.float64))


def test_the_deviation_between_kinds_is_the_random_effects() -> None:
    """Of kinds whose means are drawn with a deviation of 2 it is 2; of one mean for all nearly none is left."""
    generator = torch.Generator().manual_seed(2)
    number = torch.arange(2000) % 200
    effect = torch.randn(200, generator=generator, dtype=torch.float64)
    noise = torch.randn(2000, generator=generator, dtype=torch.float64)
    assert between_kinds(2.0 * effect[number] + noise, number) == pytest.approx(2.0 * float(effect.std()), rel=0.05)
    assert between_kinds(noise, number) < 0.1
    assert between_kinds(noise[:3], torch.arange(3)) == 0.0


@pytest.mark.parametrize(("doubt", "new"), [(1.0, 1.0), (DOUBT, 0.25)])
def test_kinds_that_nobody_has_heard_alarm_less_often(
    doubt: float, new: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where later sound is as strange as is expected, and kinds differ by three times the scatter within one, a nominal
    tenth of false alarms stays about a tenth: all of it of kinds that training had not, or a quarter. Not knowing of
    kinds it becomes more."""
    monkeypatch.setattr("detectors.surroundings.DOUBT", doubt)
    generator = torch.Generator().manual_seed(3)
    kinds = torch.arange(48) % 6
    plain, aware = [], []
    for _ in range(200):
        effect = 3.0 * torch.randn(106, generator=generator, dtype=torch.float64)
        healthy = effect[kinds] + torch.randn(48, generator=generator, dtype=torch.float64)
        strange = torch.rand(100, generator=generator) < new
        own = torch.where(strange, effect[6:], effect[torch.arange(100) % 6])
        later = torch.randn(100, generator=generator, dtype=torch.float64) + own
        for rates, known in ((plain, None), (aware, kinds)):
            score = calibrate(healthy, torch.arange(48), known)(later).score
            rates.append(float((score >= 1.0).double().mean()))
    assert sum(plain) > sum(aware) + 200 * 0.005
    assert 0.06 < sum(aware) / 200 < 0.11


def test_a_changed_mix_alarms_less_often() -> None:
    """Where a kind that is 2 deviations odder grows from three recordings of 29 to half, a nominal tenth of false
    alarms becomes over a quarter unless the kinds are known; then it stays within half as much again."""
    generator = torch.Generator().manual_seed(0)
    plain, aware = [], []
    kinds = torch.tensor([0] * 26 + [1] * 3)
    for _ in range(300):
        healthy = torch.randn(29, generator=generator, dtype=torch.float64) + 2.0 * kinds
        later = torch.randn(100, generator=generator, dtype=torch.float64)
        later[:50] += 2.0
        for rates, known in ((plain, None), (aware, kinds)):
            score = calibrate(healthy, torch.arange(29), known)(later).score
            rates.append(float((score >= 1.0).double().mean()))
    assert sum(plain) / 300 > 0.25
    assert sum(aware) / 300 < 0.15


def test_one_mix_for_ever_costs_little() -> None:
    """Where nothing changes the rate stays between half of nominal and nominal, closer with more recordings."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for count in (40, 300):
        rates = []
        for _ in range(100):
            kinds = torch.arange(count) * KINDS // count
            score = calibrate(torch.randn(count, generator=generator, dtype=torch.float64), torch.arange(count), kinds)(
                torch.randn(500, generator=generator, dtype=torch.float64)
            ).score
            rates.append(float((score >= 1.0).double().mean()))
        found[count] = sum(rates) / len(rates)
    assert 0.05 < found[40] <= 0.105
    assert 0.09 < found[300] <= 0.105
