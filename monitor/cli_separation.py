"""The commands of separation: `separate` and `evaluate-separation`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def add_commands(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    app.command()(separate)
    app.command(name="evaluate-separation")(evaluate_separation)


def separate(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A sound file.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for the target and the residual.", metavar="DIR")],
    prompt: Annotated[str, typer.Option("--prompt", help="What to pull out, in English or Japanese.")] = "",
    enrol: Annotated[
        list[Path] | None, typer.Option("--enrol", help="A recording of it alone (repeat it).", metavar="REC")
    ] = None,
    background: Annotated[
        list[Path] | None, typer.Option("--background", help="A recording without it (repeat it).", metavar="REC")
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="fast | ex-diff | sds | wiener | nmf | spectral-gating | mixture")
    ] = "fast",
    nfe: Annotated[
        int | None, typer.Option("--nfe", min=1, help="Evaluations of ex-diff's network: 1, 2, 4, 30.", metavar="N")
    ] = None,
    other: Annotated[
        list[str] | None, typer.Option("--other", help="With sds: what else is heard (repeat it).", metavar="PROMPT")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option("--iterations", min=1, help="With sds: steps of its optimisation.", metavar="N")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="With sds: of its noise.")] = 0,
    unmasked: Annotated[
        bool, typer.Option("--unmasked", help="With ex-diff: write its own answer too, before it became a mask.")
    ] = False,
    channel: Annotated[int, typer.Option("--channel", min=0, help="Channel of a file that has several.")] = 0,
    as_json: Json = False,
) -> None:
    """Pull one sound out of a recording: what was asked for, and the rest; they add up to the recording."""
    if not prompt and method == "sds":
        raise typer.BadParameter("sds separates by words alone: say what to pull out", param_hint="--prompt")
    if not prompt and not enrol and method in ("fast", "sds", "ex-diff"):
        raise typer.BadParameter("say what to pull out: --prompt, --enrol, or both", param_hint="--prompt")
    from monitor.separate import separate_file

    said = separate_file(
        source,
        out,
        prompt=prompt,
        enrol=enrol or (),
        background=background or (),
        method=method,
        nfe=nfe,
        others=other or (),
        iterations=iterations,
        seed=seed,
        unmasked=unmasked,
        channel=channel,
        quiet=as_json,
    )
    if as_json:
        typer.echo(json.dumps(said, ensure_ascii=False, indent=1))


def evaluate_separation(
    source: Annotated[
        Path,
        typer.Argument(metavar="MANIFEST|DIR", help="Recordings with references (CSV), or with --dataset a folder."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for report.json.", metavar="DIR")],
    methods: Annotated[str, typer.Option("--methods", help="Comma separated; empty: all.", metavar="M,...")] = "",
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many test files, evenly; 0: all.")] = 0,
    dataset: Annotated[
        Literal["musdb18", "voicebank-demand"] | None,
        typer.Option("--dataset", help="DIR is this public data set, as its archives unpack."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Measure what each method of separation gains, in SI-SDR, with confidence intervals and controls."""
    if dataset and source.is_file():
        raise typer.BadParameter(f"{source} is a file; --dataset {dataset} goes with the folder of that data set")
    if not dataset and source.is_dir():
        raise typer.BadParameter(f"{source} is a folder; give a manifest (CSV), or say with --dataset what it holds")
    from monitor.evaluate_separation import evaluate_separation as measure
    from monitor.evaluate_separation import print_separation

    if dataset:
        from monitor.separation_rows import separation_rows, write_rows

        rows = separation_rows(dataset, source)
        source = out / "manifest.csv"
        write_rows(rows, source)
    names = [name.strip() for name in methods.split(",") if name.strip()]
    report = measure(source, out, methods=names, limit=limit, seed=seed, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        print_separation(report, out)
