"""The monitor as a whole: scores and sound in, alarms, clips, pages and metrics out, and nothing lost by a stop."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from watchline import Clock, make_line, open_line_broker, score, send, window

from monitor.alarm_store import AlarmStore
from monitor.errors import WorkFailed
from monitor.rounds import Monitor
from monitor.settings import Line
from monitor.watch import watch
from streams import codec
from streams.broker import Broker, StorageFull, TopicPartition
from streams.dead import DeadLetter
from streams.records import TOPIC_ALERTS, TOPIC_DEAD, TOPIC_SCORES, Alert

ROOT = Path(__file__).parent.parent.parent


class Desk:
    """A monitor that is driven by hand: time is handed in, rounds are asked for."""

    def __init__(self, line: Line) -> None:
        self.line, self.clock = line, Clock()
        self.broker: Broker = open_line_broker(line)
        self.store = AlarmStore(line.site.data / "alarms.sqlite")
        self.monitor = self._start()

    def _start(self) -> Monitor:
        monitor = Monitor(self.line, self.broker, self.store, clock_ns=self.clock.now_ns, steady_s=self.clock.steady_s)
        monitor.tick(0.0)  # the first poll gets the partitions
        return monitor

    def restart(self) -> None:
        self.monitor.finish()
        self.monitor = self._start()

    def close(self) -> None:
        self.monitor.finish()
        self.store.close()
        self.broker.close()

    def rounds(self, count: int = 3, seconds: float = 1.0) -> dict[str, Any]:
        for _ in range(count):
            self.clock.forward(seconds)
            self.monitor.tick(0.0)
        return dict(self.monitor.board)

    def hear(self, mic: str, first: int, last: int, value: float = 0.2) -> None:
        send(self.broker, [window(mic, index) for index in range(first, last)])
        send(self.broker, [score(mic, index, value) for index in range(first, last)])

    def told(self, *, unknown: bool = False) -> list[Alert]:
        """The alerts on the topic: those of odd sound, or those of missing sound."""
        found = []
        for part in self.broker.bounds(TOPIC_ALERTS):
            messages = self.broker.read(TopicPartition(TOPIC_ALERTS, part), 0, 999)
            found += [codec.decode_alert(message) for message in messages]
        return [alert for alert in found if (alert.level == "unknown") == unknown]

    def value(self, name: str, **labels: str) -> float | None:
        return self.monitor.metrics.registry.get_sample_value(f"factory_ear_{name}", labels)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(make_line(tmp_path))
    yield made
    made.close()


def test_from_scores_to_people(desk: Desk) -> None:
    """Odd scores become an alarm on the topic, on the board and in the metrics, with a clip that plays."""
    desk.hear("press-a", 0, 30)
    desk.hear("press-a", 30, 60, value=4.0)
    board = desk.rounds()
    (press,) = [one for one in board["machines"] if one["id"] == "press"]
    assert press["state"] == "alert"
    assert desk.value("alarm_level", machine="press") == 1
    assert desk.value("windows_total", machine="press", mic="press-a", outcome="scored") == 60
    opened, with_clip = desk.told()
    assert opened.alert_id == with_clip.alert_id
    assert (opened.clip, bool(with_clip.clip)) == ("", True)
    sound, rate = soundfile.read(desk.monitor.evidence.path(with_clip.clip))
    assert len(sound) / rate >= 50
    assert with_clip.clip in [one["clip"] for one in board["alerts"]]
    assert board["ready"] is True


def test_a_restart_neither_forgets_nor_repeats(desk: Desk) -> None:
    """An alarm that was open before an orderly stop is open after it, under its id, and closes under it."""
    desk.hear("press-a", 0, 30, value=4.0)
    desk.rounds()
    before = desk.told()
    desk.restart()
    desk.rounds()
    assert desk.told()[: len(before)] == before
    assert {alert.alert_id for alert in desk.told()} == {before[0].alert_id}
    desk.hear("press-a", 30, 60)
    desk.rounds()
    assert {alert.alert_id for alert in desk.told()} == {before[0].alert_id}
    assert desk.told()[-1].closed_ns > 0


def test_a_stop_judges_and_tells_what_has_come(desk: Desk) -> None:
    """What lay in the topics when the stop was asked for is judged, announced and given its clip."""
    desk.hear("press-a", 0, 40, value=4.0)
    desk.restart()
    assert [bool(alert.clip) for alert in desk.told()] == [False, True]


def test_a_lost_microphone_is_unknown_until_it_is_back(desk: Desk) -> None:
    """A microphone that stops while others go on becomes an alarm of level unknown, and live again closes it."""
    for mic in ("press-a", "press-b", "fan-a"):
        desk.hear(mic, 0, 3)
    desk.rounds()
    assert desk.told(unknown=True) == []
    for mic in ("press-a", "press-b"):
        desk.hear(mic, 3, 25)
    board = desk.rounds()
    (alert,) = desk.told(unknown=True)
    assert (alert.machine, alert.level) == ("fan", "unknown")
    assert desk.value("alarm_level", machine="fan") == -1
    assert board["machines"][0]["id"] == "fan"
    desk.hear("fan-a", 25, 27)
    desk.rounds()
    assert desk.told(unknown=True)[-1].closed_ns > 0


def test_a_silent_line_is_unknown_by_the_wall_clock(desk: Desk) -> None:
    """When no window comes from anywhere, every machine becomes unknown after the delay and not before."""
    desk.hear("press-a", 0, 3)
    desk.rounds(seconds=9.0)
    assert desk.told(unknown=True) == []
    desk.rounds(seconds=9.0)
    assert {(alert.machine, alert.level) for alert in desk.told(unknown=True)} == {
        ("press", "unknown"),
        ("fan", "unknown"),
    }


def test_a_backlog_makes_nobody_lost(tmp_path: Path) -> None:
    """While sound of one microphone is read long before that of another, no signal is called lost."""
    desk = Desk(make_line(tmp_path, broker={"partitions": 1}))
    for mic in ("press-a", "press-b", "fan-a"):
        desk.hear(mic, 0, 150)
    desk.rounds(count=12, seconds=0.1)
    assert desk.told(unknown=True) == []
    assert desk.value("lag_windows", topic="audio.scores", partition="0") == 0
    desk.close()


def test_what_cannot_be_read_is_counted_and_passed(desk: Desk) -> None:
    """Garbage on any topic stops nothing: it is counted, and what comes after it is judged."""
    producer = desk.broker.producer()
    for topic in (TOPIC_SCORES, "audio.windows", TOPIC_DEAD):
        producer.send(topic, "press", b"\xff garbage", {})
    letter = DeadLetter("bad_message", "text", 0, topic="audio.windows", headers={"mic": "press-a"})
    producer.send(TOPIC_DEAD, *codec.encode_dead(letter))
    producer.send(TOPIC_SCORES, *codec.encode_score(score("stranger-a", 0)))
    producer.close()
    desk.hear("press-a", 0, 40, value=4.0)
    board = desk.rounds()
    for topic in (TOPIC_SCORES, "audio.windows", TOPIC_DEAD):
        assert desk.value("unreadable_messages_total", topic=topic) == 1
    assert desk.value("dead_letters_total", reason="bad_message") == 1
    assert board["dead_letters"] == 1
    assert board["machines"][0]["state"] == "alert"


def test_a_full_disk_is_said_and_made_up_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is full nothing more is read and the page says why; with room, nothing was lost."""
    desk.rounds()
    whole = desk.store.commit

    def full(**_: object) -> None:
        raise StorageFull("full")

    monkeypatch.setattr(desk.store, "commit", full)
    send(desk.broker, [window("press-a", index) for index in range(40)])
    send(desk.broker, [score("press-a", index, 4.0) for index in range(20)])
    board = desk.rounds()
    assert list(board["problems"]) == ["store_full"]
    assert board["ready"] is False
    send(desk.broker, [score("press-a", index, 4.0) for index in range(20, 40)])
    desk.rounds()
    assert desk.told() == []
    monkeypatch.setattr(desk.store, "commit", whole)
    board = desk.rounds()
    assert board["problems"] == {}
    assert len({alert.alert_id for alert in desk.told()}) == 1
    assert desk.told()[-1].clip
    assert desk.value("windows_total", machine="press", mic="press-a", outcome="scored") == 40


