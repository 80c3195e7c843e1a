"""Ex-Diff as a separator: untrained it is the extractor, silence stays silence, the same seed says the same."""

import pytest
import torch
from separationscene import SECONDS, hum
from torch import Tensor

from sds_engine.dsp import si_sdr
from sds_engine.separation.base import Query, QueryError
from sds_engine.separation.exdiff.bridge import SIGMA
from sds_engine.separation.exdiff.model import Belief, ExDiffModel, Guess, Look, in_phase, weights
from sds_engine.separation.exdiff.network import ExDiffSize
from sds_engine.separation.exdiff.separator import ExDiff, asked_with
from sds_engine.separation.extractor import Extractor
from sds_engine.separation.grid import RATE, analyse
from sds_engine.separation.network import TEXT, MaskNet, NetSize

GUIDE = NetSize(channels=192, dilations=(1, 2), query=8)
SMALL = ExDiffSize(channels=16, dilations=(1, 2), query=8, heads=2, ask=(0,))


def hiss(seed: int, seconds: float = SECONDS) -> Tensor:
    """Noise [time]."""
    return 0.03 * torch.randn(round(seconds * RATE), generator=torch.Generator().manual_seed(seed))


def guide() -> MaskNet:
    """An extractor of random weights that does something."""
    torch.manual_seed(0)
    net = MaskNet(GUIDE)
    torch.nn.init.normal_(net.last.weight, std=0.05)
    return net.eval()


def made(variant: str = "latents", *, trained: bool = True) -> ExDiffModel:
    """A small model; `trained` gives it random last weights, so that it answers differently from the extractor."""
    model = ExDiffModel(variant, None if variant == "mixture-only" else guide(), SMALL)  # type: ignore[arg-type]
    if trained:
        torch.manual_seed(1)
        torch.nn.init.normal_(model.net.last.weight, std=0.1)
        for name, weight in model.net.named_parameters():
            if name.startswith("ask.") and name.endswith("out.weight"):
                torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


QUERY = Query((hum(7), hum(8)))
MIX = torch.stack([hum(number) + hiss(number) for number in range(3)])


@pytest.mark.parametrize("nfe", [1, 2, 4, 30])
def test_untrained_it_is_the_extractor(nfe: int) -> None:
    """The identity twin: with fresh weights the answer is the extractor's, whatever the evaluations."""
    plain = Extractor(guide())(MIX, QUERY)
    twin = ExDiff(made(trained=False), nfe=nfe)(MIX, QUERY)
    assert torch.allclose(twin.mask[:, :256], plain.mask[:, :256], atol=2e-3)
    assert float(si_sdr(twin.target, plain.target).min()) > 30.0  # bins above 4 kHz go by eight


@pytest.mark.parametrize("variant", ["latents", "none", "mixture-only", "joint"])
def test_the_parts_add_up(variant: str) -> None:
    """Target and residual are the mixture, masks lie in 0..1, the unmasked answer is another sound of that length."""
    found = ExDiff(made(variant), nfe=2, seed=3).enhance(MIX, QUERY)
    assert torch.allclose(found.separated.target + found.separated.residual, MIX, atol=1e-6)
    for part in (found.separated.mask, found.confidence):
        assert part.shape == analyse(MIX).shape
        assert 0.0 <= float(part.min()) <= float(part.max()) <= 1.0
    assert found.unmasked.shape == MIX.shape
    assert not torch.allclose(found.unmasked, found.separated.target, atol=1e-4)


@pytest.mark.parametrize("seed", [None, 5])
def test_nothing_is_invented_in_the_silence(seed: int | None) -> None:
    """Where the mixture is silent for half a second both answers are; a silent mixture stays silent."""
    mix = MIX.clone()
    mix[:, 12_000:20_000] = 0.0
    found = ExDiff(made(), nfe=4, seed=seed).enhance(mix, QUERY)
    inside = slice(12_000 + 1024, 20_000 - 1024)
    assert float(found.separated.target[:, inside].abs().max()) == 0.0
    assert float(found.unmasked[:, inside].abs().max()) < 1e-6
    nothing = ExDiff(made(), nfe=4, seed=seed).enhance(torch.zeros(2, RATE), QUERY)
    assert float(nothing.unmasked.abs().max()) == 0.0
    assert float(nothing.separated.target.abs().max()) == 0.0
    assert bool(torch.isfinite(nothing.confidence).all())


