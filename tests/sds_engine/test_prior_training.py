"""Training of the prior: endless examples, learning, and going on after a kill."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sds_engine.priors import corpus, edm, logmel
from sds_engine.priors.codec import TOKENS, MelCodec
from sds_engine.priors.corpus import Pool
from sds_engine.priors.mixing import Captions, Mixer
from sds_engine.priors.network import Network, Rhythm, Size, with_ears
from sds_engine.priors.training import Plan, Progress, train


@pytest.fixture(scope="module")
def mixer() -> Mixer:
    """One procedural machine with its faults, some other sounds, captions of random vectors."""
    first = corpus.FIRST_SEED
    pool = Pool.join(
        [
            corpus.make_pool(corpus.machine_clips(range(first, first + 1))),
            corpus.make_pool(corpus.other_clips(range(first, first + 15))),
        ]
    )
    keys = sorted({(str(s), m) for s, own in zip(pool.subjects, pool.machines, strict=True) for m in ("", str(own))})
    vectors = torch.nn.functional.normalize(torch.randn(len(keys), 384, generator=torch.Generator().manual_seed(0)))
    return Mixer(pool, Captions(vectors, {key: (i, i + 1) for i, key in enumerate(keys)}), seed=3)


def test_a_pool_survives_the_disk(tmp_path: Path, mixer: Mixer) -> None:
    """What was saved is loaded, without pickles; another file is refused."""
    mixer.pool.save(tmp_path / "pool.npz")
    again = Pool.load(tmp_path / "pool.npz")
    assert np.array_equal(again.db, mixer.pool.db)
    assert again.subjects.tolist() == mixer.pool.subjects.tolist()
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="lacks db"):
        Pool.load(tmp_path / "other.npz")


def test_faults_know_their_machine(mixer: Mixer) -> None:
    """Every fault points to the healthy clip of its machine; other sounds to none."""
    pool = mixer.pool
    assert pool.subjects[pool.machine_of[pool.machine_of >= 0]].tolist() == ["healthy"] * int(
        (pool.machine_of >= 0).sum()
    )
    assert set(pool.machines[pool.machine_of < 0].tolist()) == {""}


def test_examples_are_the_same_for_the_same_number(mixer: Mixer) -> None:
    """Batch n of a seed is always the same; another is another; all are finite and in range."""
    db, prompt = mixer.batch(7, 16)
    again, _ = mixer.batch(7, 16)
    other, _ = mixer.batch(8, 16)
    assert torch.equal(db, again)
    assert not torch.equal(db, other)
    assert db.shape == (16, logmel.FRAMES, logmel.BANDS)
    assert torch.isfinite(db).all()
    torch.testing.assert_close(prompt.norm(dim=1), torch.ones(16), atol=1e-4, rtol=0)


def test_seeds_of_others_are_refused() -> None:
    """The prior's corpus takes no seed that judges or tests use."""
    with pytest.raises(ValueError, match="the prior's own lie from 1000000"):
        next(corpus.machine_clips(range(9_000_000, 9_000_001)))


def quiet(_: Progress) -> None:
    """Say nothing."""


def test_training_goes_on_where_it_was_killed(tmp_path: Path, mixer: Mixer) -> None:
    """A run killed after a checkpoint ends with the very weights of one that was not; and it learns."""
    codec = MelCodec.fit(mixer.batch(0, 48)[0], 24)
    size, plan = Size(TOKENS, 24, 32, 1, 2), Plan(steps=8, batch=8, warm_up=2, save_every=4, bf16=False)
    whole = train(codec, mixer, size, plan, tmp_path / "whole", quiet)

    class Killed(Exception):
        pass

    def die(progress: Progress) -> None:
        if progress.step == 6:
            raise Killed

    with pytest.raises(Killed):
        train(codec, mixer, size, plan, tmp_path / "cut", die)
    resumed = train(codec, mixer, size, plan, tmp_path / "cut", quiet)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert any(not torch.equal(a, b) for a, b in zip(whole.parameters(), Network(size).parameters(), strict=True))


