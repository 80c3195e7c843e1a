"""The dead letter: what could not be processed, with why, and with all that a replay needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.contract import Message

BAD_MESSAGE = "bad_message"  # not what its topic promises: it cannot be decoded
PROCESS_FAILED = "process_failed"  # the processor raised for this message alone
TOO_LARGE = "too_large"  # its result is over the message limit

_REASON = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message, or one file, that ended here.

    `reason` is a short code of a fixed list (it becomes a metric's label), `detail` is for people. `topic`,
    `partition`, `offset` say where a message lay; `source` names the file where there never was a message (topic is
    then empty, partition and offset are -1). `value` is the message's value; it is empty for a file, and where it is
    too large to be kept twice: it then lies at its offset until retention takes it. `at_ns` is UTC.
    """

    reason: str
    detail: str
    at_ns: int
    topic: str = ""
    partition: int = -1
    offset: int = -1
    source: str = ""
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    value: bytes = b""

    def __post_init__(self) -> None:
        if not _REASON.fullmatch(self.reason):
            raise ValueError(f"reason is {self.reason!r}, allowed is a short code such as {BAD_MESSAGE}")

    @property
    def machine(self) -> str:
        """The machine it concerns, as far as the headers say; else the key, else the source."""
        return self.headers.get("machine") or self.key or self.source or "unknown"


def dead_letter(message: Message, reason: str, detail: str, at_ns: int) -> DeadLetter:
    """The dead letter of a message."""
    return DeadLetter(
        reason=reason,
        detail=detail,
        at_ns=at_ns,
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        headers=message.headers,
        value=message.value,
    )
