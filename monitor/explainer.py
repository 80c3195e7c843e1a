"""Has every evidence clip prepared for the page, by one patient process at a time (`monitor.show_clip`).

A thread looks for clips that nobody has prepared yet, newest first, and hands them over. The process is started when
there is work and ends by itself afterwards, so that its memory is only taken while it is needed.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from monitor.evidence import CLIP_ID, mic_mark
from monitor.naming_confirmed import confirmed_clips
from monitor.settings import Line
from monitor.show_clip import SHOWN, Job, failed

LOOK_S = 1.0
PATIENCE_S = 300.0  # for one clip; then it is given up
AT_ONCE = 8  # jobs for one process

_log = logging.getLogger(__name__)


class Explainer:
    """For the clips in the folder `clips`; the results lie beside it, in `shown`. `niceness`: the process gives way."""

    def __init__(self, line: Line, clips: Path, niceness: int = 10) -> None:
        self._line, self._clips, self._niceness = line, clips, niceness
        self._mics = {mic_mark(mic.id): (machine, mic.id) for machine in line.machine for mic in machine.mic}
        self._shown = clips.parent / "shown"
        self._shown.mkdir(parents=True, exist_ok=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="explainer", daemon=True)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self._tidy()
                jobs = self.jobs()
                if jobs:
                    self._work(jobs)
            except OSError as error:
                _log.warning("clips are not prepared for the page: %s", error)

    def jobs(self) -> list[Job]:
        """What is to be done, newest first."""
        found = sorted(self._clips.glob("*.flac"), key=_age, reverse=True)
        wanting = [path for path in found if not (self._shown / path.stem / SHOWN).exists()]
        return [job for path in wanting[:AT_ONCE] if (job := self._job(path))]

    def _job(self, path: Path) -> Job | None:
        known = self._mics.get(path.stem.rpartition("-")[2])
        if known is None or not CLIP_ID.fullmatch(path.stem):
            return None
        machine, mic = known
        model, target = self._line.models / machine.id, self._shown / path.stem
        naming = self._clips.parent / "naming" / f"{machine.id}-{mic_mark(mic)}.safetensors"
        marks = {mic_mark(one.id) for one in machine.mic}
        confirmed = confirmed_clips(self._line.site.data / "alarms.sqlite", marks)
        places = (str(path), str(model), mic, str(machine.healthy), str(target), str(naming))
        channel = next(one.channel for one in machine.mic if one.id == mic)
        return Job(*places, prompt=machine.prompt, channel=channel, confirmed=confirmed)

    def _work(self, jobs: list[Job]) -> None:
        command = [sys.executable, "-m", "monitor.show_clip"]
        text = "".join(job.line() for job in jobs)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            ["nice", "-n", str(self._niceness), *command] if shutil.which("nice") else command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        if self._stop.is_set():  # `close` came before there was a process to kill
            self._process.kill()
        try:
            self._process.communicate(text, timeout=PATIENCE_S * len(jobs))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        if self._stop.is_set():
            return
        for job in jobs:
            if Path(job.clip).exists() and not (Path(job.target) / SHOWN).exists():
                failed(job, f"it did not end within {PATIENCE_S:.0f} s, or was killed")

    def _tidy(self) -> None:
        """What belongs to a clip goes with it."""
        for folder in self._shown.iterdir():
            name = folder.name.strip(".").removesuffix(".part")
            if not (self._clips / f"{name}.flac").exists():
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Stop; a process at work is killed, its clip is prepared after the next start."""
        self._stop.set()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self._thread.join(5.0)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
