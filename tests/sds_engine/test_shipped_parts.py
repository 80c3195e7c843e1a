"""The parts of the shipped prior: log-mel, codec, network, EDM, text. Oracles, not golden numbers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sds_engine.priors import edm, logmel, shipped, text
from sds_engine.priors.captions import MACHINES, draw_captions, phrases
from sds_engine.priors.codec import TOKENS, MelCodec
from sds_engine.priors.network import Network, Size


def noise(batch: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(batch, logmel.SAMPLES, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def codec() -> MelCodec:
    pink = torch.cat([noise(24, 1), torch.cumsum(noise(24, 2), -1) * 0.1])
    return MelCodec.fit(logmel.relative_db(logmel.mel_power(pink)), 32)


def test_the_stft_comes_back() -> None:
    """The inverse STFT gives the wave back, to its very edges."""
    wave = noise(2)
    torch.testing.assert_close(logmel.istft(logmel.stft(wave)), wave, atol=1e-5, rtol=0)


def test_gain_drops_out_and_silence_is_silence() -> None:
    """Relative dB do not change with gain; silence is the floor everywhere, finite."""
    wave = noise(1)
    one, ten = (logmel.relative_db(logmel.mel_power(k * wave)) for k in (0.1, 1.0))
    torch.testing.assert_close(one, ten, atol=1e-3, rtol=0)
    silent = logmel.relative_db(logmel.mel_power(torch.zeros(1, logmel.SAMPLES)))
    assert float(silent.min()) == float(silent.max()) == pytest.approx(-logmel.RANGE_DB)


def test_a_change_of_6_db_doubles_the_carrier() -> None:
    """A change that is the same in all bands is a gain; no change is nothing."""
    hz = 1000.0
    wave = torch.sin(2 * math.pi * hz * torch.arange(logmel.SAMPLES) / logmel.RATE)[None]
    change = torch.full((1, logmel.FRAMES, logmel.BANDS), 20 * math.log10(2.0))
    torch.testing.assert_close(logmel.transfer(logmel.stft(wave), change), 2 * wave, atol=2e-2, rtol=0)
    torch.testing.assert_close(logmel.transfer(logmel.stft(wave), 0 * change), wave, atol=1e-4, rtol=0)


def test_griffin_lim_gives_the_power_back() -> None:
    """A wave from mel power has that power, within the grain of noise."""
    power = logmel.mel_power(torch.cumsum(noise(1, 3), -1))
    again = logmel.mel_power(logmel.griffin_lim(power, 16, torch.Generator().manual_seed(0)))
    difference = (logmel.relative_db(again) - logmel.relative_db(power)).abs().median()
    assert float(difference) < 3.0


def test_the_codec_is_a_projection(codec: MelCodec) -> None:
    """Encoding what was decoded gives the latent back; the components are orthonormal."""
    latent = torch.randn(3, TOKENS, codec.components)
    torch.testing.assert_close(codec.of_db(codec.to_db(latent)), latent, atol=1e-4, rtol=0)
    torch.testing.assert_close(codec.basis.T @ codec.basis, torch.eye(32), atol=1e-5, rtol=0)


def test_a_carrier_that_agrees_comes_back(codec: MelCodec) -> None:
    """Decoding a sound's own latent on itself changes nothing: what the codec loses pulls at nothing."""
    wave = noise(2, 4)
    torch.testing.assert_close(codec.decode(codec.encode(wave), wave), wave, atol=1e-5, rtol=0)


def test_latents_share_their_carrier(codec: MelCodec) -> None:
    """Several latents of one carrier decode as they do with a copy of it each."""
    carrier, latent = noise(2, 7), torch.randn(6, TOKENS, codec.components)
    apart = codec.decode(latent, carrier.repeat_interleave(3, dim=0))
    torch.testing.assert_close(codec.decode(latent, carrier), apart, atol=1e-6, rtol=0)


def test_inference_leaves_no_trace() -> None:
    """Filters that were first asked for in inference mode still take part in a gradient."""
    logmel._filters.cache_clear()
    with torch.inference_mode():
        logmel.mel_power(noise(1, 8))
    wave = noise(1, 8).requires_grad_()
    logmel.mel_power(wave).sum().backward()
    assert wave.grad is not None


def test_decoding_moves_towards_the_latent(codec: MelCodec) -> None:
    """A decoded sound's latent is nearer to what was asked than its carrier's."""
    carrier, other = noise(1, 5), torch.cumsum(noise(1, 6), -1)
    asked = codec.encode(other)
    before = (codec.encode(carrier) - asked).norm()
    after = (codec.encode(codec.decode(asked, carrier)) - asked).norm()
    assert float(after) < 0.5 * float(before)


def test_another_length_is_refused(codec: MelCodec) -> None:
    """The codec names the length that it got and the one it takes."""
    with pytest.raises(ValueError, match="31999 samples, allowed is 32000"):
        codec.encode(torch.zeros(1, 31_999))


def test_the_sampler_reaches_a_gaussian() -> None:
    """With the exact denoiser of N(2, 0.5^2) the sampler's draws have that mean and deviation (Karras et al. 2022)."""

    def exact(x: torch.Tensor, sigma: torch.Tensor, _: torch.Tensor | None) -> torch.Tensor:
        s = sigma[:, None] ** 2
        return (0.25 * x + s * 2.0) / (0.25 + s)

    drawn = edm.sample(exact, torch.randn(4096, 1, generator=torch.Generator().manual_seed(0)), None, 32)
    assert float(drawn.mean()) == pytest.approx(2.0, abs=0.05)
    assert float(drawn.std()) == pytest.approx(0.5, abs=0.05)


