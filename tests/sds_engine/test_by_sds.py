"""SDS as a separator: oracles with an exact prior, and a slice on the shipped one."""

from __future__ import annotations

import pytest
import torch
from humknocks import hum_and_knocks
from torch import Tensor

from sds_engine.dsp import si_sdr
from sds_engine.priors.denoiser import Prior
from sds_engine.priors.gaussian import Mixture, oracle_prior
from sds_engine.sds import SdsSettings, SeparationSettings
from sds_engine.separation.base import Query, QueryError
from sds_engine.separation.by_sds import BySds, by_sds, taught_sound
from sds_engine.separation.lineup import MethodError, sds, separator_named

TIME = 4096
SETTINGS = SeparationSettings(
    SdsSettings(guidance=0.0, steps=1, draws=2, windows=(256, 1024), gamma=1.0, iterations=100), "wave"
)


@pytest.fixture(scope="module")
def prior() -> Prior:
    """Prompts "hum" and "knock", each a Gaussian around the true sound as `BySds` hears it: at RMS 1 of the mixture."""
    hum, knock = hum_and_knocks(TIME)
    level = (hum + knock).square().mean().sqrt()
    mixture = Mixture(torch.stack([hum, knock]) / level, torch.full((2, TIME), 0.3), torch.ones(2) / 2)
    return oracle_prior(mixture, ["hum", "knock"])


def asked(prior: Prior, prompt: str) -> Query:
    return Query(prompt=prior.embed([prompt])[0])


def test_each_prompt_brings_out_its_sound(prior: Prior) -> None:
    """With exact priors each of two soft sounds gains 10 dB SI-SDR at least, and the parts add up to the mixture."""
    hum, knock = hum_and_knocks(TIME)
    mix = 0.01 * (hum + knock)[None]
    for wanted, other, truth in (("hum", "knock", hum), ("knock", "hum", knock)):
        found = BySds(prior, others=[other], settings=SETTINGS)(mix, asked(prior, wanted))
        assert float(si_sdr(found.target[0], truth) - si_sdr(mix[0], truth)) > 10.0
        torch.testing.assert_close(found.target + found.residual, mix, rtol=0.0, atol=1e-7)
        assert float(found.mask.min()) >= 0.0
        assert float(found.mask.max()) <= 1.0


def test_the_seed_decides_and_batch_mates_do_not(prior: Prior) -> None:
    """The same seed gives the same parts, another one others; a mixture among others is separated as if alone."""
    hum, knock = hum_and_knocks(TIME)
    rows = 0.05 * torch.stack([hum + knock, hum - knock])
    few = SeparationSettings(SdsSettings(guidance=0.0, steps=1, draws=1, windows=(256,), iterations=3), "wave")

    def run(mix: Tensor, seed: int) -> Tensor:
        return BySds(prior, others=["knock"], settings=few, seed=seed)(mix, asked(prior, "hum")).mask

    both = run(rows, 1)
    assert torch.equal(both, run(rows, 1))
    assert not torch.allclose(both, run(rows, 2), atol=1e-4)
    torch.testing.assert_close(run(rows[1:], 1), both[1:], rtol=0.0, atol=1e-5)


def test_silence_stays_silence_and_callers_may_infer(prior: Prior) -> None:
    """Silence in, silence out, without a number that is not finite; inference mode around it is no obstacle."""
    with torch.inference_mode():
        found = BySds(prior, others=["knock"], settings=SETTINGS)(torch.zeros(1, TIME), asked(prior, "hum"))
    assert float(found.target.abs().max()) == float(found.residual.abs().max()) == 0.0
    assert bool(torch.isfinite(found.mask).all())


def test_what_is_asked_wrongly_is_told(prior: Prior) -> None:
    """No prompt, no other prompt, another rate and methods that take no evaluations are errors that say what to do."""
    with pytest.raises(QueryError, match="--prompt"):
        BySds(prior, others=["knock"], settings=SETTINGS)(torch.zeros(1, TIME), Query((torch.zeros(TIME),)))
    with pytest.raises(ValueError, match="one or more"):
        BySds(prior, others=[])
    with pytest.raises(MethodError, match="takes no number"):
        separator_named("sds", nfe=4)


def test_a_missing_prior_is_told(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the prior's files are not there the error names the folder and the remedy."""
    from pathlib import Path

    from sds_engine.priors import shipped

    monkeypatch.setattr(shipped, "SHIPPED", Path(str(tmp_path)) / "nowhere")
    with pytest.raises(MethodError, match=r"nowhere.*prior train"):
        sds()


def test_as_a_teacher_it_gives_targets_and_background(prior: Prior) -> None:
    """Recordings of a working hall become a target and a background each, which add up to them."""
    hum, knock = hum_and_knocks(TIME)
    mix = 0.05 * (hum + knock)
    site = taught_sound([mix, mix], BySds(prior, others=["knock"], settings=SETTINGS), asked(prior, "hum"))
    assert len(site.targets) == len(site.background) == 2
    torch.testing.assert_close(site.targets[0] + site.background[0], mix, rtol=0.0, atol=1e-6)


def test_a_slice_on_the_shipped_prior() -> None:
    """Three seconds with the shipped prior: pieces are joined, every round is watched, and the parts add up."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(48_000) / 16_000
    mix = (0.05 * torch.sin(2 * torch.pi * 120 * time) + 0.02 * torch.randn(48_000, generator=generator))[None]
    rounds: list[int] = []
    separator = by_sds(others=["people talking"], iterations=1, watch=lambda: rounds.append(1))
    found = separator(mix, Query(prompt=torch.nn.functional.normalize(torch.ones(384), dim=0)))
    torch.testing.assert_close(found.target + found.residual, mix, rtol=0.0, atol=1e-6)
    assert len(rounds) == separator.rounds(48_000) == 1
    assert 0.1 < float(found.target.square().sum() / mix.square().sum()) < 0.9
    assert separator.nfe == 8
