"""The page shows what is, in both languages, to those who may see it, and never more."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from watchline import T0, S, make_line, score

from monitor.alarms import AlarmMachine, Plan, Update
from monitor.board import Facing, board, starting
from monitor.errors import WorkFailed
from monitor.liveness import Liveness, Verdict
from monitor.metrics import Metrics
from monitor.settings import Line
from monitor.web.app import make_app
from monitor.web.serve import WebThread
from monitor.web.sources import Sources
from streams.records import Identity

CLIP = "0123456789abcdef-00000000"
RULE = Plan(2.0, 0.01, 3, 4, 10.0, 0.2, supported=True)
Get = Callable[..., tuple[int, dict[str, str], str]]


class Desk:
    """A web thread over a board that the test sets."""

    def __init__(self, line: Line, folder: Path) -> None:
        self.line = line
        self.board: Any = starting(line, T0)
        self.alive = True
        self.clips = folder
        sources = Sources(lambda: self.board, lambda: self.alive, self.clip, Metrics(line).registry)
        self.web = WebThread(make_app(line, sources), line.web.host, line.web.port)
        self.url = self.web.start()

    def clip(self, name: str) -> Path:
        return self.clips / f"{name}.flac"

    def get(self, path: str, method: str = "GET", **headers: str) -> SimpleNamespace:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://").rstrip("/"), timeout=10)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return SimpleNamespace(
            status=answer.status, headers=dict(answer.headers), body=body, text=body.decode("utf-8", "replace")
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    line = make_line(tmp_path, site={"name": "工場 <1>", "time_zone": "Asia/Tokyo", "lang": "ja"})
    made = Desk(line, tmp_path)
    yield made
    made.web.close()


def state(line: Line, *, clip: str = "", problems: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """A board with the press in alarm, the fan without signal and one alarm that is over."""
    machines = {one.id: AlarmMachine(one.id, {"*": RULE}, line.alarms) for one in line.machine}
    updates: list[Update] = []
    for index in (0, 5, 10):
        updates += machines["press"].feed(score("press-a", index, 4.0))
    lost = Verdict("lost", T0, T0 + 40 * S, Identity("fan-a", "s", 0))
    updates += machines["fan"].signal({"fan-a": lost})
    if clip:
        alert = updates[0].alert
        fields = {name: getattr(alert, name) for name in type(alert).__dataclass_fields__}
        updates[0] = Update(type(alert)(**{**fields, "clip": clip}), updates[0].facts)
    facing = Facing(problems=problems or {}, newest={"press-a": score("press-a", 10, 4.0)})
    return board(line, machines, Liveness(line, T0).ears, {"fan": {"fan-a": lost}}, updates, facing, T0 + 60 * S)


def test_the_page_in_both_languages(desk: Desk) -> None:
    """The site's language is the first, the other is a click away, times are the site's, and names are escaped."""
    desk.board = state(desk.line, clip=CLIP)
    ja, en = desk.get("/"), desk.get("/?lang=en")
    assert (ja.status, en.status) == (200, 200)
    assert '<html lang="ja">' in ja.text
    assert "press 号機：17:00 から異音" in ja.text
    assert "信号なし" in ja.text
    assert '<html lang="en">' in en.text
    assert "press: odd since 17:00, strongest around 2.1-2.6 kHz (+9 dB) on mic press-a" in en.text
    assert "no signal from mic fan-a" in en.text
    for page in (ja, en):
        assert "工場 &lt;1&gt;" in page.text
        assert f'src="/clips/{CLIP}.flac"' in page.text
    assert '<html lang="ja">' in desk.get("/?lang=xx").text


def test_the_page_works_without_the_internet(desk: Desk) -> None:
    """Everything that the page loads comes from here, there is no inline code, and what it names is there."""
    desk.board = state(desk.line, clip=CLIP)
    page = desk.get("/").text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert "style=" not in page
    assert not re.findall(r"<script(?![^>]*src=)", page)
    assert not re.findall(r"\son\w+=", page)
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        assert desk.get(path).status == 200


def test_every_state_has_a_word_and_a_shape(desk: Desk) -> None:
    """States are told apart without colour."""
    desk.board = state(desk.line)
    page = desk.get("/?lang=en").text
    shapes = dict(re.findall(r'class="badge (\w+)"><span aria-hidden="true">(.)</span> [\w ]+</span>', page))
    assert shapes["alert"] != shapes["unknown"]
    assert len(set(shapes.values())) == len(shapes) >= 2


def test_an_alarm_of_a_whole_hall_leads_to_its_runbook(desk: Desk) -> None:
    """There is no page of a hall: its alarm links what to do, and no machine that does not exist."""
    desk.board = state(desk.line)
    first = desk.board["alerts"][0]
    desk.board = {**desk.board, "alerts": [{**first, "machine": "hall 2"}]}
    page = desk.get("/?lang=en").text
    assert "/machines/hall" not in page
    assert "/runbooks/hall-alarm" in page


@pytest.mark.parametrize("path", ["/", "/api/state", "/metrics", "/-/healthy", "/-/ready", "/nowhere", "/clips/x.flac"])
def test_security_headers_are_everywhere(desk: Desk, path: str) -> None:
    """Each answer, errors too, forbids foreign content, framing and sniffing, and does not name its software."""
    headers = desk.get(path).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Server"] == "factory-ear"


def test_a_clip_plays_and_can_be_wound(desk: Desk, tmp_path: Path) -> None:
    """The clip comes as FLAC, and a part of it when a player asks for a part."""
    (tmp_path / f"{CLIP}.flac").write_bytes(b"fLaC" + bytes(100))
    whole = desk.get(f"/clips/{CLIP}.flac")
    assert (whole.status, whole.headers["Content-Type"], whole.body[:4]) == (200, "audio/flac", b"fLaC")
    part = desk.get(f"/clips/{CLIP}.flac", Range="bytes=0-3")
    assert (part.status, part.body) == (206, b"fLaC")


@pytest.mark.parametrize(
    "name",
    [
        "../secret.flac",
        "..%2fsecret.flac",
        "%2e%2e%2fsecret.flac",
        "....//secret.flac",
        "secret.flac",
        f"{CLIP}.wav",
        f"{CLIP}",
        f"{CLIP}.flac%00",
        f"{CLIP.upper()}.flac",
        "0123456789abcdef-0000000%0a.flac",
    ],
)
def test_no_path_leaves_the_clips(desk: Desk, tmp_path: Path, name: str) -> None:
    """Only a clip's id opens a file; everything else is not there."""
    (tmp_path / "secret.flac").write_text("secret")
    (tmp_path.parent / "secret.flac").write_text("secret")
    answer = desk.get(f"/clips/{name}")
    assert answer.status == 404
    assert "secret" not in answer.text


