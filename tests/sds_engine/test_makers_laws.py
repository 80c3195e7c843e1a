"""What must hold of every maker, whatever it makes."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from sds_engine.makers import KINDS, Bound, Maker, Params, Resonances, draw_resonances, maker_for
from sds_engine.makers.base import seeds_of
from sds_engine.physics.bearings import Bearing
from sds_engine.physics.faults import FAULT_KINDS

SHORT = 0.5
EVERY = sorted(KINDS)


def short(kind: str) -> tuple[Maker, Params]:
    maker = maker_for(kind, 16_000, SHORT)
    return maker, maker.start(3, [5, 6, 7], body="plate")  # of the struck bodies the one with two coordinates


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_fault_has_a_maker() -> None:
    """All ten fault kinds, the impact and FM can be asked for by name, and nothing else."""
    assert {*FAULT_KINDS, "impact", "fm"} == set(KINDS)
    assert all(maker_for(kind, 16_000).kind == kind for kind in KINDS)
    with pytest.raises(ValueError, match="allowed is one of ball"):
        maker_for("hum", 16_000)


@pytest.mark.parametrize("kind", EVERY)
def test_sound_is_finite_loud_and_within_full_scale(kind: str) -> None:
    """A start makes sound of the level it says, never reaching full scale, and nothing about it is implausible."""
    maker, params = short(kind)
    wave = maker.render(params).detach()
    assert wave.shape == (3, 8000)
    assert float(wave.abs().max()) < 0.981
    assert maker.check(params) == [[], [], []]
    level = 20.0 * wave.square().mean(dim=1).sqrt().log10()
    assert torch.allclose(level, torch.full((3,), maker.start_db), atol=1.0)


@pytest.mark.parametrize("kind", EVERY)
def test_same_seed_same_sound_whoever_is_beside(kind: str) -> None:
    """An item depends on its own seed alone: not on batch mates, order or earlier calls."""
    maker, params = short(kind)
    wave = maker.render(params).detach()
    alone = maker.render(maker.start(1, [6], body="plate"))
    turned = maker.render(maker.start(3, [7, 6, 5], body="plate"))
    torch.testing.assert_close(wave[1:2], alone, rtol=0, atol=2e-5)
    torch.testing.assert_close(wave.flip(0), turned, rtol=0, atol=2e-5)
    assert torch.equal(wave, maker.render(params))
    torch.testing.assert_close(maker.render(params.pick([2])), wave[2:], rtol=0, atol=2e-5)
    assert not torch.allclose(wave[0], wave[1], atol=1e-3)


@pytest.mark.parametrize("kind", EVERY)
def test_every_parameter_moves_the_sound(kind: str) -> None:
    """The gradient of a loss on the sound is finite everywhere and non-zero for every parameter of every item."""
    maker, params = short(kind)
    wave = maker.render(params)
    (wave * torch.randn(wave.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    for name, value in params.free.items():
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
        still = value.grad.abs().amax(dim=1) == 0.0
        assert not still.any(), f"{name} moves nothing in items {still.nonzero().flatten().tolist()}"


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("extreme", [-1e9, -40.0, 40.0, torch.inf])
def test_no_tensor_can_leave_physics(kind: str, extreme: float) -> None:
    """Whatever stands in the free tensors, values stay in their bounds and sound and gradients finite."""
    maker, params = short(kind)
    wild = params.with_free({name: torch.full_like(value, extreme) for name, value in params.free.items()}).leaves()
    for name, value in maker.values(wild).items():
        bound = maker.bounds[name]
        slack = 1e-6 * (abs(bound.low) + abs(bound.high))
        assert float(value.detach().min()) >= bound.low - slack, name
        assert float(value.detach().max()) <= bound.high + slack, name
    wave = maker.render(wild)
    assert torch.isfinite(wave).all()
    assert float(wave.detach().abs().max()) < 0.981
    wave.square().sum().backward()
    assert all(value.grad is not None and torch.isfinite(value.grad).all() for value in wild.tensors())


@pytest.mark.parametrize("kind", EVERY)
def test_a_random_walk_of_the_parameters_keeps_the_sound_finite(kind: str) -> None:
    """Starting anywhere in the unconstrained space, sound and gradients are finite."""
    maker, params = short(kind)
    noise = torch.Generator().manual_seed(3)
    for size in (1.0, 5.0):
        free = {n: v + size * torch.randn(v.shape, generator=noise) for n, v in params.free.items()}
        moved = params.with_free(free).leaves()
        wave = maker.render(moved)
        wave.abs().sum().backward()
        assert torch.isfinite(wave).all()
        assert all(v.grad is not None and torch.isfinite(v.grad).all() for v in moved.tensors())


@pytest.mark.parametrize("kind", EVERY)
def test_gradients_agree_with_differences(kind: str) -> None:
    """On a tiny case in float64 the gradient along a random direction is what central differences say.

    To 0.2%: tables read by straight lines have kinks, which a difference may step over.
    """
    maker = maker_for(kind, 8_000, 0.1)
    params = maker.start(1, [11]).to(dtype=torch.float64)
    noise = torch.Generator().manual_seed(5)
    weight = torch.randn(1, maker.samples, generator=noise, dtype=torch.float64)
    for name, value in params.free.items():
        way = torch.randn(value.shape, generator=noise, dtype=torch.float64)
        step = 1e-6
        sides = []
        for sign in (-1.0, 1.0):
            free = {n: v.detach() + (sign * step * way if n == name else 0.0) for n, v in params.free.items()}
            sides.append(float((maker.render(params.with_free(free)) * weight).sum()))
        (slope,) = torch.autograd.grad((maker.render(params) * weight).sum(), value)
        expected = (sides[1] - sides[0]) / (2.0 * step)
        assert float((slope * way).sum()) == pytest.approx(expected, rel=2e-3, abs=2e-6), name


@pytest.mark.parametrize("kind", EVERY)
def test_one_table_of_physics_serves_every_maker(kind: str) -> None:
    """A machine's whole table can be handed to any maker; what it is told it uses."""
    bearing = Bearing(9, 7.94, 39.04)
    modes = Resonances(np.array([900.0, 2500.0]), np.array([0.02, 0.03]), np.array([1.0, -0.5]))
    maker = maker_for(kind, 16_000, SHORT)
    params = maker.start(
        2, 3, shaft_hz=25.0, bearing=bearing, teeth=21, blades=7, resonances=modes, f0_hz=110.0, level_db=-40.0
    )
    facts = maker.physical(params)
    if "shaft_hz" in facts:
        assert torch.allclose(facts["shaft_hz"], torch.tensor(25.0), rtol=1e-3)
    assert torch.allclose(maker.render(params).square().mean(1).sqrt().log10() * 20.0, torch.tensor(-40.0), atol=1.0)
    assert maker.check(params) == [[], []]


