"""The alarm logic of a whole line: one `AlarmMachine` per machine, one `HallAlarms` per hall, and their state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from monitor.alarms import AlarmMachine, Plan, Say, Update
from monitor.hall_alarms import HallAlarms
from monitor.liveness import Verdict
from monitor.settings import Line
from monitor.words import Facts, reason
from streams.records import Level, WindowScore


class Judges:
    """Judges the scores of `line`; `plans`: machine -> microphone (or `*`) -> rule. Pure but for its own state."""

    def __init__(self, line: Line, plans: Mapping[str, Mapping[str, Plan]]) -> None:
        self.machines = {
            one.id: AlarmMachine(one.id, plans[one.id], line.alarms, _speaker(line, one.id)) for one in line.machine
        }
        self.halls = {
            name: HallAlarms(name, {one: self.machines[one] for one in members}, line.alarms, _speaker(line, name))
            for name, members in line.halls.items()
        }
        self._hall_of = {machine: self.halls[name] for name, members in line.halls.items() for machine in members}

    def feed(self, score: WindowScore) -> list[Update]:
        """Take one score of a machine of the line; what changed because of it, in its hall too."""
        hall = self._hall_of[score.machine]
        hall.heard(score.machine, score.end_ns)
        updates = hall.take(score.machine, self.machines[score.machine].feed(score))
        return updates + hall.settle(all_read=False)

    def signal(self, machine: str, verdicts: Mapping[str, Verdict]) -> list[Update]:
        """Take note of which microphones of a machine give a signal."""
        return self._hall_of[machine].take(machine, self.machines[machine].signal(verdicts))

    def settle(self, *, over: bool = False) -> list[Update]:
        """Decide what is due now that every score was read; `over`: no more will come for now."""
        return [update for hall in self.halls.values() for update in hall.settle(all_read=True, over=over)]

    def levels(self) -> dict[str, Level | None]:
        """The worst that is open, by machine and by hall."""
        halls = {name: hall.alarm.alert.level if hall.alarm else None for name, hall in self.halls.items()}
        return {**{name: machine.level for name, machine in self.machines.items()}, **halls}

    def roles(self) -> dict[str, str]:
        """What the open alarm of a machine is (`hall_alarms.Role.name`); machines without one are absent."""
        alone = {name: "own" for name, machine in self.machines.items() if machine.alarm}
        return alone | {name: role.name for hall in self.halls.values() for name, role in hall.roles.items()}

    def states(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The state of these machines and of their halls, as JSON values."""
        asked = set(names)
        halls = {hall.name: hall.state() for name, hall in self._hall_of.items() if name in asked or hall.name in asked}
        return {name: one.state() for name, one in self.machines.items() if name in asked} | halls

    def restore(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on from what `states` gave. Raises ValueError for state of another version."""
        for name in self.machines.keys() & states.keys():
            self.machines[name].restore(states[name])
        for name in self.halls.keys() & states.keys():
            self.halls[name].restore(states[name])


def _speaker(line: Line, machine: str) -> Say:
    lang, zone = line.site.lang, line.site.time_zone
    names = {one: line.name_of(one, lang) for one in (*(machine.id for machine in line.machine), *line.halls)}

    def say(facts: Facts) -> str:
        return reason(facts, names[machine], lang, zone, names)

    return say
