"""How Ex-Diff is trained and kept: the loss is the plain squared error, trainings resume, weights are checked."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sds_engine.dsp import si_sdr
from sds_engine.separation.base import Query
from sds_engine.separation.exdiff.bridge import SIGMA
from sds_engine.separation.exdiff.cells import spread
from sds_engine.separation.exdiff.mixing import Heard, heard
from sds_engine.separation.exdiff.model import ExDiffModel, Look, Variant, dot, in_phase
from sds_engine.separation.exdiff.network import ExDiffSize
from sds_engine.separation.exdiff.separator import ExDiff, load_exdiff
from sds_engine.separation.exdiff.train import advance, ship
from sds_engine.separation.exdiff.training import Task, answer, known_at, loss_of
from sds_engine.separation.extractor import WEIGHTS, WeightsError
from sds_engine.separation.grid import BINS, RATE, power
from sds_engine.separation.lineup import separator_named
from sds_engine.separation.mixing import Mixer
from sds_engine.separation.network import TEXT, MaskNet, NetSize
from sds_engine.separation.pool import SECONDS, Source, noise_source
from sds_engine.separation.train import Training, begin, resume, save_checkpoint
from sds_engine.separation.train import ship as ship_extractor

SHARED = Path(__file__).parents[3] / "shared" / "data"
NAMES = ("extractor", "ex-diff")
GUIDE = NetSize(channels=192, dilations=(1,), query=8)
SMALL = ExDiffSize(channels=16, dilations=(1, 2), query=8, heads=2, ask=(0,))


def mixer() -> Mixer:
    """A hum that may be asked for, and noise that may not."""
    rng = np.random.default_rng(0)
    t = np.arange(round(SECONDS * RATE)) / RATE
    clips = np.stack([np.sin(2 * np.pi * 200 * (t + rng.uniform())) * 2**0.5 for _ in range(2)]).astype(np.float16)
    sources = [Source("hum", ("hum",), clips, clips[:1]), noise_source(2, 0)]
    return Mixer(sources, {"hum": torch.ones(TEXT) / TEXT**0.5}, seed=3)


def fresh(variant: Variant = "latents") -> Training[ExDiffModel]:
    """A small training; everything is the seed's."""
    torch.manual_seed(0)
    guide = None if variant == "mixture-only" else MaskNet(GUIDE)
    return begin(ExDiffModel(variant, guide, SMALL))


def test_every_variant_hears_the_same_mixtures() -> None:
    """The same seed and step give the same mixtures, another step others; targets are a part of them."""
    one, again, other = (heard(mixer(), step, 4) for step in (5, 5, 6))
    assert torch.equal(one.mixture, again.mixture)
    assert one.mixture.shape != other.mixture.shape or not torch.equal(one.mixture, other.mixture)
    assert one.mixture.shape == one.target.shape
    assert one.asked.power.shape == (len(one.mixture), BINS)


def slow_answers(model: ExDiffModel, examples: Heard, task: Task, known: Tensor) -> Tensor:
    """The answers Y [batch, frame, bin], spectrum by spectrum, from the sampler's own `predict`."""
    answers, t = [], task.t
    seen = model.see(Look.at(examples.mixture, examples.asked), reach=task.reach)
    for row in range(len(t)):
        at, on_the_way = float(t[row]), row - (len(t) - len(known))
        state = at * seen.first()
        if on_the_way >= 0:
            state = state + torch.zeros_like(state).index_copy(0, torch.tensor([row]), known[[on_the_way]])
        found, _ = model.predict(seen, state, at)
        answers.append(found[row])
    return torch.stack(answers)


