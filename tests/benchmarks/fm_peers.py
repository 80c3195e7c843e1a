"""What FM matching is compared with: random search, CMA-ES and plain gradient, on the same count of renders."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from sds_engine.makers.fm import Fm
from sds_engine.physics.wander import generator
from sds_engine.tasks.fm_match import Match, MatchSettings, Search, descend, match_fm
from sds_engine.tasks.fm_starts import free_rows, guess, hear

CHUNK = 32


def draws(maker: Fm, seed: int, count: int) -> dict[str, Tensor]:
    """Free values of `count` voices as the maker draws them: the law of the first half of the targets, too."""
    params = maker.start(count, [seed * 1_000_003 + number for number in range(count)])
    return {name: value.detach() for name, value in params.free.items() if name != "level_db"}


def random_search(target: Tensor, maker: Fm, seed: int, budget: int) -> Match:
    """The best of `budget` draws."""
    search = Search(maker, target, budget, CHUNK)
    search.distances(draws(maker, seed, budget))
    return search.result()


def gradient(target: Tensor, maker: Fm, seed: int, budget: int, starts: int = 4) -> Match:
    """Plain multi-start Adam on the multi-scale spectral distance, from draws; step sizes as in `fm_match`."""
    search = Search(maker, target, budget, CHUNK)
    descend(search, draws(maker, seed, starts), budget // starts)
    return search.result()


def cma_es(target: Tensor, maker: Fm, seed: int, budget: int, first: str = "draws") -> Match:
    """CMA-ES over all unconstrained values, from the best of a tenth of the budget.

    first: "draws" of the maker, or "guesses" from the sound's peaks as `fm_match` makes them (a quarter of the budget).
    """
    import cma

    search = Search(maker, target, budget, CHUNK)
    if first == "guesses":
        rng = generator(seed, 41)
        heard = hear(target.double().numpy(), maker.rate)
        rows = free_rows([guess(heard, rng) for _ in range(budget // 4)], maker.bounds)
        free = {name: torch.from_numpy(value).float() for name, value in rows.items()}
    else:
        free = draws(maker, seed, budget // 10)
    best = int(search.distances(free).argmin())
    names, sizes = list(free), [value.shape[1] for value in free.values()]
    start = torch.cat([value[best] for value in free.values()]).double().numpy()
    spread = np.concatenate(
        [np.full(size, 0.3 if name in ("f0_hz", "ratio") else 1.0) for name, size in zip(names, sizes, strict=True)]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        es = cma.CMAEvolutionStrategy(start, 0.6, {"seed": seed + 1, "verbose": -9, "CMA_stds": spread, "popsize": 16})
        while search.left >= 16:
            asked = es.ask()
            table = torch.from_numpy(np.stack(asked)).float()
            far = search.distances(dict(zip(names, table.split(sizes, dim=1), strict=True)))
            es.tell(asked, torch.nan_to_num(far, nan=1e6).double().tolist())
    return search.result()


METHODS = {
    "FM match": lambda target, maker, seed, budget: match_fm(target, maker, seed, MatchSettings(budget)),
    "plain gradient, 4 starts": gradient,
    "CMA-ES": cma_es,
    "CMA-ES from our guesses": lambda target, maker, seed, budget: cma_es(target, maker, seed, budget, "guesses"),
    "random search": random_search,
}
