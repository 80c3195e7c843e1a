"""Gradients flow only where the paper lets them, and items never touch each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from sds_oracles import DOUBLE, MU_A, TIME, Antithetic, Free, Plain, two_gaussians
from torch import Tensor, nn

from sds_engine.priors.denoiser import Prior, log_levels
from sds_engine.sds import Ask, SdsSettings, SeededNoise, optimise, sds_loss
from sds_engine.sds.emphasis import emphasis_loss, magnitudes
from sds_engine.sds.noise import draw_t
from sds_engine.sds.optimise import set_gradients
from sds_engine.sds.residuals import surrogate

BASE = SdsSettings(guidance=1.0, steps=2, draws=2, windows=(), iterations=12)


class Forbidden(torch.autograd.Function):
    """The identity, which must never be differentiated."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise AssertionError("differentiated where the paper drops the Jacobian")


def forbidden(value: Tensor) -> Tensor:
    answer: Tensor = Forbidden.apply(value)  # type: ignore[no-untyped-call] # torch has no types there
    return answer


class LinearCodec:
    """Latent = wave @ matrix, whose Jacobian is known; and it counts as a network with weights."""

    def __init__(self, forbid_encoder: bool = False) -> None:
        self.matrix = nn.Parameter(torch.randn(TIME, 6, generator=torch.Generator().manual_seed(1), dtype=DOUBLE))
        self.forbid_encoder = forbid_encoder

    def encode(self, wave: Tensor) -> Tensor:
        latent = wave @ self.matrix
        return forbidden(latent) if self.forbid_encoder else latent

    def decode(self, latent: Tensor, carrier: Tensor) -> Tensor:
        return forbidden(latent @ self.matrix.T)


class Network(nn.Module):
    """A denoiser with weights that raises when differentiated."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6, dtype=DOUBLE)

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        return forbidden(torch.tanh(self.layer(x)) / (1 + sigma.unsqueeze(1)))


def guarded(codec: LinearCodec) -> tuple[Prior, Network]:
    torch.manual_seed(2)
    network = Network()
    embed = two_gaussians().embed
    return Prior(network, codec, embed, 16_000, 0.0, log_levels(0.02, 5.0)), network


def some_waves() -> Tensor:
    return torch.randn(3, TIME, generator=torch.Generator().manual_seed(3), dtype=DOUBLE).requires_grad_()


def asks(prior: Prior, prompts: Sequence[str] = ("a", "b", "a")) -> Ask:
    return Ask(prior.embed(list(prompts)))


@pytest.mark.parametrize("windows", [(), (8,)])
@pytest.mark.parametrize("start", ["random", "inversion"])
def test_decoder_sds_differentiates_nothing_of_the_prior(windows: tuple[int, ...], start: str) -> None:
    """In Eq. 5 and 7 the gradient reaches the wave without encoder, network or decoder, whose weights get none."""
    codec = LinearCodec(forbid_encoder=True)
    prior, network = guarded(codec)
    wave = some_waves()
    settings = replace(BASE, kind="decoder", windows=windows, start=start, compensate=True)
    sds = sds_loss(prior, wave, asks(prior), settings, SeededNoise([1, 2, 3]))
    sds.loss.sum().backward()
    assert wave.grad is not None
    assert bool(wave.grad.abs().sum() > 0)
    assert codec.matrix.grad is None
    assert network.layer.weight.grad is None
    assert not sds.residual.requires_grad


def test_encoder_sds_keeps_the_encoders_jacobian_and_drops_the_networks() -> None:
    """In Eq. 4 the gradient is the latent residual through the encoder's own Jacobian, here a known matrix."""
    codec = LinearCodec()
    prior, network = guarded(codec)
    wave = some_waves()
    settings = replace(BASE, kind="encoder", draws=1, guidance=0.0, steps=1, t_low=0.4, t_high=0.4)
    sds = sds_loss(prior, wave, asks(prior), settings, SeededNoise([1, 2, 3]))
    (found,) = torch.autograd.grad(sds.loss.sum(), wave)
    noise = SeededNoise([1, 2, 3])
    noise.uniform((1,))
    with torch.no_grad():
        latent = wave @ codec.matrix
        sigma = prior.sigma_of_t(torch.full((3,), 0.4, dtype=DOUBLE))
        noisy = latent + sigma.unsqueeze(1) * noise.normal((1, 6)).squeeze(1)
        residual = latent - network(noisy, sigma, None)
    torch.testing.assert_close(found, residual @ codec.matrix.detach().T)
    torch.testing.assert_close(sds.residual, residual.square().mean(dim=1).sqrt())


