"""Draws the pictures of docs/roi.md: the report of a simulated trial, in Japanese and English.

python tests/benchmarks/picture_roi.py     (from the repository's root; needs Chromium; half a minute, undisturbed)

Three machines that hum are recorded daily (tests/monitor/trialscene.py), ten faults among them, of which two make no
sound. Everything else is the real program.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from monitor.roi.command import roi
from monitor.starter import COSTS

ROOT = Path(__file__).parents[2]
LENGTH = 6  # days that a fault is heard
SILENT = (3, 8)  # faults without a sound
BROWSER = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"


def main() -> None:
    """Simulate, weigh, photograph."""
    from PIL import Image
    from playwright.sync_api import sync_playwright
    from trialscene import Fault, write_trial

    faults = [
        Fault(f"F-{number + 1:02d}", number % 3, tuple(range(first, first + LENGTH)), 0.0 if number in SILENT else 0.05)
        for number in range(10)
        for first in [8 + 18 * (number // 3) + 3 * (number % 3)]
    ]
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        work = Path(name)
        manifest = write_trial(work / "trial", machines=3, train=40, days=84, faults=faults)
        (work / "costs.toml").write_text(COSTS + "machines = 10\n", encoding="utf-8")
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=BROWSER.split())
        for lang in ("ja", "en"):
            roi(manifest, work / "costs.toml", work / lang, lang=lang, detector="mahalanobis", quiet=True)
            page = browser.new_page(viewport={"width": 1000, "height": 1300})
            page.goto(f"file://{work / lang / 'roi.html'}")
            target = ROOT / "docs" / "pictures" / f"roi-{lang}.png"
            page.screenshot(path=target, full_page=True)
            drawn = Image.open(target).convert("RGB")
            drawn.quantize(128, method=Image.Quantize.MAXCOVERAGE).save(target, optimize=True)
            print(target)
        browser.close()


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "monitor")]
    main()