def test_the_loss_is_of_what_the_sampler_would_say() -> None:
    """Inner products give the predicted spectrum's error, energy and likeness, at t = 1 and along the bridge."""
    model = fresh().net.eval()
    torch.nn.init.normal_(model.net.last.weight, std=0.1)
    examples = heard(mixer(), 1, 4)
    with torch.inference_mode():
        task = Task.of(examples, torch.Generator().manual_seed(7))
        found = answer(model, task)
        generator = torch.Generator().manual_seed(7)
        ways = len(examples.mixture) - task.alone
        assert 1 <= ways <= task.alone
        assert torch.equal(task.t[-ways:], 0.02 + 0.98 * torch.rand(ways, generator=generator))
        target = examples.target.transpose(1, 2).contiguous()
        known = known_at(target[-ways:], task.look.unit[-ways:], task.t[-ways:], generator)
        slow = slow_answers(model, examples, task, known)
    largest = task.look.power.amax(dim=(1, 2), keepdim=True)
    for one, other in (
        (found.error, power(slow - target)),
        (found.energy, power(slow)),
        (found.alike, dot(slow, target)),
    ):
        assert float(((one[..., :256] - other[..., :256]) / largest).abs().max()) < 1e-4


def test_a_guess_may_be_shared() -> None:
    """Variants trained side by side learn what each would alone: the frozen extractor is asked once for both."""
    sound = mixer()
    together, alone = [fresh("latents"), fresh("none")], [fresh("latents"), fresh("none")]
    together[1].net._guide = together[0].net._guide  # one extractor for both, as in training
    for _ in range(2):
        advance(together, sound, 4, 100, 0)
        for one in alone:
            advance([one], sound, 4, 100, 0)
    for one, other in zip(together, alone, strict=True):
        for key, value in one.net.state_dict().items():
            assert torch.equal(other.net.state_dict()[key], value), key


def test_points_of_the_bridge_have_its_noise() -> None:
    """What is known at t is (1 - t) S plus noise of sigma^2 t (1 - t) times the unit, in both parts."""
    shape = (1, 400, BINS)
    target, unit = torch.full(shape, 2.0 + 1.0j), torch.full((1, 400, 288), 0.09)
    known = known_at(target, unit, torch.tensor([0.3]), torch.Generator().manual_seed(0))
    noise = known - 0.7 * target
    expected = (SIGMA**2 * 0.3 * 0.7 * spread(unit)[0, 0, 0]).item()
    for part in (noise.real, noise.imag):
        assert float(part.var()) == pytest.approx(expected, rel=0.02)
        assert abs(float(part.mean())) < 0.01


def test_training_lowers_the_loss_and_leaves_the_guide_alone() -> None:
    """Thirty steps on one batch help; the frozen extractor stays, the joint one learns."""
    variants: tuple[Variant, ...] = ("latents", "joint")
    for variant in variants:
        training = fresh(variant)
        guide = training.net.extractor
        assert guide is not None
        before = guide.last.weight.detach().clone()
        task = Task.of(heard(mixer(), 0, 4), torch.Generator().manual_seed(0))
        with torch.no_grad():
            first = float(loss_of(training.net, task))
        for _ in range(30):
            loss = loss_of(training.net, task)
            loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
            training.optimiser.step()
            training.optimiser.zero_grad()
        assert float(loss.detach()) < first - 0.05
        assert torch.equal(guide.last.weight, before) == (variant == "latents")


