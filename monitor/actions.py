"""What people do about alarms, as a contract: the page asks for it, a store on disk keeps it.

The page (`monitor.web`) speaks to `Actions` alone and holds no state of its own; the implementation owns the rules
(who may shelve for how long, what closes), the audit log and the clock. Times are UTC nanoseconds; `who` is the name
that a person gave at log-in. A write that comes twice (a double click, a repeated request) leaves what the first left.

Every method may be called from any thread. A write is on disk when it returns. It raises `Refused` where the wish
cannot be granted (nothing is written then but the audit entry), and StorageFull where there is no room.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Verdict = Literal["confirmed", "rejected"]
Choice = Literal["a", "b", "same"]
Outcome = Literal["done", "refused", "denied"]  # refused: a rule of the store; denied: no right to ask
RebaselineState = Literal["asked", "done", "refused"]
REFUSALS = ("no_such_alert", "no_such_machine", "bad_until", "already_closed", "bad_value", "not_shelved")
COMMENT_LONGEST = 500  # characters
WHO_LONGEST = 60
SHELVE_LONGEST_S = 30 * 86_400.0


class Refused(Exception):
    """The wish cannot be granted; `why` is one of REFUSALS, the text says what was given and what is allowed."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(text)
        self.why = why


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody has seen an alarm. The first acknowledgement stands; later comments are audit entries."""

    alert_id: str
    who: str
    at_ns: int
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A machine whose alarms stay silent until `until_ns`: they are kept and shown, but nobody is called."""

    machine: str
    who: str
    at_ns: int
    until_ns: int
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an alarm turned out to be; the newest judgement stands. `fault` is a free name such as `bearing`."""

    alert_id: str
    verdict: Verdict
    who: str
    at_ns: int
    fault: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class RebaselineRequest:
    """Somebody says that this is the new normal; an engineer with the recordings runs `factory-ear rebaseline`."""

    number: int
    machine: str
    who: str
    at_ns: int
    why: str
    state: RebaselineState = "asked"


@dataclass(frozen=True, slots=True)
class Vote:
    """One blind comparison of two versions of a clip; `a` and `b` say which version stood there (raw, separated)."""

    trial: str
    clip: str
    a: str
    b: str
    choice: Choice
    who: str
    at_ns: int = 0

    @property
    def preferred(self) -> str:
        """The version that was preferred, or empty for none."""
        return {"a": self.a, "b": self.b, "same": ""}[self.choice]


@dataclass(frozen=True, slots=True)
class Flood:
    """Many alarms that opened together (a hall-wide noise): one announcement. `first` is the alert that came first."""

    flood_id: str
    first: str
    alert_ids: tuple[str, ...]
    opened_ns: int
    closed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit log, which only grows. `subject` is an alert, a machine, a clip or a path."""

    number: int
    at_ns: int
    who: str
    role: str
    action: str
    subject: str
    outcome: Outcome
    comment: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds at a moment: by alert id, by machine; only shelves that have not ended."""

    acknowledged: Mapping[str, Acknowledgement] = field(default_factory=dict)
    judged: Mapping[str, Judgement] = field(default_factory=dict)
    shelves: Mapping[str, Shelf] = field(default_factory=dict)
    rebaselines: Mapping[str, RebaselineRequest] = field(default_factory=dict)
    floods: Sequence[Flood] = ()


@dataclass(frozen=True, slots=True)
class By:
    """Who asks: the name given at log-in, the role of the token, and the address, for the audit log."""

    who: str
    role: str = "operate"
    address: str = ""


class Actions(Protocol):
    """All that people can do, and what there is to read of it. Texts are cut by nobody: too long is `bad_value`."""

    def acknowledge(self, alert_id: str, by: By, comment: str = "") -> Acknowledgement:
        """Note that somebody has seen the alarm; a second time returns what stands. Raises Refused(no_such_alert)."""
        ...

    def shelve(self, machine: str, until_ns: int, by: By, comment: str = "") -> Shelf:
        """Silence a machine until then, in place of any shelf before. Raises Refused(no_such_machine, bad_until)."""
        ...

    def unshelve(self, machine: str, by: By, comment: str = "") -> None:
        """End the shelf of a machine now. Raises Refused(no_such_machine, not_shelved)."""
        ...

    def judge(self, alert_id: str, verdict: Verdict, by: By, fault: str = "", comment: str = "") -> Judgement:
        """Confirm or reject an alarm as a fault; feeds naming and precision. Raises Refused(no_such_alert)."""
        ...

    def ask_rebaseline(self, machine: str, by: By, why: str) -> RebaselineRequest:
        """Ask that this be the new normal; an open request of the machine is returned as it stands."""
        ...

    def vote(self, vote: Vote, by: By) -> Vote:
        """Keep one vote of the listening test; the same trial and person again replaces the vote."""
        ...

    def note(self, action: str, subject: str, outcome: Outcome, by: By, comment: str = "") -> None:
        """Write an audit entry for what the page did or denied itself: log-in, log-out, a write without the right."""
        ...

    def standing(self, alert_ids: Collection[str]) -> Standing:
        """What holds now for these alerts, and for all machines; read once per page."""
        ...

    def votes(self) -> list[Vote]:
        """All votes, oldest first."""
        ...

    def audit(self, limit: int = 100, before: int | None = None) -> list[Entry]:
        """The newest entries first; `before` is an entry number, for the next page of the log."""
        ...
