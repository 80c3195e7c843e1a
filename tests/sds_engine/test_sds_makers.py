"""The makers of fault sounds as SDS sees them: a batch is one batch through the prior, and a prompt moves them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sds_engine.makers import Maker, maker_for
from sds_engine.priors.denoiser import Prior
from sds_engine.priors.gaussian import one_gaussian, oracle_prior
from sds_engine.sds import Ask, SdsSettings, SeededNoise, optimise
from sds_engine.sds.emphasis import magnitudes

RATE, SECONDS = 16_000, 0.5


def around(wave: Tensor) -> Prior:
    """A prior that wants this wave `[time]`, give or take a little noise."""
    return oracle_prior(one_gaussian(wave, 0.02), ["this"], RATE)


def apart(wave: Tensor, goal: Tensor) -> Tensor:
    """The distance of magnitude spectrograms `[batch]`, relative to the goal's."""
    gap = [(magnitudes(wave, m) - magnitudes(goal, m)).square().flatten(1).sum(dim=1) for m in (256, 1024)]
    return (torch.stack(gap).sum(dim=0) / goal.square().sum()).sqrt()


@pytest.mark.parametrize("kind", ["impact", "outer_race"])
def test_a_prior_moves_a_batch_of_makers_towards_its_sound(kind: str) -> None:
    """Three makers of one batch, asked for the sound of a fourth, come nearer to it; each call is one batch."""
    maker: Maker = maker_for(kind, RATE, seconds=SECONDS)
    start = maker.start(3, seeds=[1, 2, 3])
    with torch.no_grad():
        goal = maker.render(maker.start(1, seeds=[1], level_db=-20.0))[0]  # the first maker's, but louder
        before = apart(maker.render(start), goal)
    prior = around(goal)
    rows: list[int] = []

    def counted(x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        rows.append(x.shape[0])
        return one_gaussian(goal, 0.02)(x, sigma, condition)

    prior = Prior(counted, prior.codec, prior.embed, RATE, SECONDS, prior.sigma_of_t)
    settings = SdsSettings(
        guidance=0.0, steps=1, draws=2, windows=(256, 1024), iterations=40, learning_rate=0.05, t_low=0.2
    )
    done = optimise(maker, start, prior, Ask(prior.embed(["this"] * 3)), settings, SeededNoise([1, 2, 3]))
    with torch.no_grad():
        after = apart(maker.render(done.params), goal)
    assert bool((after < before).all()), (before, after)
    assert float(after[0]) < 0.5 * float(before[0])
    assert rows == [6] * 40
    assert all(not any(doubts) for doubts in maker.check(done.params))
    assert done.skipped.tolist() == [0, 0, 0]
