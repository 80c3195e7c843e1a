"""The small networks that are trained inside `fit`: their questions, their units, and where their tensors lie."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from soundlab import healthy

from detectors.autoencoder import FRAMES, Autoencoder, rebuilt
from detectors.base import placed
from detectors.filled import filled
from detectors.nearest import Nearest
from detectors.pretext import ALTERATIONS, alter, exchange, make_task, mixture
from detectors.selfsupervised import SelfSupervised
from detectors.training import batches, learning

HEALTHY = healthy(6)


def test_training_leaves_the_callers_state_alone() -> None:
    """Inside there are gradients and a seed, outside neither the mode nor the random numbers have changed."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with torch.inference_mode():
        with learning(1):
            first = torch.rand(3, requires_grad=True)
            assert first.sum().requires_grad
        assert torch.is_inference_mode_enabled()
        with learning(1):
            assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.rand(3), expected)


def test_batches_are_whole_and_cover_everything() -> None:
    """As many batches as asked for, all of one length, and every row once before any comes again."""
    drawn = list(batches(10, 4, 5))
    assert [len(part) for part in drawn] == [4] * 5
    for turn in (drawn[0:2], drawn[2:4]):
        assert len(set(torch.cat(turn).tolist())) == 8
    assert [len(part) for part in batches(3, 4, 2)] == [3, 3]


def test_doubted_cells_take_their_bands_mean() -> None:
    """What nothing is believed of becomes the mean of what is; even doubt, however small, leaves raw sound."""
    log_mel, doubt = HEALTHY.log_mel.clone(), torch.ones_like(HEALTHY.log_mel)
    doubt[:, 7, 3:9] = 0.0
    log_mel[:, 7, 3:9] = 300.0
    made, trust = filled(replace(HEALTHY, log_mel=log_mel, confidence=doubt))
    rest = torch.cat([log_mel[:, 7, :3], log_mel[:, 7, 9:]], dim=1).mean(1)
    torch.testing.assert_close(made[:, 7, 5], rest, rtol=0.0, atol=0.3)
    assert trust is not None
    assert float(trust[0, 7, 5]) < 1e-3
    same, none = filled(replace(HEALTHY, confidence=torch.full_like(log_mel, 0.2)))
    assert none is None
    assert torch.equal(same, HEALTHY.log_mel)


def test_mixtures_add_powers_and_exchanges_swap_statistics() -> None:
    """Half of each is the mean of powers; an exchange has the other's mean and deviation and its own course."""
    one, other = HEALTHY.log_mel[:3], HEALTHY.log_mel[3:]
    power = 0.5 * (10 ** (one / 10) + 10 ** (other / 10))
    torch.testing.assert_close(mixture(one, other, torch.full((3,), 0.5)), 10 * power.log10(), rtol=1e-3, atol=1e-3)
    swapped = exchange(one, other)
    torch.testing.assert_close(swapped.mean(-1), other.mean(-1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(swapped.std(-1), other.std(-1), rtol=1e-3, atol=1e-3)
    assert float(torch.corrcoef(torch.stack([swapped[0, 40], one[0, 40]]))[0, 1]) > 0.999


@pytest.mark.parametrize("how", ALTERATIONS[1:])
def test_an_alteration_changes_the_sound_and_not_its_input(how: str) -> None:
    """Each keeps the shape and stays finite; time reversal undoes itself; an unknown one is refused."""
    before = HEALTHY.log_mel.clone()
    with learning(0):
        made = alter(HEALTHY.log_mel, how)
    assert made.shape == before.shape
    assert torch.equal(HEALTHY.log_mel, before)
    assert bool(torch.isfinite(made).all())
    assert not torch.equal(made, before)
    if how == "reversed":
        assert torch.equal(alter(made, how), before)
    with pytest.raises(ValueError, match="alteration is 'none', allowed is one of up"):
        alter(before, "none")


def test_the_answers_sum_to_one() -> None:
    """Every example belongs wholly to somebody, mixtures to two, exchanged ones to classes of their own."""
    owner = torch.arange(6)
    with learning(2):
        task = make_task(HEALTHY.log_mel, owner, HEALTHY.log_mel.flip(0), owner.flip(0), 6)
    torch.testing.assert_close(task.whose.sum(1), torch.ones(6))
    assert task.whose.shape == (6, 18)
    assert int(task.altered.max()) < len(ALTERATIONS)


def test_the_nearest_is_the_plain_loop() -> None:
    """Distances and radii are those of a loop over pairs; contexts of one recording are no neighbours."""
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    groups = torch.tensor([0, 0, 1, 1, 2, 2, 3])
    nearest = Nearest.of(x, groups)
    radius = []
    for row in range(7):
        apart = sorted(float((x[row] - x[k]).norm()) for k in range(7) if groups[k] != groups[row])[:5]
        radius.append(sum(apart) / len(apart))
    torch.testing.assert_close(nearest.radius, torch.tensor(radius), rtol=1e-4, atol=1e-5)
    asked = torch.ones(1, 4)
    wanted = min(float((asked - x[k]).norm()) / radius[k] ** 0.5 for k in range(7))
    assert float(nearest.score(asked)) == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(ValueError, match="two recordings"):
        Nearest.of(x, torch.zeros(7, dtype=torch.long))


def test_the_autoencoders_score_is_the_plain_loop() -> None:
    """Mean squared error in dB squared over every five frames, one by one; batch normalisation is gone."""
    fitted = Autoencoder().fit(HEALTHY)
    state = fitted.state()
    layers = [(state[f"weight{number}"], state[f"bias{number}"]) for number in range(10)]
    errors = []
    for start in range(HEALTHY.log_mel.shape[-1] - FRAMES + 1):
        x = ((HEALTHY.log_mel[0, :, start : start + FRAMES] - state["mean"][:, None]) / state["scale"]).reshape(1, -1)
        errors.append(((rebuilt(layers, x) - x) * state["scale"]).square().mean())
    assert float(fitted.score(HEALTHY)[0]) == pytest.approx(float(torch.stack(errors).mean()), rel=1e-4)


@pytest.mark.parametrize("kind", [Autoencoder, SelfSupervised])
def test_a_detector_moves_with_all_its_tensors(kind: type[Autoencoder] | type[SelfSupervised]) -> None:
    """Placed on a device, every tensor of the state lies there, the score is the same, and the state is small."""
    fitted = kind().fit(HEALTHY)
    moved = placed(fitted, torch.device("cpu"))
    assert torch.equal(moved.score(HEALTHY), fitted.score(HEALTHY))
    assert {str(tensor.device) for tensor in moved.state().values()} == {"cpu"}
    assert sum(tensor.numel() * tensor.element_size() for tensor in fitted.state().values()) < 5_000_000
    on_meta = {name: tensor.to("meta") for name, tensor in fitted.state().items()}
    with pytest.raises((ValueError, RuntimeError, NotImplementedError)):
        kind.restore(on_meta)  # a tensor without values is no state
