"""What the explainer makes of a clip, in the test's own process."""

from __future__ import annotations

from pathlib import Path

import soundfile
from hummingline import RATE

from monitor.evidence import mic_mark
from monitor.explainer import Explainer
from monitor.settings import Line


def prepared(line: Line, clip: str, sound: object) -> Path:
    """The folder that the explainer's process fills for a clip."""
    clips = line.site.data / "evidence" / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    path = clips / f"{clip}-{mic_mark('fan-a')}.flac"
    soundfile.write(path, sound, RATE)
    explainer = Explainer(line, clips, niceness=0)
    explainer._work(explainer.jobs())
    return clips.parent / "shown" / path.stem
