"""Counting every window once, however often it comes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from streams.records import Identity

SPAN = 4096  # how far behind the newest a sequence number is still told apart
SESSIONS = 8  # how many capture sessions of a microphone are remembered


@dataclass(slots=True)
class _Session:
    newest: int = -1
    bits: int = 0  # bit i: sequence newest - i was counted


@dataclass(slots=True)
class Once:
    """Which windows were counted, in bounded memory: `SPAN` numbers of `SESSIONS` sessions per microphone.

    What is older than that counts as seen: a repetition is likelier than news from so long ago.
    """

    _mics: dict[str, OrderedDict[str, _Session]] = field(default_factory=dict)

    def first(self, identity: Identity) -> bool:
        """Whether this is the first time; from now on it is not."""
        sessions = self._mics.setdefault(identity.mic, OrderedDict())
        session = sessions.setdefault(identity.session, _Session())
        sessions.move_to_end(identity.session)
        if len(sessions) > SESSIONS:
            sessions.popitem(last=False)
        ahead = identity.sequence - session.newest
        if ahead > 0:
            session.bits = 1 if ahead >= SPAN else (session.bits << ahead | 1) & ((1 << SPAN) - 1)
            session.newest = identity.sequence
            return True
        bit = 1 << -ahead
        if -ahead >= SPAN or session.bits & bit:
            return False
        session.bits |= bit
        return True
