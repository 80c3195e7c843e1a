"""Separation by prompts (Eq. 12-13) on Gaussians, where the answer is a closed form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from humknocks import hum_and_knocks
from sds_oracles import DOUBLE, MU_A, MU_B, TIME, Antithetic, t_of, two_gaussians
from torch import Tensor

from sds_engine.dsp import si_sdr
from sds_engine.priors.gaussian import Mixture, oracle_prior
from sds_engine.sds import SdsSettings, SeededNoise, SeparationSettings, remix, separate
from sds_engine.sds.separate import Form, reconstruction_loss

SIGMA = 0.8


def toy(gamma: float, **changes: object) -> SdsSettings:
    t = t_of(two_gaussians(), SIGMA)
    return replace(
        SdsSettings(
            t_low=t,
            t_high=t,
            guidance=0.0,
            steps=1,
            draws=2,
            windows=(),
            gamma=gamma,
            iterations=600,
            learning_rate=0.1,
            final_rate=0.0,
        ),
        **changes,  # type: ignore[arg-type] # the fields have several types
    )


def closed_form(mix: Tensor, stds: tuple[float, float], gamma: float) -> Tensor:
    """Where 2 (sum x - mix) + gamma a_k (x_k - mu_k) = 0, a_k = sigma^2 / (s_k^2 + sigma^2)."""
    weights = torch.tensor([(s**2 + SIGMA**2) / SIGMA**2 / gamma for s in stds], dtype=DOUBLE)  # 1 / (gamma a_k)
    rest = (mix - MU_A - MU_B) / (1 + 2 * weights.sum())
    return torch.stack([MU_A, MU_B], dim=-2) + 2 * weights.unsqueeze(1) * rest.unsqueeze(-2)


@pytest.mark.parametrize("form", ["wave", "latent"])
@pytest.mark.parametrize("gamma", [0.2, 5.0])
def test_two_gaussians_come_apart_as_the_closed_form(gamma: float, form: Form) -> None:
    """The minimum of Eq. 12 plus gamma times SDS is linear algebra for Gaussians, and the loop finds it."""
    stds = (0.2, 1.0)
    prior = two_gaussians(*stds)
    mix = torch.stack([MU_A + MU_B, MU_A + MU_B + torch.sin(torch.arange(TIME, dtype=DOUBLE))])
    asked = [prior.embed(["a", "a"]), prior.embed(["b", "b"])]
    found = separate(mix, asked, prior, SeparationSettings(toy(gamma), form), Antithetic(range(4)))
    expected = torch.stack([closed_form(row, stds, gamma) for row in mix])
    torch.testing.assert_close(found, expected, rtol=0.0, atol=5e-3)


def test_sources_follow_their_prompts() -> None:
    """Prompts in the other order give the sources in the other order, and one mixture does not touch another."""
    prior = two_gaussians(0.2, 0.2)
    mix = torch.stack([MU_A + MU_B, MU_B - MU_A])
    a, b = prior.embed(["a", "a"]), prior.embed(["b", "b"])
    settings = SeparationSettings(toy(1.0, iterations=100), "wave")
    straight = separate(mix, [a, b], prior, settings, SeededNoise([1, 2, 3, 4]))
    crossed = separate(mix, [b, a], prior, settings, SeededNoise([2, 1, 4, 3]))
    torch.testing.assert_close(crossed, straight.flip(1))
    alone = separate(mix[1:], [a[1:], b[1:]], prior, settings, SeededNoise([3, 4]))
    torch.testing.assert_close(alone, straight[1:])


def test_without_a_prior_the_mixture_is_all_that_counts() -> None:
    """At gamma 0 an equal share is already a minimum, and nothing moves; emphasis or not."""
    prior = two_gaussians()
    mix = (MU_A + MU_B).unsqueeze(0)
    for windows in ((), (8,)):
        settings = SeparationSettings(toy(0.0, windows=windows, iterations=5), "wave")
        found = separate(mix, [prior.embed(["a"]), prior.embed(["b"])], prior, settings, SeededNoise([1, 2]))
        torch.testing.assert_close(found, (mix / 2).unsqueeze(1).expand(1, 2, TIME), rtol=0.0, atol=1e-6)
        assert float(reconstruction_loss(mix, found, windows).max()) < 1e-10


def two_sounds(seconds_samples: int = 4096) -> tuple[Tensor, Tensor, Tensor]:
    hum, knock = hum_and_knocks(seconds_samples)
    return hum, knock, hum + knock


def test_emphasis_separates_a_hum_from_knocks() -> None:
    """With priors around the true sounds, magnitudes alone bring each source above 10 dB SI-SDR, from the mixture."""
    hum, knock, mix = two_sounds()
    mixture = Mixture(torch.stack([hum, knock]), torch.full((2, 4096), 0.3), torch.ones(2) / 2)
    prior = oracle_prior(mixture, ["hum", "knock"])
    settings = SdsSettings(guidance=0.0, steps=1, draws=2, windows=(256, 1024), gamma=1.0, iterations=150)
    asked = [prior.embed(["hum"]), prior.embed(["knock"])]
    seen: list[int] = []
    found = separate(
        mix.unsqueeze(0),
        asked,
        prior,
        SeparationSettings(settings, "wave"),
        SeededNoise([1, 2]),
        watch=lambda iteration, sources: seen.append(iteration),
    )
    shared = remix(mix.unsqueeze(0), found)[0]
    start = si_sdr(mix.expand(2, -1), torch.stack([hum, knock]))
    gain = si_sdr(shared, torch.stack([hum, knock]))
    assert bool((gain > 10.0).all()), (start, gain)
    assert bool((gain > start + 5.0).all()), (start, gain)
    assert seen == list(range(150))


def test_remixed_sources_add_up() -> None:
    """Soft masks share out the mixture: the sources sum to it, silence is shared equally, no input is changed."""
    hum, knock, mix = two_sounds()
    sources = torch.stack([hum, knock]).unsqueeze(0)
    before = sources.clone()
    torch.testing.assert_close(remix(mix.unsqueeze(0), sources).sum(dim=1)[0], mix, rtol=0.0, atol=1e-5)
    assert torch.equal(sources, before)
    silent = remix(mix.unsqueeze(0), torch.zeros(1, 2, 4096))
    torch.testing.assert_close(silent[0, 0], mix / 2, rtol=0.0, atol=1e-5)


def test_one_prompt_is_not_a_separation() -> None:
    """Fewer than two prompts, or an unknown form, is refused."""
    prior = two_gaussians()
    with pytest.raises(ValueError, match="two prompts or more"):
        separate(MU_A.unsqueeze(0), [prior.embed(["a"])], prior, SeparationSettings(), SeededNoise([1]))
    with pytest.raises(ValueError, match="form = 'mask'"):
        SeparationSettings(form="mask")  # type: ignore[arg-type] # what a user might type
