"""`factory-ear roi`: a trial's recordings and a file of costs to a report with a verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from monitor.console import progress, say
from monitor.errors import WorkFailed
from monitor.manifest import read_manifest
from monitor.roi.costs import Costs, load_costs
from monitor.roi.listen import Chain, Heard, listen
from monitor.roi.measured import measure
from monitor.roi.page import verdict_lines, write_page
from monitor.roi.result import About, Result, as_json, weigh
from monitor.roi.rollout import next_steps
from monitor.roi.trial import Trial, read_trial
from monitor.settings import Alarms
from monitor.site_sound import MINUTES


def roi(
    manifest_path: Path,
    costs_path: Path,
    out: Path,
    *,
    lang: str = "en",
    detector: str = "",
    chain: Chain = "raw",
    adapt_minutes: float = MINUTES,
    seed: int = 0,
    day: date | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write roi.json and roi.html into `out` and return the JSON.

    Raises SettingsError for costs that cannot be used, ManifestError for such a manifest, WorkFailed where no machine
    could be learned or nothing says how often machines fail. `day` is printed; None: today.
    """
    costs = load_costs(costs_path)
    manifest = read_manifest(manifest_path)
    trial = read_trial(manifest)
    with progress("roi", quiet=quiet) as step:
        how: dict[str, Any] = {"detector": detector, "chain": chain, "adapt_minutes": adapt_minutes, "seed": seed}
        heard = listen(manifest, trial, Alarms(), **how, step=step)
    if not heard.judged:
        why = "; ".join(f"{name}: {text}" for name, text in heard.silent.items())
        raise WorkFailed(f"no machine of the trial could be judged: {why or 'no test recording is long enough'}")
    result = conclude(trial, heard, costs, manifest_path.name, seed=seed, day=day or date.today())  # noqa: DTZ011 - the reader's own day
    out.mkdir(parents=True, exist_ok=True)
    found = as_json(result)
    text = json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False)
    (out / "roi.json").write_text(text + "\n", encoding="utf-8")
    write_page(result, out / "roi.html", lang=lang)
    for line in verdict_lines(result, lang):
        say(line, quiet=quiet)
    say(str(out / "roi.html"), quiet=quiet)
    return found


def conclude(trial: Trial, heard: Heard, costs: Costs, name: str, *, seed: int, day: date) -> Result:
    """From what was heard to the whole report."""
    figures = measure(trial, heard.judged, heard.alarms, costs)
    about = About(
        manifest=name,
        recordings=len(heard.judged),
        detector=heard.detector,
        seed=seed,
        day=day,
        timed=trial.timed,
        healthy=heard.recordings,
        supported={machine: rule.supported for machine, rule in heard.plans.items()},
        silent=heard.silent,
    )
    result = weigh(figures, costs, about)
    limit = result.expected.break_even_false_alarms if result.expected else None
    mics = len({(one.recording.machine, one.recording.mic) for one in heard.judged})
    steps = next_steps(
        figures,
        heard.recordings,
        limit,
        machines=result.machines,
        mics=max(1, round(mics * result.machines / max(1, len(figures.machines)))),
        window_s=heard.window_s,
        windows_per_s=heard.windows_per_s,
        go=result.verdict.answer == "go",
    )
    return replace(result, steps=tuple(steps))
