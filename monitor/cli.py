"""The command `factory-ear`: thin, lazy, and a contract that others script against.

Exit codes: 0 done, 1 the work failed (one clear line, no traceback), 2 wrong use. Each command imports what it
needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from monitor.cli_generate import FaultSource, LevelFolder, prior_app, synthesize
from monitor.cli_roi import add_command as add_roi
from monitor.cli_roi import compare_sides
from monitor.cli_separation import add_commands as add_separation

Lang = Literal["ja", "en"]
DataSet = Literal["dcase2020", "dcase2021", "dcase2022", "dcase2023", "dcase2024", "dcase2025", "mimii"]
LineFile = Annotated[Path, typer.Option("-c", "--config", help="The line's settings (line.toml).", metavar="LINE.TOML")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Supervised = Annotated[bool, typer.Option("--supervised", hidden=True, help="Stop when standard input closes.")]

app = typer.Typer(
    name="factory-ear",
    help="Listens to machines: learns how each sounds when healthy, hears when that changes, says so in time.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
dead_app = typer.Typer(help="The dead letters: what could not be processed, and why.", no_args_is_help=True)
app.add_typer(dead_app, name="dead")
app.add_typer(prior_app, name="prior")


@app.command()
def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where the demo keeps its files; made anew.")] = Path(
        "factory-ear-demo"
    ),
    broker: Annotated[str, typer.Option("--broker", help="embedded:DIR or kafka://host:port")] = "",
    serve: Annotated[bool, typer.Option("--serve", help="Stay up afterwards, to look at the page.")] = False,
    lang: Annotated[Lang, typer.Option("--lang", help="Language of texts.")] = "en",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which simulated hall.")] = 0,
    minutes: Annotated[float, typer.Option("--minutes", min=4, help="Minutes of the hall's time to stream.")] = 8.0,
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="Port of the page; 0 picks one.")] = 8765,
    as_json: Json = False,
) -> None:
    """Run a simulated line through the real pipeline, with faults at known times; exit 1 if it does not hold."""
    from monitor.demo.command import run_demo

    outcome = run_demo(
        directory, broker=broker, serve=serve, lang=lang, seed=seed, minutes=minutes, port=port, quiet=as_json
    )
    if as_json:
        _print_json(outcome.as_dict())
    raise typer.Exit(0 if outcome.passed else 1)


@app.command()
def init(directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to fill.")]) -> None:
    """Write a commented line.toml and costs.toml, and make the folders that they name."""
    from monitor.starter import write_starter

    for path in write_starter(directory):
        typer.echo(path)


@app.command()
def train(
    config: LineFile,
    machine: Annotated[list[str] | None, typer.Option("--machine", help="Only this machine (may be repeated).")] = None,
    detector: Annotated[str, typer.Option("--detector", help="Detector to fit; empty: the default.")] = "",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    faults: FaultSource = "none",
    levels: LevelFolder = None,
    as_json: Json = False,
) -> None:
    """Learn how each machine sounds when healthy: models, calibrated, with a model card."""
    from monitor.settings import load_line

    line = load_line(config)  # before torch: a mistake in the settings is told at once
    from monitor.train import train_line
    from monitor.train_faults import Faults

    extra = Faults(faults, levels)
    cards = train_line(line, only=machine or (), detector=detector, seed=seed, faults=extra, quiet=as_json)
    if as_json:
        _print_json(cards)


@app.command()
def run(
    config: LineFile,
    once: Annotated[bool, typer.Option("--once", help="End when every finite source is read and scored.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Worker processes.")] = 1,
) -> None:
    """Monitor continuously: capture, workers, alarms, the page and /metrics."""
    from monitor.run import run_line

    raise typer.Exit(run_line(config, once=once, workers=workers))


@app.command()
def ingest(
    config: LineFile,
    machine: Annotated[list[str] | None, typer.Option("--machine", help="Only this machine (may be repeated).")] = None,
    supervised: Supervised = False,
) -> None:
    """Only the capture: from the microphones to the broker. Needs no torch."""
    from monitor.ingest import ingest_line
    from monitor.processes import stopper
    from monitor.settings import load_line

    raise typer.Exit(ingest_line(load_line(config), only=machine or (), stop=stopper(supervised=supervised)))


@app.command()
def worker(config: LineFile, supervised: Supervised = False) -> None:
    """Only a worker: from windows to scores. Start as many as there are partitions to share."""
    from monitor.processes import stopper
    from monitor.settings import load_line

    line = load_line(config)
    from monitor.worker import work_line

    raise typer.Exit(work_line(line, stop=stopper(supervised=supervised)))


@app.command(name="monitor")
def monitor_(config: LineFile, supervised: Supervised = False) -> None:
    """Only the monitor: alarms, evidence, the page and /metrics. One per line."""
    from monitor.processes import stopper, watch_line
    from monitor.settings import load_line

    raise typer.Exit(watch_line(load_line(config), stop=stopper(supervised=supervised)))


@app.command()
def score(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Sound files.", show_default=False)],
    model: Annotated[
        Path | None, typer.Option("--model", help="A trained machine: models/MACHINE, or a tap model.", metavar="DIR")
    ] = None,
    mic: Annotated[str, typer.Option("--mic", help="Whose model, where the machine has several.")] = "",
    channel: Annotated[int, typer.Option("--channel", min=0, help="Channel of files that have several.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="scores.csv or scores.parquet; default: CSV here.")] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw a heat map for each file, beside --out.")] = False,
    chain: Annotated[
        Literal["raw", "full"] | None, typer.Option("--chain", help="Default: full where the model has a separator.")
    ] = None,
    lang: Annotated[Lang, typer.Option("--lang", help="Language of the pictures.")] = "en",
    tap: Annotated[
        bool, typer.Option("--tap", help="The files are parts struck with a hammer: one row per file.")
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", help="With --tap: learn from these healthy taps, into --model.", metavar="DIR"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score files offline: one row per window, or per struck part with --tap."""
    if tap:
        from monitor.tap import score_taps

        rows = score_taps(files, model=model, reference=reference, channel=channel, out=out, quiet=as_json)
        if as_json:
            _print_json(rows)
        return
    if model is None:
        raise typer.BadParameter("it is needed to score recordings: a trained machine", param_hint="--model")
    if reference is not None:
        raise typer.BadParameter("it goes with --tap", param_hint="--reference")
    from monitor.score import score_files

    rows = score_files(files, model, mic=mic, channel=channel, out=out, plot=plot, lang=lang, chain=chain)
    if as_json:
        _print_json(rows)


