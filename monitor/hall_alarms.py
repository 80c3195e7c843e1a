"""Which alarms of a hall are announced: first-out, consequences of a louder neighbour, and one alarm for a whole hall.

Between the machines' own alarms (`alarms.AlarmMachine`) and whoever hears of them. A new alarm *settles* first: for
`settle_s` of event time it is stored and shown, and nobody is called. Then it is one of
- `own`: it stands on at least k looks that no louder machine explains (`attribution`), and is announced;
- `neighbour`: most of its odd looks are explained by a machine whose own alarm is open. It is marked with that
  cause, told on the topic, and nobody is called. From the moment at which k of its last n looks are explained by
  nobody it stands on its own: this alarm closes and another opens, which is announced;
- `hall`: it began together with those of most machines, and no louder ones explain half of these; one alarm of the
  hall names them all. It parts from it in the same way, with looks that stand out of what the others hear;
- `flood`: ten alarms were announced within ten minutes (ISA-18.2's flood); further ones are gathered in one alarm
  of the hall until fewer than five came in ten minutes, and then those that are still open are announced.

Time is event time: a decision is due when every machine has been heard up to it; one that is more than `lateness_s`
behind is not waited for once all there is was read. The same scores in the same order give the same decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from monitor.alarm_trail import Seen
from monitor.alarms import AlarmMachine, Say, Update, pack_update, unpack_update
from monitor.attribution import explain, is_halls, nearest, rise
from monitor.settings import Alarms
from monitor.words import Facts, Follows
from streams.records import Alert, Identity, alert_id

STATE_VERSION = 1
TOGETHER_S = 20.0  # alarms whose first odd looks lie within this began together
FLOOD_S = 600.0
FLOOD_ENDS = 0.5  # of the alarms that begin a flood: fewer within FLOOD_S end it (ISA-18.2: ten and five)
FEWEST = 3  # machines that can be a hall
STEP_NS = 1_000_000_000  # how often decisions are looked at, in event time


@dataclass(slots=True)
class Role:
    """What the open alarm of a machine is; `follows` counts where `settled`. `marks`: microphone -> look -> cause."""

    alert_id: str
    opened_ns: int
    since_ns: int
    settled: bool = False
    follows: Follows = ""
    cause: str = ""  # the machine that it follows from, where it is a neighbour
    told: bool = False  # whether people were called
    marks: dict[str, dict[int, str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """settling, own, neighbour, hall or flood."""
        return (self.follows or "own") if self.settled else "settling"


class HallAlarms:
    """The alarms of the machines that share a hall; `name` is the hall's machine id. `say` makes the hall's reason."""

    def __init__(self, name: str, machines: Mapping[str, AlarmMachine], settings: Alarms, say: Say) -> None:
        self.name = name
        self.alarm: Update | None = None
        self.roles: dict[str, Role] = {}
        self._machines = machines
        self._settings = settings
        self._say = say
        self._newest: dict[str, int] = {}
        self._announced: list[tuple[int, str]] = []  # when, whose: for the flood
        self._looked_ns = 0

    @property
    def _is_off(self) -> bool:
        return not self._settings.settle_s or len(self._machines) == 1

    def heard(self, machine: str, end_ns: int) -> None:
        """Note how far a machine is heard."""
        if end_ns > self._newest.get(machine, 0):
            self._newest[machine] = end_ns

    def take(self, machine: str, updates: Sequence[Update]) -> list[Update]:
        """What a machine's own logic says, with who is to hear of it; alarms of missing sound pass as they are."""
        if self._is_off:
            return list(updates)
        found: list[Update] = []
        for update in updates:
            found += [update] if update.alert.level == "unknown" else self._role(machine, update)
        return found

    def _role(self, machine: str, update: Update) -> list[Update]:
        alert = update.alert
        if update.opened:
            self.roles[machine] = Role(alert.alert_id, alert.opened_ns, update.facts.since_ns)
            self._looked_ns = 0
        role = self.roles.get(machine)
        if role is None:  # open since before there were roles
            return [update]
        if not alert.closed_ns:
            return [_reach(update, role)]
        del self.roles[machine]
        if not role.settled:  # it was too short to settle: it stands on its own
            self._announced.append((alert.closed_ns, machine))
            role.settled = role.told = True
        return [_reach(update, role), *self._others(role.cause)]

    def settle(self, *, all_read: bool, over: bool = False) -> list[Update]:
        """Decide what is due; what changed. `all_read`: no score waits. `over`: nothing more will come for now."""
        if not self.roles and self.alarm is None:
            return []
        now_ns = self._now_ns(all_read=all_read)
        if not over and now_ns < self._looked_ns + STEP_NS:
            return []
        self._looked_ns = now_ns
        found = self._together(now_ns)
        due = [name for name, role in self.roles.items() if self._is_due(role, now_ns, over=over)]
        for name in sorted(due, key=lambda name: (-self._strength(name), name)):
            found += self._decide(name, now_ns, over=over)
        return found + self._end(now_ns)

    def _now_ns(self, *, all_read: bool) -> int:
        """The event time up to which all machines are heard."""
        newest_ns = max(self._newest.values(), default=0)
        oldest_ns = newest_ns - round(self._settings.lateness_s * 1e9)
        return min((ns for ns in self._newest.values() if not all_read or ns >= oldest_ns), default=0)

    def _is_due(self, role: Role, now_ns: int, *, over: bool) -> bool:
        return role.settled or over or now_ns >= role.opened_ns + round(self._settings.settle_s * 1e9)

    def _strength(self, name: str) -> float:
        looks = [look for mic in self._mics(name) for look in self._machines[name].mics[mic].trail.looks]
        return max((rise(look.profile) for look in looks), default=0.0)

    def _mics(self, name: str) -> tuple[str, ...]:
        alarm = self._machines[name].alarm
        return alarm.alert.mics if alarm else ()

    def _decide(self, name: str, now_ns: int, *, over: bool) -> list[Update]:
        role, machine = self.roles[name], self._machines[name]
        if machine.alarm is None or (role.settled and role.follows in ("", "flood")):
            return []
        self._mark(name, role, now_ns, over=over)
        if role.settled:
            return self._part(name, role)
        role.settled = True
        votes = [self._vote(name, mic, role) for mic in self._mics(name)]
        causes = [cause for one in votes for cause in one.causes]
        more = sum(len(one.unexplained) for one in votes) > len(causes)
        if causes and not (more or machine.alarm.facts.recordings or any(one.enough for one in votes)):
            return self._follow(name, role, max(sorted(set(causes)), key=causes.count))
        return self._announce(name, role, now_ns)

    def _mark(self, name: str, role: Role, now_ns: int, *, over: bool) -> None:
        """Ask of each odd look, once, who explains it; marks of looks that are gone are dropped."""
        for mic in self._mics(name):
            before, marks = role.marks.get(mic, {}), {}
            for look in self._odd(name, mic):
                if look.start_ns in before:
                    marks[look.start_ns] = before[look.start_ns]
                elif over or look.end_ns <= now_ns:
                    marks[look.start_ns] = self._cause(name, look)
            role.marks[mic] = marks

    def _odd(self, name: str, mic: str) -> list[Seen]:
        machine = self._machines[name]
        rule, state = machine.rule(mic), machine.mics.get(mic)
        if rule is None or state is None:
            return []
        return [look for look in state.trail.looks if look.score >= rule.threshold]

    def _cause(self, name: str, look: Seen) -> str:
        """The machine, or the hall, that explains a look; empty for none.

        The microphones of a machine hear one machine: the one that rises most at the time speaks for it.
        """
        profile = max([look.profile, *self._at(name, look)], key=rise)
        heard = {other: profile for other in self._machines if other != name for profile in self._at(other, look)}
        quiet = len(self._machines) - 1 - len(heard)
        if self.alarm and self.alarm.facts.kind == "hall" and is_halls(profile, heard.values(), quiet):
            return self.name
        sources = {other for other, role in self.roles.items() if role.follows not in ("neighbour", "hall")}
        return explain(profile, {other: heard[other] for other in sources & heard.keys()}).machine

    def _at(self, name: str, look: Seen) -> list[Sequence[float]]:
        """The profile of a machine's loudest odd microphone at the time of another's look; none where all is well."""
        machine, found = self._machines[name], []
        for mic, state in machine.mics.items():
            rule = machine.rule(mic)
            if rule is not None:
                there = nearest([*state.trail.looks, *state.recent], look, round(rule.context_s * 0.5e9))
                if there is not None and there.profile:
                    found.append(there.profile)
        return [max(found, key=rise)] if found else []

    def _vote(self, name: str, mic: str, role: Role) -> _Vote:
        marks = role.marks.get(mic, {})
        unexplained = tuple(look for look in self._odd(name, mic) if marks.get(look.start_ns, "x") == "")
        causes = [cause for cause in marks.values() if cause]
        rule = self._machines[name].rule(mic)
        return _Vote(unexplained, causes, rule is not None and len(unexplained) >= rule.k)

    def _part(self, name: str, role: Role) -> list[Update]:
        """Let an alarm stand on its own that has enough looks which nobody explains."""
        for mic in self._mics(name):
            vote = self._vote(name, mic, role)
            updates = self._machines[name].part(mic, vote.unexplained) if vote.enough else []
            if len(updates) > 1:
                closed, opened = updates
                alert = opened.alert
                self.roles[name] = Role(alert.alert_id, alert.opened_ns, opened.facts.since_ns, settled=True, told=True)
                self._announced.append((alert.opened_ns, name))
                return [replace(closed, reach="topic"), opened, *self._others(role.cause)]
        return []

    def _follow(self, name: str, role: Role, cause: str) -> list[Update]:
        """Mark an alarm as the consequence of another one, and the other one as heard here too."""
        if cause == self.name:
            return self._join(name, role, "hall")
        role.follows, role.cause = "neighbour", cause
        found = []
        for other, one in self.roles.items():  # what followed from this one follows from its cause
            if other == name or one.cause == name:
                one.cause = cause
                found += self._relate(other, one, self._alert_of(cause), (cause,))
        return found + self._others(cause)

    def _alert_of(self, name: str) -> str:
        return self.roles[name].alert_id if name in self.roles else ""

    def _relate(self, name: str, role: Role, cause: str, others: tuple[str, ...]) -> list[Update]:
        update = self._machines[name].relate(cause=cause, others=others, follows=role.follows)
        return [_reach(update, role)] if update else []

    def _others(self, name: str) -> list[Update]:
        """Name in a machine's alarm who only hears it."""
        role = self.roles.get(name)
        if role is None or role.follows:
            return []
        hears = tuple(sorted(other for other, one in self.roles.items() if one.cause == name))
        update = self._machines[name].relate(others=hears)
        return [replace(update, reach="topic" if role.settled else "stored")] if update else []

    def _announce(self, name: str, role: Role, now_ns: int) -> list[Update]:
        self._announced = [one for one in self._announced if one[0] > now_ns - FLOOD_S * 1e9]
        self._announced.append((now_ns, name))
        many = len(self._announced) >= self._settings.flood_alarms
        if many and self.alarm is None and len({machine for _, machine in self._announced}) >= FEWEST:
            return self._open("flood", [name], now_ns)
        if self.alarm is not None and self.alarm.facts.kind == "flood":
            return self._join(name, role, "flood")
        role.told = True
        update = self._machines[name].alarm
        return [_reach(update, role)] if update else []

    def _together(self, now_ns: int) -> list[Update]:
        """Open the alarm of the hall where the alarms of most machines began together; let late ones join it."""
        wanted = max(FEWEST, -(-round(len(self._machines) * self._settings.hall_share * 1000) // 1000))
        if self.alarm is not None:
            return []
        ordered = sorted(self.roles, key=lambda name: (self.roles[name].since_ns, name))
        for place, first in enumerate(ordered):
            until_ns = self.roles[first].since_ns + TOGETHER_S * 1e9
            group = [name for name in ordered[place:] if self.roles[name].since_ns <= until_ns]
            fresh = any(not self.roles[name].settled for name in group)
            if len(group) >= wanted and fresh and 2 * sum(map(self._is_explained, group)) < len(group):
                return self._open("hall", group, now_ns)
        return []

    def _is_explained(self, name: str) -> bool:
        """Whether most odd looks of a machine in alarm are explained by louder ones, as things stand."""
        looks = [look for mic in self._mics(name) for look in self._odd(name, mic)]
        return 2 * sum(bool(self._cause(name, look)) for look in looks) > len(looks)

    def _open(self, kind: Follows, group: Sequence[str], now_ns: int) -> list[Update]:
        first = min(group, key=lambda name: (self.roles[name].since_ns, name))
        role = self.roles[first]
        name = alert_id(self.name, Identity(first, role.alert_id, 0))
        facts = Facts("flood" if kind == "flood" else "hall", role.since_ns, ())
        self.alarm = Update(Alert(name, self.name, "alert", now_ns, now_ns), facts, opened=True)
        found = []
        for one in group:
            if not self.roles[one].told:  # what was announced stays so
                self.roles[one].settled = True
                found += self._join(one, self.roles[one], kind, tell=False)
        return [replace(self._tell(group, now_ns), opened=True), *found]

    def _join(self, name: str, role: Role, follows: Follows, *, tell: bool = True) -> list[Update]:
        role.follows, role.cause = follows, ""
        assert self.alarm is not None  # noqa: S101 - who joins has found it open
        found = self._relate(name, role, self.alarm.alert.alert_id, (self.name,))
        return found + ([replace(self._tell([name], self._looked_ns), reach="topic")] if tell else [])

    def _tell(self, group: Sequence[str], now_ns: int) -> Update:
        """The alarm of the hall with these machines in it, too: who was first comes first."""
        assert self.alarm is not None  # noqa: S101 - as above
        alert, facts = self.alarm.alert, self.alarm.facts
        new = sorted(set(group) - set(facts.others), key=lambda name: (self.roles[name].since_ns, name))
        peaks = [one.alert.peak_score for name in group if (one := self._machines[name].alarm)]
        facts = replace(
            facts,
            others=(*facts.others, *new),
            alerts=(*facts.alerts, *(self.roles[name].alert_id for name in new)),
        )
        peak = max([alert.peak_score, *peaks], key=lambda value: -1.0 if value != value else value)
        alert = replace(alert, updated_ns=max(alert.updated_ns, now_ns), machines=facts.others, peak_score=peak)
        alert = replace(alert, reason=self._say(facts))
        self.alarm = Update(alert, facts)
        return self.alarm

    def _end(self, now_ns: int) -> list[Update]:
        """Close the alarm of the hall when it is over; what a flood held back and is still open is announced."""
        if self.alarm is None:
            return []
        members = [name for name, role in self.roles.items() if role.settled and role.follows in ("hall", "flood")]
        if self.alarm.facts.kind == "hall" and members:
            return []
        self._announced = [one for one in self._announced if one[0] > now_ns - FLOOD_S * 1e9]
        if self.alarm.facts.kind == "flood" and len(self._announced) >= FLOOD_ENDS * self._settings.flood_alarms:
            return []
        facts = replace(self.alarm.facts, closed_ns=now_ns)
        alert = replace(self.alarm.alert, closed_ns=now_ns, updated_ns=now_ns, reason=self._say(facts))
        self.alarm = None
        found = [Update(alert, facts)]
        for name in members:
            self.roles[name].follows, self.roles[name].told = "", True
            found += self._relate(name, self.roles[name], "", ())
        return found

    def state(self) -> dict[str, Any]:
        """All that must survive a restart, as JSON values."""
        return {
            "v": STATE_VERSION,
            "alarm": pack_update(self.alarm),
            "roles": {name: asdict(role) for name, role in self.roles.items()},
            "newest": self._newest,
            "announced": self._announced,
            "looked_ns": self._looked_ns,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. Raises ValueError for the state of another version."""
        if state.get("v") != STATE_VERSION:
            raise ValueError(
                f"hall state of version {state.get('v')}, allowed is {STATE_VERSION}: remove alarms.sqlite"
            )
        self.alarm = unpack_update(state["alarm"])
        self.roles = {name: _role(plain) for name, plain in state["roles"].items()}
        self._newest = dict(state["newest"])
        self._announced = [(at_ns, name) for at_ns, name in state["announced"]]
        self._looked_ns = state["looked_ns"]


@dataclass(frozen=True, slots=True)
class _Vote:
    """What one microphone's odd looks say: which nobody explains, who explains the others; `enough` for an alarm."""

    unexplained: tuple[Seen, ...]
    causes: list[str]
    enough: bool


def _reach(update: Update, role: Role) -> Update:
    if not role.settled:
        return replace(update, reach="stored")
    return replace(update, reach="topic" if role.follows else "called")


def _role(plain: Mapping[str, Any]) -> Role:
    marks = {mic: {int(at_ns): cause for at_ns, cause in one.items()} for mic, one in plain["marks"].items()}
    return Role(**{**plain, "marks": marks})
