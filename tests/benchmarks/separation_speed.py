"""How many windows a worker separates: the whole pipeline from decoded message to encoded score, one thread.

Time is the process's own CPU time, so a busy machine does not count; a second worker on a second core does as much.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detectors.model import Clip, fit_model
from monitor.line_broker import open_line_broker
from monitor.pipeline import Models, Pipeline
from monitor.settings import Chain, Line, load_line
from monitor.stages import MaskStage
from sds_engine.physics.kinds import draw_machine
from sds_engine.physics.machines import render
from sds_engine.separation.enrolment import site_statistics
from sds_engine.separation.extractor import load_extractor
from streams import codec
from streams.broker import Message
from streams.records import TOPIC_WINDOWS, AudioWindow

RATE, MICS, WINDOWS = 16_000, 8, 40
STAGES = ("raw", "separated")
CHAINS: Mapping[str, Chain] = {
    "raw": Chain(),
    "cascade, 5% of windows": Chain(stages=STAGES, cascade_above=10.0, cascade_share=0.05),
    "full, every window": Chain(stages=STAGES, cascade=False),
}
DETECTORS = ("neighbours", "quick-fusion")
LINE = '[site]\ntime_zone = "UTC"\n[broker]\nmin_free_mb = 0\n'


def write_line(folder: Path) -> Line:
    """A line of one machine with many microphones; nothing is captured."""
    mics = "".join(f'[[machine.mic]]\nid = "m{number}"\nsource = "file:none.wav"\n' for number in range(MICS))
    path = folder / "line.toml"
    path.write_text(LINE + '[[machine]]\nid = "fan"\nhealthy = "none"\n' + mics, "utf-8")
    return load_line(path)


def trained(detector: str) -> Models:
    """Every microphone with a model of its own, all with one network."""
    rng = np.random.default_rng(0)
    machine = draw_machine("fan", rng)
    sounds = [torch.from_numpy(render(machine, 12.0, RATE, rng)) for _ in range(10)]
    stage = MaskStage(load_extractor()[0].net, site_statistics(sounds[:3]))
    clips = [Clip(sound, str(number)) for number, sound in enumerate(sounds)]
    model = fit_model(clips, detector=detector, separation=stage)
    return {"fan": {f"m{number}": dataclasses.replace(model, notes=(str(number),)) for number in range(MICS)}}


def messages() -> list[Message]:
    """Windows of all microphones in the order of their time, every one another sound."""
    rng = np.random.default_rng(1)
    sound = (0.03 * rng.standard_normal((WINDOWS * MICS, 2 * RATE))).astype(np.float32)
    sent = []
    for number in range(WINDOWS):
        for mic in range(MICS):
            samples = sound[number * MICS + mic]
            window = AudioWindow("fan", f"m{mic}", "s", number, number * 2 * 10**9, RATE, samples)
            sent.append(Message(TOPIC_WINDOWS, 0, len(sent), *codec.encode_window(window)))
    return sent


def windows_per_s(line: Line, chain: Chain, models: Models, folder: Path) -> float:
    """Windows for a second of CPU, once the contexts are full."""
    broker = open_line_broker(
        line.model_copy(update={"broker": line.broker.model_copy(update={"url": f"embedded:{folder}"})})
    )
    pipeline = Pipeline(line.model_copy(update={"chain": chain}), models, broker, clock_ns=lambda: 0)
    sent, first = messages(), 5 * MICS
    pipeline.process(sent[:first])
    started = time.process_time()
    for start in range(first, len(sent), chain.max_batch):
        pipeline.process(sent[start : start + chain.max_batch])
    spent = time.process_time() - started
    broker.close()
    return (len(sent) - first) / spent


def measure() -> dict[str, Any]:
    """Windows a second of CPU by detector and chain."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        line = write_line(Path(folder))
        for detector in DETECTORS:
            models = trained(detector)
            found[detector] = {
                name: windows_per_s(line, chain, models, Path(folder) / f"{detector}-{number}")
                for number, (name, chain) in enumerate(CHAINS.items())
            }
    return found


def section(found: Mapping[str, Mapping[str, float]]) -> str:
    """The table of the page."""
    names = list(CHAINS)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for detector, speeds in found.items():
        lines.append(f"| {detector} | " + " | ".join(f"{speeds[name]:,.0f}" for name in names) + " |")
    table = "\n".join(lines)
    return f"""## What it costs

Windows of 2 s per second of CPU time, one worker of one thread, from the decoded message to the encoded score
({MICS} microphones in one batch of 64, float32). A second worker on a second core does as much again. Ten seconds of
context are separated for every window.

{table}
"""
