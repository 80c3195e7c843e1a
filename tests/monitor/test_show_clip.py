"""What the page shows of a clip comes from the real model: the band that is wrong is the band that is framed."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import soundfile
import torch
from clipscene import prepared
from hummingline import RATE, hum, write_line

from detectors.base import Evidence
from monitor.evidence import mic_mark
from monitor.explainer import Explainer
from monitor.settings import Line, load_line
from monitor.show_clip import SHOWN, separated
from monitor.stages import Shares
from monitor.train import train_line


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    made = load_line(write_line(tmp_path_factory.mktemp("show"), live_s=4.0))
    train_line(made, only=["fan"], detector="neighbours", quiet=True)
    return made


def test_the_band_that_lit_up_is_framed(line: Line) -> None:
    """A hiss around 5 kHz is framed there, said in both languages, and beside it lies the healthy sound to compare."""
    folder = prepared(line, "0" * 16, hum(20.0, 120.0, 99, fault=0.05))
    shown = json.loads((folder / SHOWN).read_text(encoding="utf-8"))
    assert "failed" not in shown, shown
    first = shown["bands"][0]
    assert 3500 < first["low_hz"] < 5000 < first["high_hz"] < 7000
    ticks = dict(map(tuple, shown["ticks"]))
    low, high = shown["frames"][0]
    assert ticks[2000] < low < high <= 1.0
    assert set(shown["words"]) == {"ja", "en"}
    assert shown["duration_s"] == 20.0
    sound, rate = soundfile.read(folder / "nearest.flac")
    assert 0 < len(sound) / rate <= 10.0
    for name in ("sound.png", "heat.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_a_clip_that_cannot_be_shown_says_so(line: Line) -> None:
    """Too short a clip is a sentence on the page, not a picture that is prepared for ever."""
    folder = prepared(line, "1" * 16, hum(0.5, 120.0, 1))
    assert json.loads((folder / SHOWN).read_text(encoding="utf-8"))["failed"]


def test_a_mask_that_takes_all_leaves_the_sound_as_it_is() -> None:
    """Separated by a mask of ones a clip is itself, by half a mask it is quieter everywhere, and as long as before."""

    class Share:
        def __init__(self, share: float) -> None:
            self._share = share

        def shares(self, evidence: Evidence) -> Shares:
            share = torch.full_like(evidence.log_mel, self._share)
            return Shares(share, share)

    sound = hum(3.3, 120.0, 5)
    whole, half = (separated(Share(share), sound) for share in (1.0, 0.5))  # type: ignore[arg-type]  # asks as it would
    assert whole.shape == half.shape == sound.shape
    assert np.abs(whole - sound)[1024:-1024].max() < 0.02 * np.abs(sound).max()
    assert np.square(half).sum() < 0.9 * np.square(whole).sum()


def test_a_stop_waits_for_nobody(line: Line) -> None:
    """An explainer at work stops at once, and its clip is prepared after the next start."""
    clips = line.site.data / "evidence" / "clips"
    path = clips / f"{'2' * 16}-{mic_mark('fan-a')}.flac"
    clips.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, hum(4.0, 120.0, 1), RATE)
    explainer = Explainer(line, clips, niceness=0)
    working = threading.Thread(target=explainer._work, args=(explainer.jobs(),))
    working.start()
    explainer.start()
    explainer.close()
    working.join(20.0)
    assert not working.is_alive()
    path.unlink()
