"""From scores to alarms: a state machine on event time, without a clock and without input or output.

Evidence counts in *looks*: scored windows of a microphone that are at least a detector's context apart, because a
score covers its whole context and scores that share sound are not independent evidence. `plan` says how many odd
looks make an alarm; `AlarmMachine` keeps the alarms of one machine. The same scores in the same order give the
same alerts, whatever restarts lie between.

Order: each microphone is judged by its own time. Its windows of the last `lateness_s` are kept, and one that comes
out of order is put in its place and all after it judged again, so that what is known of a microphone depends on
which windows came and not on their order. What has been announced stays: a window that comes late may add to an
alarm or let it close, but never changes its id or when it opened. Microphones are not held back for each other: one may
be minutes behind while a backlog is worked off, and that must not make its windows late.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from monitor.alarm_plan import Plan, expected_false_alarms, plan
from monitor.alarm_trail import MicState, Seen, Trail, pack_mic, unpack_mic
from monitor.liveness import Verdict
from monitor.settings import Alarms
from monitor.words import Facts, Follows, reason
from streams.records import Alert, Identity, Level, WindowScore, alert_id

__all__ = ["AlarmMachine", "Plan", "Update", "expected_false_alarms", "plan"]

SESSIONS = 8  # how many capture sessions a microphone's memory holds
STATE_VERSION = 1

Reach = Literal["stored", "topic", "called"]
Say = Callable[[Facts], str]


@dataclass(frozen=True, slots=True)
class Update:
    """An alert as it is now, and the facts that its reason is made of.

    `opened` is True for its first update, `escalated` for the one at which it became danger. `reach` says who is to
    hear of it: nobody yet (it is only stored), the readers of the topic, or people too, who are called.
    """

    alert: Alert
    facts: Facts
    opened: bool = False
    escalated: bool = False
    reach: Reach = "called"


class AlarmMachine:
    """The alarms of one machine: at most one of level alert or danger, and at most one of level unknown.

    `plans` has a rule per microphone, or one under "*" for all; scores of a microphone without a rule are not judged.
    `say` makes the reason. `late` and `repeated` count what was ignored since the start.
    """

    def __init__(self, machine: str, plans: Mapping[str, Plan], settings: Alarms, say: Say | None = None) -> None:
        self.machine = machine
        self.plans = plans
        self.late = 0
        self.repeated = 0
        self.alarm: Update | None = None
        self.unknown: Update | None = None
        self.mics: dict[str, MicState] = {}
        self._settings = settings
        self._say = say or (lambda facts: reason(facts, machine, "en", "UTC"))

    def rule(self, mic: str) -> Plan | None:
        """The rule that holds for the microphone."""
        return self.plans.get(mic) or self.plans.get("*")

    def feed(self, score: WindowScore) -> list[Update]:
        """Take one score; what changed in the alarm because of it.

        Only scores with status ok are looks. A window that was fed before is ignored, and so is one that ends more
        than `lateness_s` before the newest of its microphone (unless its capture session is new: a clock that was
        set back, or an older recording, starts the microphone's time anew).
        """
        mic = self.mics.setdefault(score.mic, MicState())
        if not self._admit(mic, score):
            return []
        rule = self.rule(score.mic)
        if score.status != "ok" or rule is None:
            return []
        self._place(mic, Seen.of(score, rule.threshold), rule)
        return self._judge(score.mic, mic, rule)

    def _admit(self, mic: MicState, score: WindowScore) -> bool:
        key = (score.session, score.sequence)
        if key in mic.known:
            self.repeated += 1
            return False
        if score.end_ns < mic.newest_ns - self._lateness_ns:
            if score.session in mic.sessions:
                self.late += 1
                return False
            mic.settled = mic.trail = Trail()
            mic.recent, mic.known, mic.newest_ns = [], {}, 0
        if score.session not in mic.sessions:
            mic.sessions = [*mic.sessions, score.session][-SESSIONS:]
        mic.known[key] = score.end_ns
        if score.end_ns > mic.newest_ns:
            mic.newest_ns = score.end_ns
            oldest_ns = mic.newest_ns - self._lateness_ns
            mic.known = {key: end_ns for key, end_ns in mic.known.items() if end_ns >= oldest_ns}
        return True

    @property
    def _lateness_ns(self) -> int:
        return round(self._settings.lateness_s * 1e9)

    def _place(self, mic: MicState, window: Seen, rule: Plan) -> None:
        hysteresis = self._settings.hysteresis
        in_order = not mic.recent or window > mic.recent[-1]
        insort(mic.recent, window)
        if in_order:
            mic.trail = mic.trail.step(window, rule, hysteresis)
        oldest_ns = mic.newest_ns - self._lateness_ns
        while mic.recent and mic.recent[0].end_ns < oldest_ns:
            mic.settled = mic.settled.step(mic.recent.pop(0), rule, hysteresis)
        if not in_order:
            trail = mic.settled
            for one in mic.recent:
                trail = trail.step(one, rule, hysteresis)
            mic.trail = trail

    def _judge(self, name: str, mic: MicState, rule: Plan) -> list[Update]:
        trail = mic.trail
        is_on = bool(trail.on_ns) and trail.end_ns - trail.on_ns >= self._settings.on_delay_s * 1e9
        if self.alarm is None:
            return self._open(name, mic, rule) if is_on else []
        alert = self.alarm.alert
        changes: dict[str, Any] = {"updated_ns": max(alert.updated_ns, trail.end_ns)}
        if is_on and name not in alert.mics:
            changes["mics"] = (*alert.mics, name)
        if name not in changes.get("mics", alert.mics):
            return []
        changes["peak_score"] = max(alert.peak_score, trail.looks[-1].score)
        persists_ns = trail.end_ns - alert.opened_ns
        if alert.level == "alert" and not trail.off_ns and persists_ns >= self._settings.danger_after_s * 1e9:
            changes["level"] = "danger"
        if self._over(changes.get("mics", alert.mics)):
            changes["closed_ns"] = changes["updated_ns"]
        return self._change(name, trail, rule, changes)

    def _over(self, mics: Sequence[str]) -> bool:
        quiet = (self.mics[mic].trail for mic in mics)
        return all(one.off_ns and one.end_ns - one.off_ns >= self._settings.off_delay_s * 1e9 for one in quiet)

    def _open(self, name: str, mic: MicState, rule: Plan) -> list[Update]:
        trail = mic.trail
        odd = trail.evidence(rule).odd
        first = odd[0]
        begins = (first.start_ns, first.session, first.sequence)
        if begins <= mic.opened and first.session == mic.opened[1]:
            return []
        mic.opened = begins
        alert = Alert(
            alert_id=alert_id(self.machine, Identity(name, first.session, first.sequence)),
            machine=self.machine,
            level="alert",
            opened_ns=trail.end_ns,
            updated_ns=trail.end_ns,
            peak_score=max(look.score for look in odd),
            mics=(name,),
        )
        self.alarm = Update(alert, Facts("odd", first.start_ns, (name,)), opened=True)
        return self._change(name, trail, rule, {}, opened=True)

    def _change(
        self, name: str, trail: Trail, rule: Plan, changes: Mapping[str, Any], *, opened: bool = False
    ) -> list[Update]:
        old = cast("Update", self.alarm)
        alert = replace(old.alert, **changes)
        facts = old.facts
        worst = max(trail.looks, key=lambda look: look.score)
        if opened or (alert.peak_score > old.alert.peak_score and worst.score == alert.peak_score):
            facts = replace(facts, mic=name, band_hz=(worst.low_hz, worst.high_hz), band_db=worst.band_db)
        if not alert.closed_ns:
            odd, of, recordings = trail.evidence(rule)
            facts = replace(facts, odd=len(odd), looks=of, recordings=recordings)
        facts = replace(facts, mics=alert.mics, danger=alert.level == "danger", closed_ns=alert.closed_ns)
        update = Update(replace(alert, reason=self._say(facts)), facts, opened, "level" in changes)
        self.alarm = None if alert.closed_ns else update
        return [update] if opened or changes.keys() & {"mics", "level", "closed_ns"} else []

    def relate(self, *, cause: str = "", others: tuple[str, ...] = (), follows: Follows = "") -> Update | None:
        """Say of the open alarm what it follows from, or which machines only hear it; None where none is open."""
        if self.alarm is None:
            return None
        facts = replace(self.alarm.facts, others=others, follows=follows)
        alert = replace(self.alarm.alert, cause=cause, machines=others, reason=self._say(facts))
        self.alarm = Update(alert, facts)
        return self.alarm

    def part(self, name: str, own: Sequence[Seen]) -> list[Update]:
        """Close the open alarm, and open one that stands on the looks `own` of microphone `name`."""
        if self.alarm is None:
            return []
        mic, rule = self.mics[name], self.rule(name)
        newest = own[-1]
        begins = (newest.start_ns, newest.session, newest.sequence)
        if rule is None or begins <= mic.opened:
            return []
        mic.opened = begins
        at_ns = max(self.alarm.alert.updated_ns, mic.trail.end_ns)
        self.alarm = Update(self.alarm.alert, replace(self.alarm.facts, parted=True))
        closed = self._change(name, mic.trail, rule, {"updated_ns": at_ns, "closed_ns": at_ns})
        worst = max(own, key=lambda look: look.score)
        facts = Facts("odd", own[0].start_ns, (name,), name, (worst.low_hz, worst.high_hz), worst.band_db)
        facts = replace(facts, odd=len(own), looks=len(mic.trail.looks))
        called = alert_id(self.machine, Identity(name, newest.session, newest.sequence))
        alert = Alert(called, self.machine, "alert", at_ns, at_ns, 0, worst.score, (name,), self._say(facts))
        self.alarm = Update(alert, facts, opened=True)
        return [*closed, self.alarm]

    def signal(self, verdicts: Mapping[str, Verdict]) -> list[Update]:
        """Take note of which microphones give a signal; what changed in the alarm of level unknown.

        It opens with the first microphone that is lost or silent and closes when each of them is live again; a
        microphone that waits changes nothing.
        """
        was = self.unknown.alert.mics if self.unknown else ()
        bad = {mic: one for mic, one in verdicts.items() if one.signal in ("lost", "silent")}
        now = tuple(mic for mic, one in verdicts.items() if mic in bad or (mic in was and one.signal == "waiting"))
        if now == was:
            return []
        at_ns = max(verdict.at_ns for verdict in verdicts.values())
        update = self._unknown(now, bad, at_ns)
        self.unknown = None if update.alert.closed_ns else update
        return [update]

    def _unknown(self, mics: tuple[str, ...], bad: Mapping[str, Verdict], at_ns: int) -> Update:
        old = self.unknown
        if old is None:
            verdict = bad[mics[0]]
            facts = Facts("silent" if verdict.signal == "silent" else "lost", verdict.since_ns, mics)
            # Its own name space: the last window that was heard may also be the first of an odd run.
            name = alert_id(f"{self.machine}\x1funknown", verdict.first)
            alert = Alert(name, self.machine, "unknown", at_ns, at_ns, mics=mics)
        else:
            at_ns = max(at_ns, old.alert.updated_ns)
            closed_ns = 0 if mics else at_ns
            kept = mics or old.alert.mics
            facts = replace(old.facts, mics=kept, closed_ns=closed_ns)
            alert = replace(old.alert, mics=kept, updated_ns=at_ns, closed_ns=closed_ns)
        return Update(replace(alert, reason=self._say(facts)), facts, opened=old is None)

    @property
    def level(self) -> Level | None:
        """The worst that is open: danger, alert, unknown, or None."""
        update = self.alarm or self.unknown
        return update.alert.level if update else None

    def state(self) -> dict[str, Any]:
        """All that must survive a restart, as JSON values."""
        return {
            "v": STATE_VERSION,
            "alarm": pack_update(self.alarm),
            "unknown": pack_update(self.unknown),
            "mics": {name: pack_mic(mic) for name, mic in self.mics.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. Raises ValueError for the state of another version."""
        if state.get("v") != STATE_VERSION:
            raise ValueError(
                f"alarm state of version {state.get('v')}, allowed is {STATE_VERSION}: remove alarms.sqlite"
            )
        self.alarm = unpack_update(state["alarm"])
        self.unknown = unpack_update(state["unknown"])
        self.mics = {name: unpack_mic(mic) for name, mic in state["mics"].items()}


def pack_update(update: Update | None) -> dict[str, Any] | None:
    """An update as JSON values."""
    if update is None:
        return None
    alert = {name: getattr(update.alert, name) for name in Alert.__dataclass_fields__}
    if not math.isfinite(update.alert.peak_score):
        alert["peak_score"] = None  # JSON knows no NaN
    return {"alert": alert, "facts": update.facts.plain()}


def unpack_update(plain: Mapping[str, Any] | None) -> Update | None:
    """An update from its JSON values; what it changed is not kept."""
    if plain is None:
        return None
    alert = dict(plain["alert"])
    peak = alert.pop("peak_score")
    alert |= {name: tuple(alert[name]) for name in ("mics", "machines") if name in alert}
    alert |= {"peak_score": math.nan if peak is None else peak}
    return Update(Alert(**alert), Facts.of(plain["facts"]))
