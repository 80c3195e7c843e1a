"""`factory-ear dead`: what could not be processed, why, and another try."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from monitor.console import say, table
from monitor.line_broker import messages, open_line_broker
from monitor.settings import Line
from streams.broker import Broker
from streams.codec import decode_dead
from streams.dead import DeadLetter
from streams.records import TOPIC_DEAD


def list_dead(line: Line, limit: int) -> list[dict[str, Any]]:
    """The newest `limit` dead letters, oldest first."""
    broker = open_line_broker(line)
    try:
        letters = sorted(_letters(broker), key=lambda letter: letter.at_ns)[-limit:]
    finally:
        broker.close()
    return [
        {
            "at": datetime.fromtimestamp(letter.at_ns / 1e9, UTC).isoformat(timespec="seconds"),
            "reason": letter.reason,
            "detail": letter.detail,
            "topic": letter.topic,
            "source": letter.source,
            "mic": letter.headers.get("mic", letter.key),
            "bytes": len(letter.value),
        }
        for letter in letters
    ]


def print_dead(rows: Iterable[dict[str, Any]]) -> None:
    """A table of dead letters, or a word that there are none."""
    rows = list(rows)
    if not rows:
        say("no dead letters")
        return
    columns = ("at", "reason", "mic", "source", "detail")
    table("dead letters", columns, [[str(row[column]) for column in columns] for row in rows])


def replay_dead(line: Line, reason: str = "") -> int:
    """Send the dead windows (with this reason, if given) once more; returns how many.

    Letters without their original bytes, such as refused files, cannot be sent again: put the file back instead.
    """
    broker = open_line_broker(line)
    producer = broker.producer()
    count = 0
    try:
        for letter in _letters(broker):
            if letter.value and letter.topic and (not reason or letter.reason == reason):
                producer.send(letter.topic, letter.key, letter.value, letter.headers)
                count += 1
        producer.flush()
    finally:
        producer.close()
        broker.close()
    return count


def _letters(broker: Broker) -> Iterator[DeadLetter]:
    return map(decode_dead, messages(broker, TOPIC_DEAD))
