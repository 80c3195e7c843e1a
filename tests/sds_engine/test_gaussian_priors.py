"""The oracles answer to autograd: a denoiser is right if (D - x) / sigma^2 is the gradient of the log density."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sds_engine.priors.denoiser import log_levels, tangent_levels
from sds_engine.priors.gaussian import Gaussian, Mixture, one_gaussian, oracle_prior

DOUBLE = torch.float64
SIGMA = torch.tensor([0.05, 0.4, 1.0, 6.0], dtype=DOUBLE)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def mixture() -> Mixture:
    return Mixture(2 * normal(1, 3, 2, 5), normal(2, 3, 2, 5).abs() + 0.2, torch.tensor([0.2, 0.5, 0.3], dtype=DOUBLE))


CONDITIONS = {
    "null": None,
    "one": torch.eye(3, dtype=DOUBLE)[[0, 1, 2, 0]],
    "some": torch.tensor([[1.0, 1.0, 0.0], [0.1, 0.0, 3.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]], dtype=DOUBLE),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_mixture_is_its_own_score(condition: str) -> None:
    """Element by element, D of a mixture follows from the gradient of its log density, under every condition."""
    prior, asked = mixture(), CONDITIONS[condition]
    x = (2 * normal(3, 4, 2, 5)).requires_grad_()
    (score,) = torch.autograd.grad(prior.log_density(x, SIGMA, asked).sum(), x)
    expected = x + SIGMA.square().reshape(4, 1, 1) * score
    torch.testing.assert_close(prior(x, SIGMA, asked), expected, rtol=1e-9, atol=1e-10)


def test_a_full_covariance_is_its_own_score() -> None:
    """The same of a Gaussian whose elements are correlated; its density is torch's."""
    root = normal(4, 5, 5)
    prior = Gaussian(normal(5, 5), root @ root.T)
    x = normal(6, 4, 5).requires_grad_()
    density = prior.log_density(x, SIGMA)
    (score,) = torch.autograd.grad(density.sum(), x)
    torch.testing.assert_close(prior(x, SIGMA), x + SIGMA.square().unsqueeze(1) * score, rtol=1e-8, atol=1e-9)
    noisy = prior.covariance + SIGMA.square().reshape(4, 1, 1) * torch.eye(5, dtype=DOUBLE)
    outside = torch.distributions.MultivariateNormal(prior.mean, noisy)
    torch.testing.assert_close(density, outside.log_prob(x.detach()))  # type: ignore[no-untyped-call] # torch has no types there


def test_the_density_of_a_mixture_is_that_of_an_outside_library() -> None:
    """Log densities agree with torch.distributions."""
    prior, x = mixture(), normal(7, 4, 2, 5)
    for row, sigma in enumerate(SIGMA):
        spread = (prior.stds.square() + sigma.square()).sqrt()
        parts = torch.distributions.Independent(torch.distributions.Normal(prior.means, spread), 2)
        outside = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(prior.weights), parts)
        torch.testing.assert_close(prior.log_density(x, SIGMA)[row], outside.log_prob(x)[row])


def test_a_denoiser_is_the_expectation_of_the_clean() -> None:
    """Over draws from the prior, D leaves the least squared error: less than D shrunk, stretched or blended."""
    generator = torch.Generator().manual_seed(8)
    prior = mixture()
    which = torch.multinomial(prior.weights, 4000, replacement=True, generator=generator)
    clean = prior.means[which] + prior.stds[which] * torch.randn(4000, 2, 5, generator=generator, dtype=DOUBLE)
    noisy = clean + 0.7 * torch.randn(clean.shape, generator=generator, dtype=DOUBLE)
    answer = prior(noisy, torch.full((4000,), 0.7, dtype=DOUBLE), None)
    error = (answer - clean).square().mean()
    for other in (0.95 * answer, 1.05 * answer, 0.9 * answer + 0.1 * noisy):
        assert error < (other - clean).square().mean()
    assert float((answer * (clean - answer)).mean()) == pytest.approx(0.0, abs=0.02)  # the error is orthogonal to it


def test_conditions_pick_and_limits_hold() -> None:
    """A one-hot condition is that component alone; little noise changes nothing, much noise gives the mean."""
    prior = mixture()
    alone = one_gaussian(prior.means[1], prior.stds[1])
    x, picked = normal(9, 4, 2, 5), torch.eye(3, dtype=DOUBLE)[[1, 1, 1, 1]]
    torch.testing.assert_close(prior(x, SIGMA, picked), alone(x, SIGMA, None))
    torch.testing.assert_close(alone(x, torch.full((4,), 1e-6, dtype=DOUBLE), None), x)
    far = alone(x, torch.full((4,), 1e6, dtype=DOUBLE), None)
    torch.testing.assert_close(far, prior.means[1].expand_as(far), rtol=1e-5, atol=1e-5)


def test_prompts_have_names() -> None:
    """An oracle answers to its prompts and says which it has."""
    prior = oracle_prior(Mixture(torch.zeros(2, 8), torch.ones(2, 8), torch.ones(2) / 2), ["hum", "knock"])
    assert prior.embed(["knock", "hum"]).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    with pytest.raises(ValueError, match=r"does not know \['whistle'\].*hum"):
        prior.embed(["whistle"])
    with pytest.raises(ValueError, match="3 prompts for 2 components"):
        oracle_prior(Mixture(torch.zeros(2, 8), torch.ones(2, 8), torch.ones(2) / 2), ["a", "b", "c"])


def test_level_maps_rise() -> None:
    """Maps of t go from their lowest to their highest level; the tangent gives the figures known of Stable Audio."""
    t = torch.linspace(0.0, 1.0, 11, dtype=DOUBLE)
    sigma = log_levels(0.02, 80.0)(t)
    assert (float(sigma[0]), float(sigma[-1])) == pytest.approx((0.02, 80.0))
    assert bool((sigma.diff() > 0).all())
    ends = tangent_levels(torch.tensor([0.025, 0.875], dtype=DOUBLE))
    assert ends.tolist() == pytest.approx([0.039, 5.03], rel=0.01)
    with pytest.raises(ValueError, match="0 < lowest < highest"):
        log_levels(1.0, 1.0)
