"""Training of the prior: endless examples, learning, and going on after a kill."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sds_engine.priors import corpus, edm, logmel
from sds_engine.priors.codec import TOKENS, MelCodec
from sds_engine.priors.corpus import Pool
from sds_engine.priors.mixing import Captions, Mixer
from sds_engine.priors.network import Network, Size
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
