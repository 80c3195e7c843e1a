"""Pretrained networks that a user brings: built strictly from their file, never changed, judged by nearest neighbour.

The networks here are tiny and random: they test the code, and say nothing about what real ones hear.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from soundlab import FRONT_END, evidence, healthy, machine, whistle
from torch import Tensor
from torch.nn import functional

from detectors.embedding import Embedding
from detectors.embedding_files import Pretrained, read_network
from detectors.embedding_input import Wanted, adapt
from detectors.embedding_networks import Vit
from detectors.lineup import new_detector
from detectors.model import Clip, fit_model
from detectors.store import load_models, save_models

PANNS = {"v": 1, "kind": "panns", "name": "tiny", "licence": "CC0"}
PANNS["front_end"] = {"n_fft": 512, "window": 512, "mels": 64, "low_hz": 50.0, "scale": "slaney", "log": "db"}  # type: ignore[assignment]
VIT = {
    "v": 1,
    "kind": "vit",
    "name": "tiny",
    "heads": 2,
    "grid": [4, 8],
    "norm_first": True,
    "front_end": {"mean": -4.0},
}


def panns(blocks: int = 4) -> dict[str, Tensor]:
    """Parameters by the names of the public PANNs checkpoints, with what comes along in them."""
    generator = torch.Generator().manual_seed(0)
    made = {"spectrogram_extractor.stft.conv_real.weight": torch.ones(3), "fc_audioset.bias": torch.ones(5)}

    def norm(name: str, width: int) -> None:
        made.update({f"{name}.{key}": torch.ones(width) for key in ("weight", "running_var")})
        made.update({f"{name}.{key}": torch.zeros(width) for key in ("bias", "running_mean")})
        made[f"{name}.num_batches_tracked"] = torch.tensor(7)

    norm("bn0", 64)
    made["bn0.running_mean"] -= 30.0
    made["bn0.running_var"] *= 100.0
    before = 1
    for number in range(1, blocks + 1):
        width = 4 * number
        made[f"conv_block{number}.conv1.weight"] = torch.randn(width, before, 3, 3, generator=generator) * 0.5
        made[f"conv_block{number}.conv2.weight"] = torch.randn(width, width, 3, 3, generator=generator) * 0.3
        norm(f"conv_block{number}.bn1", width)
        norm(f"conv_block{number}.bn2", width)
        before = width
    return {**made, "fc1.weight": torch.randn(12, before, generator=generator), "fc1.bias": torch.zeros(12)}


def vit(names: str = "timm") -> dict[str, Tensor]:
    """Two layers of width 8 on patches of 16 by 16, by timm's or EAT's names."""
    generator = torch.Generator().manual_seed(1)
    made = {
        "patch_embed.proj.weight": torch.randn(8, 1, 16, 16, generator=generator) / 16,
        "patch_embed.proj.bias": torch.zeros(8),
    }
    made |= {
        "pos_embed": torch.randn(1, 33 if names == "timm" else 32, 8, generator=generator),
        "cls_token": torch.zeros(1, 1, 8),
    }
    for number in range(2):
        for name, out, into in (("attn.qkv", 24, 8), ("attn.proj", 8, 8), ("mlp.fc1", 16, 8), ("mlp.fc2", 8, 16)):
            made[f"blocks.{number}.{name}.weight"] = torch.randn(out, into, generator=generator) / 3
            made[f"blocks.{number}.{name}.bias"] = torch.zeros(out)
        for name in ("norm1", "norm2"):
            made |= {f"blocks.{number}.{name}.weight": torch.ones(8), f"blocks.{number}.{name}.bias": torch.zeros(8)}
    made |= {"norm.weight": torch.ones(8), "norm.bias": torch.zeros(8)}
    if names == "timm":
        return made
    made = {key: value for key, value in made.items() if not key.startswith("norm.")}
    renamed = {
        "patch_embed": "modality_encoders.IMAGE.local_encoder",
        "cls_token": "modality_encoders.IMAGE.extra_tokens",
    }
    renamed["pos_embed"] = "modality_encoders.IMAGE.fixed_positional_encoder.positions"
    found = {}
    for key, value in made.items():
        theirs = key
        for before, after in renamed.items():
            theirs = theirs.replace(before, after)
        found[f"model.{theirs}"] = value
    return found


def written(folder: Path, about: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, folder / "tiny.safetensors")
    (folder / "tiny.json").write_text(json.dumps(about))
    return folder / "tiny.safetensors"


CASES = [
    pytest.param(PANNS, panns(), id="CNN10"),
    pytest.param(PANNS, panns(6), id="CNN14"),
    pytest.param(VIT, vit(), id="AudioMAE"),
    pytest.param({**VIT, "norm_first": False}, vit("eat"), id="EAT"),
]


@pytest.mark.parametrize(("about", "tensors"), CASES)
def test_the_laws_of_a_detector(about: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Batch mates and order change nothing, input stays, cross_fit ends as fit does, a restored one scores the same."""
    fitted = Embedding(Pretrained.of(about, tensors)).fit(healthy(8))
    others = healthy(4, first=100)
    before = others.log_mel.clone()
    scores = fitted.score(others)
    assert torch.equal(others.log_mel, before)
    alone = torch.cat([fitted.score(others.rows([row])) for row in (3, 1)])
    torch.testing.assert_close(alone, scores[[3, 1]], rtol=1e-4, atol=1e-5)
    broken = others.log_mel.clone()
    broken[0] = torch.nan
    torch.testing.assert_close(fitted.score(replace(others, log_mel=broken))[1:], scores[1:], rtol=1e-4, atol=1e-5)
    again = Embedding(Pretrained.of(about, tensors))
    statistic = again.cross_fit(healthy(8), torch.arange(8) // 2)
    assert statistic.dtype == torch.float64
    assert bool(torch.isfinite(statistic).all())
    state = {key: value.clone() for key, value in fitted.state().items()}
    assert torch.equal(Embedding.restore(state).score(others), scores)
    assert set(state) >= {"settings", "known", "radius"}
    for key in list(state)[:: max(1, len(state) // 8)]:
        short = {name: value for name, value in state.items() if name != key}
        with pytest.raises(ValueError, match=key.removeprefix("net.").split(".")[0]):
            Embedding.restore(short)


@pytest.mark.parametrize(("about", "tensors"), CASES)
def test_what_is_on_top_is_odd(about: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Even random features put a loud whistle further away than a healthy machine."""
    fitted = Embedding(Pretrained.of(about, tensors)).fit(healthy(12))
    faulty = fitted.score(evidence([whistle(machine(seed), 0.3) for seed in range(200, 204)]))
    assert faulty.mean() > fitted.score(healthy(4, first=200)).mean()


def test_a_model_names_the_network_and_travels_whole(tmp_path: Path) -> None:
    """Chosen by its file's name, the card has its SHA-256, and the saved model needs the file no more."""
    path = written(tmp_path, VIT, vit())
    clips = [Clip(machine(seed), str(seed)) for seed in range(5)]
    model = fit_model(clips, window_s=1.0, detector=f"embedding:{path}")
    digest = read_network(path).about["sha256"]
    assert any(digest in note and "tiny (licence not stated)" in note for note in model.notes)
    save_models(tmp_path / "press", {"*": model}, machine="press")
    path.unlink()
    loaded = load_models(tmp_path / "press")["*"]
    assert (loaded.id, loaded.detector_name) == (model.id, "embedding")
    assert torch.equal(loaded.score(healthy(2)).statistic, model.score(healthy(2)).statistic)


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    """Missing, unexpected and misshapen tensors, unknown keys, a wrong digest, no file: each is named."""
    good = panns()
    cases: list[tuple[dict[str, Any], dict[str, Tensor], str]] = [
        (
            PANNS,
            {key: value for key, value in good.items() if key != "conv_block2.conv2.weight"},
            "missing conv_block2.conv2",
        ),
        (PANNS, {**good, "conv_block2.extra": torch.ones(1)}, "unexpected conv_block2.extra"),
        (PANNS, {**good, "fc1.bias": torch.ones(13)}, r"fc1.bias has shape \(13,\)"),
        (PANNS, {**good, "fc1.bias": torch.full((12,), torch.nan)}, "fc1.bias holds values that are not finite"),
        (PANNS, vit(), "bn0.weight is missing"),
        (VIT, good, "patch_embed.proj.weight is missing"),
        ({**VIT, "heads": 3}, vit(), "heads is 3, allowed is a divisor of the width 8"),
        ({**VIT, "grid": [5, 8]}, vit(), "pos_embed holds 33 places"),
        (VIT, {**vit(), "blocks.0.attn.grep_a": torch.ones(1)}, "BEATs"),
        ({**VIT, "front_end": {"mels": 64}}, vit(), "takes 128 bands, its front_end says 64"),
        ({**VIT, "front_end": {"hop": 160}}, vit(), "front_end .*allowed are the keys"),
        ({**VIT, "front_end": {"high_hz": 9000.0}}, vit(), "9000.0 Hz do not fit"),
        ({**VIT, "kind": "beats"}, vit(), "allowed is v 1, kind panns or vit"),
        ({**VIT, "colour": "red"}, vit(), "colour"),
        ({**VIT, "sha256": "0" * 64}, vit(), "SHA-256"),
    ]
    for about, tensors, match in cases:
        with pytest.raises(ValueError, match=match):
            read_network(written(tmp_path, about, tensors))
    (tmp_path / "tiny.safetensors").write_bytes(b"pickled")
    with pytest.raises(ValueError, match="not a network"):
        read_network(tmp_path / "tiny.safetensors")
    with pytest.raises(ValueError, match=r"nowhere.safetensors: .*NAME.json"):
        read_network(tmp_path / "nowhere.safetensors")
    for name in ("embedding", "neighbours:x"):
        with pytest.raises(ValueError, match=r"needs a network|takes no file"):
            new_detector(name)


def test_the_input_is_the_networks_own() -> None:
    """White noise has in every band the level that torchaudio's Kaldi filter bank gives it, within 1 dB."""
    from torchaudio.compliance.kaldi import fbank

    noise = 0.1 * torch.randn(160_000, generator=torch.Generator().manual_seed(3))
    theirs = fbank(
        noise[None],
        num_mel_bins=64,
        sample_frequency=16_000,
        window_type="hanning",
        preemphasis_coefficient=0.97,
        remove_dc_offset=False,
        dither=0.0,
    ).mean(0)
    mine = adapt(evidence([noise]).log_mel, FRONT_END, Wanted(mels=64, low_hz=20.0, preemphasis=0.97))[0]
    assert abs(len(mine) - 1000) <= 60
    off = (mine.mean(0) - theirs)[2:] * 10 / torch.log(torch.tensor(10.0))  # the lowest bands hold one bin or none
    assert float(off.abs().max()) < 1.5
    assert abs(float(off.mean())) < 1.0


def test_the_bands_are_librosas() -> None:
    """On Slaney's scale with triangles of area 1, noise has the levels of librosa's melspectrogram, within 1.5 dB."""
    import librosa

    noise = 0.1 * torch.randn(160_000, generator=torch.Generator().manual_seed(4))
    settings = {"n_fft": 512, "window": 512, "mels": 64, "low_hz": 50.0, "high_hz": 8000.0}
    power = librosa.feature.melspectrogram(
        y=noise.numpy(), sr=16_000, n_fft=512, hop_length=160, n_mels=64, fmin=50.0, fmax=8000.0
    )
    theirs = torch.from_numpy(librosa.power_to_db(power, top_db=None).mean(1))
    wanted = Wanted(scale="slaney", area=True, log="db", **settings)  # type: ignore[arg-type]
    mine = adapt(evidence([noise]).log_mel, FRONT_END, wanted)[0].mean(0)
    assert float((mine - theirs).abs()[2:].max()) < 1.5


def test_attention_is_torchs() -> None:
    """A block with norms first computes what torch's own encoder layer does with the same parameters."""
    tensors = vit()
    net = Pretrained.of(VIT, tensors).net
    assert isinstance(net, Vit)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True).eval()
    names = {
        "self_attn.in_proj_": "attn.qkv.",
        "self_attn.out_proj.": "attn.proj.",
        "linear1.": "mlp.fc1.",
        "linear2.": "mlp.fc2.",
    }
    state = {}
    for name in layer.state_dict():
        ours = name
        for before, after in names.items():
            ours = ours.replace(before, after)
        state[name] = tensors[f"blocks.0.{ours}"]
    layer.load_state_dict(state)
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(net.blocks[0](x), layer(x), rtol=1e-4, atol=1e-5)
    assert functional.gelu(torch.tensor(1.0)).item() == pytest.approx(0.8413, abs=1e-3)
