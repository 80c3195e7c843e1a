"""Draw what a prior makes of rhythm: `python tests/benchmarks/picture_rhythm.py [--beside FOLDER]`.

Writes docs/pictures/prior-rhythm.png: one sample a fault of the shipped prior, its spectrogram and the modulation
spectrum of its level; above them those of another prior's, same seed, where a folder is given. The weights of before
are in the project's history: `git show REVISION:sds_engine/priors/weights/prior.safetensors`, and card.json beside.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import torch

from sds_engine.priors import logmel
from sds_engine.priors.captions import phrases
from sds_engine.priors.shipped import ShippedPrior, load_prior

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "prior-rhythm.png"
KINDS = ("ball", "inner_race", "broken_tooth", "blade_imbalance", "outer_race")
SEED = 77_100


def sample(prior: ShippedPrior, kind: str) -> torch.Tensor:
    """Relative dB `[frame, band]` of one sample under the kind's first caption."""
    wave = prior.sample(prior.prior.embed([phrases()[kind][0]]), [SEED])
    return logmel.relative_db(logmel.mel_power(wave))[0]


def modulation(db: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Hz `[line]` and the size of the level's swelling in dB `[line]`; level: the mean over bands."""
    level = db.mean(dim=1)
    window = torch.hann_window(len(level), periodic=False)
    lines = torch.fft.rfft((level - level.mean()) * window, n=1024).abs() * 2.0 / window.sum()
    return torch.fft.rfftfreq(1024, logmel.HOP / logmel.RATE), lines


def main() -> None:
    """Draw, write."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--beside", type=Path, help="a folder with another prior, drawn above")
    given = args.parse_args()
    torch.set_num_threads(1)
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    priors = [load_prior(folder) for folder in ([given.beside] if given.beside else [])] + [load_prior()]
    figure, axes = plt.subplots(2 * len(priors), len(KINDS), figsize=(14, 3.6 * len(priors)), layout="constrained")
    for row, prior in enumerate(priors):
        for column, kind in enumerate(KINDS):
            db = sample(prior, kind)
            above, below = axes[2 * row, column], axes[2 * row + 1, column]
            above.imshow(db.T, origin="lower", aspect="auto", vmin=-40, vmax=20, cmap="magma", extent=(0, 2, 0, 64))
            above.set_title(f"{kind}, {prior.card['name']}", fontsize=9)
            below.plot(*modulation(db), linewidth=0.8)
            below.set_xlim(0, 62.5)
    for column in range(len(KINDS)):
        axes[-1, column].set_xlabel("swelling in Hz")
    figure.savefig(PICTURE, dpi=75)


if __name__ == "__main__":
    main()
