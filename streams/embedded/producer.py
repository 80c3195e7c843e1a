"""Writes messages: waits in memory up to a bound, then one transaction per topic."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from streams.contract import BrokerError, check_message, partition_of
from streams.embedded.log import Row
from streams.embedded.store import Store

WAITING_BYTES = 16 * 1024 * 1024
WAITING_MESSAGES = 1_000


class EmbeddedProducer:
    """The `streams.contract.Producer` of the embedded broker."""

    def __init__(self, store: Store, on_close: Callable[[object], None]) -> None:
        self._store = store
        self._on_close = on_close
        self._waiting: dict[str, list[Row]] = {}
        self._bytes = 0
        self._closed = False

    def send(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Take a message; flushes first when too much waits. If it raises, this message was not taken."""
        if self._closed:
            raise BrokerError("the producer is closed: open another one")
        check_message(key, value, headers or {})
        partition = partition_of(key, self._store.topic(topic).partitions)
        count = sum(len(rows) for rows in self._waiting.values())
        if count and (count >= WAITING_MESSAGES or self._bytes + len(value) > WAITING_BYTES):
            self.flush()
        text = json.dumps(dict(headers or {}), ensure_ascii=False)
        row = Row(partition, key, self._store.options.clock.utc_ns(), text, value)
        self._waiting.setdefault(topic, []).append(row)
        self._bytes += len(value)

    def flush(self) -> None:
        """Return once all is durable. A topic that fails keeps its messages and does not stop the others."""
        self._store.tidy()
        failed: BrokerError | None = None
        for topic in list(self._waiting):
            try:
                self._store.check_room(topic)
                self._store.log_of(topic).append(self._waiting[topic])
            except BrokerError as error:
                failed = failed or error
            else:
                self._bytes -= sum(len(row.value) for row in self._waiting.pop(topic))
                self._store.options.probe("appended")
        if failed:
            raise failed

    def close(self) -> None:
        """Flush and let go; what it lets go of it lets go of even if the flush raises."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
        finally:
            self._store.close()
            self._on_close(self)
