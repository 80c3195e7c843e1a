"""The commands that generate sound: `prior train`, `prior info`, `synthesize`. Thin and lazy as `cli` is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

prior_app = typer.Typer(help="The diffusion prior of machine sound: train it anew, inspect it.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Folder = Annotated[Path | None, typer.Option("--prior", help="Folder of a prior; without it, the shipped one.")]


@prior_app.command(name="train")
def prior_train(
    out: Annotated[Path, typer.Option("--out", help="Where weights and card go; `work` in it can be continued.")],
    recordings: Annotated[
        Path | None, typer.Option("--recordings", help="A site's healthy recordings: fine-tune the shipped prior.")
    ] = None,
    background: Annotated[Path | None, typer.Option("--background", help="Recordings of other sounds to add.")] = None,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Training steps; 0: the recipe's own.")] = 0,
    machines: Annotated[int, typer.Option("--machines", min=0, help="Procedural machines; 0: the recipe's.")] = 0,
    others: Annotated[int, typer.Option("--others", min=0, help="Other procedural sounds; 0: the recipe's.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Processor threads; 0: all.")] = 0,
    as_json: Json = False,
) -> None:
    """Train the prior on procedural machines, or fine-tune it on a site; a killed run goes on where it was."""
    from monitor.prior import Request, describe, train_prior

    request = Request(out, background, recordings, steps, machines, others, seed, threads)
    card = train_prior(request, quiet=as_json)
    typer.echo(json.dumps(card, ensure_ascii=False, indent=1) if as_json else "\n".join(describe(card)))


@prior_app.command(name="info")
def prior_info(prior: Folder = None, as_json: Json = False) -> None:
    """Say what a prior is, from what data and how it was trained."""
    from monitor.prior import describe, read_prior

    card = read_prior(prior)
    typer.echo(json.dumps(card, ensure_ascii=False, indent=1) if as_json else "\n".join(describe(card)))