def test_another_plan_does_not_go_on(tmp_path: Path, mixer: Mixer) -> None:
    """A checkpoint of another plan is refused by name of what differs."""
    codec = MelCodec.fit(mixer.batch(0, 32)[0], 8)
    size = Size(TOKENS, 8, 16, 1, 2)
    train(codec, mixer, size, Plan(steps=1, batch=4), tmp_path, quiet)
    with pytest.raises(ValueError, match="another steps"):
        train(codec, mixer, size, Plan(steps=2, batch=4), tmp_path, quiet)


def test_training_lowers_the_loss(tmp_path: Path, mixer: Mixer) -> None:
    """Forty steps of a tiny network denoise examples that it has not seen better than its start does."""
    codec = MelCodec.fit(mixer.batch(0, 64)[0], 16)
    size, plan = Size(TOKENS, 16, 48, 1, 2), Plan(steps=40, batch=16, rate=5e-3, warm_up=3, ema=0.9)
    trained = train(codec, mixer, size, plan, tmp_path, quiet)
    db, prompt = mixer.batch(900, 64)
    y, sigma, noise = codec.of_db(db), torch.full((64,), 1.0), torch.randn(64, TOKENS, 16)
    with torch.no_grad():
        after, before = (edm.loss(n, y, prompt, sigma, noise).mean() for n in (trained, Network(size)))
    assert float(after) < 0.9 * float(before)


def test_emphasised_faults_come_more_often(mixer: Mixer) -> None:
    """A fault of weight 9 is drawn nine times as often as another; without emphasis examples are what they were."""
    kinds = [str(mixer.pool.subjects[group[0]]) for group in mixer.faults]
    heavy = Mixer(mixer.pool, mixer.captions, mixer.seed, {kinds[0]: 9.0})
    rng = np.random.default_rng(0)
    drawn = np.bincount([heavy._fault(rng) for _ in range(4000)], minlength=len(kinds))
    expected = np.array([9.0] + [1.0] * (len(kinds) - 1)) / (8.0 + len(kinds))
    assert np.abs(drawn / 4000 - expected).max() < 4 * np.sqrt(0.25 / 4000)
    assert torch.equal(Mixer(mixer.pool, mixer.captions, mixer.seed, {}).batch(3, 8)[0], mixer.batch(3, 8)[0])


def test_louder_faults_leave_less_of_the_machine(mixer: Mixer) -> None:
    """Far over its machine a fault is alone: 10 dB more change nothing then, while the machine at 0 dB is heard."""

    def at(db: float) -> torch.Tensor:
        return Mixer(mixer.pool, mixer.captions, mixer.seed, fault_db=(db, db)).batch(3, 32)[0]

    far, farther, level = at(70.0), at(80.0), at(0.0)
    assert float((far - farther).abs().mean()) < 0.1 * float((far - level).abs().mean())


@pytest.mark.parametrize(
    ("emphasise", "fault_db", "words"),
    [
        ({"hiccup": 2.0}, (0.0, 1.0), "no fault 'hiccup' to emphasise, allowed is one of"),
        ({"healthy": 2.0}, (0.0, 1.0), "no fault 'healthy'"),
        ({}, (3.0, 1.0), "the first must not be above"),
    ],
)
def test_emphasis_out_of_range_is_refused(
    mixer: Mixer, emphasise: dict[str, float], fault_db: tuple[float, float], words: str
) -> None:
    """Subjects that are no fault and levels that fall are errors that say what is allowed."""
    with pytest.raises(ValueError, match=words):
        Mixer(mixer.pool, mixer.captions, 0, emphasise, fault_db)


def test_a_plan_out_of_range_is_refused() -> None:
    """Learning rates and noise levels that cannot train are errors, before anything is rendered."""
    with pytest.raises(ValueError, match=r"learning rate 1\.0: allowed is"):
        Plan(rate=1.0)
    with pytest.raises(ValueError, match="noise"):
        Plan(noise=(0.0, 0.0))


