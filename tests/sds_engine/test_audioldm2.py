"""AudioLDM 2 through diffusers, with tiny random weights: VP to our convention, the condition, log-mel, the loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sds_oracles import Free, Plain
from tiny_pipelines import tiny_audioldm2

pytest.importorskip("diffusers", reason="the extra `diffusers` is not installed")

from sds_engine.priors import audioldm2
from sds_engine.priors.denoiser import Prior
from sds_engine.priors.published import quiet_loading
from sds_engine.sds import Ask, SdsSettings, SeededNoise, optimise, sds_loss

SECONDS, RATE = 0.25, 16_000


@pytest.fixture(scope="module")
def pipeline() -> Any:
    with quiet_loading():
        return tiny_audioldm2()


@pytest.fixture(scope="module")
def prior(pipeline: Any) -> Prior:
    return audioldm2.from_pipeline(pipeline, seconds=SECONDS, name="tiny random weights")


def waves(batch: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(batch, round(SECONDS * RATE), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("step", [0, 20, 500, 999])
def test_the_conversion_is_the_schedulers_own(pipeline: Any, prior: Prior, step: int) -> None:
    """At the scheduler's levels, D is the clean sample that diffusers' DDIM finds in the same network's answer."""
    a = pipeline.scheduler.alphas_cumprod[step]
    sigma = ((1 - a) / a).sqrt().expand(2)
    z = torch.randn(2, 4, 6, 16, generator=torch.Generator().manual_seed(2))
    pipeline.scheduler.set_timesteps(1000)
    words, mask, generated = pipeline.encode_prompt(["a pump", "fan"], "cpu", 1, False, max_new_tokens=8)
    with torch.no_grad():
        y = z * a.sqrt()  # the sample as diffusers holds it
        e = pipeline.unet(
            y,
            step,
            encoder_hidden_states=generated,
            encoder_hidden_states_1=words,
            encoder_attention_mask_1=mask,
            return_dict=False,
        )[0]
        expected = pipeline.scheduler.step(e, step, y).pred_original_sample
        found = prior.denoiser(z, sigma, audioldm2.pack(generated, words, mask))
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3 * float(sigma[0].clamp_min(1.0)))


def test_levels_go_to_and_fro(pipeline: Any, prior: Prior) -> None:
    """sigma of a step and the step of a sigma are inverses, at the steps and between, and stop at the ends."""
    a = pipeline.scheduler.alphas_cumprod.double()
    levels = audioldm2.Levels.of_scheduler(a)
    steps = torch.tensor([0.0, 1.0, 250.0, 333.3, 999.0], dtype=torch.float64)
    torch.testing.assert_close(levels.step_of_sigma(prior.sigma_of_t(steps / 999)), steps)
    torch.testing.assert_close(prior.sigma_of_t(torch.tensor([250 / 999])).double()[0], ((1 - a[250]) / a[250]).sqrt())
    ends = levels.step_of_sigma(torch.tensor([1e-9, 1e9], dtype=torch.float64))
    assert ends.tolist() == [0.0, 999.0]


def test_v_prediction_is_converted_too(prior: Prior) -> None:
    """With v the denoised is y sqrt(a) - v sqrt(1 - a), whatever the network says."""
    inner = prior.denoiser
    assert isinstance(inner, audioldm2.AudioLdm2Denoiser)
    other = audioldm2.AudioLdm2Denoiser(inner.unet, inner.levels, inner.null, inner.sizes, predicts_v=True)
    z, sigma = torch.randn(1, 4, 6, 16, generator=torch.Generator().manual_seed(3)), torch.tensor([1.5])
    with torch.no_grad():
        answer = (z - inner(z, sigma, None)) / 1.5  # what the network said
        a = 1 / (1 + 1.5**2)
        expected = z * a**0.5 * a**0.5 - answer * (1 - a) ** 0.5
        torch.testing.assert_close(other(z, sigma, None), expected, rtol=1e-4, atol=1e-5)


def test_a_prompt_does_not_depend_on_its_neighbours(pipeline: Any, prior: Prior) -> None:
    """Conditions have one width, whatever is asked beside them, and say what the pipeline says; null is no words."""
    short, long = prior.embed(["fan"]), prior.embed(["a fan that rattles"])
    assert torch.equal(prior.embed(["fan", "a fan that rattles"]), torch.cat([short, long]))
    words, mask, generated = pipeline.encode_prompt("fan", "cpu", 1, False, max_new_tokens=8)
    found = audioldm2.unpack(short, 8, 8)
    torch.testing.assert_close(found[0], generated)
    torch.testing.assert_close(found[1][:, : words.shape[1]], words)
    assert float(found[2].sum()) == float(mask.sum())
    z, sigma = torch.randn(1, 4, 6, 16, generator=torch.Generator().manual_seed(4)), torch.ones(1)
    with torch.no_grad():
        torch.testing.assert_close(prior.denoiser(z, sigma, None), prior.denoiser(z, sigma, prior.embed([""])))
        assert not torch.allclose(prior.denoiser(z, sigma, None), prior.denoiser(z, sigma, long), atol=1e-6)


