"""Ex-Diff on features: what it corrects there is what it corrects on the STFT."""

from __future__ import annotations

import torch

from sds_engine.separation.exdiff.bands import correct, look_at
from sds_engine.separation.exdiff.cells import decibels, pooled, spread
from sds_engine.separation.exdiff.model import Asked, ExDiffModel, Look
from sds_engine.separation.exdiff.network import LATENT, ExDiffSize
from sds_engine.separation.grid import BINS, analyse, log_mel, mel_bands, power
from sds_engine.separation.network import STATISTICS, MaskNet, NetSize, QueryInput


def model() -> ExDiffModel:
    torch.manual_seed(0)
    made = ExDiffModel("latents", MaskNet(NetSize(LATENT, (1,), 8)), ExDiffSize(16, (1,), 8, 2, 2, (0,)))
    torch.nn.init.normal_(made.net.last.weight, std=0.05)
    return made.eval()


def asked(batch: int) -> Asked:
    statistics = 0.1 * torch.randn(STATISTICS, generator=torch.Generator().manual_seed(1))
    return Asked(QueryInput.of(batch, statistics=statistics), torch.rand(BINS).add(0.1).expand(batch, -1))


def sounds() -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    time = torch.arange(16_000) / 16_000
    noise = 0.05 * torch.randn(2, 16_000, generator=generator)
    return noise + 0.1 * torch.sin(2 * torch.pi * torch.tensor([[440.0], [1200.0]]) * time)


def test_features_show_what_the_stft_shows() -> None:
    """Level and power of cells are the same; detail differs by little, above 4 kHz, where cells are several bins."""
    spectrum = analyse(sounds())
    bins = power(spectrum)
    fine = decibels(pooled(bins.transpose(1, 2))).transpose(1, 2)
    question = asked(2)
    ours, theirs = look_at(log_mel(bins), fine, question), Look.at(spectrum, question)
    torch.testing.assert_close(ours.power, theirs.power, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(ours.level, theirs.level, rtol=0.0, atol=1e-3)
    torch.testing.assert_close(ours.mel, theirs.mel)
    assert float((ours.detail - theirs.detail)[..., :200].abs().max()) < 0.01
    assert float((ours.detail - theirs.detail).abs().mean()) < 0.05


def test_the_correction_is_that_of_the_stft() -> None:
    """For one evaluation and for four: the gain on the complex STFT over the first guess, by power in every band."""
    made, question = model(), asked(2)
    spectrum = analyse(sounds())
    bins = power(spectrum)
    fine = decibels(pooled(bins.transpose(1, 2))).transpose(1, 2)
    with torch.inference_mode():
        look = Look.at(spectrum, question)
        seen = made.see(look)
        belief = made.predict(seen, seen.first(), 1.0)[1]
        shift = torch.logit(belief.gain.clamp(1e-4, 1 - 1e-4)) - seen.guess.logit
        logits, latents = made.extractor.answer(look.mel, question.query)
        found = correct(made, look.mel, fine, question, (logits, latents))
        four = correct(made, look.mel, fine, question, (logits, latents), nfe=4)
    weight = spread(look.power)[..., None] * mel_bands(torch.device("cpu"))  # [batch, frame, bin, mel]
    weight[..., -1, :] = 0.0
    expected = (weight * spread(shift)[..., None]).sum(2) / weight.sum(2)
    assert float(expected.abs().mean()) > 0.02
    torch.testing.assert_close(found.shift, expected.transpose(1, 2), rtol=0.0, atol=0.2)
    assert float((found.shift - expected.transpose(1, 2)).abs().mean()) < 0.01
    assert bool(torch.isfinite(four.shift).all())


def test_silence_is_left_alone() -> None:
    """Where nothing is heard nothing is corrected, and all numbers are finite."""
    made, question = model(), asked(1)
    quiet = torch.full((1, 128, 20), -100.0)
    logits, latents = torch.zeros(1, 128, 20), torch.zeros(1, 10, LATENT)
    found = correct(made, quiet, torch.full((1, 288, 20), -100.0), question, (logits, latents))
    assert float(found.shift.abs().max()) == 0.0
    assert float(found.spread.abs().max()) == 0.0