def test_wrong_use_says_what_is_allowed() -> None:
    """Unknown physics, impossible numbers, wrong counts of seeds and odd settings are refused in words."""
    maker = maker_for("outer_race", 16_000)
    with pytest.raises(ValueError, match="physics rpm is unknown"):
        maker.start(1, 0, rpm=1500.0)  # type: ignore[misc]
    with pytest.raises(ValueError, match=r"shaft_hz is 0.0, allowed is 0.5 to 400 Hz"):
        maker.start(1, 0, shaft_hz=0.0)
    with pytest.raises(ValueError, match="2 seeds for 3 sounds"):
        maker.start(3, [1, 2])
    with pytest.raises(ValueError, match="batch is 0"):
        maker.start(0, 1)
    with pytest.raises(ValueError, match=r"allowed is 4000 Hz or more"):
        maker_for("leak", 2000)
    with pytest.raises(ValueError, match="allowed are beam, plate, ring of steel"):
        maker_for("impact", 16_000).start(1, 0, material="cheese")
    with pytest.raises(ValueError, match="allowed is one of seat"):
        draw_resonances("jelly", np.random.default_rng(0))
    with pytest.raises(ValueError, match="kind is 'leak', allowed is one of outer_race"):
        KINDS["outer_race"](kind="leak")


def test_seeds_from_numbers_lists_and_generators() -> None:
    """A number counts up, a list is taken as it is, a generator draws; the same generator state draws the same."""
    assert seeds_of(3, 7) == (7, 8, 9)
    assert seeds_of(2, [9, 1]) == (9, 1)
    assert seeds_of(2, np.random.default_rng(4)) == seeds_of(2, np.random.default_rng(4))


@pytest.mark.parametrize("bound", [Bound(1.0, 100.0, "Hz", log=True), Bound(-20.0, 3.0, "dB")])
def test_bounds_invert(bound: Bound) -> None:
    """A physical value goes to its free value and back, except within the edge, where it is moved off the bound."""
    inside = np.array([bound.low + 0.3 * (bound.high - bound.low)])
    there = bound.physical(torch.from_numpy(bound.free(inside)))
    assert float(there[0]) == pytest.approx(float(inside[0]), rel=1e-9)
    edge = float(bound.physical(torch.from_numpy(bound.free(np.array([bound.high]))))[0])
    assert bound.low < edge < bound.high


def test_params_refuse_other_names_and_nan_is_reported() -> None:
    """Free tensors of another maker do not fit, and a NaN is named by `check` instead of being heard."""
    maker, params = short("leak")
    with pytest.raises(ValueError, match="do not fit"):
        params.with_free({"x": torch.zeros(3, 1)})
    broken = params.with_free({**params.free, "slope": torch.tensor([[0.0], [torch.nan], [0.0]])})
    words = maker.check(broken)
    assert words[0] == []
    assert any("slope is not a number" in word for word in words[1])