def test_log_mel_is_librosas() -> None:
    """The spectrogram is what librosa computes with the settings that AudioLDM was trained with."""
    librosa = pytest.importorskip("librosa", reason="librosa is a peer of the tests and not installed")
    wave = waves(1)
    padded = torch.nn.functional.pad(wave, (432, 432), mode="reflect")[0].numpy()
    expected = librosa.feature.melspectrogram(
        y=padded, sr=RATE, n_fft=1024, hop_length=160, n_mels=64, fmin=0, fmax=8000, power=1.0, center=False
    )
    found = audioldm2.log_mel(wave, RATE, 64)[0].T
    torch.testing.assert_close(found, torch.from_numpy(expected).clamp_min(1e-5).log(), rtol=1e-3, atol=1e-3)
    assert float(audioldm2.log_mel(torch.zeros(1, 1600), RATE, 64).max()) == pytest.approx(-11.513, abs=1e-3)
    with pytest.raises(ValueError, match="at least 433"):
        audioldm2.log_mel(torch.zeros(1, 400), RATE, 64)


def test_the_codec_takes_and_gives_our_sound(pipeline: Any, prior: Prior) -> None:
    """Latents are scaled modes of whole frames, and the vocoder's sound has the carrier's length."""
    wave = waves()
    latent = prior.codec.encode(wave)
    mel = audioldm2.log_mel(wave, RATE, 64)
    frames = -(-mel.shape[1] // 4) * 4
    assert latent.shape == (2, 4, frames // 4, 16)
    assert (mel.shape[1], frames) == (25, 28)
    full = torch.nn.functional.pad(mel, (0, 0, 0, 3), value=float(torch.tensor(1e-5).log()))
    with torch.no_grad():
        torch.testing.assert_close(latent, 0.7 * pipeline.vae.encode(full.unsqueeze(1)).latent_dist.mode())
        sound = pipeline.mel_spectrogram_to_waveform(pipeline.vae.decode(latent / 0.7).sample)
    back = prior.codec.decode(latent, wave)
    assert sound.shape[1] == frames * 160
    torch.testing.assert_close(back, sound[:, : wave.shape[1]])


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_sds_runs_through_it(pipeline: Any, prior: Prior, kind: str) -> None:
    """Both forms of SDS give finite gradients of the sound and none of the weights, and the loop moves the sound."""
    settings = SdsSettings(kind=kind, windows=(256,), draws=1, iterations=2, t_high=0.5)  # type: ignore[arg-type] # parametrized
    ask = Ask(prior.embed(["a pump", "knock"]))
    wave = waves().requires_grad_()
    sds = sds_loss(prior, wave, ask, settings, SeededNoise([1, 2]))
    (gradient,) = torch.autograd.grad(sds.loss.sum(), wave)
    assert bool(torch.isfinite(gradient).all())
    assert bool((gradient.abs().sum(dim=1) > 0).all())
    done = optimise(Plain(), Free({"wave": waves()}), prior, ask, settings, SeededNoise([1, 2]))
    assert not torch.equal(done.params.free["wave"], waves())
    modules = (pipeline.vae, pipeline.unet, pipeline.vocoder, pipeline.text_encoder_2)
    assert not any(weight.requires_grad or weight.grad is not None for m in modules for weight in m.parameters())


def test_loading_from_a_folder(pipeline: Any, prior: Prior, tmp_path: Path) -> None:
    """What save_pretrained wrote loads again and answers the same; another scheduler is refused."""
    pipeline.save_pretrained(tmp_path / "model", safe_serialization=True)
    loaded = audioldm2.load(tmp_path / "model", seconds=SECONDS)
    z, sigma = torch.randn(1, 4, 6, 16, generator=torch.Generator().manual_seed(5)), torch.ones(1)
    condition = loaded.embed(["pump"])
    with torch.no_grad():
        torch.testing.assert_close(loaded.denoiser(z, sigma, condition), prior.denoiser(z, sigma, condition))
    assert (loaded.rate, loaded.seconds, len(loaded.digest)) == (RATE, SECONDS, 64)
    other = tiny_audioldm2()
    other.scheduler.register_to_config(prediction_type="sample")
    with pytest.raises(ValueError, match="prediction_type sample"):
        audioldm2.from_pipeline(other, seconds=SECONDS)
    with pytest.raises(ValueError, match="more than 0"):
        audioldm2.from_pipeline(pipeline, seconds=0.0)