def test_the_loop_leaves_the_priors_weights_alone() -> None:
    """After a run only the makers' parameters have moved; codec and network have neither gradients nor new values."""
    codec = LinearCodec()
    prior, network = guarded(codec)
    before = [codec.matrix.detach().clone(), network.layer.weight.detach().clone()]
    start = some_waves()
    done = optimise(
        Plain(), Free({"wave": start}), prior, asks(prior), replace(BASE, kind="encoder"), SeededNoise([1, 2, 3])
    )
    assert torch.equal(before[0], codec.matrix)
    assert torch.equal(before[1], network.layer.weight)
    assert codec.matrix.grad is None
    assert start.grad is None
    assert not torch.equal(done.params.free["wave"], start)
    assert not any(value.requires_grad for value in (*done.params.free.values(), *done.best.free.values()))


def test_the_surrogates_gradient_is_the_residual() -> None:
    """1/2 ||sg(target) - x||^2 has the residual as its gradient and half its square as its value."""
    wave, residual = some_waves(), torch.randn(3, TIME, dtype=DOUBLE, generator=torch.Generator().manual_seed(4))
    loss = surrogate(wave, residual)
    torch.testing.assert_close(loss, 0.5 * residual.square().sum(dim=1))
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), wave)[0], residual)


def test_emphasis_is_eq_7() -> None:
    """The gradient is sum_m (S_m(x) - E[S_m(x^)]) dS_m(x)/dx, with the Jacobian by torch's own forward derivative."""
    generator = torch.Generator().manual_seed(5)
    wave = torch.randn(2, 32, generator=generator, dtype=DOUBLE).requires_grad_()
    heard = torch.randn(2, 3, 32, generator=generator, dtype=DOUBLE)
    sigma = torch.ones(2, 3, dtype=DOUBLE)
    (found,) = torch.autograd.grad(emphasis_loss(wave, heard, sigma, (8, 16)).sum(), wave)
    expected = torch.zeros_like(found)
    for row in range(2):
        for window in (8, 16):
            own = wave[row].detach()
            jacobian = torch.autograd.functional.jacobian(lambda x, m=window: magnitudes(x, m), own)
            gap = magnitudes(own, window) - magnitudes(heard[row], window).mean(dim=0)  # [bin, frame]
            expected[row] += torch.einsum("bf,bft->t", gap, jacobian)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("window", [64, 256, 1024])
def test_magnitudes_weigh_alike_and_survive_silence(window: int) -> None:
    """Each window's magnitudes hold half the wave's energy, and silence has a finite gradient."""
    wave = torch.randn(1, 8192, generator=torch.Generator().manual_seed(6))
    share = float(magnitudes(wave, window).square().sum() / wave.square().sum())
    assert share == pytest.approx(0.5, abs=0.03)
    silent = torch.zeros(1, 2048, requires_grad=True)
    heard = torch.randn(1, 1, 2048, generator=torch.Generator().manual_seed(7))
    (gradient,) = torch.autograd.grad(emphasis_loss(silent, heard, torch.ones(1, 1), (window,)).sum(), silent)
    assert bool(torch.isfinite(gradient).all())