@app.command()
def rebaseline(
    config: LineFile,
    machine: Annotated[str, typer.Option("--machine", help="Whose normal has changed.", metavar="ID")],
    by: Annotated[str, typer.Option("--by", help="Who says so.", metavar="NAME")] = "",
    why: Annotated[str, typer.Option("--why", help="What changed, in words.", metavar="TEXT")] = "",
    recordings: Annotated[
        list[Path] | None, typer.Option("--from", help="A recording of the new normal (repeat it).", metavar="FILE")
    ] = None,
    mic: Annotated[str, typer.Option("--mic", help="Of this microphone, where it has a model of its own.")] = "",
    back: Annotated[bool, typer.Option("--roll-back", help="Put the model from before the last change back.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing: has it drifted? From --from, else from kept scores.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Learn that this is the new normal, and keep who said so and when; or put the old model back; or only --check."""
    if (back and (recordings or check)) or not (back or check or recordings):
        raise typer.BadParameter("give recordings with --from, or --roll-back alone, or --check", param_hint="--from")
    if not check and not (by.strip() and why.strip()):
        raise typer.BadParameter("say who decided that this is normal, and why", param_hint="--by and --why")
    from monitor.settings import load_line

    line = load_line(config)
    if check:
        from monitor.drift_check import check_machine

        found = check_machine(line, machine, recordings or [], mic=mic, quiet=as_json)
        if as_json:
            _print_json([one.as_dict() for one in found])
        return
    from monitor.rebaseline import rebaseline as learn_anew
    from monitor.rebaseline import roll_back

    if back:
        record = roll_back(line, machine, by=by, why=why, quiet=as_json)
    else:
        record = learn_anew(line, machine, recordings or [], by=by, why=why, mic=mic, quiet=as_json)
    if as_json:
        _print_json(record)


@app.command()
def evaluate(
    source: Annotated[
        Path, typer.Argument(metavar="MANIFEST|DIR", help="Labelled recordings (CSV), or with --dataset a folder.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for report.json and report.html.", metavar="DIR")],
    dataset: Annotated[
        DataSet | None, typer.Option("--dataset", help="DIR is this public data set, as its archives unpack.")
    ] = None,
    chain: Annotated[
        str, typer.Option("--chain", help="raw | separated | enhanced | full | full-enhanced | all")
    ] = "raw",
    adapt_minutes: Annotated[
        float,
        typer.Option(
            "--adapt-minutes", min=0.0, help="Per machine, for a chain that separates; 0: the enrolment alone."
        ),
    ] = 8.0,
    sides: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--ab", help="Compare two settings on the same files.", metavar="A.TOML B.TOML"),
    ] = None,
    detectors: Annotated[
        str, typer.Option("--detectors", help="all, quick (none that trains a network), or NAME,NAME,...")
    ] = "all",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    lang: Annotated[Lang, typer.Option("--lang", help="Language of the report.")] = "en",
    as_json: Json = False,
) -> None:
    """Measure detectors and controls on labelled recordings, with confidence intervals."""
    if dataset and source.is_file():
        raise typer.BadParameter(f"{source} is a file; --dataset {dataset} goes with the folder of that data set")
    if not dataset and source.is_dir():
        raise typer.BadParameter(f"{source} is a folder; give a manifest (CSV), or say with --dataset what it holds")
    if sides is not None:
        compare_sides(source, sides, out, dataset=dataset, lang=lang, as_json=as_json)
        return
    from monitor.evaluate import evaluate as evaluate_manifest
    from monitor.evaluate import print_report

    notes: tuple[str, ...] = ()
    if dataset:
        from monitor.datasets import find_rows, write_manifest

        found = find_rows(dataset, source, seed=seed)
        source, notes = out / "manifest.csv", found.notes
        write_manifest(found, source)
    report = evaluate_manifest(
        source,
        out,
        chain=chain,
        seed=seed,
        lang=lang,
        detectors=detectors,
        adapt_minutes=adapt_minutes,
        dataset=dataset or "",
        notes=notes,
    )
    if as_json:
        _print_json(report)
    else:
        print_report(report, out)


app.command()(synthesize)


@app.command()
def provenance(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Sound files.", show_default=False)],
    lang: Annotated[Lang, typer.Option("--lang", help="Language of texts.")] = "en",
    as_json: Json = False,
) -> None:
    """Say whether sounds were generated, by what and from what: by their mark, and by the file beside them."""
    from monitor.provenance import trace_files

    rows = trace_files(files, lang=lang, quiet=as_json)
    if as_json:
        _print_json(rows)
    raise typer.Exit(1 if any(row["verdict"] == "unreadable" for row in rows) else 0)


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Option("-c", "--config", help="Check this line too.")] = None,
    as_json: Json = False,
) -> None:
    """Say what works on this machine, what is missing and what to do."""
    from monitor.doctor import examine, print_findings

    findings = examine(config)
    if as_json:
        _print_json([finding.as_dict() for finding in findings])
    else:
        print_findings(findings)
    raise typer.Exit(1 if any(finding.state == "bad" for finding in findings) else 0)


