"""The whole way with the real programs: a fault, an alert with its runbook in both languages, silence, and its end."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest
from alertbench import MISSING, alerting, receiving, until
from test_watch import run
from watchline import make_line, open_line_broker, score, send, window

from monitor.action_store import ActionStore
from monitor.actions import By
from streams.broker import Broker

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)}: not here; make system-packages")


class Line:
    """Sound and scores as they come: each call is the next stretch of both machines."""

    def __init__(self, broker: Broker) -> None:
        self._broker, self._next = broker, 0

    def go_on(self, windows: int, **odd: float) -> None:
        mics = {mic: odd.get(mic.partition("-")[0], 0.1) for mic in ("press-a", "fan-a")}
        indices = range(self._next, self._next + windows)
        send(self._broker, [window(mic, index) for index in indices for mic in mics])
        send(self._broker, [score(mic, index, value) for index in indices for mic, value in mics.items()])
        self._next += windows


def firing(prometheus: str) -> set[tuple[str, str]]:
    with urllib.request.urlopen(f"{prometheus}/api/v1/alerts", timeout=10) as answer:
        found = json.load(answer)["data"]["alerts"]
    return {(one["labels"]["alertname"], one["labels"].get("machine", "")) for one in found if one["state"] == "firing"}


def test_a_fault_is_told_a_shelf_is_silent_and_the_end_is_told(tmp_path: Path) -> None:
    """Fault -> webhook and mail with runbooks in ja and en; a fault on a shelf reaches nobody; healthy -> resolved."""
    line = make_line(
        tmp_path,
        machines={"press": ("press-a",), "fan": ("fan-a",)},
        alarms={"settle_s": 10.0, "off_delay_s": 0.0, "unknown_after_s": 600.0},
    )

    def use(url: str) -> None:
        broker = open_line_broker(line)
        sound = Line(broker)
        with (
            receiving() as (got, hook, mail),
            alerting(tmp_path, url.removeprefix("http://").rstrip("/"), hook, mail) as (prometheus, _),
            ActionStore(line.site.data / "alarms.sqlite", ("press", "fan")) as actions,
        ):
            sound.go_on(40, press=4.0)
            (first, *_) = until(lambda: got.alerts("FactoryEarMachineAlarm", "press", "firing"))
            for lang, word in (("", "sounds odd"), ("_ja", "音が異常")):
                assert word in first["annotations"][f"summary{lang}"]
                book = first["annotations"][f"runbook_url{lang}"]
                assert book.endswith(f"/runbooks/machine-alarm?lang={lang[1:] or 'en'}")
                with urllib.request.urlopen(book, timeout=10) as page:
                    assert ("odd" if not lang else "異常") in page.read().decode()
            mailed = until(lambda: [one for one in got.mails if "press" in one["Subject"]])[0]
            text = mailed.get_body(("plain",)).get_content()
            assert "音が異常" in mailed["Subject"]
            assert {"手順:", "Runbook:"} <= set(text.split())
            until(lambda: got.alerts("FactoryEarWatchdog"))

            actions.shelve("fan", time.time_ns() + 3600 * 10**9, By("sato"))
            until(lambda: ("FactoryEarMachineShelved", "fan") in firing(prometheus))
            sound.go_on(40, press=4.0, fan=4.0)
            until(lambda: ("FactoryEarMachineAlarm", "fan") in firing(prometheus))
            sound.go_on(80)
            until(lambda: got.alerts("FactoryEarMachineAlarm", "press", "resolved"))
            assert got.alerts("FactoryEarMachineAlarm", "fan") == []
            assert not [one for one in got.mails if "fan" in one["Subject"]]
        broker.close()

    run(line, use)