def test_a_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Two steps, a checkpoint and two more steps give the very weights of four steps in one go."""
    straight, broken, again = fresh("none"), fresh("none"), fresh("none")
    sound = mixer()
    for training, steps in ((straight, 4), (broken, 2)):
        for _ in range(steps):
            advance([training], sound, 4, 100, 0)
    save_checkpoint(broken, tmp_path / "checkpoint.safetensors")
    resume(again, tmp_path / "checkpoint.safetensors")
    for _ in range(2):
        advance([again], sound, 4, 100, 0)
    assert again.step == straight.step == 4
    for key, value in straight.net.state_dict().items():
        assert torch.equal(again.net.state_dict()[key], value), key


def shipped(folder: Path, variant: Variant) -> Training[ExDiffModel]:
    """An extractor and an Ex-Diff of that variant on disk, with the card that training writes."""
    training = fresh(variant)
    torch.nn.init.normal_(training.net.net.last.weight, std=0.1)
    training.mean = {key: value.clone() for key, value in training.net.state_dict().items()}
    about: dict[str, object] = {"settings": {}, "extractor": {}}
    if training.net.extractor is not None:
        ship_extractor(begin(training.net.extractor), folder, [], {})
        card = json.loads((folder / "extractor.json").read_text("utf-8"))
        about["extractor"] = {"sha256": card["sha256"], "size": card["size"]}
    ship(training, folder, [], about)
    return training


@pytest.mark.parametrize("variant", ["latents", "none", "mixture-only", "joint"])
def test_weights_come_back(tmp_path: Path, variant: Variant) -> None:
    """What was written is loaded and answers the same, half precision apart."""
    training = shipped(tmp_path, variant)
    model, card = load_exdiff(tmp_path, variant)
    assert card["variant"] == variant
    sound = heard(mixer(), 2, 4)
    gains = []
    with torch.inference_mode():
        for one in (model, training.net.eval()):
            seen = one.see(Look.at(sound.mixture, sound.asked))
            gains.append(in_phase(one.predict(seen, seen.first(), 1.0)[0], seen.look))
    assert torch.allclose(gains[0], gains[1], atol=0.02)


def test_weights_are_checked(tmp_path: Path) -> None:
    """Nothing there, a flipped byte and another extractor are errors that say what to do."""
    with pytest.raises(WeightsError, match=r"exdiff\.train"):
        load_exdiff(tmp_path)
    shipped(tmp_path, "latents")
    assert ExDiff(load_exdiff(tmp_path)[0], nfe=4).name == "exdiff-4"
    torch.manual_seed(9)
    ship_extractor(begin(MaskNet(GUIDE)), tmp_path, [], {})
    with pytest.raises(WeightsError, match="another extractor"):
        load_exdiff(tmp_path)
    data = bytearray((tmp_path / "exdiff.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "exdiff.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match="SHA-256"):
        load_exdiff(tmp_path)


@pytest.mark.skipif(not (WEIGHTS / "exdiff.json").exists(), reason="no Ex-Diff is shipped")
@pytest.mark.skipif(not SHARED.exists(), reason="needs the development recordings")
def test_the_shipped_list_holds_no_test_recording() -> None:
    """Ex-Diff and its guide were trained without the fan and fold 3 of ESC-10, belong together, and are small."""
    card = json.loads((WEIGHTS / "exdiff.json").read_text("utf-8"))
    kept_out = [*(SHARED / "mimii_fan_id00").rglob("*.flac"), *(SHARED / "esc10").glob("*__3-*.flac")]
    assert len(kept_out) > 100
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in kept_out}
    assert not hashes & {one["sha256"] for one in card["recordings"]}
    assert load_exdiff()[1]["steps"] == card["steps"]
    assert sum(path.stat().st_size for path in WEIGHTS.glob("ex*.safetensors")) < 13_000_000


@pytest.mark.skipif(not (WEIGHTS / "exdiff.json").exists(), reason="no Ex-Diff is shipped")
def test_what_is_shipped_pulls_a_machine_out_of_noise() -> None:
    """With the shipped weights a hum comes out of noise by some dB, and no less than the extractor's by half a dB."""
    t = torch.arange(4 * RATE) / RATE
    tones = [torch.cos(2 * torch.pi * 120 * k * t + k) / k for k in range(1, 12)]
    hum = 0.02 * torch.stack(tones).sum(0)
    mix = hum + 0.04 * torch.randn(len(t), generator=torch.Generator().manual_seed(0))
    query = Query((hum.roll(5000),))
    before = float(si_sdr(mix, hum))
    gains = {name: float(si_sdr(separator_named(name)(mix[None], query).target[0], hum)) - before for name in NAMES}
    assert gains["ex-diff"] > 3.0
    assert gains["ex-diff"] > gains["extractor"] - 0.5
