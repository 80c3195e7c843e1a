"""The commands that generate sound: `prior train`, `prior info`, `synthesize`. Thin and lazy as `cli` is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

FaultSource = Annotated[
    Literal["none", "naive", "physics", "adapted", "sds"],
    typer.Option("--faults", help="Made-up faults to train with, beside healthy sound."),
]
LevelFolder = Annotated[
    Path | None,
    typer.Option("--levels", help="Measure from which level on faults are heard; pictures go here.", metavar="DIR"),
]

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
    tune: Annotated[bool, typer.Option("--tune", help="Go on from the shipped prior instead of from nothing.")] = False,
    rate: Annotated[float, typer.Option("--rate", min=0.0, help="Learning rate; 0: the recipe's.")] = 0.0,
    emphasise: Annotated[
        list[str] | None,
        typer.Option("--emphasise", help="Weight of a fault among the faults (may be repeated).", metavar="KIND=W"),
    ] = None,
    fault_db: Annotated[
        tuple[float, float] | None,
        typer.Option("--fault-db", help="How loud faults are over their machine, from and to.", metavar="LOW HIGH"),
    ] = None,
    noise: Annotated[
        tuple[float, float] | None,
        typer.Option("--noise", help="Noise levels trained: mean, deviation of log sigma.", metavar="MEAN DEVIATION"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train the prior on procedural machines, or fine-tune it on a site; a killed run goes on where it was."""
    from monitor.prior import Request, describe, train_prior

    request = Request(
        *(out, background, recordings, steps, machines, others, seed, threads),
        *(tune, rate, tuple(emphasise or ()), fault_db, noise),
    )
    card = train_prior(request, quiet=as_json)
    typer.echo(json.dumps(card, ensure_ascii=False, indent=1) if as_json else "\n".join(describe(card)))


@prior_app.command(name="info")
def prior_info(prior: Folder = None, as_json: Json = False) -> None:
    """Say what a prior is, from what data and how it was trained."""
    from monitor.prior import describe, read_prior

    card = read_prior(prior)
    typer.echo(json.dumps(card, ensure_ascii=False, indent=1) if as_json else "\n".join(describe(card)))


def synthesize(
    prompt: Annotated[str, typer.Option("--prompt", help="The sound in words, English or Japanese.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for sounds and sidecars.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=10_000, help="How many sounds.")] = 4,
    machine: Annotated[str, typer.Option("--machine", help="A machine of the line: its kinematics and sound.")] = "",
    config: Annotated[Path | None, typer.Option("-c", "--config", help="The line (line.toml) of --machine.")] = None,
    healthy: Annotated[
        list[Path] | None, typer.Option("--healthy", help="Healthy recordings or a folder of them (may be repeated).")
    ] = None,
    over: Annotated[
        float | None, typer.Option("--over", help="Mix with the healthy sound, the fault so many dB over it.")
    ] = None,
    kind: Annotated[str, typer.Option("--kind", help="The maker, where the prompt shall not choose it.")] = "",
    prior: Folder = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Processor threads; 0: all.")] = 0,
    as_json: Json = False,
) -> None:
    """Make fault sounds from a prompt: taught by the prior, gated by physics and a judge, each with provenance."""
    if machine and config is None:
        raise typer.BadParameter("name the line that has this machine", param_hint="-c")
    found = None
    if config is not None:
        from monitor.settings import load_line

        line = load_line(config)
        found = next((one for one in line.machine if one.id == machine), None)
        if found is None:
            known = ", ".join(one.id for one in line.machine)
            raise typer.BadParameter(
                f"{machine!r} is no machine of {config}; there are {known}", param_hint="--machine"
            )
    from monitor.synthesize import Request, print_sounds
    from monitor.synthesize import synthesize as make

    request = Request(prompt, count, out, kind, seed, prior, found, tuple(healthy or ()), over, threads)
    result = make(request, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False, indent=1))
    else:
        print_sounds(result)
    raise typer.Exit(0 if len(result["sounds"]) == count else 1)
