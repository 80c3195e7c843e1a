"""Stable Audio through diffusers, with tiny random weights: the conversions, the condition, the codec, the loading."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from sds_oracles import Free, Plain
from tiny_pipelines import tiny_stable_audio

pytest.importorskip("diffusers", reason="the extra `diffusers` is not installed")

from sds_engine.priors import stable_audio
from sds_engine.priors.denoiser import Prior
from sds_engine.sds import Ask, SdsSettings, SeededNoise, optimise, sds_loss

SECONDS, RATE = 0.05, 16_000


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return tiny_stable_audio()


@pytest.fixture(scope="module")
def prior(pipeline: Any) -> Prior:
    return stable_audio.from_pipeline(pipeline, seconds=SECONDS, name="tiny random weights")


def waves(batch: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(batch, round(SECONDS * RATE), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sigma", [0.039, 0.5, 5.03, 80.0])
def test_the_conversion_is_the_schedulers_own(pipeline: Any, prior: Prior, sigma: float) -> None:
    """D is what diffusers' scheduler makes of the same network's answer at the same level."""
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    scheduler = pipeline.scheduler
    z = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(2))
    condition = prior.embed(["a pump", "a fan that rattles"])
    level = torch.tensor(sigma)
    start, end = pipeline.encode_duration(0.0, SECONDS, "cpu", False, 2)
    with torch.no_grad():
        v = pipeline.transformer(
            scheduler.precondition_inputs(z, level),
            scheduler.precondition_noise(level).expand(2),
            encoder_hidden_states=condition,
            global_hidden_states=torch.cat([start, end], dim=2),
            rotary_embedding=get_1d_rotary_pos_embed(4, 10, use_real=True, repeat_interleave_real=False),
            return_dict=False,
        )[0]
        expected = scheduler.precondition_outputs(z, v, level)
        found = prior.denoiser(z, level.expand(2), condition)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_t_and_sigma_are_the_models_own(pipeline: Any, prior: Prior) -> None:
    """The prior's map of t is the inverse of the scheduler's: t = 2/pi atan(sigma)."""
    t = torch.tensor([0.025, 0.5, 0.875])
    sigma = prior.sigma_of_t(t)
    torch.testing.assert_close(pipeline.scheduler.precondition_noise(sigma), t)
    assert sigma.tolist() == pytest.approx([0.0393, 1.0, 5.027], rel=1e-3)


def test_the_condition_is_text_then_start_then_end(pipeline: Any, prior: Prior) -> None:
    """A prompt's condition is what the pipeline builds; no prompt is zeros, with the length still told."""
    condition = prior.embed(["a pump", "knock"])
    text = pipeline.encode_prompt(["a pump", "knock"], "cpu", False)
    start, end = pipeline.encode_duration(0.0, SECONDS, "cpu", False, 2)
    torch.testing.assert_close(condition, torch.cat([text, start, end], dim=1))
    assert not torch.equal(condition[0], condition[1])
    z, sigma = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(3)), torch.ones(2)
    with torch.no_grad():
        null = prior.denoiser(z, sigma, None)
        torch.testing.assert_close(null, prior.denoiser(z, sigma, torch.zeros_like(condition)))
        asked = prior.denoiser(z, sigma, condition)
        torch.testing.assert_close(prior.denoiser(z[:1], sigma[:1], condition[:1]), asked[:1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(null, asked, atol=1e-5)


def test_the_codec_takes_and_gives_our_sound(pipeline: Any, prior: Prior) -> None:
    """Mono at our rate becomes stereo at 44.1 kHz, whole frames, the mode; and comes back at our rate and length."""
    from torchaudio.functional import resample

    wave = waves()
    latent = prior.codec.encode(wave)
    fine = resample(wave, RATE, 44_100)
    frames = math.ceil(fine.shape[-1] / 64)
    assert latent.shape == (2, 4, frames)
    stereo = torch.nn.functional.pad(fine, (0, frames * 64 - fine.shape[-1])).unsqueeze(1).expand(-1, 2, -1)
    with torch.no_grad():
        torch.testing.assert_close(latent, pipeline.vae.encode(stereo).latent_dist.mode())
    back = prior.codec.decode(latent, wave)
    assert back.shape == wave.shape
    with torch.no_grad():
        sound = pipeline.vae.decode(latent).sample.mean(dim=1)
    torch.testing.assert_close(back, resample(sound, 44_100, RATE)[:, : wave.shape[1]])


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_sds_runs_through_it(pipeline: Any, prior: Prior, kind: str) -> None:
    """Both forms of SDS give finite gradients of the sound and none of the weights, and the loop moves the sound."""
    settings = SdsSettings(kind=kind, windows=(64,), draws=1, iterations=2)  # type: ignore[arg-type] # parametrized
    ask = Ask(prior.embed(["a pump", "knock"]))
    wave = waves().requires_grad_()
    sds = sds_loss(prior, wave, ask, settings, SeededNoise([1, 2]))
    (gradient,) = torch.autograd.grad(sds.loss.sum(), wave)
    assert bool(torch.isfinite(gradient).all())
    assert bool((gradient.abs().sum(dim=1) > 0).all())
    done = optimise(Plain(), Free({"wave": waves()}), prior, ask, settings, SeededNoise([1, 2]))
    assert not torch.equal(done.params.free["wave"], waves())
    modules = (pipeline.vae, pipeline.transformer, pipeline.text_encoder, pipeline.projection_model)
    assert not any(weight.requires_grad or weight.grad is not None for m in modules for weight in m.parameters())


def test_loading_from_a_folder(pipeline: Any, prior: Prior, tmp_path: Path) -> None:
    """What save_pretrained wrote loads again, answers the same, and is named by the digest of its weights."""
    pipeline.save_pretrained(tmp_path / "model", safe_serialization=True)
    loaded = stable_audio.load(tmp_path / "model", seconds=SECONDS)
    z, sigma = torch.randn(1, 4, 9, generator=torch.Generator().manual_seed(4)), torch.ones(1)
    condition = loaded.embed(["a pump"])
    with torch.no_grad():
        torch.testing.assert_close(loaded.denoiser(z, sigma, condition), prior.denoiser(z, sigma, condition))
    assert len(loaded.digest) == hashlib.sha256().digest_size * 2
    assert (loaded.name, loaded.rate, loaded.seconds) == (str(tmp_path / "model"), RATE, SECONDS)
    weights = next((tmp_path / "model" / "vae").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert stable_audio.load(tmp_path / "model", seconds=SECONDS).digest != loaded.digest


def test_what_is_not_there_is_said(pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model, no weights, too long a sound, another scheduler: each is one clear refusal, and nothing is fetched."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=r"no model nobody/nothing on this machine.*folder"):
        stable_audio.load("nobody/nothing")
    with pytest.raises(FileNotFoundError, match=r"no model_index\.json"):
        stable_audio.load(tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"holds no \*.safetensors"):
        stable_audio.load(tmp_path)
    with pytest.raises(ValueError, match=r"sounds of 60 s.*at most 0.09 s"):
        stable_audio.from_pipeline(pipeline, seconds=60)
    other = tiny_stable_audio()
    other.scheduler.register_to_config(prediction_type="epsilon")
    with pytest.raises(ValueError, match="prediction_type epsilon"):
        stable_audio.from_pipeline(other, seconds=SECONDS)
