"""The command `roi`, from a trial's recordings and its costs to a decision; and `evaluate --ab`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def add_command(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command()(roi)


def roi(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="The trial's labelled recordings (CSV).")],
    costs: Annotated[Path, typer.Option("--costs", help="What things cost (costs.toml).", metavar="COSTS.TOML")],
    out: Annotated[Path, typer.Option("--out", help="Folder for roi.html and roi.json.", metavar="DIR")],
    detector: Annotated[str, typer.Option("--detector", help="Detector to fit; empty: the default.")] = "",
    chain: Annotated[
        Literal["raw", "full"], typer.Option("--chain", help="full: separated too, as run does with that stage.")
    ] = "raw",
    adapt_minutes: Annotated[
        float, typer.Option("--adapt-minutes", min=0.0, help="With --chain full: per machine, at most.")
    ] = 8.0,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    lang: Annotated[Literal["ja", "en"], typer.Option("--lang", help="Language of the report.")] = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Say whether it pays: go, extend the trial (by what), or stop, with intervals on every number."""
    from monitor.roi.costs import load_costs

    load_costs(costs)  # before torch: a mistake in the costs is told at once
    from monitor.roi.command import roi as weigh_trial

    how: dict[str, Any] = {"detector": detector, "chain": chain, "adapt_minutes": adapt_minutes, "seed": seed}
    found = weigh_trial(manifest, costs, out, lang=lang, quiet=as_json, **how)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))


def compare_sides(
    manifest: Path, sides: tuple[Path, Path], out: Path, *, dataset: str | None, lang: str, as_json: bool
) -> None:
    """`evaluate MANIFEST --ab A.toml B.toml`."""
    if dataset:
        raise typer.BadParameter("it compares on a manifest; leave --dataset out", param_hint="--ab")
    from monitor.compare.versus import compare

    found = compare(manifest, sides, out, lang=lang, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
