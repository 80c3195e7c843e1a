"""What the default is made of, chosen on development evidence: members, and how they are combined.

The worlds (`choice_worlds`) hold healthy sound and odd sound of several sorts, simulated or made from healthy
recordings. No recording of a real fault is among them, and no background of the development set's test split.

    python tests/benchmarks/bench_choice.py [--data SHARED/data] [--seeds 0 1] [--levels 0 -6 -12] [--no-network]

writes docs/benchmarks/choice.md and choice.json. The self-supervised network takes a minute a world, all others four
seconds: `--no-network` leaves it out, everywhere, and the page says so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from choice_worlds import World, worlds
from numpy.typing import NDArray

from detectors.calibrate import calibrate
from detectors.fusion import MEMBERS, SENTINELS, Part, combine, member_weights, robust_scale
from detectors.selfsupervised import SelfSupervised
from detectors.surroundings import kinds_of
from monitor.roc import TestSet, official, rank

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks"
F64 = NDArray[np.float64]
SINGLE: tuple[Part, ...] = (*MEMBERS, *SENTINELS)
CHOSEN = tuple(kind.name for kind in MEMBERS)
FOUR = ("mahalanobis", "neighbours", "floor-neighbours", "frame-gmm")
QUIET = ("quiet-mahalanobis", "quiet-neighbours")
FAMILIES = {"in a hall": "hall", "in ESC-10": "ESC-10", "in steady noise": "steady", "healthy fan": "fan"}
EVENTS = tuple(kind.name for kind in SENTINELS)
BEFORE = tuple(name for name in CHOSEN if name not in QUIET)  # the default until quiet levels joined
SWAPPED = tuple("quiet-neighbours" if name == "floor-neighbours" else name for name in BEFORE)
# name: members that are averaged, those that only speak when very odd, and how members are combined
FUSIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "the four members": (FOUR, (), "mean"),
    "the four, weighted alike": (FOUR, (), "alike"),
    "the four, largest of them": (FOUR, (), "largest"),
    "the four, weighted against redundancy": (FOUR, (), "decorrelated"),
    "the two quiet ones": (QUIET, (), "mean"),
    "quiet and neighbours": ((*QUIET, "neighbours"), (), "mean"),
    "quiet, neighbours, mahalanobis": ((*QUIET, "neighbours", "mahalanobis"), (), "mean"),
    "quiet and the four": ((*QUIET, *FOUR), (), "mean"),
    "quiet, neighbours, physical": ((*QUIET, "neighbours", "physical"), (), "mean"),
    "quiet and physical": ((*QUIET, "physical"), (), "mean"),
    "before quiet levels joined": (BEFORE, EVENTS, "mean"),
    "before, and quiet-neighbours": ((*BEFORE, "quiet-neighbours"), EVENTS, "mean"),
    "before, quiet-neighbours for floor-neighbours": (SWAPPED, EVENTS, "mean"),
    "the default": (CHOSEN, EVENTS, "mean"),
    "the default weighted alike": (CHOSEN, EVENTS, "alike"),
    "the default with sentinels averaged": ((*CHOSEN, *EVENTS), (), "mean"),
}


class Heard:
    """What the detectors make of one world: per detector the out-of-fold healthy, healthy and odd statistics."""

    def __init__(self, world: World, parts: Sequence[Part] = SINGLE) -> None:
        self.world = world
        self.kinds = kinds_of(world.train)
        self.values: dict[str, tuple[F64, F64, dict[str, F64]]] = {}
        for kind in parts:
            detector = kind()
            fold = detector.cross_fit(world.train, world.groups).numpy()
            odd = {sort: detector.score(one).numpy() for sort, one in world.odd.items()}
            self.values[detector.name] = (fold, detector.score(world.normal).numpy(), odd)

    def fused(self, names: Sequence[str], sentinels: Sequence[str], how: str) -> tuple[F64, F64, dict[str, F64]]:
        """The out-of-fold healthy, healthy and odd statistics of a fusion, of those of its parts that were heard."""
        names = [name for name in names if name in self.values]
        chosen = (*names, *sentinels)
        folds = torch.stack([torch.from_numpy(self.values[name][0]) for name in chosen])
        centre, spread = robust_scale(folds)
        weight = np.full(len(names), 1 / len(names))
        if how == "decorrelated":
            tamed = ((folds - centre[:, None]) / spread[:, None]).asinh().numpy()
            alike = 0.7 * np.corrcoef(tamed) + 0.3 * np.eye(len(names))
            weight = np.maximum(np.linalg.solve(alike, np.ones(len(names))), 0)
            weight /= weight.sum()

        if how == "mean":  # as the default weighs its members
            z_folds = ((folds - centre[:, None]) / spread[:, None])[: len(names)]
            weight = member_weights(z_folds, self.kinds).numpy()

        def join(parts: Sequence[F64]) -> F64:
            z = (torch.stack([torch.from_numpy(part) for part in parts]) - centre[:, None]) / spread[:, None]
            if how == "largest":
                return np.asarray(z.amax(0).numpy())
            if how == "decorrelated":
                return np.asarray((z.asinh().numpy() * weight[:, None]).sum(0))
            return np.asarray(combine(z[: len(names)], z[len(names) :], torch.from_numpy(weight)).numpy())

        odd = {sort: join([self.values[name][2][sort] for name in chosen]) for sort in self.world.odd}
        fold = join([self.values[name][0] for name in chosen])
        return fold, join([self.values[name][1] for name in chosen]), odd


def figure(normal: F64, odd: F64, rare: NDArray[np.bool_]) -> float:
    """The official score: harmonic mean of AUC with common and with rare backgrounds, and pAUC."""
    anomaly = np.repeat([False, True], [len(normal), len(odd)])
    domain = np.concatenate([np.where(rare, "target", "source"), np.full(len(odd), "source")])
    test = TestSet(anomaly, domain, np.arange(len(anomaly)).astype(str))
    parts = official(rank(np.concatenate([normal, odd]), test, np.ones((1, len(anomaly)))))
    return float(len(parts) / sum(1 / max(float(part[0]), 1e-6) for part in parts))


def false_alarms(heard: Heard, fold: F64, normal: F64, alpha: float = 0.1) -> dict[str, list[float]]:
    """The share of healthy test contexts at p <= alpha in common and in rare backgrounds, by how it is calibrated."""
    rare = torch.from_numpy(heard.world.domain)
    found = {}
    for how, kinds in (("mix as heard", None), ("mix in doubt", heard.kinds)):
        score = calibrate(torch.from_numpy(fold), heard.world.groups, kinds)(torch.from_numpy(normal)).score
        alarm = (score >= -np.log10(alpha) - 1e-9).double()
        found[how] = [float(alarm[~rare].mean()), float(alarm[rare].mean())]
    return found


@torch.inference_mode()
def measure(
    data: Path | None, seeds: Sequence[int], levels: Sequence[float], *, network: bool = True
) -> tuple[list[Any], list[Any]]:
    """A row per world, contender and sort of oddness; and the default's false alarms, a row per world."""
    rows, rates = [], []
    parts = SINGLE if network else tuple(kind for kind in SINGLE if kind is not SelfSupervised)
    for world in worlds(data, seeds, levels):
        heard = Heard(world, parts)
        contenders = heard.values | {name: heard.fused(*how) for name, how in FUSIONS.items()}
        family = next(name for key, name in FAMILIES.items() if key in world.name)
        found = false_alarms(heard, *contenders["the default"][:2])
        rates += [{"family": family, "snr_db": world.snr_db, "how": how, "rates": one} for how, one in found.items()]
        for name, (_, normal, odd) in contenders.items():
            for sort, values in odd.items():
                score = figure(normal, values, world.domain)
                rows.append({"who": name, "world": world.name, "family": family, "snr_db": world.snr_db, "sort": sort})
                rows[-1]["official"] = score
        print(world.name, world.snr_db, flush=True)
    return rows, rates


