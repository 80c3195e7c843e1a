"""The bridge of Ex-Diff against closed forms: a Gaussian target has an exact posterior mean, and all is linear then."""

import pytest
import torch
from torch import Tensor

from sds_engine.separation.exdiff.bridge import SIGMA, sample, times
from sds_engine.separation.exdiff.cells import CELLS, pooled, spread, unit_power, widths
from sds_engine.separation.grid import BINS

MEAN, SPREAD, START = 1.5, 0.4, -0.3


def slope(t: float) -> float:
    """Of E[x_0 | x_t] over what is known, D = x_t - t x_1 = (1 - t) x_0 + sigma sqrt(t (1 - t)) z, for x_0 Gaussian."""
    return SPREAD**2 * (1 - t) / (SPREAD**2 * (1 - t) ** 2 + SIGMA**2 * t * (1 - t)) if t < 1 else 0.0


def exact(x: Tensor, t: float) -> Tensor:
    """E[x_0 | x_t] for x_0 ~ N(MEAN, SPREAD^2) and x_1 = START."""
    return MEAN + slope(t) * (x - t * START - (1 - t) * MEAN)


def closed_form(evaluations: int, *, noisy: bool) -> tuple[float, float]:
    """Mean and variance of the sampler's answer: every step is affine in the last one's state."""
    mean, variance = START, 0.0
    asked = times(evaluations)
    for t, s in zip(asked, [*asked[1:], 0.0], strict=True):
        gain, offset = slope(t), MEAN - slope(t) * (t * START + (1 - t) * MEAN)  # x_0 = gain x_t + offset
        if s == 0.0:
            return gain * mean + offset, gain**2 * variance
        keep = s / t
        mean = (1 - keep) * (gain * mean + offset) + keep * mean
        variance = ((1 - keep) * gain + keep) ** 2 * variance
        variance += SIGMA**2 * s * (t - s) / t if noisy else 0.0
    raise AssertionError


@pytest.mark.parametrize("evaluations", [1, 2, 4, 30])
def test_the_sampler_has_the_distribution_of_its_closed_form(evaluations: int) -> None:
    """With the exact posterior mean of a Gaussian, mean and variance of the answers are those of the recursion."""
    generator = torch.Generator().manual_seed(0)
    start = torch.full((200_000,), START)
    found = sample(exact, start, evaluations, lambda x: torch.randn(x.shape, generator=generator))
    mean, variance = closed_form(evaluations, noisy=True)
    assert float(found.mean()) == pytest.approx(mean, abs=0.004)
    assert float(found.var()) == pytest.approx(variance, rel=0.02, abs=1e-9)


def test_many_steps_draw_from_the_target() -> None:
    """The more evaluations, the nearer the answers are to the target's own distribution; 400 are within 2%."""
    off = [abs(closed_form(count, noisy=True)[1] ** 0.5 / SPREAD - 1) for count in (4, 30, 400)]
    assert off[0] > off[1] > off[2]
    assert off[2] < 0.02
    assert closed_form(30, noisy=True)[0] == pytest.approx(MEAN, abs=1e-6)


def test_without_noise_the_answer_is_one_value() -> None:
    """Without noise every evaluation count answers the target's mean, the same every time."""
    start = torch.full((3,), START)
    for count in (1, 2, 4, 30):
        found = sample(exact, start, count, None)
        assert torch.allclose(found, torch.full((3,), MEAN), atol=1e-5)


def test_times_run_down_from_one() -> None:
    """The first evaluation is at the bridge's start, none at its end; fewer than one is refused."""
    assert times(4) == [1.0, 0.75, 0.5, 0.25]
    with pytest.raises(ValueError, match="allowed is 1 or more"):
        times(0)


def test_cells_hold_their_bins() -> None:
    """What is the same within cells survives; widths count every bin but the last; units are 3 x 3 means."""
    cells = torch.rand(2, 5, CELLS, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(pooled(spread(cells)), cells, atol=1e-6)
    assert float(widths(cells.device).sum()) == BINS - 1
    bins = torch.rand(2, BINS, generator=torch.Generator().manual_seed(1))
    assert float((pooled(bins) * widths(bins.device)).sum()) == pytest.approx(float(bins[:, :-1].sum()), rel=1e-5)
    around = torch.nn.functional.avg_pool2d(cells[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    assert torch.allclose(unit_power(cells), around, atol=1e-6)
    assert torch.equal(unit_power(cells[:, :1, :1]), cells[:, :1, :1])
