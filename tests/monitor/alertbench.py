"""Real Prometheus and Alertmanager on 127.0.0.1 with the shipped rules and routes, faster; and a receiver for both."""

from __future__ import annotations

import email
import http.server
import json
import os
import re
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.policy import default
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAMS = ("prometheus", "prometheus-alertmanager")
MEMORY = (
    "/dev/shm" if Path("/dev/shm").is_dir() else None
)  # a store that syncs to disk is slow, and this one is thrown away
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for other processes' clocks; what was found."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return found


class Received:
    """What came: alerts by webhook, messages by mail."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.mails: list[Any] = []

    def alerts(self, name: str, machine: str = "", status: str = "") -> list[dict[str, Any]]:
        return [
            one
            for post in list(self.posts)
            for one in post["alerts"]
            if one["labels"]["alertname"] == name
            and machine in ("", one["labels"].get("machine"))
            and status in ("", one["status"])
        ]


@contextmanager
def receiving() -> Iterator[tuple[Received, int, int]]:
    """A webhook receiver and a mail server: what they got, and their ports."""
    got = Received()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 test\r\n")
            for line in self.rfile:
                word = line[:4].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = []
                    while (part := self.rfile.readline()) != b".\r\n":
                        lines.append(part)
                    got.mails.append(email.message_from_bytes(b"".join(lines), policy=default))
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                if word == b"QUIT":
                    return

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as hook,
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail) as mail,
    ):
        for server in (hook, mail):
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield got, hook.server_address[1], mail.server_address[1]
        finally:
            hook.shutdown()
            mail.shutdown()


@contextmanager
def alerting(folder: Path, target: str, hook: int, mail: int) -> Iterator[tuple[str, str]]:
    """Both programs, fed with `target`; their addresses. The shipped files, with shorter times and other ports."""
    shutil.copytree(DEPLOY / "prometheus", folder / "prometheus")
    shutil.copytree(DEPLOY / "alertmanager", folder / "alertmanager")
    prometheus, alertmanager = free_port(), free_port()
    config = folder / "prometheus" / "prometheus.yml"
    text = config.read_text(encoding="utf-8").replace("interval: 15s", "interval: 1s")
    text = text.replace("127.0.0.1:9093", f"127.0.0.1:{alertmanager}").replace("127.0.0.1:8765", target)
    config.write_text(text, encoding="utf-8")
    routes = folder / "alertmanager" / "alertmanager.yml"
    text = routes.read_text(encoding="utf-8").replace("127.0.0.1:9099", f"127.0.0.1:{hook}")
    text = re.sub(r"group_wait: \d+s", "group_wait: 1s", text.replace("group_interval: 1m", "group_interval: 1s"))
    routes.write_text(text.replace("127.0.0.1:25", f"127.0.0.1:{mail}"), encoding="utf-8")
    with ExitStack() as stack:
        memory = stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY))
        store = f"prometheus --config.file={config} --storage.tsdb.path={memory}/tsdb"
        router = f"prometheus-alertmanager --config.file={routes} --storage.path={memory}/am"
        store += f" --web.listen-address=127.0.0.1:{prometheus}"
        router += f" --web.listen-address=127.0.0.1:{alertmanager} --cluster.listen-address="
        for command in (store.split(" "), router.split(" ")):
            log = stack.enter_context((folder / f"{command[0]}.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"})
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield f"http://127.0.0.1:{prometheus}", f"http://127.0.0.1:{alertmanager}"
