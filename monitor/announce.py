"""Announcing alerts from the outbox: to the topic `audio.alerts`, and to a webhook. At least once, never a new id."""

from __future__ import annotations

import http.client
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from monitor.alarm_store import AlarmStore
from streams import codec
from streams.broker import BrokerError, Producer, StorageFull
from streams.records import TOPIC_ALERTS, Alert

BATCH = 100
RETRY_S = 1.0
BACK_OFF_S = (1.0, 5.0, 15.0, 60.0, 300.0)

Post = Callable[[bytes], int]  # JSON -> HTTP status; raises OSError where nobody answers

_log = logging.getLogger(__name__)


class Publisher:
    """Sends the outbox to the broker: send, flush, and only then mark as sent."""

    def __init__(self, store: AlarmStore, producer: Producer) -> None:
        self._store = store
        self._producer = producer
        self._held: set[int] = set()  # the producer has them, but has not flushed them

    def publish(self) -> int:
        """Announce what waits; returns how many. Raises BrokerError; what was not flushed waits for another try."""
        waiting = self._store.pending("broker", BATCH)
        if not waiting:
            return 0
        self._store.at("publish.before")
        for one in waiting:
            if one.number not in self._held:
                key, value = codec.encode_alert(one.alert)
                self._producer.send(TOPIC_ALERTS, key, value, {})
                self._held.add(one.number)
        self._producer.flush()
        self._store.at("publish.after")
        self._store.sent("broker", [one.number for one in waiting])
        self._held.clear()
        return len(waiting)

    def close(self) -> None:
        """Let go of the producer; what it could not flush is sent anew after the next start."""
        try:
            self._producer.close()
        except BrokerError as error:
            _log.warning("alerts wait for the next start: %s", error)


@dataclass(slots=True)
class _Try:
    count: int = 0
    due_s: float = 0.0


@dataclass(slots=True)
class Webhook:
    """Sends the outbox to whoever wants to know: one JSON object per update, each tried again until it is taken.

    A receiver that does not answer is left alone for up to five minutes; one that refuses an update does not keep
    the others waiting. `failures` counts tries without success.
    """

    store: AlarmStore
    post: Post
    failures: int = 0
    _quiet_until_s: float = 0.0
    _tries: dict[int, _Try] = field(default_factory=dict)

    def send(self, now_s: float) -> int:
        """Send what is due at `now_s` (a steady clock); returns how many were taken."""
        if now_s < self._quiet_until_s:
            return 0
        taken = []
        for one in self.store.pending("webhook", BATCH):
            attempt = self._tries.setdefault(one.number, _Try())
            if now_s < attempt.due_s:
                continue
            status = self._try(one.alert)
            if 200 <= status < 300:
                taken.append(one.number)
                del self._tries[one.number]
                continue
            self.failures += 1
            attempt.due_s = now_s + BACK_OFF_S[min(attempt.count, len(BACK_OFF_S) - 1)]
            attempt.count += 1
            if status == 0 or status >= 500:  # the receiver is down: the others would not get through either
                self._quiet_until_s = attempt.due_s
                break
        if taken:
            self.store.sent("webhook", taken)
        return len(taken)

    def _try(self, alert: Alert) -> int:
        try:
            status = self.post(webhook_body(alert))
        except OSError as error:
            _log.warning("webhook: alert %s not sent: %s", alert.alert_id, error)
            return 0
        if not 200 <= status < 300:
            _log.warning("webhook: alert %s answered with %d", alert.alert_id, status)
        return status


def webhook_body(alert: Alert) -> bytes:
    """The alert as JSON, with the names of its record."""
    return codec.encode_alert(alert)[1]


def start_webhook(url: str, path: Path, failed: Callable[[float], None]) -> Callable[[], None]:
    """Send the outbox of the store at `path` to `url` in a thread of its own; returns what stops it.

    `failed` is told how many tries were without success.
    """
    done = threading.Event()

    def run() -> None:
        with AlarmStore(path) as store:
            webhook = Webhook(store, lambda body: post_json(url, body))
            while True:
                last = done.is_set()  # one more round after the stop was asked for
                failures = webhook.failures
                try:
                    webhook.send(time.monotonic())
                except StorageFull as error:
                    _log.warning("webhook: %s", error)
                failed(webhook.failures - failures)
                if last:
                    return
                done.wait(RETRY_S)

    thread = threading.Thread(target=run, name="webhook", daemon=True)
    thread.start()

    def finish() -> None:
        done.set()
        thread.join(5.0)

    return finish


def post_json(url: str, body: bytes, timeout_s: float = 10.0) -> int:
    """POST JSON; the HTTP status. Raises OSError where nobody answers in time or the answer is no HTTP."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked at start
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310 - checked at start
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from error
