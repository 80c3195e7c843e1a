"""From nothing to a shipped prior: render the corpus, fit the codec, embed captions, train, export.

Each stage leaves files in the working folder and is not done twice; training goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from sds_engine.priors import corpus, text
from sds_engine.priors.captions import draw_captions, phrases
from sds_engine.priors.codec import TOKENS, MelCodec
from sds_engine.priors.corpus import FIRST_SEED, Pool
from sds_engine.priors.mixing import Captions, Mixer
from sds_engine.priors.network import Network, Rhythm, Size, with_ears
from sds_engine.priors.training import Plan, Progress, train

SHARD = 50
COMPONENTS = 160
CAPTIONS_EACH = 40
CODEC_BATCHES = 12
_OTHERS_FROM = FIRST_SEED + 500_000  # seeds of what is no machine

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to train on: procedural machines and other sounds, recordings of background, recordings of a site."""

    machines: int = 1_100
    others: int = 1_400
    background: tuple[tuple[str, np.ndarray], ...] = ()  # (subject, samples at 16 kHz)
    site: tuple[np.ndarray, ...] = ()  # healthy recordings at 16 kHz
    width: int = 256
    layers: int = 6
    heads: int = 4
    ears: tuple[int, ...] = (0, 2, 4)  # layers before which rhythm is listened for


def build(
    recipe: Recipe,
    plan: Plan,
    folder: Path,
    say: Say,
    report: Callable[[Progress], None],
    start: tuple[MelCodec, Network] | None = None,
) -> tuple[MelCodec, Network]:
    """Train in `folder`, from `start` where one is given (fine-tuning); the codec and the network's moving average."""
    pool = render_corpus(recipe, folder, say)
    say(f"{len(pool.db)} clips of {corpus.CLIP_S} s")
    captions = embed_captions(pool, plan.seed, say)
    mixer = Mixer(pool, captions, plan.seed, dict(plan.emphasise), plan.fault_db)
    if start is None:
        codec = fit_codec(mixer, folder)
        torch.manual_seed(plan.seed)
        start = codec, Network(Size(TOKENS, codec.components, recipe.width, recipe.layers, recipe.heads))
    codec, network = start
    network = with_ears(network, recipe.ears, codec.bands(Rhythm.GROUPS), plan.seed)
    return codec, train(codec, mixer, network.size, plan, folder, report, network)


def render_corpus(recipe: Recipe, folder: Path, say: Say) -> Pool:
    """All clips; procedural ones are kept in `folder`/corpus, in shards, rendered only where absent."""
    shards = [("machine", corpus.machine_clips, seeds) for seeds in _shards(FIRST_SEED, recipe.machines)]
    shards += [("other", corpus.other_clips, seeds) for seeds in _shards(_OTHERS_FROM, recipe.others)]
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    pools = []
    for number, (name, make, seeds) in enumerate(shards):
        path = folder / "corpus" / f"{name}-{seeds[0]}-{len(seeds)}.npz"
        if not path.exists():
            say(f"rendering part {number + 1} of {len(shards)}")
            fresh = path.with_suffix(".new.npz")
            corpus.make_pool(make(seeds)).save(fresh)
            fresh.replace(path)
        pools.append(Pool.load(path))
    recorded = [*recipe.background, *(("healthy", samples) for samples in recipe.site)]
    if recorded:
        pools.append(corpus.make_pool(corpus.recording_clips(list(recorded))))
    return Pool.join(pools)


def _shards(first: int, count: int) -> Iterator[range]:
    return (range(first + at, first + min(at + SHARD, count)) for at in range(0, count, SHARD))


def embed_captions(pool: Pool, seed: int, say: Say) -> Captions:
    """Sentence vectors for every subject and machine of the pool."""
    rng = np.random.default_rng((seed, 1))
    pairs = {(str(s), str(m)) for s, m in zip(pool.subjects, pool.machines, strict=True)}
    keys = sorted(pairs | {(subject, "") for subject, _ in pairs})
    texts: list[str] = []
    where = {}
    for subject, machine in keys:
        drawn = draw_captions(subject, machine, CAPTIONS_EACH, rng)
        where[subject, machine] = (len(texts), len(texts) + len(drawn))
        texts += drawn
    say(f"embedding {len(texts)} captions of {len(keys)} subjects")
    return Captions(text.embed(texts), where)


def fit_codec(mixer: Mixer, folder: Path) -> MelCodec:
    """The codec of this corpus, kept in `folder`/codec.safetensors."""
    path = folder / "codec.safetensors"
    if not path.exists():
        examples = torch.cat([mixer.batch(1_000_000_000 + n, 256)[0] for n in range(CODEC_BATCHES)])
        codec = MelCodec.fit(examples, COMPONENTS)
        save_file({"mean": codec.mean, "basis": codec.basis, "scale": codec.scale}, path)
    return MelCodec(**load_file(path))


def subject_of(file: Path) -> str:
    """What a background file is called: its name up to "__" where captions know that, else "background"."""
    name = file.stem.partition("__")[0]
    return name if name in phrases() else "background"


def training_subjects(pool: Pool) -> Sequence[str]:
    """What the pool holds, for the model card."""
    return sorted(set(pool.subjects.tolist()))
