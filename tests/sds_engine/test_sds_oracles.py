"""Score distillation against closed forms: under a Gaussian prior everything that SDS does is known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from sds_oracles import DOUBLE, MU_A, MU_B, TIME, Antithetic, Free, Plain, t_of, two_gaussians
from torch import Tensor

from sds_engine.priors.gaussian import one_gaussian, oracle_prior
from sds_engine.sds import Ask, SdsSettings, SeededNoise, optimise, sds_loss
from sds_engine.sds.denoise import denoise, invert, ladder
from sds_engine.sds.guidance import guide, guided
from sds_engine.sds.noise import draw_t
from sds_engine.sds.settings import Weighting

STD = 0.5
SIGMAS = (0.05, 0.5, 2.0)


def waves() -> Tensor:
    start = torch.stack([torch.zeros(TIME, dtype=DOUBLE), MU_B - 2.0, 3 * MU_A])
    return start.requires_grad_()


def plain(sigma: float, **changes: object) -> SdsSettings:
    """Settings at one level of noise, without guidance or emphasis."""
    t = t_of(two_gaussians(), sigma)
    given = {"t_low": t, "t_high": t, "guidance": 0.0, "steps": 1, "draws": 2, "windows": (), "schedule": "uniform"}
    return SdsSettings(**{**given, **changes})  # type: ignore[arg-type] # the fields have several types


def gradient(wave: Tensor, settings: SdsSettings, asked: str = "a", source: str | None = None) -> Tensor:
    prior = two_gaussians(STD, STD)
    ask = Ask(prior.embed([asked] * 3), None if source is None else prior.embed([source] * 3))
    sds = sds_loss(prior, wave, ask, settings, Antithetic([1, 2, 3]))
    return torch.autograd.grad(sds.loss.sum(), wave)[0]


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_encoder_residual_is_the_closed_form(sigma: float) -> None:
    """For N(mu, s^2), E[e^ - e] = sigma (x0 - mu) / (s^2 + sigma^2): direction and size, element by element (Eq. 4)."""
    wave = waves()
    expected = sigma * (wave - MU_A) / (STD**2 + sigma**2)
    found = gradient(wave, plain(sigma, kind="encoder", weighting="noise"))
    torch.testing.assert_close(found, expected.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_decoder_residual_is_the_closed_form(sigma: float) -> None:
    """For N(mu, s^2), x0 - E[x^] = sigma^2 (x0 - mu) / (s^2 + sigma^2) (Eq. 5, which has no weight)."""
    wave = waves()
    expected = sigma**2 * (wave - MU_A) / (STD**2 + sigma**2)
    torch.testing.assert_close(gradient(wave, plain(sigma)), expected.detach(), rtol=1e-9, atol=1e-12)


def test_random_noise_has_that_expectation() -> None:
    """With independent noise the mean over draws scatters around the closed form as its variance says."""
    prior, sigma, draws = two_gaussians(STD, STD), 0.5, 4096
    wave = waves()
    settings = plain(sigma, kind="encoder", weighting="noise", draws=draws)
    sds = sds_loss(prior, wave, Ask(prior.embed(["a"] * 3)), settings, SeededNoise([1, 2, 3]))
    (found,) = torch.autograd.grad(sds.loss.sum(), wave)
    expected = sigma * (wave - MU_A) / (STD**2 + sigma**2)
    spread = STD**2 / (STD**2 + sigma**2) / math.sqrt(draws)  # D carries s^2/(s^2 + sigma^2) of the noise
    errors = (found - expected) / spread  # standard normal, 48 of them
    assert float(errors.detach().abs().max()) < 4.0
    assert float(errors.detach().square().mean()) == pytest.approx(1.0, abs=0.6)


@pytest.mark.parametrize(("weighting", "weight"), [("signal", 0.5), ("noise", 1.0), ("variance", 0.25 / 1.25)])
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_weights_multiply_the_noise_residual(weighting: Weighting, weight: float, kind: str) -> None:
    """Each weighting is w(t) times e^ - e, at sigma 0.5, in both forms of SDS."""
    wave, sigma = waves(), 0.5
    expected = weight * sigma * (wave - MU_A) / (STD**2 + sigma**2)
    found = gradient(wave, plain(sigma, kind=kind, weighting=weighting))
    torch.testing.assert_close(found, expected.detach(), rtol=1e-9, atol=1e-12)


def test_descent_contracts_as_the_closed_form() -> None:
    """Plain gradient descent halves the distance to the prior's mean exactly as often as the residual's size says."""
    wave, sigma, rate = waves(), 0.5, 0.3
    first = (wave - MU_A).detach()
    shrink = 1.0 - rate * sigma**2 / (STD**2 + sigma**2)
    for _ in range(20):
        wave = (wave - rate * gradient(wave, plain(sigma))).detach().requires_grad_()
    torch.testing.assert_close((wave - MU_A).detach(), first * shrink**20, rtol=1e-7, atol=1e-10)


def test_each_maker_ends_at_its_prompts_mean() -> None:
    """The loop brings every item to the mean of its own prompt, and its residual to nothing."""
    prior = two_gaussians(STD, STD)
    settings = plain(0.5, iterations=200, learning_rate=0.1, final_rate=0.0)
    start = Free({"wave": waves()})
    done = optimise(Plain(), start, prior, Ask(prior.embed(["a", "b", "a"])), settings, Antithetic([1, 2, 3]))
    torch.testing.assert_close(done.params.free["wave"], torch.stack([MU_A, MU_B, MU_A]), rtol=0.0, atol=1e-3)
    assert float(done.residual[-1].max()) < 0.01 * float(done.residual[0].min())
    torch.testing.assert_close(start.free["wave"], waves())  # the start stays as it was


def test_guidance_is_affine_in_noise_and_in_the_denoised() -> None:
    """Guiding denoised sounds is guiding noise estimates; no guidance is the prompt alone; w = 1 + tau."""
    generator = torch.Generator().manual_seed(5)
    z, prompted, other = (torch.randn(3, TIME, generator=generator, dtype=DOUBLE) for _ in range(3))
    sigma, tau = 0.7, 6.5
    noise = guide((z - prompted) / sigma, (z - other) / sigma, tau)
    torch.testing.assert_close(z - sigma * noise, guide(prompted, other, tau))
    torch.testing.assert_close(guide(prompted, other, tau), other + (1 + tau) * (prompted - other))  # diffusers' w
    assert torch.equal(guide(prompted, other, 0.0), prompted)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_bridge_pulls_past_the_prompt_away_from_its_source(kind: str) -> None:
    """SDS-Bridge between equal Gaussians is SDS towards mu_p + tau (mu_p - mu_source)."""
    wave, sigma, tau = waves(), 0.5, 3.0
    goal = MU_A + tau * (MU_A - MU_B)
    expected = sigma**2 * (wave - goal) / (STD**2 + sigma**2)
    found = gradient(wave, plain(sigma, kind=kind, guidance=tau), source="b")
    torch.testing.assert_close(found, expected.detach(), rtol=1e-9, atol=1e-11)
    same = gradient(wave, plain(sigma, kind=kind, guidance=tau), source="a")  # from a to a: no guidance at all
    torch.testing.assert_close(same, gradient(wave, plain(sigma, kind=kind)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_against_the_source_only_the_prompts_difference_pulls(kind: str, sigma: float) -> None:
    """With baseline "null", between equal Gaussians: -(1 + tau) sigma^2 (mu_p - mu_source) / (s^2 + sigma^2).

    Wherever the sound is: nothing pulls it to a mean. From a prompt to itself nothing pulls at all.
    """
    wave, tau = waves(), 3.0
    settings = plain(sigma, kind=kind, guidance=tau, baseline="null")
    expected = (1 + tau) * sigma**2 * (MU_B - MU_A) / (STD**2 + sigma**2)
    found = gradient(wave, settings, source="b")
    torch.testing.assert_close(found, expected.expand_as(found), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(gradient(wave, settings, source="a"), torch.zeros_like(found), rtol=0, atol=1e-11)


def test_the_null_baseline_is_the_difference_of_two_residuals() -> None:
    """Against the mixture that is the null branch: the residual under the prompt, less that under nothing."""
    prior, wave, sigma, tau = two_gaussians(STD, STD), waves(), 0.5, 2.0
    found = gradient(wave, plain(sigma, kind="encoder", guidance=tau, baseline="null"))
    noise = Antithetic([1, 2, 3])
    draw_t(noise, 2, 0.5, 0.5, "uniform", 0.0)  # t is drawn first
    e = noise.normal((2, TIME))
    z = wave.detach()[:, None] + sigma * e
    levels = torch.full((6,), sigma, dtype=DOUBLE)
    flat = z.flatten(0, 1)
    prompted = prior.denoiser(flat, levels, prior.embed(["a"] * 6))
    moved = (1 + tau) * (prior.denoiser(flat, levels, None) - prompted)
    torch.testing.assert_close(found, moved.reshape(3, 2, TIME).mean(1), rtol=1e-9, atol=1e-11)


def test_guidance_calls_the_null_branch_only_when_it_counts() -> None:
    """Without guidance the network is called once a step; with it twice, and the null branch sees no condition."""
    prior = two_gaussians()
    seen: list[bool] = []

    def denoiser(x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        seen.append(condition is None)
        return prior.denoiser(x, sigma, condition)

    z, sigma = torch.zeros(4, TIME, dtype=DOUBLE), torch.ones(4, dtype=DOUBLE)
    guided(denoiser, prior.embed(["a", "b"]))(z, sigma)
    assert seen == [False]
    guided(denoiser, prior.embed(["a", "b"]), None, 1.0)(z, sigma)
    assert seen == [False, False, True]
    torch.testing.assert_close(
        guided(prior.denoiser, prior.embed(["a", "b"]))(z, sigma),
        prior.denoiser(z, sigma, prior.embed(["a", "a", "b", "b"])),  # draws of an item side by side
    )


def gaussian_ode(steps: int, sigma: float = 2.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A noisy z, what the ladder makes of it, the exact ODE solution at sigma 0, and the ladder."""
    prior = oracle_prior(one_gaussian(MU_A, STD), ["a"])
    z = MU_A + torch.randn(3, TIME, generator=torch.Generator().manual_seed(6), dtype=DOUBLE) * 2.0
    t = torch.full((3,), t_of(prior, sigma), dtype=DOUBLE)
    levels = ladder(prior.sigma_of_t, t, steps)
    found = denoise(guided(prior.denoiser, prior.embed(["a"] * 3)), z, levels)
    return z, found, MU_A + (z - MU_A) * STD / math.sqrt(STD**2 + sigma**2), levels