def _rates(rates: Sequence[Mapping[str, Any]]) -> list[str]:
    """False alarms of the default, in common and in rare backgrounds, by family and level."""
    cells = sorted({(row["family"], -row["snr_db"]) for row in rates})
    lines = ["", "False alarms of the default at a nominal tenth, in common and in rare backgrounds:", ""]
    lines += ["| calibrated | " + " | ".join(f"{family} {0 - level:g} dB" for family, level in cells) + " |"]
    lines += ["|---|" + "---|" * len(cells)]
    for how in dict.fromkeys(row["how"] for row in rates):
        mean = [
            np.mean([r["rates"] for r in rates if (r["how"], r["family"], -r["snr_db"]) == (how, *cell)], axis=0)
            for cell in cells
        ]
        lines.append(f"| {how} | " + " | ".join(f"{common:.3f}, {rare:.3f}" for common, rare in mean) + " |")
    return lines


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Who: {family, level and sort: the mean over worlds}, rounded."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        cell = f"{row['family']} {row['snr_db']:g} dB {row['sort']}"
        found.setdefault(row["who"], {}).setdefault(cell, []).append(row["official"])
    return {who: {cell: round(float(np.mean(each)), 4) for cell, each in one.items()} for who, one in found.items()}


def _mean(rows: Sequence[Mapping[str, Any]], **where: object) -> float:
    return float(np.mean([row["official"] for row in rows if all(row[key] == one for key, one in where.items())]))