def test_the_state_is_json_without_nan(desk: Desk) -> None:
    """A strict reader can read the state, which names machines, microphones, alarms and reasons."""
    desk.board = state(desk.line)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    read = json.loads(desk.get("/api/state").text, parse_constant=refuse)
    assert [(one["id"], one["state"]) for one in read["machines"]] == [("press", "alert"), ("fan", "unknown")]
    press = read["machines"][0]
    assert (press["score"], press["threshold"], press["mics"][0]["k"]) == (4.0, 2.0, 3)
    assert read["alerts"][0]["facts"]["band_hz"] == [2100.0, 2600.0]


def test_metrics_have_the_type_that_prometheus_reads(desk: Desk) -> None:
    """The exposition format says its version."""
    answer = desk.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "factory_ear_windows_total" in answer.text


def test_health_and_readiness_say_why(desk: Desk) -> None:
    """Healthy is about the process; ready is about sound being taken and judged, with the reason where not."""
    assert desk.get("/-/healthy").status == 200
    not_yet = desk.get("/-/ready?lang=en")
    assert (not_yet.status, not_yet.text) == (503, "The monitor is starting.\n")
    desk.board = state(desk.line)
    assert desk.get("/-/ready").status == 200
    desk.board = state(desk.line, problems={"intake_stopped": {}, "no_model": {"machines": "saw"}})
    answer = desk.get("/-/ready?lang=en")
    assert answer.status == 503
    assert answer.text.splitlines() == [
        "The disk is nearly full: intake has stopped. Free some space.",
        "No trained model for saw: run factory-ear train.",
    ]
    assert "intake has stopped" in desk.get("/?lang=en").text
    desk.board, desk.alive = state(desk.line), False
    assert [desk.get(path).status for path in ("/-/healthy", "/-/ready")] == [503, 503]


def test_errors_are_pages_without_a_traceback(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, a reader gets a sentence in their language and the log gets the rest."""
    missing = desk.get("/nowhere?lang=en")
    assert (missing.status, "There is no such page." in missing.text) == (404, True)
    assert desk.get("/", method="POST").status == 401, "nothing is looked up for a write without a token"
    desk.board = {"at_ns": 0}
    broken = desk.get("/?lang=en")
    assert broken.status == 500
    assert "The page cannot be shown" in broken.text
    assert "Traceback" not in broken.text
    assert "KeyError" not in broken.text
    assert "KeyError" in caplog.text


def test_a_token_is_asked_for_where_one_is_set(tmp_path: Path) -> None:
    """With a token, only its bearer sees the line; a browser may give it as password; health stays open."""
    desk = Desk(make_line(tmp_path, web={"token": "s3cret-ü"}), tmp_path)
    try:
        refused = desk.get("/")
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
        assert desk.get("/metrics", Authorization="Bearer wrong").status == 401
        assert desk.get("/metrics", Authorization="Basic !!!").status == 401
        assert desk.get("/-/healthy").status == 200
        basic = "Basic eDpzM2NyZXQtw7w="  # x:s3cret-ü
        assert desk.get("/", Authorization=basic).status == 200
        assert desk.get("/api/state", Authorization="Bearer s3cret-\xc3\xbc").status == 200
    finally:
        desk.web.close()


def test_an_address_that_is_taken_is_said(desk: Desk, tmp_path: Path) -> None:
    """A second page on the same port is an error that names the address and what to do."""
    port = int(desk.url.rstrip("/").rpartition(":")[2])
    line = make_line(tmp_path, web={"port": port})
    with pytest.raises(WorkFailed, match=rf"127\.0\.0\.1:{port} cannot be served.*another \[web\]"):
        Desk(line, tmp_path)
