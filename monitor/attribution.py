"""Whose sound is it? Whether a louder machine nearby explains what a microphone found odd.

A fault is heard by the neighbours too: at the same time, in the same part of the spectrum, and weaker. A look of a
machine is *explained* where other machines in alarm that depart by more in all, at the same moment, depart by at
least as much in the shares of the spectrum that hold `SHARE` of what rose in this look. Decibels are compared, not
scores: a score says how rare a sound is at its own microphone, and that says nothing about where it comes from.
What does not rise (a level that fell, a pattern in time) is explained by nobody.

Developed on the demo's seeds 1 to 3; docs/operations.md says what others give.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from monitor.alarm_trail import Seen

RISE_DB = 1.0  # what rises by less is chance
SHARE = 0.8  # of the rise that must be explained
TOGETHER = 2  # machines whose sounds may mix in a look
STANDS_OUT = 2.0  # times what the machines of a hall rise by in the middle: more than that is a machine's own

Profile = Sequence[float]


class Told(NamedTuple):
    """Which machine explains most of a look; `machine` is empty where nobody explains enough."""

    machine: str
    share: float


def rise(profile: Profile) -> float:
    """How much a look rises in all: the sum of the decibels of its shares."""
    return sum(value for value in profile if value >= RISE_DB)


def explain(profile: Profile, others: Mapping[str, Profile]) -> Told:
    """Who explains a look with this profile: `others` are the odd machines' profiles at the same moment.

    The share is that of the `TOGETHER` louder ones who explain most, together: of many, each with a sound of its own,
    some would rise anywhere. Named is the first of them.
    """
    whole = rise(profile)
    louder = {name: other for name, other in others.items() if len(other) == len(profile) and rise(other) > whole}
    if not whole or not louder:
        return Told("", 0.0)
    alone = {name: _share(profile, other, whole) for name, other in louder.items()}
    ordered = sorted(alone, key=lambda name: (-alone[name], name))
    together = [max(values) for values in zip(*(louder[name] for name in ordered[:TOGETHER]), strict=True)]
    share = _share(profile, together, whole)
    return Told(ordered[0] if share >= SHARE else "", share)


def is_halls(profile: Profile, others: Iterable[Profile], quiet: int) -> bool:
    """Whether a look rises in all by no more than `STANDS_OUT` times the other machines' median: the hall's noise.

    `others` are the profiles of those that are odd at the moment; `quiet` machines more are not.
    """
    rises = [rise(other) for other in others] + [0.0] * quiet
    whole = rise(profile)
    return len(rises) > 1 and 0 < whole <= STANDS_OUT * median(rises)  # one other machine is a neighbour, not a hall


def _share(profile: Profile, other: Profile, whole: float) -> float:
    pairs = zip(profile, other, strict=True)
    return sum(own for own, theirs in pairs if own >= RISE_DB and theirs >= own) / whole


def nearest(windows: Iterable[Seen], look: Seen, within_ns: int) -> Seen | None:
    """The window that is nearest to a look in time, if it is near enough; the earlier one of two."""
    near = [one for one in windows if abs(one.start_ns - look.start_ns) <= within_ns]
    return min(near, key=lambda one: (abs(one.start_ns - look.start_ns), one.start_ns), default=None)
