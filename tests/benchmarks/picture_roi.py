"""Draws the pictures of docs/roi.md: the report of a simulated trial, in Japanese and English.

    python tests/benchmarks/picture_roi.py     (from the repository's root; needs Chromium; half a minute, undisturbed)
    python tests/benchmarks/picture_roi.py NAME MANIFEST COSTS     the first page of another trial's report

Three machines that hum are recorded daily (tests/monitor/trialscene.py), ten faults among them, of which two make no
sound. Everything else is the real program. NAME is what the pictures are called: docs/pictures/roi-NAME-ja.png.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from monitor.manifest import read_manifest
from monitor.roi import command
from monitor.roi.costs import load_costs
from monitor.roi.page import write_page
from monitor.roi.trial import read_trial
from monitor.settings import Alarms
from monitor.starter import COSTS

ROOT = Path(__file__).parents[2]
LENGTH = 6  # days that a fault is heard
SILENT = (3, 8)  # faults without a sound
BROWSER = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"


FIRST = 1240  # pixels of a report's height: verdict, figures, what was measured


def simulated(work: Path) -> tuple[Path, Path]:
    """The manifest and the costs of the simulated trial."""
    from trialscene import Fault, write_trial

    faults = [
        Fault(f"F-{number + 1:02d}", number % 3, tuple(range(first, first + LENGTH)), 0.0 if number in SILENT else 0.05)
        for number in range(10)
        for first in [8 + 18 * (number // 3) + 3 * (number % 3)]
    ]
    manifest = write_trial(work / "trial", machines=3, train=40, days=84, faults=faults)
    (work / "costs.toml").write_text(COSTS + "machines = 10\n", encoding="utf-8")
    return manifest, work / "costs.toml"


def photograph(browser: Any, result: Any, work: Path, name: str, height: int | None) -> None:
    """The report in both languages, as pictures of at most 128 colours; of that height, or whole."""
    from PIL import Image

    for lang in ("ja", "en"):
        write_page(result, work / "roi.html", lang=lang)
        page = browser.new_page(viewport={"width": 1000, "height": height or 1300})
        page.goto(f"file://{work / 'roi.html'}")
        target = ROOT / "docs" / "pictures" / f"roi{name and '-' + name}-{lang}.png"
        page.screenshot(path=target, full_page=height is None)
        drawn = Image.open(target).convert("RGB")
        drawn.quantize(128, method=Image.Quantize.MAXCOVERAGE).save(target, optimize=True)
        print(target)


def main(given: list[str]) -> None:
    """Listen, weigh, photograph."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        work = Path(folder)
        name, manifest_path, costs = (given[0], Path(given[1]), Path(given[2])) if given else ("", *simulated(work))
        manifest = read_manifest(manifest_path)
        trial = read_trial(manifest)
        heard = command.listen(manifest, trial, Alarms(), detector="" if given else "mahalanobis")
        day = date.today()  # noqa: DTZ011 - as the command has it
        result = command.conclude(trial, heard, load_costs(costs), manifest_path.name, seed=0, day=day)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=BROWSER.split())
        photograph(browser, result, work, name, FIRST if given else None)
        browser.close()


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "monitor")]
    main(sys.argv[1:])
