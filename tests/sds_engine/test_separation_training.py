"""How separators are trained: labels are the truth, training resumes, and forbidden sound stays out."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sds_engine.separation.adapt import Budget, SiteMixer, SiteSound, adapt
from sds_engine.separation.enrolment import site_statistics
from sds_engine.separation.extractor import WEIGHTS, WeightsError, load_extractor
from sds_engine.separation.grid import BINS, MELS, RATE, analyse, log_mel, mel_bands, power
from sds_engine.separation.mixing import PAIRINGS, Examples, Mixer, band_power, pair, pairings
from sds_engine.separation.network import TEXT, MaskNet, NetSize, QueryInput, level_db, local_mean_db
from sds_engine.separation.pool import (
    SECONDS,
    Source,
    event_source,
    machine_source,
    noise_source,
    recorded_sources,
    steady_source,
)
from sds_engine.separation.standins import with_stand_ins
from sds_engine.separation.train import (
    AVERAGE,
    Training,
    advance,
    rate_at,
    resume,
    save_checkpoint,
    ship,
)
from sds_engine.separation.train import _keep as keep
from sds_engine.separation.training import loss_of, si_sdr_nepers

SHARED = Path(__file__).parents[3] / "shared" / "data"
SMALL = NetSize(channels=16, dilations=(1, 2), query=8)
PROMPTS = {"hum": torch.ones(TEXT) / TEXT**0.5}


def sources() -> list[Source]:
    """A hum that may be asked for, and noise that may not."""
    rng = np.random.default_rng(0)
    t = np.arange(round(SECONDS * RATE)) / RATE
    clips = np.stack([np.sin(2 * np.pi * 200 * (t + rng.uniform())) * 2**0.5 for _ in range(2)]).astype(np.float16)
    return [Source("hum", ("hum",), clips, clips[:1]), noise_source(2, 0)]


def fresh() -> Training:
    torch.manual_seed(0)
    net = MaskNet(SMALL)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)
    return Training(net, {key: value.clone() for key, value in net.state_dict().items()}, optimiser)


def test_a_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Two steps, a checkpoint and two more steps give the very weights of four steps in one go."""
    mixer = Mixer(sources(), PROMPTS, seed=3)
    straight, broken = fresh(), fresh()
    for _ in range(4):
        advance(straight, mixer.batch(straight.step, 4), 100)
    for _ in range(2):
        advance(broken, mixer.batch(broken.step, 4), 100)
    save_checkpoint(broken, tmp_path / "checkpoint.safetensors")
    again = fresh()
    resume(again, tmp_path / "checkpoint.safetensors")
    for _ in range(2):
        advance(again, mixer.batch(again.step, 4), 100)
    assert again.step == straight.step == 4
    for key, value in straight.net.state_dict().items():
        assert torch.equal(again.net.state_dict()[key], value), key
        assert torch.equal(again.mean[key], straight.mean[key]), key


def test_the_rate_rises_stays_and_falls() -> None:
    """The learning rate warms up, is level in between, and ends at nothing."""
    assert rate_at(0, 5000) < 0.01 * rate_at(1000, 5000)
    assert rate_at(1000, 5000) == rate_at(4000, 5000)
    assert rate_at(4999, 5000) < 0.01 * rate_at(1000, 5000)
    assert 0.9 < AVERAGE < 1.0


def test_the_label_is_the_share_of_power() -> None:
    """For sounds in separate bands the ratio is 1 where the target is and 0 where the others are."""
    t = torch.arange(2 * RATE) / RATE
    wanted, rest = analyse(torch.sin(2 * torch.pi * 400 * t)[None]), analyse(torch.sin(2 * torch.pi * 4000 * t)[None])
    mixed = pair(wanted, rest, torch.ones(1), (-3.0, 3.0), torch.Generator().manual_seed(0))
    mixture, ratio = mixed.log_mel, mixed.ratio
    loud = band_power(wanted)[0].mean(-1).argmax(), band_power(rest)[0].mean(-1).argmax()
    assert mixture.shape == ratio.shape == (PAIRINGS, 128, wanted.shape[-1])
    assert float(ratio[:, loud[0], 3:-3].min()) > 0.99
    assert float(ratio[:, loud[1], 3:-3].max()) < 0.01