def page(found: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    rows = found["rows"]
    columns: list[tuple[str, dict[str, object]]] = [("all", {})]
    columns += [(sort, {"sort": sort}) for sort in sorted({row["sort"] for row in rows})]
    columns += [
        (f"{family} {level:g} dB", {"family": family, "snr_db": level})
        for family in FAMILIES.values()
        for level in sorted({row["snr_db"] for row in rows}, reverse=True)
        if any(row["family"] == family for row in rows)
    ]
    head = "| | " + " | ".join(name for name, _ in columns) + " |"
    lines = [
        "# What the default is made of",
        "",
        "Written by `python tests/benchmarks/bench_choice.py`; do not edit. Development evidence: no faulty recording",
        "and no background of the development set's test split is in it. Official score of DCASE Task 2, mean over",
        f"{len({(row['world'], row['snr_db']) for row in rows})} worlds, seeds {found['seeds']}: one machine each,",
        "twelve recordings to learn from, in a procedural hall, in clips of ESC-10 (folds 1 and 2), or the healthy",
        "real fan in these clips. Columns by what is odd (`choice_worlds.py` says how it is made), then by place and",
        "level of the machine over the background. Sorts that saturate tell nothing; look at the others.",
        "",
        head,
        "|---|" + "---:|" * len(columns),
    ]
    for name in dict.fromkeys(row["who"] for row in rows):
        mine = [row for row in rows if row["who"] == name]
        lines.append(f"| {name} | " + " | ".join(f"{_mean(mine, **where):.3f}" for _, where in columns) + " |")
    made = f"The default: the tamed mean of {', '.join(CHOSEN)}; sentinels: {', '.join(EVENTS) or 'none'}."
    if not found["network"]:
        made += " Measured with `--no-network`: no `self-supervised` in any row, in the default's neither."
    return "\n".join([*lines, "", made, *_rates(found["rates"])]) + "\n"


def main() -> None:
    """Measure, and write the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options.add_argument("--levels", type=float, nargs="+", default=[0.0, -6.0, -12.0])
    options.add_argument("--no-network", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(1)
    rows, rates = measure(given.data, given.seeds, given.levels, network=not given.no_network)
    found = {"seeds": given.seeds, "network": not given.no_network, "rows": rows, "rates": rates}
    PAGE.mkdir(parents=True, exist_ok=True)
    (PAGE / "choice.json").write_text(json.dumps(found | {"rows": _means(rows)}, indent=1) + "\n", encoding="utf-8")
    (PAGE / "choice.md").write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