def test_intake_that_stopped_is_a_state(tmp_path: Path) -> None:
    """A disk below its reserve is a reason not to be ready, on the board and as a metric."""
    desk = Desk(make_line(tmp_path, broker={"min_free_mb": 10**9}))
    board = desk.rounds()
    assert (board["ready"], list(board["problems"])) == (False, ["intake_stopped"])
    assert desk.value("intake_stopped") == 1
    desk.close()


def test_a_machine_without_a_model_is_said(tmp_path: Path) -> None:
    """A machine that nobody has trained is shown as such, and keeps the others from nothing."""
    line = make_line(tmp_path)
    (line.models / "fan" / "card.json").unlink()
    desk = Desk(line)
    desk.hear("press-a", 0, 40, value=4.0)
    send(desk.broker, [window(mic, index) for index in range(40) for mic in ("press-b", "fan-a")])
    board = desk.rounds()
    assert board["problems"] == {"no_model": {"machines": "fan"}}
    assert {one["id"]: one["state"] for one in board["machines"]} == {"press": "alert", "fan": "no_model"}
    desk.close()


def run(line: Line, then: Callable[[str], None], **more: Any) -> None:
    """Run `watch` in this thread until `then`, which is given the page's URL in another, is through."""
    done, errors = threading.Event(), []

    def use(url: str) -> None:
        try:
            then(url)
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            errors.append(error)
        done.set()

    def ready(url: str) -> None:
        threading.Thread(target=use, args=(url,)).start()

    watch(line, stop=done.is_set, ready=ready, **more)
    if errors:
        raise errors[0]


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def until(what: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for another process's clock, not for a fixed time."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes the second try of everything."""

    got: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append(json.loads(body))
        self.send_response(503 if len(self.got) == 1 else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_watch_serves_judges_and_calls(tmp_path: Path) -> None:
    """The process as it is run: a page on a free port, alarms on the topic, a webhook that is tried again."""
    Receiver.got = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        line = make_line(tmp_path, alarms={"webhook": f"http://127.0.0.1:{server.server_port}/hook"})

        def use(url: str) -> None:
            broker = open_line_broker(line)
            send(broker, [window("press-a", index) for index in range(40)])
            send(broker, [score("press-a", index, 4.0) for index in range(40)])
            broker.close()
            until(lambda: json.loads(fetch(url + "api/state"))["alerts"] != [])
            until(lambda: len(Receiver.got) >= 3)
            assert b'factory_ear_alarm_level{machine="press"} 1.0' in fetch(url + "metrics")
            assert fetch(url + "-/ready") == b"ok\n"

        run(line, use)
        server.shutdown()
    assert Receiver.got[0] == Receiver.got[1]
    assert len({one["alert_id"] for one in Receiver.got if one["level"] == "alert"}) == 1


def test_the_page_answers_while_the_broker_hangs(tmp_path: Path) -> None:
    """A broker that does not answer for a while holds up neither the page nor the metrics."""
    line = make_line(tmp_path)
    broker = open_line_broker(line)
    hold, held = threading.Event(), threading.Event()
    bounds = broker.bounds

    def slow(topic: str) -> Any:
        if hold.is_set():
            held.set()
            hold_end.wait(20.0)
        return bounds(topic)

    hold_end = threading.Event()
    broker.bounds = slow  # type: ignore[method-assign]

    def use(url: str) -> None:
        hold.set()
        assert held.wait(20.0)
        try:
            assert b"<html" in fetch(url)
            assert b"factory_ear" in fetch(url + "metrics")
        finally:
            hold.clear()
            hold_end.set()

    run(line, use, broker=broker)
    broker.close()


def test_two_monitors_of_one_line_are_refused(tmp_path: Path) -> None:
    """The second one ends with a sentence, and the first goes on."""
    line = make_line(tmp_path)

    def use(url: str) -> None:
        with pytest.raises(WorkFailed, match="another monitor"):
            watch(line, stop=lambda: True)
        assert fetch(url + "-/healthy") == b"ok\n"

    run(line, use)


def test_a_webhook_must_be_an_address(tmp_path: Path) -> None:
    """What is no http address is refused before anything is opened."""
    line = make_line(tmp_path, alarms={"webhook": "file:///etc/passwd"})
    with pytest.raises(WorkFailed, match=r"alarms\.webhook is 'file:///etc/passwd'"):
        watch(line, stop=lambda: True)


def test_nothing_leaks(tmp_path: Path) -> None:
    """Started and stopped many times, the monitor leaves no descriptor and no thread behind."""
    line = make_line(tmp_path, alarms={"webhook": "http://127.0.0.1:9/"})

    def count() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208 - a count, not paths

    watch(line, stop=lambda: True)
    before = count()
    for _ in range(8):
        watch(line, stop=lambda: True)
    after = count()
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + 2


def test_the_monitor_stays_small() -> None:
    """The process never imports torch, nor anything else that is large."""
    large = ("torch", "scipy", "sklearn", "matplotlib")
    code = f"import sys, monitor.watch, detectors.card; print([m for m in {large} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
