"""Whoever may make entries of the audit log without a right fills no disk, and is in the log all the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monitor.action_store import ActionStore
from monitor.actions import By, Refused
from monitor.refusals import GATHER_S, IN_ALL, MOST, OTHERS, SINGLY, Refusal, Refusals

S = 1_000_000_000
T0 = 1_800_000_000 * S
DAY_S = 86_400


class Clock:
    ns = T0

    def __call__(self) -> int:
        return self.ns


def deny(store: ActionStore, address: str = "10.0.0.66", subject: str = "POST /acknowledge") -> None:
    store.note("page", subject, "denied", By("", "", address), "refused")


def counted(comment: str) -> int:
    found = re.match(r"(\d+) more within", comment)
    return int(found[1]) if found else 1


def test_a_day_of_denied_writes_adds_little(tmp_path: Path) -> None:
    """A denied write every second for a day: under 60 kB of entries, each write counted, the chain whole."""
    clock = Clock()
    with ActionStore(tmp_path / "alarms.sqlite", ("press",), clock_ns=clock) as store:
        for second in range(DAY_S):
            clock.ns = T0 + second * S
            deny(store, subject=f"POST /{second}")
            if second % 60 == 0:
                store.tell_counted()
        store.tell_counted(over=True)
        entries = store.audit(limit=10_000)
        assert sum(counted(one.comment) for one in entries) == DAY_S
        assert len(entries) <= SINGLY + DAY_S / GATHER_S + 1
        assert sum(len(str(one)) for one in entries) < 60_000
        assert {one.address for one in entries} == {"10.0.0.66"}
        assert store.audit_faults() == []


def test_refusals_of_the_store_are_counted_too(tmp_path: Path) -> None:
    """A script with a token that asks for nonsense has its first entries and then one; a real wish is written."""
    clock, script = Clock(), By("script", "operate", "10.0.0.8")
    with ActionStore(tmp_path / "alarms.sqlite", ("press",), clock_ns=clock) as store:
        for _ in range(50):
            with pytest.raises(Refused):
                store.acknowledge("nothing", script)
        store.shelve("press", T0 + 60 * S, script)
    with ActionStore(tmp_path / "alarms.sqlite", ("press",), clock_ns=clock) as store:  # the stop wrote the rest
        newest, shelf, *first = store.audit()
        assert (shelf.action, shelf.outcome) == ("shelve", "done")
        assert [one.outcome for one in first] == ["refused"] * SINGLY
        assert newest.comment.startswith("40 more within 10 min: acknowledge no_such_alert 40")
        assert (newest.who, newest.action, newest.outcome) == ("script", "acknowledge", "refused")


def test_many_addresses_share_what_there_is() -> None:
    """However many addresses ask, memory and entries are bounded; none of their refusals goes uncounted."""
    gather, written, asked = Refusals(), [], 0
    for second in range(round(3 * GATHER_S)):
        for number in range(20):
            by = By("", "", f"10.{second % 250}.{number}.1")
            written += gather.take(T0 + second * S, Refusal(by, "page", "POST /x", "denied", "POST /x", "refused"))
            asked += 1
        assert len(gather._known) <= MOST + 1
    written += gather.due(T0, over=True)
    assert sum(counted(one.comment) for one in written) == asked
    assert len(written) <= 3 * (IN_ALL + MOST + 1) + MOST + 1
    assert any(one.by.address == OTHERS for one in written)


def test_half_an_ipv6_address_is_one_sender() -> None:
    """A sender with 2^64 addresses is one; another network and a text that is no address are others."""
    gather = Refusals()
    found = []
    for number in range(30):
        by = By("", "", f"2001:db8::{number:x}%eth0")
        found += gather.take(T0, Refusal(by, "page", "POST /x", "denied", "x", "refused"))
    assert len(found) == SINGLY
    for other in ("2001:db8:0:1::1", "", "unix"):
        assert gather.take(T0, Refusal(By("", "", other), "page", "POST /x", "denied", "x", "refused"))


def test_quiet_begins_anew() -> None:
    """After a quiet time an address has entries of its own again; a clock that was set back keeps nothing waiting."""
    gather, one = Refusals(), Refusal(By("", "", "10.0.0.1"), "page", "POST /x", "denied", "x", "refused")
    for _ in range(SINGLY + 5):
        gather.take(T0, one)
    later = T0 + round(GATHER_S * S)
    (summary,) = gather.due(later)
    assert counted(summary.comment) == 5
    assert gather.take(later, one) == []  # it goes on: counted from the first
    (summary,) = gather.due(T0)
    assert counted(summary.comment) == 1
    assert gather.due(later + 9 * round(GATHER_S * S)) == []
    assert gather.take(later + 9 * round(GATHER_S * S), one) == [one]
