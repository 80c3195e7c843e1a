"""`factory-ear doctor`: what works on this machine, what is missing, what to do."""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from monitor.console import table
from monitor.settings import Line, SettingsError, load_line

State = Literal["good", "missing", "bad"]
PYTHON = (3, 11)
REQUIRED = ("numpy", "scipy", "torch", "torchaudio", "sklearn", "soundfile", "soxr", "aiohttp", "prometheus_client")
OPTIONAL = {
    "sounddevice": ("mic: sources", "pip install 'factory-ear[mic]' and the PortAudio library"),
    "faust": ("Kafka workers", "pip install 'factory-ear[kafka]'"),
    "kafka": ("Kafka", "pip install 'factory-ear[kafka]'"),
}
LEAST_FREE_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `missing` stops only what needs it; `bad` stops the service."""

    what: str
    state: State
    detail: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """For --json."""
        return asdict(self)


def examine(config: Path | None = None) -> list[Finding]:
    """Look at the machine, and at the line where `config` is given."""
    findings = [
        _python(),
        *map(_required, REQUIRED),
        *(_optional(*item) for item in OPTIONAL.items()),
        _ffmpeg(),
        _device(),
    ]
    if config is None:
        return [*findings, _disk(Path.cwd())]
    try:
        line = load_line(config)
    except SettingsError as error:
        return [*findings, Finding("line.toml", "bad", str(error), "correct it, then run doctor again")]
    return [*findings, Finding("line.toml", "good", f"{len(line.machine)} machines"), *_line(line)]


def print_findings(findings: Iterable[Finding]) -> None:
    """A table, worst last."""
    words = {"good": "ok", "missing": "missing", "bad": "BAD"}
    order = sorted(findings, key=lambda finding: ("good", "missing", "bad").index(finding.state))
    table(
        "doctor",
        ("what", "state", "detail", "what to do"),
        [(f.what, words[f.state], f.detail, f.remedy) for f in order],
    )


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        return Finding("Python", "bad", version, "install Python 3.11 or newer")
    return Finding("Python", "good", version)


def _required(name: str) -> Finding:
    try:
        module = importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - a broken library may raise anything while it loads
        return Finding(name, "bad", str(error).splitlines()[0], "install from the lock file: make .venv/.installed")
    return Finding(name, "good", getattr(module, "__version__", ""))


def _optional(name: str, use: tuple[str, str]) -> Finding:
    purpose, remedy = use
    try:
        importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - see above
        return Finding(name, "missing", f"{str(error).splitlines()[0]} (for {purpose})", remedy)
    return Finding(name, "good", purpose)


def _ffmpeg() -> Finding:
    path = shutil.which("ffmpeg")
    if path is None:
        return Finding("ffmpeg", "missing", "for ffmpeg: sources (RTSP and the like)", "install ffmpeg on the PATH")
    return Finding("ffmpeg", "good", path)


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device", "good", f"cuda: {torch.cuda.get_device_name(0)}")
    return Finding("device", "good", f"cpu, {torch.get_num_threads()} threads (no GPU seen; none is needed)")


def _disk(folder: Path) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < LEAST_FREE_GB:
        return Finding("disk", "bad", f"{free:.1f} GB free in {folder}", f"make at least {LEAST_FREE_GB:.0f} GB free")
    return Finding("disk", "good", f"{free:.0f} GB free")


def _line(line: Line) -> list[Finding]:
    findings = [_disk(line.site.data), _broker(line), _port(line), _alarm_budget(line)]
    for machine in line.machine:
        findings += [_healthy(machine.id, machine.healthy), _model(line, machine.id)]
        findings += [_source(mic.id, mic.source) for mic in machine.mic]
    findings += _drift(line)
    return [finding for finding in findings if finding]


def _try(what: str, look: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(what, "good", look())
    except Exception as error:  # noqa: BLE001 - doctor reports every failure, whatever its kind
        return Finding(what, "bad", str(error), remedy)


def _broker(line: Line) -> Finding:
    from monitor.line_broker import open_line_broker

    def look() -> str:
        open_line_broker(line).close()
        return line.broker.url

    return _try("broker", look, "check [broker] url and the rights on its folder")


def _port(line: Line) -> Finding:
    def look() -> str:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((line.web.host, line.web.port))
        return f"{line.web.host}:{line.web.port} is free"

    return _try("page", look, "is the line running already? else choose another [web] port")


def _healthy(machine: str, folder: Path) -> Finding:
    from streams.soundfiles import list_sounds

    return _try(
        f"{machine}: recordings", lambda: f"{len(list_sounds(folder))} in {folder}", "put healthy recordings there"
    )


def _model(line: Line, machine: str) -> Finding:
    from detectors.card import read_card

    def look() -> str:
        card = read_card(line.models / machine)
        return ", ".join(f"{mic}: {one.detector}, effective n {one.effective_n}" for mic, one in card.mics.items())

    return _try(f"{machine}: model", look, "run: factory-ear train")


def _alarm_budget(line: Line) -> Finding:
    from detectors.card import read_card
    from monitor.alarm_plan import plan

    weak = []
    for machine in line.machine:
        if not (line.models / machine.id / "card.json").exists():
            continue
        for mic, one in read_card(line.models / machine.id).mics.items():
            chosen = plan(one.effective_n, one.context_s, line.alarms)
            if not chosen.supported:
                weak.append(f"{machine.id}/{mic}: {chosen.expected_per_week:.1f} false alarms a week expected")
    if weak:
        remedy = "record more healthy sound, raise false_alarms_per_week, or raise looks"
        return Finding("alarm budget", "missing", "; ".join(weak), remedy)
    return Finding("alarm budget", "good", f"{line.alarms.false_alarms_per_week:g} a week and microphone can be held")


def _drift(line: Line) -> list[Finding]:
    from monitor.drift_check import REMEDY, check_line
    from monitor.line_broker import open_line_broker

    try:
        broker = open_line_broker(line)
    except Exception:  # noqa: BLE001 - the broker's own row has said why
        return []
    try:
        found = check_line(line, broker)
    except Exception as error:  # noqa: BLE001 - doctor reports every failure, whatever its kind
        return [Finding("drift", "bad", str(error), "train anew: factory-ear train")]
    finally:
        broker.close()
    return [
        Finding(f"{one.mic}: drift", "missing" if one.drifted else "good", one.words(), REMEDY * one.drifted)
        for one in found
    ]


def _source(mic: str, source: str) -> Finding:
    scheme, _, rest = source.partition(":")
    if scheme == "ffmpeg" and shutil.which("ffmpeg") is None:
        return Finding(f"{mic}: source", "bad", "ffmpeg is not installed", "install ffmpeg on the PATH")
    if scheme == "folder" and not Path(rest).is_dir():
        return Finding(f"{mic}: source", "bad", f"{rest} is no folder", "make the folder, or correct the source")
    return Finding(f"{mic}: source", "good", scheme)
