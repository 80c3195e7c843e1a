"""Separators keep one promise: two parts that add up to the mixture, masks in 0..1; and each does what it is for."""

import pytest
import torch
from separationscene import SECONDS, hum
from torch import Tensor

from detectors.frontend import FrontEnd, mel_matrix
from sds_engine.dsp import si_sdr
from sds_engine.separation.base import Query, QueryError, Separator
from sds_engine.separation.classical import IdealRatioMask, Mixture, SpectralGating, Wiener
from sds_engine.separation.exdiff.model import ExDiffModel
from sds_engine.separation.exdiff.network import ExDiffSize
from sds_engine.separation.exdiff.separator import ExDiff
from sds_engine.separation.extractor import Extractor
from sds_engine.separation.grid import HOP, N_FFT, RATE, analyse, apply_mask, mel_bands, mel_to_bins, synthesise
from sds_engine.separation.lineup import EX_DIFF, METHODS, MethodError, separator_named
from sds_engine.separation.network import TEXT, MaskNet, NetSize
from sds_engine.separation.nmf import Nmf, factorise

SMALL = NetSize(channels=16, dilations=(1, 2), query=8)


def hiss(seed: int, seconds: float = SECONDS) -> Tensor:
    """A background: noise above 2 kHz, [time]."""
    generator = torch.Generator().manual_seed(1000 + seed)
    spectrum = torch.fft.rfft(torch.randn(round(seconds * RATE), generator=generator))
    spectrum[: round(2000 * seconds)] *= 0.05
    return 0.1 * torch.fft.irfft(spectrum, n=round(seconds * RATE))


def scene() -> tuple[Tensor, Tensor, Query]:
    """Mixtures [3, time], the machine's part, and a query with everything in it."""
    wanted = torch.stack([hum(number) for number in range(3)])
    rest = torch.stack([hiss(number) for number in range(3)])
    torch.manual_seed(0)
    query = Query((hum(7), hum(8)), (hiss(7), hiss(8)), torch.randn(TEXT), wanted)
    return wanted + rest, wanted, query


def make(name: str) -> Separator:
    """The method; the extractor with small random weights."""
    if name == "extractor":
        torch.manual_seed(0)
        return Extractor(MaskNet(SMALL))
    if name == EX_DIFF:
        torch.manual_seed(0)
        return ExDiff(ExDiffModel("none", MaskNet(SMALL), ExDiffSize(channels=16, dilations=(1, 2), query=8)), nfe=2)
    return separator_named(name)


ALL = [*METHODS, IdealRatioMask.name]