def test_band_sums_tell_what_a_masked_mixture_gets_wrong() -> None:
    """With one mask value per frame, mask^2 |X|^2 - 2 mask Re(S X*) + |S|^2 over bands is |mask X - S|^2 over bins."""
    generator = torch.Generator().manual_seed(0)
    wanted, rest = (analyse(torch.randn(1, RATE, generator=generator)) for _ in range(2))
    wanted[:, :1], wanted[:, -1:], rest[:, :1], rest[:, -1:] = 0.0, 0.0, 0.0, 0.0  # 0 Hz and 8 kHz lie in no band
    mixed = pair(wanted, rest, torch.ones(1), (0.0, 0.0), torch.Generator().manual_seed(1))
    mixture = wanted + next(pairings(rest, torch.ones(1), (0.0, 0.0), torch.Generator().manual_seed(1)))
    mask = torch.rand(1, 1, wanted.shape[-1], generator=generator)
    over_bins = (mask * mixture - wanted).abs().square().sum()
    power_x = 10.0 ** (mixed.log_mel[:1] / 10.0)
    over_bands = (mask.square() * power_x - 2.0 * mask * mixed.cross[:1] + mixed.target[:1]).sum()
    assert float(over_bands) == pytest.approx(float(over_bins), rel=0.02)


def test_the_level_is_found_where_nothing_else_is_heard() -> None:
    """A machine 8 dB softer than its enrolment, under a burst that covers most bands and moments, is measured so."""
    generator = torch.Generator().manual_seed(0)
    hum = torch.randn(1, 5 * RATE, generator=generator)
    burst = torch.randn(1, 5 * RATE, generator=generator)
    burst[:, : 2 * RATE] = 0.0
    mean_db = 10.0 * band_power(analyse(hum)).mean(-1).log10()
    softer, alone = (local_mean_db(log_mel(power(analyse(one)))) for one in (10.0**-0.4 * hum + 3.0 * burst, hum))
    assert float(level_db(softer, mean_db)) == pytest.approx(float(level_db(alone, mean_db)) - 8.0, abs=2.0)


def test_one_odd_recording_does_not_make_the_enrolment() -> None:
    """Of five recordings one holds a bang 40 dB above the machine: its mean rises by a fifth of that in dB."""
    hum = [0.001 * torch.randn(RATE, generator=torch.Generator().manual_seed(seed)) for seed in range(5)]
    odd = [*hum[:4], 100.0 * hum[4]]
    rise_db = (site_statistics(odd) - site_statistics(hum))[5:120] * 20.0
    assert float(rise_db.mean()) == pytest.approx(8.0, abs=0.1)


def test_examples_are_the_steps_own() -> None:
    """The same step gives the same examples, another step others; ratios lie in 0..1 and every query asks."""
    mixer = Mixer(sources(), PROMPTS, seed=1)
    one, again, other = mixer.batch(5, 8), mixer.batch(5, 8), mixer.batch(6, 8)
    assert torch.equal(one.log_mel, again.log_mel)
    assert not torch.equal(one.log_mel, other.log_mel)
    assert float(one.ratio.min()) >= 0.0
    assert float(one.ratio.max()) <= 1.0
    assert bool((one.query.has_sound | one.query.has_text).all())


def test_stand_ins_change_their_share_and_nothing_else() -> None:
    """With share 0 sound passes untouched; with share 1 most of it is changed; silence never becomes NaN."""
    sound = torch.randn(64, RATE, generator=torch.Generator().manual_seed(0))
    sound[0] = 0.0
    same, flat = with_stand_ins(sound, 0.0, torch.Generator().manual_seed(1))
    assert torch.equal(same, sound)
    assert bool((flat == 1.0).all())
    changed, gains = with_stand_ins(sound, 1.0, torch.Generator().manual_seed(1))
    assert bool(torch.isfinite(changed).all())
    touched = (changed != sound).any(1) | (gains != 1.0).any(1)
    assert 0.75 < float(touched.double().mean()) < 1.0


def test_machines_of_the_pool_have_faults() -> None:
    """A machine brings healthy and faulty takes of its own level; an event brings none and may be asked for."""
    machine, event = machine_source("fan", 0, 0), event_source("clank", 0, 0)
    assert len(machine.clips) == 3
    assert len(machine.faulty) == 2
    assert float(np.sqrt(np.mean(machine.clips.astype(np.float32) ** 2))) == pytest.approx(1.0, abs=0.05)
    assert event.target
    assert not len(event.faulty)


def quiet(path: Path) -> NDArray[np.float32]:
    return np.full(RATE, 0.01, dtype=np.float32) + len(path.name) * 1e-6


