"""What the raw detector alone would have found, of the same windows and models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hummingline import RATE, hum
from separatedline import EVERY, WINDOW_NS, send, separated_line

from monitor.demo.alone import raw_alone
from monitor.line_broker import open_line_broker
from monitor.pipeline import Pipeline
from streams.records import AudioWindow


@pytest.mark.parametrize("fault", [0.0, 0.02])
def test_raw_alone_hears_what_raw_sound_shows(tmp_path: Path, fault: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loud fault opens an alarm within its time, healthy sound none, and nothing is separated on the way."""
    line = separated_line(tmp_path).model_copy(update={"chain": EVERY})
    sound = np.concatenate([hum(120.0, 120.0, 99), hum(240.0, 120.0, 98, fault)]).reshape(-1, 2 * RATE)
    sent = [
        AudioWindow("fan", "fan-a", "s", number, number * WINDOW_NS, RATE, samples)
        for number, samples in enumerate(sound)
    ]
    broker = open_line_broker(line)
    send(broker, sent)
    stages = []
    begin = Pipeline.__init__

    def noted(self: Pipeline, given: object, *rest: object, **more: object) -> None:
        stages.append(given.chain.stages)  # type: ignore[attr-defined]  # a line
        begin(self, given, *rest, **more)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(Pipeline, "__init__", noted)
    found = raw_alone(line, broker)
    broker.close()
    assert stages == [("raw",)]
    assert [120.0 <= alert.opened_ns / 1e9 <= 360.0 for alert in found] == ([True] if fault else [])