def test_the_same_seed_says_the_same() -> None:
    """A seed decides what is drawn, another draws otherwise; no row depends on the others; without, nothing is."""
    method = ExDiff(made(), nfe=3, seed=1)
    one = method.enhance(MIX, QUERY)
    assert torch.equal(one.unmasked, method.enhance(MIX, QUERY).unmasked)
    assert torch.allclose(one.unmasked[1:2], method.enhance(MIX[1:2], QUERY).unmasked, atol=1e-6)
    assert not torch.allclose(one.unmasked, ExDiff(made(), nfe=3, seed=2).enhance(MIX, QUERY).unmasked, atol=1e-4)
    calm = ExDiff(made(), nfe=3)
    assert torch.equal(calm(MIX, QUERY).target, calm(MIX, QUERY).target)


def test_latents_are_listened_to() -> None:
    """Latents of another sound change the answer where there is attention, and nothing without it."""
    for variant, same in (("latents", False), ("none", True)):
        model = made(variant)
        right, wrong = (ExDiff(model, shuffled=shuffled)(MIX, QUERY).mask for shuffled in (False, True))
        assert torch.equal(right, wrong) == same


def test_latents_are_those_of_the_sound_at_large() -> None:
    """Latents are means over tokens to either side, at the ends over fewer, without a reach over the whole sound."""
    latents = torch.randn(2, 9, 3)
    guess = Guess(torch.zeros(2, 9, 4), latents)
    near, whole = guess.around(2).latents, guess.around(None).latents
    assert near is not None
    assert whole is not None
    assert torch.allclose(near[:, 4], latents[:, 2:7].mean(1), atol=1e-6)
    assert torch.allclose(near[:, 0], latents[:, :3].mean(1), atol=1e-6)
    assert torch.allclose(whole, latents.mean(1, keepdim=True).expand_as(latents))
    assert torch.equal(guess.around(9).latents, whole)
    assert Guess(guess.logit, None).around(2).latents is None


def test_attention_does_not_look_far() -> None:
    """What happens far away changes nothing: a long sound's answer does not depend on where it is cut."""
    model = made()
    torch.manual_seed(2)
    hidden, latents = torch.randn(1, 60, 16), torch.randn(1, 60, 192)
    ask = model.net.ask["0"]
    whole = ask(hidden, latents)
    assert torch.allclose(ask(hidden[:, :40], latents[:, :40])[:, :24], whole[:, :24], atol=1e-5)


def test_queries_are_those_of_the_extractor() -> None:
    """It is asked by sound, words or both, never by nothing; batches of one and odd lengths pass."""
    torch.manual_seed(0)
    words = Query(prompt=torch.randn(TEXT))
    assert ExDiff(made())(MIX[:1, :1001], words).target.shape == (1, 1001)
    with pytest.raises(QueryError, match="needs a query"):
        ExDiff(made())(MIX, Query())
    with pytest.raises(ValueError, match="nfe is 0"):
        ExDiff(made(), nfe=0)
    with pytest.raises(ValueError, match="goes with an extractor"):
        ExDiffModel("latents", None, SMALL)
    with pytest.raises(ValueError, match="goes without an extractor"):
        ExDiffModel("mixture-only", guide(), SMALL)


def test_a_bridge_point_is_weighed_by_bayes() -> None:
    """The weights of mixture and point are those of a Gaussian prior times a Gaussian likelihood, on a fine grid."""
    look = Look.at(analyse(MIX[:1]), asked_with(QUERY, 1))
    gain, variance, t = 0.4, 0.3, 0.6
    unit, mixture, known = float(look.unit[0, 9, 40]), 0.7, 0.2
    shape = look.unit.shape
    belief = Belief(torch.full(shape, gain), torch.full(shape, variance))
    a, w = weights(look, belief, torch.tensor([t]))
    found = float(a[0, 9, 40]) * mixture + float(w[0, 9, 40]) * known
    s = torch.linspace(-6.0, 6.0, 200_001, dtype=torch.float64)
    log = -((s - gain * mixture) ** 2) / variance - (known - (1 - t) * s) ** 2 / (SIGMA**2 * t * (1 - t) * unit)
    density = (log - log.max()).exp()
    assert found == pytest.approx(float((density * s).sum() / density.sum()), abs=1e-4)


def test_a_point_in_phase_is_a_gain() -> None:
    """Half of the mixture is heard as one half, a quarter turn away as nothing."""
    look = Look.at(analyse(MIX), asked_with(QUERY, len(MIX)))
    loud = look.power > 1e-6
    assert torch.allclose(in_phase(0.5 * look.mixture, look)[loud], torch.tensor(0.5), atol=1e-4)
    assert torch.allclose(in_phase(0.5j * look.mixture, look)[loud], torch.tensor(0.0), atol=1e-4)