def test_compensation_forgives_the_codec() -> None:
    """A lossy codec pulls in plain Eq. 5 even where the denoiser changes nothing; with compensation it does not."""
    codec, wave = LinearCodec(), some_waves()
    latent = (wave @ codec.matrix).detach()
    prior = replace(guarded(codec)[0], denoiser=lambda x, sigma, condition: latent)
    settings = replace(BASE, guidance=0.0, steps=1, draws=1)
    noise = [SeededNoise([1, 2, 3]) for _ in range(2)]
    assert bool((sds_loss(prior, wave, asks(prior), settings, noise[0]).residual > 0.1).all())
    forgiven = sds_loss(prior, wave, asks(prior), replace(settings, compensate=True), noise[1])
    torch.testing.assert_close(forgiven.residual, torch.zeros(3, dtype=DOUBLE), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("settings", [BASE, replace(BASE, windows=(8,)), replace(BASE, kind="encoder", draws=3)])
def test_an_item_does_not_depend_on_its_batch(settings: SdsSettings) -> None:
    """A maker taught alone, or in another order, becomes what it becomes in the batch."""
    prior, start = two_gaussians(0.4, 0.6), some_waves().detach()

    def taught(rows: list[int]) -> Tensor:
        names = [("a", "b", "a")[row] for row in rows]
        ask, noise = Ask(prior.embed(names)), SeededNoise([10 + row for row in rows])
        return optimise(Plain(), Free({"wave": start[rows]}), prior, ask, settings, noise).params.free["wave"]

    together = taught([0, 1, 2])
    near = {"rtol": 1e-9, "atol": 1e-12}  # the FFT adds in another order in other batches
    torch.testing.assert_close(taught([2, 0, 1]), together[[2, 0, 1]], **near)
    for row in range(3):
        torch.testing.assert_close(taught([row])[0], together[row], **near)


def test_the_same_seeds_give_the_same_sound() -> None:
    """Noise comes from its seeds alone, and other seeds differ."""
    first, again, other = (SeededNoise(seeds) for seeds in ([1, 2], [1, 2], [1, 3]))
    one, two, three = (source.normal((4, 5)) for source in (first, again, other))
    assert torch.equal(one, two)
    assert torch.equal(one[0], three[0])
    assert not torch.equal(one[1], three[1])


def test_times_are_drawn_where_they_should_be() -> None:
    """Draws of t are one in each equal part of the range; the falling schedule goes from high to low."""
    noise = SeededNoise(range(200))
    t = draw_t(noise, 4, 0.2, 0.6)
    parts = ((t - 0.2) / 0.1).floor()
    assert torch.equal(parts, torch.arange(4, dtype=DOUBLE).expand(200, 4))
    assert float(t.mean()) == pytest.approx(0.4, abs=0.01)
    falling = [draw_t(noise, 4, 0.2, 0.6, "falling", progress) for progress in (0.0, 0.5, 1.0)]
    assert [float(each.mean()) for each in falling] == pytest.approx([0.56, 0.40, 0.24], abs=0.01)
    assert all(0.2 <= float(each.min()) <= float(each.max()) <= 0.6 for each in falling)


def test_what_is_not_finite_moves_nothing_and_hurts_nobody() -> None:
    """A maker that breaks stands still and is counted; its neighbours learn on as if alone."""

    class Breaks(Plain):
        def render(self, params: Free, /) -> Tensor:
            wave = super().render(params)
            return torch.cat([wave[:1], wave[1:2] / 0.0, wave[2:]])

    prior, start = two_gaussians(), some_waves().detach()
    done = optimise(Breaks(), Free({"wave": start}), prior, asks(prior), BASE, SeededNoise([1, 2, 3]))
    whole = optimise(Plain(), Free({"wave": start}), prior, asks(prior), BASE, SeededNoise([1, 2, 3]))
    assert done.skipped.tolist() == [0, 12, 0]
    assert torch.equal(done.params.free["wave"][1], start[1])
    assert torch.equal(done.params.free["wave"][[0, 2]], whole.params.free["wave"][[0, 2]])


def test_the_best_is_kept_item_by_item() -> None:
    """With a judge, each item keeps the parameters of its own best look; without, those of the least residual."""
    prior, start = two_gaussians(), Free({"wave": torch.zeros(3, TIME, dtype=DOUBLE)})
    settings = replace(BASE, iterations=60, guidance=0.0)
    looks: list[Tensor] = []
    goal = 0.3 * MU_A  # on the way to MU_A: the best comes before the end

    def judge(wave: Tensor) -> Tensor:
        looks.append(wave.clone())
        return -(wave - goal).square().sum(dim=1)

    done = optimise(Plain(), start, prior, asks(prior), settings, Antithetic([1, 2, 3]), judge=judge, judge_every=5)
    assert len(looks) == 13
    assert 0 < int(done.best_iteration[0]) < 60
    for row in range(3):
        scores = torch.stack([-(look[row] - goal).square().sum() for look in looks])
        assert float(done.best_score[row]) == pytest.approx(float(scores.max()))
        torch.testing.assert_close(done.best.free["wave"][row], looks[int(scores.argmax())][row])
    alone = optimise(Plain(), start, prior, asks(prior), settings, Antithetic([1, 2, 3]))
    assert int(alone.best_iteration[0]) > 30


def test_where_the_judge_is_sure_the_later_moment_is_kept() -> None:
    """With `enough`, the last look that is as good as that; where none is, the best one as ever."""
    prior, start = two_gaussians(), Free({"wave": torch.zeros(2, TIME, dtype=DOUBLE)})
    said = iter([[0.999, 0.2], [0.98, 0.5], [0.991, 0.4], [0.6, 0.3], [0.1, 0.1]])

    def judge(wave: Tensor) -> Tensor:
        return torch.tensor(next(said))

    settings = replace(BASE, iterations=20, guidance=0.0, enough=0.97)
    ask = Ask(prior.embed(["a", "a"]))
    done = optimise(Plain(), start, prior, ask, settings, Antithetic([1, 2]), judge=judge, judge_every=5)
    assert done.best_iteration.tolist() == [10, 5]
    assert done.best_score.tolist() == pytest.approx([0.991, 0.5])


def test_another_loss_can_lead() -> None:
    """SDS is added to another loss with weight gamma: at 0 that loss rules alone, else both have their say."""
    prior, start = two_gaussians(), Free({"wave": torch.zeros(1, TIME, dtype=DOUBLE)})
    goal = -MU_A

    def also(wave: Tensor, params: Free) -> Tensor:
        return 0.5 * (wave - goal).square().sum(dim=1)

    found = {
        gamma: optimise(
            Plain(),
            start,
            prior,
            Ask(prior.embed(["a"])),
            replace(BASE, iterations=200, guidance=0.0, gamma=gamma, final_rate=0.0, t_low=0.7, t_high=0.7),
            Antithetic([1]),
            also=also,
        ).params.free["wave"]
        for gamma in (0.0, 1.0)
    }
    torch.testing.assert_close(found[0.0][0], goal, rtol=0.0, atol=2e-3)
    assert bool((found[1.0][0] - goal).abs().sum() > 0.2 * (MU_A - goal).abs().sum())


def test_gradients_only_where_set() -> None:
    """A parameter that the loss never used gets zeros, not None."""
    free = {"used": torch.ones(2, 3, requires_grad=True), "unused": torch.ones(2, 1, requires_grad=True)}
    skipped = set_gradients(free, free["used"].square().sum(dim=1))
    assert skipped.tolist() == [0, 0]
    assert free["unused"].grad is not None
    assert float(free["unused"].grad.abs().sum()) == 0.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kind": "both"}, "kind = 'both'.*decoder, encoder"),
        ({"t_low": 0.9, "t_high": 0.1}, "t from 0.9 to 0.1"),
        ({"steps": 11}, "steps = 11: allowed is 1 to 10"),
        ({"baseline": "zero"}, "baseline = 'zero'.*render, null"),
        ({"baseline": "null", "steps": 2}, "steps 2, start 'random' with baseline 'null': allowed are 1 step"),
        ({"draws": 0}, "draws = 0"),
        ({"windows": (6,)}, "multiple of 4"),
        ({"guidance": -1.0}, "guidance -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate nan"),
    ],
)
def test_wrong_settings_say_what_is_allowed(wrong: dict[str, Any], words: str) -> None:
    """A setting out of range is refused with its value and what is allowed."""
    with pytest.raises(ValueError, match=words):
        SdsSettings(**wrong)
