"""A real Kafka for tests: started on free ports, ended with the test process, killed and restarted on demand."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "deploy" / "kafka" / "kafka.sh"
VERSION = (ROOT / "deploy/kafka/pom.xml").read_text().partition("<kafka.version>")[2].partition("<")[0]
START_S = 60.0


def why_absent() -> str:
    """Empty where Kafka can be started here; else the one line that says why not."""
    done = subprocess.run([SCRIPT, "fetch"], capture_output=True, text=True, timeout=240, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip() or "kafka.sh fetch failed").splitlines()[-1]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a killed test run leaves no server behind


class KafkaServer:
    """One node. `start`, `kill` (kill -9) and `stop` may follow one another; the port and the data stay."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._environment = os.environ | {
            "KAFKA_PORT": str(self.port),
            "KAFKA_CONTROLLER_PORT": str(free_port()),
            "KAFKA_DATA": str(folder),
            "KAFKA_HEAP": "384m",
            "KAFKA_JAVA": "-XX:TieredStopAtLevel=1",  # starts in half the time
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"kafka://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    @property
    def runs(self) -> bool:
        return self._process is not None

    def start(self) -> KafkaServer:
        """Return when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [SCRIPT, "run"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  # before exec it calls into libc alone
            )
        deadline_s = time.monotonic() + START_S
        while "Kafka Server started" not in self.log:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError(f"Kafka did not start: {self.log[-3000:]}")
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self, *, remove: bool = True) -> None:
        """Stop in order."""
        self._end(signal.SIGTERM)
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
