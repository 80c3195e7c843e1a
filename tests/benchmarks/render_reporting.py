"""Render what the reporting judge learns from: `python tests/benchmarks/render_reporting.py --each 1000`.

Waves of `reporting.sounds` in parts of ten sounds a class, kept in build/judge; an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from reporting.bodies import coloured_path, without_phase
from reporting.sounds import CLASSES, one_sound

HELD_OUT = 1_000_000
MORE = 50_000_000  # healthy is the widest class: it has two blocks of ten
BLOCKS = (*range(len(CLASSES)), CLASSES.index("healthy"))
CACHE = Path("build/judge")


def pair_of(name: str, seed: int) -> np.ndarray:
    """Waves [2, time] int16 of one sound: as it is or through another microphone, and without its phase."""
    rng = np.random.default_rng((78_000_000, seed))
    sound = one_sound(name, seed)
    heard = coloured_path(sound, rng) if rng.random() < 0.2 else sound
    both = np.stack([heard, without_phase(sound, rng)])
    return np.round(32_000 * both / np.abs(both).max(1, keepdims=True)).astype(np.int16)


def part_of(start: int, cache: Path = CACHE) -> np.ndarray:
    """Waves [block, sound, 2, time] of ten sounds a block from seed `start` on: rendered once, then read."""
    path = cache / f"reporting-{start}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        waves = [[pair_of(name, start + 10 * i + k) for k in range(10)] for i, name in enumerate(CLASSES)]
        waves.append([pair_of("healthy", MORE + start + k) for k in range(10)])
        with (cache / "writing.npy").open("wb") as file:
            np.save(file, np.array(waves))
        (cache / "writing.npy").rename(path)
    return np.load(path, mmap_mode="r")


def starts(first: int, each: int) -> range:
    """The seeds at which parts begin, for `each` sounds a class."""
    return range(first, first + each * len(CLASSES), 10 * len(CLASSES))


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--each", type=int, default=1000)
    args.add_argument("--held-out", type=int, default=50)
    given = args.parse_args()
    for start in (*starts(HELD_OUT, given.held_out), *starts(0, given.each)):
        part_of(start)
        print(start, flush=True)


if __name__ == "__main__":
    main()