def test_an_older_checkpoint_goes_on(tmp_path: Path, mixer: Mixer) -> None:
    """A checkpoint that knows nothing of emphasis was made without; asking for some now is another plan."""
    codec = MelCodec.fit(mixer.batch(0, 32)[0], 8)
    size, plan = Size(TOKENS, 8, 16, 1, 2), Plan(steps=1, batch=4)
    train(codec, mixer, size, plan, tmp_path, quiet)
    path = tmp_path / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as held:
        metadata = {k: v for k, v in held.metadata().items() if k not in ("emphasise", "fault_db", "noise")}
    save_file(load_file(path), path, metadata)
    train(codec, mixer, size, plan, tmp_path, quiet)
    with pytest.raises(ValueError, match="another emphasise"):
        train(codec, mixer, size, replace(plan, emphasise=(("ball", 2.0),)), tmp_path, quiet)


def test_ears_change_nothing_until_trained() -> None:
    """A network given ears answers as before, to the last digit; asked again for the same ones it stays what it is."""
    torch.manual_seed(0)
    plain = Network(Size(TOKENS, 8, 16, 3, 2))
    for parameter in plain.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    larger = with_ears(plain, (0, 2), torch.randn(80, 8), seed=1)
    x, level, prompt = torch.randn(2, TOKENS, 8), torch.zeros(2), torch.randn(2, 384)
    with torch.no_grad():
        assert torch.equal(larger(x, level, prompt), plain(x, level, prompt))
    assert larger.size.ears == (0, 2)
    assert with_ears(larger, (0, 2), torch.randn(80, 8), seed=1) is larger
    with pytest.raises(ValueError, match="allowed is 0 to 2"):
        with_ears(plain, (0, 3), torch.randn(80, 8), seed=1)


def test_an_ear_stands_a_line_without_noise() -> None:
    """A line in nothing but silence is kept, finite: the ratio to no noise at all is beyond single precision."""
    ear = Rhythm(80, 80)
    with torch.no_grad():
        ear.listen.weight.copy_(torch.eye(80))
        ear.tell.weight.copy_(torch.eye(80).repeat_interleave(3, dim=1))
        loud = 1e8 * torch.cos(2 * torch.pi * torch.arange(250) / 25.0)[None, :, None].expand(1, 250, 8)
        assert bool(ear(loud.reshape(1, TOKENS, 80), torch.zeros(1, 80)).isfinite().all())
        assert not ear(torch.zeros(1, TOKENS, 80), torch.zeros(1, 80)).any()


@pytest.mark.parametrize(("hz", "least"), [(7.3, 0.9), (23.9, 0.9), (None, 0.0)])
def test_an_ear_keeps_what_repeats_and_drops_noise(hz: float | None, least: float) -> None:
    """Of a swelling 9 dB under the noise, in all bands, most is left and little else; of noise alone next to nothing.

    The channel that shares evidence between bands, at its higher threshold, read out as it is.
    """
    generator = torch.Generator().manual_seed(4)
    ear = Rhythm(80, 80)
    with torch.no_grad():
        ear.listen.weight.copy_(torch.eye(80))
        ear.tell.weight.copy_(torch.eye(80).repeat_interleave(3, dim=1) * torch.tensor([0.0, 0.0, 1.0]).repeat(80))
        noise = torch.randn(16, 250, 8, generator=generator)
        time_s = torch.arange(250) * 0.008
        phase = 6.28 * torch.rand(16, 1, 1, generator=generator)
        clean = 0.5 * torch.cos(2 * torch.pi * (hz or 0.0) * time_s[None, :, None] + phase).expand_as(noise)
        clean = clean if hz else torch.zeros_like(noise)
        heard = ear((clean + noise).reshape(16, TOKENS, 80), torch.zeros(16, 80)).reshape(16, 250, 8)
    assert float(heard.square().mean()) < float(clean.square().mean()) + 0.05
    if hz:
        assert float((heard * clean).sum() / heard.norm() / clean.norm()) > least


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, mixer: Mixer) -> None:
    """A run begun before there were ears does not go on with them: a clear word, and the old file stays."""
    codec = MelCodec.fit(mixer.batch(0, 32)[0], 8)
    size, plan = Size(TOKENS, 8, 16, 1, 2), Plan(steps=1, batch=4)
    train(codec, mixer, size, plan, tmp_path, quiet)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    heard = with_ears(Network(size), (0,), codec.bands(Rhythm.GROUPS), 0)
    with pytest.raises(ValueError, match="another network"):
        train(codec, mixer, heard.size, plan, tmp_path, quiet, heard)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