@dead_app.command(name="list")
def dead_list(
    config: LineFile,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most so many, newest last.")] = 50,
    as_json: Json = False,
) -> None:
    """Show the dead letters with their reasons."""
    from monitor.dead import list_dead, print_dead
    from monitor.settings import load_line

    rows = list_dead(load_line(config), limit)
    if as_json:
        _print_json(rows)
    else:
        print_dead(rows)


@dead_app.command(name="replay")
def dead_replay(
    config: LineFile,
    reason: Annotated[str, typer.Option("--reason", help="Only letters with this reason.")] = "",
    as_json: Json = False,
) -> None:
    """Send dead windows through the line once more; a replay overwrites, never duplicates."""
    from monitor.dead import replay_dead
    from monitor.settings import load_line

    count = replay_dead(load_line(config), reason)
    if as_json:
        _print_json({"replayed": count})
    else:
        typer.echo(f"{count} sent again")


add_separation(app)
add_roi(app)


def _print_json(value: Any) -> None:  # noqa: ANN401 - whatever a command has to say
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1, default=str))


# Errors that a user can cure. Looked up among loaded modules: what was never imported was never raised.
EXPECTED = (
    ("monitor.errors", "SettingsError"),
    ("monitor.manifest", "ManifestError"),
    ("monitor.errors", "WorkFailed"),
    ("streams.broker", "BrokerError"),
    ("streams.soundfiles", "SoundFileError"),
    ("detectors.card", "ModelError"),
)


def _is_expected(error: Exception) -> bool:
    kinds = tuple(getattr(sys.modules[name], kind) for name, kind in EXPECTED if name in sys.modules)
    return isinstance(error, (*kinds, PermissionError, FileNotFoundError))


def main() -> None:
    """Run the command; an error that a user can cure is one clear line and exit code 1."""
    try:
        app()
    except Exception as error:
        if not _is_expected(error):
            raise
        typer.echo(f"factory-ear: {error}", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