def test_what_ships_must_not_hear_the_test_side(tmp_path: Path) -> None:
    """The fan of the development set is refused by name, its test background is left out, the rest is listed."""
    for name in ("rain__1-a.wav", "rain__3-b.wav"):
        (tmp_path / name).write_bytes(name.encode())
    found, heard = recorded_sources(tmp_path, read=quiet, keep=keep)
    assert [one.name for one in found] == ["rain"]
    assert [one.file.rpartition("/")[2] for one in heard] == ["rain__1-a.wav"]
    assert heard[0].sha256 == hashlib.sha256(b"rain__1-a.wav").hexdigest()
    bad = tmp_path / "mimii_fan"
    bad.mkdir()
    (bad / "x.wav").write_bytes(b"x")
    with pytest.raises(ValueError, match="must not hear"):
        recorded_sources(tmp_path, read=quiet)


def test_a_manifest_says_licence_and_prompt(tmp_path: Path) -> None:
    """A class is asked for by its manifest's prompt, with an empty one only by sound, without a row by its name."""
    for name in ("a_saw__1.wav", "b__1.wav", "big_mill__1.wav"):
        (tmp_path / name).write_bytes(name.encode())
    rows = "file,licence,prompt\na_saw__1.wav,CC0,circular saw\nb__1.wav,CC-BY-4.0,\n"
    (tmp_path / "manifest.csv").write_text(rows, "utf-8")
    found, heard = recorded_sources(tmp_path, read=quiet)
    assert {one.name: one.prompts for one in found} == {"a_saw": ("circular saw",), "b": (), "big_mill": ("big mill",)}
    assert [one.licence for one in heard] == ["CC0", "CC-BY-4.0", "not stated"]


@pytest.mark.skipif(not (WEIGHTS / "extractor.json").exists(), reason="no extractor is shipped")
@pytest.mark.skipif(not SHARED.exists(), reason="needs the development recordings")
def test_the_shipped_lists_hold_no_test_recording() -> None:
    """No hash of the shipped training lists is a recording of the fan or of ESC-10's fold 3."""
    card, enhancer = (json.loads((WEIGHTS / f"{name}.json").read_text("utf-8")) for name in ("extractor", "exdiff"))
    kept_out = [*(SHARED / "mimii_fan_id00").rglob("*.flac"), *(SHARED / "esc10").glob("*__3-*.flac")]
    assert len(kept_out) > 100
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in kept_out}
    for learned in (card, enhancer):
        assert len(learned["recordings"]) > 100
        assert not hashes & {one["sha256"] for one in learned["recordings"]}
    assert load_extractor()[1]["steps"] == card["steps"]
    assert (WEIGHTS / "extractor.safetensors").stat().st_size < 10_000_000


