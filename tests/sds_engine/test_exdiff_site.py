"""Site adaptation of Ex-Diff."""

from __future__ import annotations

import pytest
import torch

from sds_engine.separation.adapt import SNR_DB, Budget, SiteMixer, SiteSound
from sds_engine.separation.base import Query
from sds_engine.separation.enrolment import site_statistics
from sds_engine.separation.exdiff.adapt import adapt_exdiff
from sds_engine.separation.exdiff.mixing import Heard, mixed
from sds_engine.separation.exdiff.model import ExDiffModel, Variant
from sds_engine.separation.exdiff.network import ExDiffSize
from sds_engine.separation.exdiff.separator import asked_with
from sds_engine.separation.exdiff.training import Task, loss_of
from sds_engine.separation.grid import RATE
from sds_engine.separation.mixing import PAIRINGS
from sds_engine.separation.network import MaskNet, NetSize

GUIDE = NetSize(channels=192, dilations=(1,), query=8)
SMALL = ExDiffSize(channels=16, dilations=(1, 2), query=8, heads=2, ask=(0,))


@pytest.fixture(scope="module")
def site() -> SiteSound:
    """A hum and a hiss, 5 s each."""
    generator = torch.Generator().manual_seed(0)
    hum = 0.05 * torch.sin(2.0 * torch.pi * 200.0 * torch.arange(5 * RATE) / RATE)
    return SiteSound((hum,), (0.05 * torch.randn(5 * RATE, generator=generator),))


def model(variant: Variant = "latents") -> ExDiffModel:
    torch.manual_seed(0)
    return ExDiffModel(variant, None if variant == "mixture-only" else MaskNet(GUIDE), SMALL)


@pytest.mark.parametrize("variant", ["latents", "none", "mixture-only"])
def test_what_is_learned_is_of_the_site_and_the_seed(site: SiteSound, variant: Variant) -> None:
    """On other mixtures of the site the loss is lower, the given model stays, and the same seed gives the same."""
    start, query, budget = model(variant), Query(site.targets), Budget(10, 1e9)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    guide = None if variant == "mixture-only" else MaskNet(GUIDE)
    one, steps = adapt_exdiff(start, guide, site, query, budget=budget, rate_peak=1e-2)
    assert steps == 10
    if guide is not None:
        start.led_by(guide)
    mixer = SiteMixer(site, site_statistics(site.targets), seed=1)
    examples = Heard(*mixed(mixer.parts(0, 2), SNR_DB), asked_with(query, 2 * PAIRINGS))
    task = Task.of(examples, torch.Generator().manual_seed(0))
    assert float(loss_of(one, task).detach()) < float(loss_of(start, task).detach())
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
    again, _ = adapt_exdiff(model(variant), guide, site, query, budget=budget, rate_peak=1e-2)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)


def test_the_guide_is_the_sites(site: SiteSound) -> None:
    """What comes out is led by the extractor that was handed in, which is frozen and did not change."""
    torch.manual_seed(1)
    guide = MaskNet(GUIDE)
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    adapted, _ = adapt_exdiff(model(), guide, site, Query(site.targets), budget=Budget(2, 1e9))
    assert adapted.extractor is not None
    for name, value in adapted.extractor.state_dict().items():
        assert torch.equal(value, before[name])
    with pytest.raises(ValueError, match="mixture-only is not led"):
        model("mixture-only").led_by(guide)
