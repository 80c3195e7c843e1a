"""The tables and the picture of bench_audio_sds.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from sds_engine.priors import logmel


def page(found: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# Audio-SDS with the shipped prior",
        "",
        "Written by `python tests/benchmarks/bench_audio_sds.py`; do not edit.",
        "",
    ]
    lines += [f"Prior {found.get('prior', '?')}. {_ABOUT}", ""]
    for name, table in (("samples", _samples), ("teach", _teach), ("ablate", _ablate)):
        if name in found:
            lines += table(found[name])
    return "\n".join(lines).rstrip() + "\n"


_ABOUT = (
    "The gate's judge (shipped, trained on `sds_engine.physics`) stops SDS and picks among random draws; the reporting "
    "judge (not shipped, other code and sounds) reports. Eleven classes: chance is .09. Everything here is simulated: "
    "the tables say what the method does, not that real faults sound so."
)


_OLD = (
    "Measured before retrieval stood in front of the prior, and by the reporting judge of before, whose ceiling on "
    "sound without phases was .66. The second set of prompts was written without sight of the glossary."
)
_PROMPTS = (
    "Retrieval in front of the prior was set on the first set of prompts; the second was written without sight of the "
    "glossary, the third before retrieval was written. Whoever extended the glossary afterwards had read all three: "
    "only the English columns are clean of that. The last column is not what the prior gives by itself."
)


def _samples(found: dict[str, Any]) -> list[str]:
    sorts = list(found)
    kinds = list(next(iter(found.values())))
    seen = np.mean([row["reporting"] for row in found["seen"].values()])
    count = next(iter(found["seen"].values()))["count"]
    lines = ["## The prior's own samples", "", f"Share that the reporting judge recognises, {count} samples a cell "]
    lines[-1] += "(in brackets: the gate's judge). " + (_OLD if "paraphrased" in found else _PROMPTS)
    lines += ["", "| asked for | " + " | ".join(sorts) + " |", "|---|" + "---|" * len(sorts)]
    for kind in kinds:
        cells = [f"{found[s][kind]['reporting']:.2f} ({found[s][kind]['gate']:.2f})" for s in sorts]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    means = [np.mean([row["reporting"] for row in found[s].values()]) for s in sorts]
    gates = [np.mean([row["gate"] for row in found[s].values()]) for s in sorts]
    lines.append(
        "| **mean** | " + " | ".join(f"**{m:.2f}** ({g:.2f})" for m, g in zip(means, gates, strict=True)) + " |"
    )
    lines.append("| share of seen | " + " | ".join(f"{m / max(seen, 1e-9):.0%}" for m in means) + " |")
    return [*lines, ""]


def _median(values: list[float]) -> float:
    return float(np.median(values))


def _interval(values: list[float]) -> str:
    """The median with a bootstrap interval of 95%."""
    rng = np.random.default_rng(0)
    drawn = np.median(rng.choice(values, (2000, len(values))), axis=1)
    return f"{_median(values):.3f} [{np.quantile(drawn, 0.025):.2f}, {np.quantile(drawn, 0.975):.2f}]"


def _teach(found: dict[str, Any]) -> list[str]:
    lines = ["## Ten prompts, sixteen seeds", "", "Median probability of the prompt's kind by the reporting judge."]
    lines += [
        "Screened: of 16 random starts the gate's favourite, where SDS begins. SDS: the moment that the gate likes "
    ]
    lines[-1] += (
        "best, from .99 on the latest. Best of N: of random physics, as many draws as screening and SDS take time for, "
    )
    lines[-1] += "the gate's favourite. Worse: than the start, by .01 or more."
    lines += [
        "",
        "| prompt | start | screened | SDS | best of N | N | seeds that got worse | SDS > start | SDS > best of N |",
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    wins = [0, 0, 0]
    for kind, row in found.items():
        start, sds, best = (_median(row[name]) for name in ("start", "sds", "best_of"))
        worse = sum(after < before - 0.01 for before, after in zip(row["start"], row["sds"], strict=True))
        won = sds > start, sds > best
        wins = [wins[0] + won[0], wins[1] + won[1], wins[2] + all(won)]
        words = ["yes" if one else "**no**" for one in won]
        cells = [_interval(row[name]) for name in ("start", "screened", "sds", "best_of")]
        cells += [f"{row['draws_each']:.0f}", f"{worse} of {len(row['sds'])}", *words]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    seconds = np.mean([row["seconds_each"] for row in found.values()])
    lines += [
        "",
        f"SDS is above the start for {wins[0]} of {len(found)}, above best of N for {wins[1]}, above both for ",
    ]
    lines[-1] += f"{wins[2]}. One sound takes {seconds:.1f} s of processor time."
    lines += ["", _rates(found)]
    lines += [
        "",
        "| prompt | gate at start | gate after SDS | gate best of N | spread start | spread SDS | spread best |",
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for kind, row in found.items():
        gates = [f"{_median(row[name]):.2f}" for name in ("gate_start", "gate_sds", "gate_best_of")]
        spreads = [f"{row[name]:.1f}" for name in ("spread_start", "spread_sds", "spread_best_of")]
        lines.append(f"| {kind} | " + " | ".join([*gates, *spreads]) + " |")
    lines += ["", "Spread: mean distance between two sounds in dB, over mean and deviation per band.", ""]
    return [*lines, "![Spectrograms: start and SDS](../pictures/audio-sds.png)", ""]


def _rates(found: dict[str, Any]) -> str:
    moved = [f"{kind} {row['rate_error']:.2%}" for kind, row in found.items() if row.get("rate_error") is not None]
    means = [
        np.mean([np.mean(row[name]) for row in found.values()]) for name in ("start", "screened", "sds", "best_of")
    ]
    words = ", ".join(
        f"{name} {m:.3f}" for name, m in zip(("start", "screened", "SDS", "best of N"), means, strict=True)
    )
    return (
        f"Means over all prompts and seeds: {words}. Teaching moved the rate of blows by (median): {', '.join(moved)}."
    )


def _ablate(found: dict[str, Any]) -> list[str]:
    kinds = list(next(iter(found.values())))
    lines = [
        "## Ablations",
        "",
        "Median probability by the reporting judge after the last iteration, no judge in the loop, no screening, half ",
    ]
    lines[-1] += "the iterations, 8 seeds a cell; start in the first row. As shipped is encoder-SDS with one step. "
    lines[-1] += "The paper says: decoder-SDS above encoder-SDS by .15 and ten "
    lines[-1] += "steps above one by .14 in CLAP similarity (second-hand), with a prior far larger than ours."
    lines += ["", "| variant | " + " | ".join(kinds) + " | mean | s a sound |", "|---|" + "---|" * (len(kinds) + 2)]
    first = next(iter(found.values()))
    rows = [("start", {kind: row["start"] for kind, row in first.items()}, 0.0)]
    rows += [
        (name, {k: r["sds_last"] for k, r in variant.items()}, np.mean([r["seconds_each"] for r in variant.values()]))
        for name, variant in found.items()
    ]
    for name, cells, seconds in rows:
        medians = [_median(values) for values in cells.values()]
        shown = " | ".join(f"{value:.2f}" for value in medians)
        lines.append(f"| {name} | {shown} | {np.mean(medians):.2f} | {seconds:.1f} |")
    return [*lines, ""]


def picture(waves: dict[str, tuple[torch.Tensor, torch.Tensor]], folder: Path) -> None:
    """Spectrograms: each kind's start above what SDS made of it."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(4, 5, figsize=(13, 8), sharex=True, sharey=True, layout="constrained")
    for number, (kind, pair) in enumerate(waves.items()):
        for below, (wave, word) in enumerate(zip(pair, ("start", "SDS"), strict=True)):
            axis = axes[2 * (number // 5) + below, number % 5]
            db = logmel.relative_db(logmel.mel_power(wave[None]))[0]
            axis.imshow(db.T, origin="lower", aspect="auto", vmin=-40, vmax=20, cmap="magma", extent=(0, 2, 0, 64))
            axis.set_title(f"{kind}, {word}", fontsize=9)
    figure.supxlabel("seconds")
    figure.supylabel("mel band")
    figure.savefig(folder / "audio-sds.png", dpi=80)
    plt.close(figure)
