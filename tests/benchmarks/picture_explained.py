"""Draws docs/pictures/explained.png: a procedural gearbox whose bearing fails after 12 s, scored with --plot.

python tests/benchmarks/picture_explained.py     (from the repository's root; a quarter of a minute)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
RATE = 16_000
LINE = """
[broker]
min_free_mb = 0
[[machine]]
id = "gearbox"
healthy = "healthy"
kinematics = {{ shaft_hz = {shaft_hz:.3f}, teeth = {teeth}, bearing = {{ n = {n}, d = {d:.6f}, D = {D:.6f} }} }}
[[machine.mic]]
id = "gearbox-a"
source = "file:bearing.wav"
"""


def main() -> None:
    import numpy as np
    from PIL import Image

    from monitor.score import score_files
    from monitor.settings import load_line
    from monitor.train import train_line
    from sds_engine.physics.faults import Fault, add_fault
    from sds_engine.physics.machines import draw_take, render_take
    from sds_engine.physics.rotating import Gearbox
    from streams import soundfiles

    rng = np.random.default_rng(3)
    gearbox = Gearbox.draw(rng)
    bearing = gearbox.bearing
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "healthy").mkdir()
        for number in range(16):
            sound = render_take(draw_take(gearbox, 20.0, RATE, rng))
            soundfiles.write_wav(folder / "healthy" / f"healthy-{number:02d}.wav", sound, RATE)
        (folder / "line.toml").write_text(
            LINE.format(
                shaft_hz=gearbox.shaft_hz, teeth=gearbox.teeth[0], n=bearing.n, d=bearing.d * 1e3, D=bearing.D * 1e3
            )
        )
        take = draw_take(gearbox, 30.0, RATE, np.random.default_rng(77))
        sound, _ = add_fault(take, Fault("outer_race", -3.0, start_s=12.0), 5)
        soundfiles.write_wav(folder / "bearing.wav", sound, RATE)
        train_line(load_line(folder / "line.toml"), quiet=True)
        score_files([folder / "bearing.wav"], folder / "data/models/gearbox", out=folder / "s.csv", plot=True)
        target = ROOT / "docs" / "pictures" / "explained.png"
        target.parent.mkdir(exist_ok=True)
        drawn = Image.open(folder / "bearing.heat.png").convert("RGB")
        drawn.quantize(256, method=Image.Quantize.MAXCOVERAGE).save(target, optimize=True)
        print((folder / "bearing.heat.json").read_text())


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
