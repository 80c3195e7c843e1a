"""`factory-ear monitor`: the process that turns scores into alarms and shows them. It never imports torch.

One thread does all that touches the broker and the store (`rounds.Monitor`); the page has a thread, and so has the
webhook, because both wait for strangers. They share nothing but the board, which is replaced whole, and the store's
file. So nothing queues up between them, and a slow reader delays no alarm.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack

from monitor.action_store import ActionStore
from monitor.actions import Actions
from monitor.alarm_store import AlarmStore, Point
from monitor.announce import start_webhook
from monitor.errors import WorkFailed
from monitor.explainer import Explainer
from monitor.line_broker import open_line_broker
from monitor.rounds import Monitor
from monitor.settings import Line
from monitor.web.app import make_app
from monitor.web.serve import WebThread, tls
from monitor.web.sources import Sources
from streams.broker import Broker, StorageFull

WAIT_S = 0.2  # how long a round waits for sound
STALLED_S = 60.0  # longer without a round is not alive

Stop = Callable[[], bool]
_log = logging.getLogger(__name__)


def watch(
    line: Line,
    *,
    stop: Stop,
    ready: Callable[[str], None] | None = None,
    broker: Broker | None = None,
    clock_ns: Callable[[], int] = time.time_ns,
    at: Point | None = None,
) -> None:
    """Run the monitor of `line` until `stop`; `ready` is called once with the page's URL.

    `broker` is opened from the settings where none is given; `at` is told the points at which a crash matters.
    Raises WorkFailed where another monitor of the line runs or the page's address cannot be had, BrokerError
    where the broker cannot be opened.
    """
    _check_webhook(line.alarms.webhook)
    with ExitStack() as stack:
        path = line.site.data / "alarms.sqlite"
        store = stack.enter_context(AlarmStore(path, at=at) if at else AlarmStore(path))
        store.own()
        if broker is None:
            broker = open_line_broker(line, stop=stop)
            stack.callback(broker.close)
        monitor = Monitor(line, broker, store, clock_ns=clock_ns)
        context = tls(line.web.certfile, line.web.keyfile)
        names = [*(machine.id for machine in line.machine), *line.halls]  # a hall's own alarms can be shelved too
        actions = stack.enter_context(ActionStore(path, names, clock_ns=clock_ns))
        web = WebThread(make_app(line, _sources(monitor, actions)), line.web.host, line.web.port, context)
        stack.callback(web.close)
        url = web.start()
        explainer = Explainer(line, monitor.evidence.clips)
        stack.callback(explainer.close)
        explainer.start()
        if line.alarms.webhook:
            stack.callback(start_webhook(line.alarms.webhook, path, monitor.metrics.webhook_failures.inc))
        if ready:
            ready(url)
        while not stop():
            monitor.tick(WAIT_S)
            _tell_counted(actions)
        monitor.finish()


def _tell_counted(actions: ActionStore) -> None:
    try:
        actions.tell_counted()
    except StorageFull as error:
        _log.warning("the audit log takes nothing: %s", error)


def _sources(monitor: Monitor, actions: Actions) -> Sources:
    return Sources(
        board=lambda: monitor.board,
        alive=lambda: time.monotonic() - monitor.alive_s < STALLED_S,
        clip=monitor.evidence.path,
        registry=monitor.metrics.registry,
        actions=actions,
    )


def _check_webhook(url: str) -> None:
    if url and not url.startswith(("http://", "https://")):
        raise WorkFailed(f"alarms.webhook is {url!r}, allowed is an address with http:// or https://, or nothing")