@pytest.mark.parametrize("name", ALL)
def test_the_parts_add_up(name: str) -> None:
    """Target and residual add up to the mixture, the mask lies in 0..1 on its STFT, and no band gains energy."""
    mix, _, query = scene()
    before = mix.clone()
    found = make(name)(mix, query)
    assert torch.equal(mix, before)
    assert torch.allclose(found.target + found.residual, mix, atol=1e-6)
    assert found.mask.shape == analyse(mix).shape
    assert float(found.mask.min()) >= 0.0
    assert float(found.mask.max()) <= 1.0
    assert torch.allclose(found.target, apply_mask(mix, found.mask).target, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_silence_stays_silent_and_rows_stay_apart(name: str) -> None:
    """Silence gives silence, and a mixture is separated the same whoever its batch mates are."""
    mix, wanted, query = scene()
    mix[1] = 0.0
    wanted = wanted.clone()
    wanted[1] = 0.0
    method = make(name)
    whole = method(mix, Query(query.enrolment, query.background, query.prompt, wanted))
    assert float(whole.target[1].abs().max()) == 0.0
    assert bool(torch.isfinite(whole.mask).all())
    alone = method(mix[2:], Query(query.enrolment, query.background, query.prompt, wanted[2:]))
    assert torch.allclose(whole.target[2:], alone.target, atol=1e-5)


@pytest.mark.parametrize("name", ["wiener", "nmf", "spectral-gating", IdealRatioMask.name])
def test_a_hum_comes_out_of_hiss(name: str) -> None:
    """Where machine and background lie in different bands, every method but the identity gains; the oracle most."""
    mix, wanted, query = scene()
    gate = name == "spectral-gating"
    asked = Query(query.enrolment, query.background if not gate else (hiss(5),), None, wanted)
    gain = (si_sdr(make(name)(mix, asked).target, wanted) - si_sdr(mix, wanted)).mean()
    assert float(gain) > (0.5 if gate else 3.0)
    best = (si_sdr(make(IdealRatioMask.name)(mix, asked).target, wanted) - si_sdr(mix, wanted)).mean()
    assert float(gain) <= float(best) + 1e-3


def test_an_untrained_net_is_the_enrolments_answer() -> None:
    """Before any training the share is the enrolment's mean power over the mixture's, so steady machines come out."""
    mix, wanted, query = scene()
    torch.manual_seed(0)
    extractor = Extractor(MaskNet(SMALL))
    gain = (si_sdr(extractor(mix, Query(query.enrolment)).target, wanted) - si_sdr(mix, wanted)).mean()
    assert float(gain) > 3.0
    assert torch.allclose(extractor.mel_mask(mix, Query(prompt=query.prompt)), torch.tensor(0.5))


def test_wiener_is_the_closed_form() -> None:
    """For white noise of powers a and b the filter is a / (a + b) everywhere."""
    generator = torch.Generator().manual_seed(0)
    wanted, rest = 0.1 * torch.randn(20 * RATE, generator=generator), 0.2 * torch.randn(20 * RATE, generator=generator)
    mask = Wiener()((wanted + rest)[None], Query((wanted,), (rest,))).mask
    assert float((mask[:, 1:-1] - 0.2).abs().mean()) < 0.02


def test_the_divergence_of_nmf_never_rises() -> None:
    """Multiplicative updates lower the Kullback-Leibler divergence round by round (Lee and Seung, 2001)."""
    generator = torch.Generator().manual_seed(0)
    magnitude = torch.rand(40, 30, generator=generator)
    start = torch.rand(40, 6, generator=generator)

    def divergence(rounds: int) -> float:
        bases, active = factorise(magnitude, start, 2, rounds, torch.Generator().manual_seed(1))
        assert torch.equal(bases[:, :2], start[:, :2])
        model = bases @ active
        return float((magnitude * (magnitude / model).log() - magnitude + model).sum())

    course = [divergence(rounds) for rounds in (1, 2, 5, 20, 60)]
    assert course == sorted(course, reverse=True)


def test_the_grid_is_the_front_ends() -> None:
    """STFT and inverse return the sound, and the mel bands are those that the detectors hear."""
    sound = torch.randn(2, 12_345)
    assert torch.allclose(synthesise(analyse(sound), 12_345), sound, atol=1e-5)
    front_end = FrontEnd.at(RATE)
    assert (front_end.n_fft, front_end.hop) == (N_FFT, HOP)
    assert torch.equal(mel_bands(torch.device("cpu")), mel_matrix(front_end, torch.device("cpu")))


def test_a_constant_mel_mask_stays_constant() -> None:
    """From bands to bins nothing is lost or won: 0.3 everywhere is 0.3 everywhere."""
    mask = mel_to_bins(torch.full((1, 128, 5), 0.3))
    assert torch.allclose(mask, torch.full_like(mask, 0.3), atol=1e-6)


@pytest.mark.parametrize("method", [Wiener(), Nmf(), IdealRatioMask(), Extractor(MaskNet(SMALL))])
def test_a_query_that_says_too_little_is_refused(method: Separator) -> None:
    """A method that needs enrolment, a prompt or the truth says so, and names the option."""
    with pytest.raises(QueryError, match=r"need"):
        method(torch.zeros(1, RATE), Query())


def test_methods_that_do_not_exist_say_so() -> None:
    """Names that there are not list those that there are; comparisons say how they are trained; nfe is Ex-Diff's."""
    with pytest.raises(MethodError, match="wiener"):
        separator_named("magic")
    with pytest.raises(MethodError, match=r"not shipped.*--variant mixture-only"):
        separator_named("mixture-diffusion")
    with pytest.raises(MethodError, match="takes no number of evaluations"):
        separator_named("wiener", nfe=2)
    for name, nfe in (("exdiff-0", None), ("exdiff-4", 2)):
        with pytest.raises(MethodError, match="allowed is 1 or more"):
            separator_named(name, nfe=nfe)


def test_wrong_sound_is_refused() -> None:
    """Sound of another shape or kind is an error that says what is allowed."""
    for wrong in (torch.zeros(5), torch.zeros(1, 0), torch.zeros(1, 8, dtype=torch.int16)):
        with pytest.raises(ValueError, match="allowed is"):
            Mixture()(wrong, Query())
    with pytest.raises(ValueError, match="allowed is the STFT"):
        apply_mask(torch.zeros(1, RATE), torch.zeros(1, 3, 3))


def test_gating_without_a_background_takes_the_quiet_frames() -> None:
    """A burst in steady noise stands out more after gating than before."""
    sound = hiss(1).clone()
    sound[RATE : RATE + 2000] += 2.0 * hum(3)[:2000] / 0.02 * 0.5
    found = SpectralGating()(sound[None], Query()).target[0]
    burst, calm = slice(RATE, RATE + 2000), slice(0, RATE // 2)
    before = sound[burst].square().mean() / sound[calm].square().mean()
    after = found[burst].square().mean() / found[calm].square().mean()
    assert float(after) > 2.0 * float(before)