def test_weights_on_disk_are_checked(tmp_path: Path) -> None:
    """What was shipped is loaded; a flipped byte, or nothing there, is an error with the remedy."""
    with pytest.raises(WeightsError, match=r"separation\.train"):
        load_extractor(tmp_path)
    ship(fresh(), tmp_path, [], {"seed": 0})
    extractor, card = load_extractor(tmp_path)
    assert extractor.net.size == SMALL
    assert card["steps"] == 0
    data = bytearray((tmp_path / "extractor.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "extractor.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match="SHA-256"):
        load_extractor(tmp_path)


def test_adaptation_learns_the_site_and_keeps_its_budget() -> None:
    """Asked with an enrolment 20 dB too soft, it learns what is right; its clock stops it; the given net stays."""
    t = torch.arange(5 * RATE) / RATE
    hum = 0.05 * torch.sin(2 * torch.pi * 300 * t)
    noise = 0.05 * torch.randn(5 * RATE, generator=torch.Generator().manual_seed(0))
    sound, statistics = SiteSound((hum,), (noise,)), site_statistics((0.1 * hum,))
    torch.manual_seed(0)
    net = MaskNet(SMALL)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    adapted, steps = adapt(net, sound, statistics, budget=Budget(30, 1e9), rate_peak=1e-2)
    assert steps == 30
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    unheard = SiteMixer(sound, statistics, 9).batch(0, 8)
    with torch.inference_mode():
        assert float(loss_of(adapted, unheard)) < 0.96 * float(loss_of(net, unheard))
    ticks = iter(range(100))
    assert adapt(net, sound, statistics, budget=Budget(50, 2.5, lambda: float(next(ticks))))[1] == 2


def test_a_site_without_sound_is_refused() -> None:
    """No target, or no background, is an error."""
    with pytest.raises(ValueError, match="at least one of each"):
        SiteSound((), (torch.zeros(5),))


def test_a_mask_depends_on_no_level() -> None:
    """A louder mixture, or a louder enrolment, gets the same mask: level told how noisy training mixtures were."""
    torch.manual_seed(0)
    net = MaskNet(SMALL).eval()
    torch.nn.init.normal_(net.last.weight, std=0.1)
    mixture = log_mel(power(analyse(0.01 * torch.randn(2, RATE))))
    softer = QueryInput.of(2, statistics=site_statistics([0.01 * torch.randn(RATE)]), text=torch.ones(TEXT))
    louder = replace(softer, statistics=softer.statistics + 0.3 * (torch.arange(2 * 128) < 128))  # 6 dB
    with torch.inference_mode():
        once = net(mixture, softer)
        assert float(once.std()) > 0.1
        assert torch.allclose(net(mixture + 10.0, softer), once, atol=1e-3)
        assert torch.allclose(net(mixture, louder), once, atol=1e-3)


def test_the_loss_counts_as_si_sdr_does() -> None:
    """Sums over bands give the SI-SDR that masked spectra have, whatever the mask's scale."""
    generator = torch.Generator().manual_seed(0)
    parts = torch.randn((2, 3, BINS, 20, 2), generator=generator)
    target, noise = (torch.view_as_complex(one) for one in parts)
    mixed = pair(target, noise, torch.ones(3), (0.0, 0.0), torch.Generator().manual_seed(1))
    other = next(iter(pairings(noise, torch.ones(3), (0.0, 0.0), torch.Generator().manual_seed(1))))
    mask = torch.rand(3, MELS, 20, generator=generator)
    first = Examples(mixed.log_mel[:3], QueryInput.of(3), mixed.ratio[:3], mixed.target[:3], mixed.cross[:3])
    bands = mel_bands(torch.device("cpu"))  # [bin, mel]

    def inner(one: Tensor, two: Tensor, weight: Tensor) -> Tensor:
        """Sums of <one, two> over the bins of bands, weighted by cell."""
        product = one.real * two.real + one.imag * two.imag
        return ((product.transpose(1, 2) @ bands).transpose(1, 2) * weight).sum(dim=(1, 2))

    mixture = target + other
    alike = inner(mixture, target, mask)
    rest = inner(mixture, mixture, mask.square()) * inner(target, target, torch.ones_like(mask)) - alike.square()
    expected = torch.log(alike.square() / rest).mean()
    assert float(si_sdr_nepers(mask, first)) == pytest.approx(float(expected), abs=0.01)
    assert float(si_sdr_nepers(0.1 * mask, first)) == pytest.approx(float(expected), abs=0.01)


def test_a_hall_changes_within_an_example() -> None:
    """Some backgrounds turn from one sound to another in the middle, some stay as they are."""
    rng = np.random.default_rng(0)
    hiss = rng.standard_normal((1, round(SECONDS * RATE)))
    hum = np.sin(2 * np.pi * 100 * np.arange(hiss.shape[1]) / RATE)[None]
    none = np.zeros((0, hiss.shape[1]), dtype=np.float16)
    names = {"wanted": hum, "hum": hum, "hiss": hiss}
    sources = [
        Source(name, (name,), clips.astype(np.float16), none, target=name == "wanted") for name, clips in names.items()
    ]
    drawn = [Mixer(sources, {}, seed=0).parts(step, 2, 2 * RATE).rest for step in range(20)]
    high = power(torch.cat(drawn))[:, 200:].sum(1)[:, 2:-2] + 1e-9  # of hiss alone, over time
    turned = high.amax(1) > 1e3 * high.amin(1)
    assert 0.1 < float(turned.double().mean()) < 0.6


def test_a_steady_machine_is_the_same_in_every_take() -> None:
    """Its spectrum is its own, its samples are not: two takes are equal in bands and unequal in time."""
    one, other = steady_source(3, 0), steady_source(4, 0)
    takes = torch.from_numpy(one.clips.astype(np.float32))
    first, second = (log_mel(power(analyse(take[None]))).mean(-1)[0] for take in takes[:2])
    stranger = log_mel(power(analyse(torch.from_numpy(other.clips[:1].astype(np.float32))))).mean(-1)[0]
    assert abs(float(torch.corrcoef(takes[:2])[0, 1])) < 0.5
    assert float((first - second).abs().mean()) < 0.5 < 3.0 * float((first - stranger).abs().mean())
    assert float(takes.square().mean()) == pytest.approx(1.0, abs=0.05)