def test_the_loss_is_least_for_the_posterior_mean() -> None:
    """With weight lambda, a network that predicts the data perfectly has loss 0 at every noise level."""
    y, sigma = torch.randn(8, 3, 2), torch.rand(8) + 0.1

    def perfect(x: torch.Tensor, c_noise: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        s = (4.0 * c_noise).exp().view(-1, 1, 1)
        noisy = x * (s**2 + 1).sqrt()
        return (y - noisy / (s**2 + 1)) / (s / (s**2 + 1).sqrt())

    losses = edm.loss(perfect, y, torch.zeros(8, 1), sigma, torch.randn(8, 3, 2))
    torch.testing.assert_close(losses, torch.zeros(8), atol=1e-5, rtol=0)


def test_a_sample_does_not_depend_on_its_batch_mates(tmp_path: Path, codec: MelCodec) -> None:
    """A seed gives the same sound alone and among others; saved weights load to the same prior."""
    torch.manual_seed(0)
    network = Network(Size(TOKENS, codec.components, 32, 2, 2, ears=(0, 1)))
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    shipped.save_prior(tmp_path, codec, network, {"name": "tiny random weights, no prior"})
    held = shipped.load_prior(tmp_path)
    condition = torch.nn.functional.normalize(torch.randn(2, 384), dim=-1)
    both = held.sample(condition, [5, 6], steps=3)
    alone = held.sample(condition[1:], [6], steps=3)
    torch.testing.assert_close(both[1:], alone, atol=2e-3, rtol=0)
    assert both.shape == (2, logmel.SAMPLES)


def test_a_damaged_prior_is_refused(tmp_path: Path, codec: MelCodec) -> None:
    """One flipped bit in the weights, or no folder at all: a clear error with the remedy."""
    shipped.save_prior(tmp_path, codec, Network(Size(TOKENS, codec.components, 32, 1, 2)), {"name": "tiny"})
    data = bytearray((tmp_path / shipped.WEIGHTS).read_bytes())
    data[-1] ^= 1
    (tmp_path / shipped.WEIGHTS).write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"not the file that its card describes.*prior train"):
        shipped.load_prior(tmp_path)
    with pytest.raises(ValueError, match="no prior in"):
        shipped.load_prior(tmp_path / "absent")


def test_prompts_of_both_languages_meet() -> None:
    """A Japanese prompt lies nearest to its own translation among four; vectors have length 1."""
    pytest.importorskip("sentence_transformers")
    pairs = {
        "ベルトが滑ってキーキー鳴る": "belt squeal",
        "圧縮空気が漏れる音": "compressed air leak",
        "歯車の歯欠け": "broken gear tooth",
        "ポンプのキャビテーション": "cavitation in a pump",
    }
    japanese, english = text.embed(list(pairs)), text.embed(list(pairs.values()))
    assert (japanese @ english.T).argmax(dim=1).tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(japanese.norm(dim=1), torch.ones(4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("prompt", ["", "   ", "ぬるぽ", "!?", "12 34"])
def test_a_prompt_of_nothing_is_refused(prompt: str) -> None:
    """A prompt without a word that the encoder can read is an error that shows it."""
    with pytest.raises(ValueError, match="no known word"):
        text.normalise(prompt)


def test_every_phrase_can_be_read() -> None:
    """No caption of the training set loses all its words in the glossary."""
    for subject in phrases():
        for machine in ("", *MACHINES):
            for caption in draw_captions(subject, machine, 30, np.random.default_rng(0)):
                assert text.normalise(caption)


def test_no_training_caption_is_a_test_prompt() -> None:
    """Paraphrases and Japanese prompts of the test never occur in training, even inside a longer caption."""
    tests = Path(__file__).parents[1] / "benchmarks" / "reporting"
    held = []
    for file in sorted(tests.glob("prompts*.json")):
        for kind in json.loads(file.read_text(encoding="utf-8"))["kinds"].values():
            held += kind["en"] + kind["ja"]
    assert len(held) > 50
    drawn = {phrase for subject in phrases() for phrase in phrases()[subject]}
    assert not [prompt for prompt in held if any(prompt in phrase for phrase in drawn)]


@pytest.mark.parametrize(("prompt", "least"), [("bearing ball fault", 40.0), ("broken gear tooth", 12.0)])
def test_the_shipped_prior_draws_regular_blows(prompt: str, least: float) -> None:
    """Half of six samples swell in one line, so many times the others' median; without ears: 15 to 24, 5 to 8."""
    held = shipped.load_prior()
    waves = held.sample(held.prior.embed([prompt] * 6), list(range(500, 506)))
    level = logmel.relative_db(logmel.mel_power(waves)).mean(dim=2)
    window = torch.hann_window(logmel.FRAMES, periodic=False)
    lines = torch.fft.rfft((level - level.mean(dim=1, keepdim=True)) * window, n=1024).abs()
    hz = torch.fft.rfftfreq(1024, logmel.HOP / logmel.RATE)
    lines = lines[:, hz > 3.0]
    ratio = lines.amax(dim=1) / lines.median(dim=1).values
    assert float(ratio.median()) > least
