"""Fault libraries: which maker a prompt asks for, gates that refuse, sounds that differ, nothing left to luck."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sds_engine.physics.faults import FAULT_KINDS
from sds_engine.priors import logmel
from sds_engine.priors.denoiser import IdentityCodec, Prior, log_levels
from sds_engine.sds import SdsSettings
from sds_engine.tasks import library
from sds_engine.tasks.agreement import agreement
from sds_engine.tasks.library import GATE, Order, make_library
from sds_engine.tasks.wanted import kinds, wanted

FEW = SdsSettings(iterations=2, draws=1, steps=1, windows=(1024,))


class Opinion:
    """A judge whose probability of `leak` is what a function of the sound says."""

    classes = ("healthy", "leak")

    def __init__(self, of: object) -> None:
        self.of = of

    def probabilities(self, wave: torch.Tensor) -> torch.Tensor:
        leak = self.of(wave)  # type: ignore[operator]
        return torch.stack([1.0 - leak, leak], dim=1)


def shrinking(x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
    """A prior of quiet sound; with a condition, quieter."""
    s = sigma[:, None] ** 2
    return x * (0.01 / (0.01 + s)) * (1.0 if condition is None else 0.9)


PRIOR = Prior(
    denoiser=shrinking,
    codec=IdentityCodec(),
    embed=lambda prompts: torch.ones(len(prompts), 3),
    rate=logmel.RATE,
    seconds=2.0,
    sigma_of_t=log_levels(0.01, 1.0),
)


def always(value: float) -> Opinion:
    return Opinion(lambda wave: torch.full((len(wave),), value))


def test_enough_is_asked_of_the_judge_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the judge is sure, the last moment is kept; where the prior's agreement stands in, the best as ever."""
    sure, order = replace(FEW, enough=0.8), Order("leak", "leak", 2, seed=50)
    for settings, kept in ((sure, [2, 2]), (FEW, [0, 0])):
        assert [s.iteration for s in make_library(order, PRIOR, always(0.9), settings).sounds] == kept
    falling = (torch.tensor(9.0 / n) for n in range(1, 100))  # each look agrees less than the one before, none below 0
    monkeypatch.setattr(library, "agreement", lambda prior, wave, *_: next(falling).expand(len(wave)))
    found = make_library(Order("impact", "impact", 2, seed=50), PRIOR, always(0.9), replace(FEW, enough=0.01)).sounds
    assert [s.iteration for s in found] == [0, 0]


def test_as_many_as_were_ordered() -> None:
    """With a content judge an order is filled, with seeds from its own, each sound within full scale."""
    library = make_library(Order("leak", "leak", 3, seed=50), PRIOR, always(0.9), FEW)
    assert len(library.sounds) == 3
    assert all(50 <= sound.seed < 50 + library.tried for sound in library.sounds)
    assert all(float(sound.wave.abs().max()) <= 1.0 for sound in library.sounds)
    assert all(sound.judged == pytest.approx(0.9) for sound in library.sounds)


def test_the_same_order_gives_the_same_sounds() -> None:
    """Sounds follow from the order alone."""
    one, two = (make_library(Order("leak", "leak", 2, seed=7), PRIOR, always(0.9), FEW) for _ in range(2))
    for a, b in zip(one.sounds, two.sounds, strict=True):
        assert torch.equal(a.wave, b.wave)
        assert a.physical == b.physical


def test_what_the_judge_refuses_is_counted_and_not_given() -> None:
    """A judge that hears something else leaves nothing, after a bounded number of rounds, and the reason is told."""
    library = make_library(Order("leak", "leak", 2), PRIOR, always(GATE - 0.1), FEW)
    assert library.sounds == []
    assert library.refused == {"the judge hears something else": library.tried}
    assert library.tried < 40


def test_teaching_never_gives_less_than_the_start() -> None:
    """Of each candidate the best moment is kept, and the start is one: no sound is judged below where it began."""
    library = make_library(
        Order("leak", "leak", 3), PRIOR, Opinion(lambda wave: 0.5 + 0.49 * torch.tanh(wave.std(dim=1))), FEW
    )
    assert library.sounds
    assert all(s.judged is not None and s.start_judged is not None for s in library.sounds)
    assert all(s.judged >= s.start_judged - 1e-6 for s in library.sounds)  # type: ignore[operator]


def test_a_kind_that_the_judge_does_not_know_is_gated_by_the_prior() -> None:
    """For struck parts the prior's agreement decides; `judged` says nothing."""
    library = make_library(Order("struck steel", "impact", 1), PRIOR, always(0.0), FEW)
    assert all(sound.judged is None for sound in library.sounds)
    assert library.tried == len(library.sounds) + sum(library.refused.values()) or len(library.sounds) == 1


def test_agreement_prefers_the_sound_of_the_prompt() -> None:
    """Where the prompt says quieter, a quiet sound agrees more than a loud one; items do not touch each other."""
    wave = torch.randn(2, logmel.SAMPLES, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.01], [1.0]])
    both = agreement(PRIOR, wave, torch.ones(2, 3), [1, 2])
    alone = agreement(PRIOR, wave[1:], torch.ones(1, 3), [2])
    assert both[0] > both[1]
    torch.testing.assert_close(both[1:], alone)


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (10_001, 0), (1, -1)])
def test_orders_out_of_range_are_refused(count: int, seed: int) -> None:
    """Counts and seeds outside what is allowed are errors that say the range."""
    with pytest.raises(ValueError, match="allowed is"):
        Order("leak", "leak", count, seed)


def test_every_kind_has_phrases() -> None:
    """All ten faults, struck parts and FM voices can be asked for."""
    assert set(kinds()) == {*FAULT_KINDS, "impact", "fm"}


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("bearing outer race fault, metallic clicks", "outer_race"),
        ("a pump that cavitates", "cavitation"),
        ("圧縮空気が漏れる音", "leak"),
        ("ベルトが鳴く", "belt_squeal"),
        ("hammer on a steel plate", "impact"),
        ("alarm siren", "fm"),
    ],
)
def test_a_prompt_chooses_its_maker(prompt: str, kind: str) -> None:
    """Plain prompts of both languages find the maker that they speak of."""
    pytest.importorskip("sentence_transformers")
    assert wanted(prompt).kind == kind


def test_a_prompt_about_something_else_is_refused() -> None:
    """A prompt near to no maker is an error that offers the choice."""
    pytest.importorskip("sentence_transformers")
    with pytest.raises(ValueError, match="--kind one of"):
        wanted("my grandmother's birthday cake with strawberries")