def test_steps_converge_to_the_exact_solution() -> None:
    """For a Gaussian, dz/dsigma = (z - D)/sigma has z - mu ~ sqrt(s^2 + sigma^2): steps reach it at first order."""
    errors = [float((found - exact).abs().max()) for _, found, exact, _ in map(gaussian_ode, (25, 50, 100))]
    assert errors[2] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(2.0, rel=0.15)


def test_few_steps_are_ddims_own_product() -> None:
    """A few steps multiply z - mu by the factors of DDIM's update, one step is D itself, and the ladder ends at 0."""
    for steps in (1, 2, 5, 10):
        z, found, _, levels = gaussian_ode(steps)
        factor = torch.ones(3, dtype=DOUBLE)
        for sigma, lower in pairwise(levels):
            shrink = STD**2 / (STD**2 + sigma**2)
            factor = factor * (shrink + lower / sigma * (1 - shrink))
        torch.testing.assert_close(found, MU_A + factor.unsqueeze(1) * (z - MU_A))
        assert levels.shape == (steps + 1, 3)
        assert bool((levels[-1] == 0).all())
        assert bool((levels.diff(dim=0) < 0).all())


def test_inversion_reproduces() -> None:
    """Up the ladder and down again gives the sound back, at first order; the noise found is the exact ODE's."""
    prior = oracle_prior(one_gaussian(MU_A, STD), ["a"])
    clean, sigma = guided(prior.denoiser, prior.embed(["a"] * 3)), 2.0
    sound = waves().detach()
    errors, noisy = [], []
    for steps in (50, 100):
        levels = ladder(prior.sigma_of_t, torch.full((3,), t_of(prior, sigma), dtype=DOUBLE), steps)
        noisy.append(invert(clean, sound, levels))
        errors.append(float((denoise(clean, noisy[-1], levels) - sound).abs().max()))
    exact = MU_A + (sound - MU_A) * math.sqrt(STD**2 + sigma**2) / STD
    assert errors[1] < 0.06 * float(sound.abs().max())
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.15)
    torch.testing.assert_close(noisy[1], exact, rtol=0.06, atol=0.06)


def test_sdi_without_guidance_leaves_a_sound_of_the_prior_alone() -> None:
    """Noise by inversion knows the render: with ten steps its residual is a fraction of that of random noise."""
    prior = two_gaussians(STD, STD)
    wave = MU_A + STD * torch.randn(3, TIME, generator=torch.Generator().manual_seed(9), dtype=DOUBLE)
    found = {
        start: sds_loss(
            prior, wave, Ask(prior.embed(["a"] * 3)), plain(1.0, start=start, steps=10), SeededNoise([1, 2, 3])
        ).residual
        for start in ("random", "inversion")
    }
    assert bool((found["inversion"] < 0.5 * found["random"]).all())
