"""The demo from beginning to end: render, train, stream, judge, report."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from monitor.console import say
from monitor.demo import hall, report
from monitor.demo.live import Live, Seen
from monitor.demo.verdict import Verdict, judge
from monitor.errors import WorkFailed
from monitor.settings import load_line

MARK = ".factory-ear-demo"
PATIENCE_S = 600.0  # a busy machine is slow, not broken


@dataclass(frozen=True)
class Outcome:
    """What the demo found, where it took how long, and where to look."""

    verdict: Verdict
    counts: dict[str, int]
    seconds: dict[str, float]
    page: str
    report: str

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.verdict.failures

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {"passed": self.passed, **asdict(self)}


@dataclass
class Watch:
    """How long each part took, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        """The part called `name` ends here."""
        now = time.perf_counter()
        self.seconds[name] = now - self._since
        self._since = now


def run_demo(
    directory: Path,
    *,
    broker: str = "",
    serve: bool = False,
    lang: str = "en",
    seed: int = 0,
    minutes: float = hall.MINUTES,
    port: int = 8765,
    quiet: bool = False,
) -> Outcome:
    """Run the demo in `directory`. Raises WorkFailed where it cannot be set up or does not come to an end."""
    directory = make_anew(directory.resolve())
    planned = hall.plan(minutes)
    watch = Watch()
    say("1/4 rendering the hall: six machines, nine microphones, people and background", quiet=quiet)
    hall.render(directory, seed, minutes, planned)
    watch.lap("render")
    config = hall.write_config(directory, broker=broker, lang=lang, port=port)
    say("2/4 training on healthy sound", quiet=quiet)
    _train(config, quiet=quiet)
    watch.lap("train")
    say(f"3/4 streaming {minutes:g} minutes of the hall at {hall.SPEED:g} times real time", quiet=quiet)
    expected = hall.windows(minutes)
    with Live(config, directory / "run.log") as live:
        live.wait(expected, PATIENCE_S + minutes * 60 / hall.SPEED, quiet=quiet)
        watch.lap("stream")
        say("4/4 what was found", quiet=quiet)
        seen = live.seen(expected)
        verdict = judge(hall.MACHINES, planned, seen.alerts, seen.counts, seen.start_ns, live.raw_alone())
        outcome = _conclude(directory, verdict, seen, watch, live.page, lang=lang, quiet=quiet)
        if serve:
            say(f"still up; the page is at {live.page} - stop with Ctrl-C", quiet=quiet)
            live.serve()
    return outcome


def make_anew(directory: Path) -> Path:
    """An empty folder that only a demo may empty again. Raises WorkFailed for a folder that is not a demo's."""
    if directory.exists() and any(directory.iterdir()) and not (directory / MARK).exists():
        raise WorkFailed(f"{directory} is not empty and no demo made it: choose another --dir")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / MARK).touch()
    return directory


def _train(config: Path, *, quiet: bool) -> None:
    from monitor.train import train_line

    train_line(load_line(config), detector=hall.DETECTOR, quiet=quiet)


def _conclude(
    directory: Path,
    verdict: Verdict,
    seen: Seen,
    watch: Watch,
    page: str,
    *,
    lang: str,
    quiet: bool,
) -> Outcome:
    pictures = _pictures(directory, verdict, lang)
    watch.lap("report")
    path = directory / "report.html"
    report.write_report(path, verdict, seen.counts, watch.seconds, pictures, lang)
    if not quiet:
        report.print_verdict(verdict, seen.counts, lang)
        took = ", ".join(f"{name} {value:.0f} s" for name, value in watch.seconds.items())
        say(f"Took {sum(watch.seconds.values()):.0f} s: {took}")
        say(f"Report: {path}")
        say(f"Page and metrics, while it is up (make demo SERVE=1): {page} and {page.rstrip('/')}/metrics")
        say("PASSED" if not verdict.failures else "FAILED")
    return Outcome(verdict, seen.counts, watch.seconds, page, str(path))


def _pictures(directory: Path, verdict: Verdict, lang: str) -> list[Path]:
    """A heat map of each evidence clip."""
    from detectors.store import load_models
    from monitor.clip_score import score_clip
    from monitor.pictures import draw_heat
    from streams import soundfiles

    drawn = []
    for row in verdict.rows:
        clip = directory / "data" / "evidence" / "clips" / f"{row.clip}.flac"
        if not row.clip or not clip.exists() or row.kind == "no signal":
            continue
        models = load_models(directory / "data" / "models" / row.machine)
        model = next(iter(models.values()))
        samples = soundfiles.read_clip(clip, rate=model.rate)
        target = directory / f"{row.machine}.heat.png"
        draw_heat(score_clip(clip, samples, model), model, target, lang=lang)
        drawn.append(target)
    return drawn
