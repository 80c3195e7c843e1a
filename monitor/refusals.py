"""Refused and denied wishes on their way into the audit log: the first ones singly, a flood of them as counted entries.

The log only grows, so whoever may make entries without a right could fill the disk. Of one address the first
`SINGLY` are entries of their own; further ones are counted, and one entry in `GATHER_S` says how many there were and
why. Quiet for so long, and the address begins anew. All addresses together have `IN_ALL` entries of their own in
`GATHER_S`, and `MOST` addresses are told apart: what is beyond is counted under the name of `OTHERS`.

What was counted and not yet written is held in memory: `kill -9` takes up to `GATHER_S` of it, never the first ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from monitor.actions import By, Outcome

SINGLY = 10
IN_ALL = 100
MOST = 32
GATHER_S = 600.0
OTHERS = "many addresses"
WHYS = 8  # different reasons in one counted entry
WHY_LONGEST = 60
_GATHER_NS = round(GATHER_S * 1e9)


class Refusal(NamedTuple):
    """An entry to be: `why` is what it is counted under, `comment` what an entry of its own says."""

    by: By
    action: str
    subject: str
    outcome: Outcome
    why: str
    comment: str


@dataclass(slots=True)
class _Address:
    since_ns: int
    singly: int = 0
    count: int = 0
    whys: Counter[str] = field(default_factory=Counter)
    last: Refusal | None = None


class Refusals:
    """Says which entries to write, now; not shared between threads. Times are UTC in nanoseconds, as in the log."""

    def __init__(self) -> None:
        self._known: dict[str, _Address] = {}
        self._singly, self._since_ns = 0, 0

    def take(self, now_ns: int, one: Refusal) -> list[Refusal]:
        """The entries that are due, this one among them unless it is only counted."""
        found = self.due(now_ns)
        key = _network(one.by.address)
        if key not in self._known and len(self._known) >= MOST:
            key = OTHERS
        address = self._known.setdefault(key, _Address(now_ns))
        if key != OTHERS and address.singly < SINGLY and self._singly < IN_ALL:
            address.singly += 1
            self._singly += 1
            return [*found, one]
        address.count += 1
        address.last = one
        address.whys[one.why if one.why in address.whys or len(address.whys) < WHYS else "other"] += 1
        return found

    def due(self, now_ns: int, *, over: bool = False) -> list[Refusal]:
        """The counted entries whose time has come; with `over`, all of them."""
        if not 0 <= now_ns - self._since_ns < _GATHER_NS:  # a clock that was set back counts as well
            self._singly, self._since_ns = 0, now_ns
        found = []
        for key, address in list(self._known.items()):
            if not over and 0 <= now_ns - address.since_ns < _GATHER_NS:
                continue
            del self._known[key]
            if address.last is not None:
                found.append(_counted(key, address, address.last))
                self._known[key] = _Address(now_ns, SINGLY)
        return found


def _counted(key: str, address: _Address, last: Refusal) -> Refusal:
    whys = ", ".join(f"{why} {count}" for why, count in address.whys.most_common())
    said = f"{address.count} more within {GATHER_S / 60:.0f} min: {whys}; the last is this one"
    by = replace(last.by, address=key) if key == OTHERS else last.by
    return last._replace(by=by, comment=said)


def _network(address: str) -> str:
    """What one sender can have many of counts as one: the first half of an IPv6 address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(IPv6Address(int(found) >> 64 << 64)) if isinstance(found, IPv6Address) else address
