"""Draws the pictures of docs/page.md: the board in Japanese, a machine in English, a telephone, the screen on the wall.

python tests/benchmarks/picture_page.py     (from the repository's root; needs Chromium; a minute on a quiet machine)

The plant and its scores are drawn (tests/monitor/pagescene.py). What is shown of the alarm's sound is real work of the
real program: a procedural gearbox whose bearing fails after 12 s, heard by a model trained on its healthy sound.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RATE = 16_000
SCALE = 1.5
LINE = """
[broker]
min_free_mb = 0
[[machine]]
id = "press-3"
healthy = "healthy"
kinematics = {{ shaft_hz = {shaft_hz:.3f}, teeth = {teeth}, bearing = {{ n = {n}, d = {d:.6f}, D = {D:.6f} }} }}
[[machine.mic]]
id = "press-3-a"
source = "file:bearing.wav"
"""


def train(folder: Path) -> None:
    """Healthy sound, a model of it, and 30 s with a fault: `bearing.wav`."""
    import numpy as np

    from monitor.settings import load_line
    from monitor.train import train_line
    from sds_engine.physics.faults import Fault, add_fault
    from sds_engine.physics.machines import draw_take, render_take
    from sds_engine.physics.rotating import Gearbox
    from streams import soundfiles

    rng = np.random.default_rng(3)
    gearbox = Gearbox.draw(rng)
    bearing = gearbox.bearing
    (folder / "healthy").mkdir()
    for number in range(16):
        sound = render_take(draw_take(gearbox, 14.0, RATE, rng))
        soundfiles.write_wav(folder / "healthy" / f"healthy-{number:02d}.wav", sound, RATE)
    text = LINE.format(
        shaft_hz=gearbox.shaft_hz, teeth=gearbox.teeth[0], n=bearing.n, d=bearing.d * 1e3, D=bearing.D * 1e3
    )
    (folder / "line.toml").write_text(text)
    take = draw_take(gearbox, 30.0, RATE, np.random.default_rng(77))
    sound, _ = add_fault(take, Fault("outer_race", -3.0, start_s=12.0), 5)
    soundfiles.write_wav(folder / "bearing.wav", sound, RATE)
    train_line(load_line(folder / "line.toml"), detector="neighbours", quiet=True)


def hear(plant: Any, work: Path) -> None:
    """Put the real sound, and what the real program makes of it, in the place of the drawn one."""
    import soundfile

    from monitor.keepsakes import keepsakes
    from monitor.show_clip import SHOWN, Job, show

    evidence = plant.line.site.data / "evidence"
    clip, shown = evidence / "clips" / f"{plant.clip}.flac", evidence / "shown" / plant.clip
    shutil.rmtree(shown)
    samples, rate = soundfile.read(work / "bearing.wav")
    soundfile.write(clip, samples, rate)
    healthy, rate = soundfile.read(work / "healthy" / "healthy-03.wav", frames=10 * RATE)
    soundfile.write(keepsakes(evidence, "press-3-a")[0].path, healthy, rate)
    model = work / "data" / "models" / "press-3"
    show(Job(str(clip), str(model), "press-3-a", str(work / "healthy"), str(shown)))
    first = json.loads((shown / SHOWN).read_text(encoding="utf-8"))["bands"][0]
    plant.board["alerts"][0]["facts"] |= {"band_hz": (first["low_hz"], first["high_hz"]), "band_db": first["db"]}


def photograph(scene: Any, token: str) -> None:
    """One browser, four pictures."""
    from PIL import Image
    from playwright.sync_api import sync_playwright
    from test_page_browser import BROWSER, FLAGS

    target = ROOT / "docs" / "pictures"
    desk, wall = {"width": 1280, "height": 860}, {"width": 1600, "height": 900}
    phone = {"width": 390, "height": 844}
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=FLAGS)
        context = browser.new_context(viewport=desk, locale="ja-JP", device_scale_factor=SCALE)
        page = context.new_page()
        page.goto(f"{scene.url}/login?next=/")
        page.fill("[name=who]", "佐藤")
        page.fill("[name=token]", token)
        page.click("main button")
        page.locator(".act summary").first.click()
        page.screenshot(path=target / "page-board-ja.png")
        page.goto(f"{scene.url}/machines/press-3?lang=en")
        page.wait_for_timeout(500)
        page.screenshot(path=target / "page-machine-en.png", full_page=True)
        page.set_viewport_size(wall)
        page.goto(f"{scene.url}/?wall&lang=ja")
        page.screenshot(path=target / "page-wall-ja.png")
        cookies = context.storage_state()
        small = browser.new_context(viewport=phone, is_mobile=True, device_scale_factor=2, storage_state=cookies)
        page = small.new_page()
        page.goto(f"{scene.url}/machines/press-3?lang=ja")
        page.wait_for_timeout(500)
        page.screenshot(path=target / "page-phone-ja.png")
        browser.close()
    for path in sorted(target.glob("page-*.png")):
        drawn = Image.open(path).convert("RGB")
        drawn.quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
        print(path)


def main() -> None:
    from pagescene import ADMIN, Scene, make_plant

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        train(work)
        plant = make_plant(work / "plant", days=30.0, requests_per_s=0)
        hear(plant, work)
        scene = Scene(plant)
        try:
            photograph(scene, ADMIN)
        finally:
            scene.close()


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "monitor")]
    main()
