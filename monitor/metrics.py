"""What Prometheus reads at /metrics: seconds, bytes and counts; label values only from the settings or fixed lists.

Everything is computed in this one process, from the scores, the dead letters and the windows: workers may come and
go without taking a counter with them. A window that comes again after a replay is counted once. Counters start
at 0 with the process, as Prometheus expects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from monitor.alarms import Update
from monitor.cascade import OVERLOAD
from monitor.liveness import Heard, Signal, Verdict
from monitor.once import Once
from monitor.settings import Line
from streams.capture.base import REJECT_REASONS
from streams.dead import BAD_MESSAGE, PROCESS_FAILED, TOO_LARGE, DeadLetter
from streams.records import LEVELS, AudioWindow, Identity, Level, WindowScore

OUTCOMES = ("scored", "rejected", "dead", "expired")
DEAD_REASONS = (*REJECT_REASONS, BAD_MESSAGE, PROCESS_FAILED, TOO_LARGE)
ROLES = ("settling", "own", "neighbour", "hall", "flood")  # as in `hall_alarms`
STAGES = ("decode", "front_end", "score", "separate", "other")
UNKNOWN = "unknown"  # the label of what cannot be told, such as the microphone of an expired window
LEVEL_VALUES: Mapping[Level | None, int] = {"unknown": -1, None: 0, "alert": 1, "danger": 2}
SIGNAL_VALUES: Mapping[Signal, int] = {"live": 1, "waiting": 0, "lost": -1, "silent": -1}
STAGE_BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
DELAY_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


class Metrics:
    """All metrics of a line on a registry of their own; every series that can be known exists from the start."""

    def __init__(self, line: Line) -> None:
        # A second series beside every counter, which nobody reads; the library leaves its switch untyped.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._mics = {mic.id: machine.id for machine in line.machine for mic in machine.mic}
        self._machines = {machine.id for machine in line.machine} | line.halls.keys()
        self._once = Once()
        self._expired: dict[int, int] = {}
        self._windows = self._counter("windows", "Accepted windows by how they ended.", "machine", "mic", "outcome")
        self._alarms = self._counter("alarms", "Alarms opened.", "machine", "level")
        self._dead = self._counter("dead_letters", "Dead letters by reason.", "reason")
        self._score = self._gauge("score", "Newest score: -log10 of the p-value, higher is worse.", "machine", "mic")
        self._level = self._gauge("alarm_level", "-1 unknown, 0 ok, 1 alert, 2 danger.", "machine")
        self._last = self._gauge(
            "last_window_timestamp_seconds", "End of the newest window, UTC since 1970.", "machine", "mic"
        )
        self._dbfs = self._gauge("level_dbfs", "Level of the newest window, dB of full scale.", "machine", "mic")
        self._signal = self._gauge("microphone_signal", "1 live, 0 waiting, -1 lost or silent.", "machine", "mic")
        self._threshold = self._gauge("threshold", "Scores from here on are odd.", "machine", "mic")
        self._role = self._gauge("alarm_role", "1 for what the open alarm of a machine is.", "machine", "role")
        self._shelved = self._gauge("shelved", "1 while nobody is called for a machine.", "machine")
        self._shelved_since = self._gauge(
            "shelved_since_timestamp_seconds",
            "Since when it has been shelved without a break; 0: it is not.",
            "machine",
        )
        self._audit = self._gauge("audit_entries", "Entries of the audit log, which only grows.")
        self._lag = self._gauge("lag_windows", "Messages that wait for their reader.", "topic", "partition")
        self._model = self._gauge("model_info", "1 for each trained model.", "machine", "detector", "version")
        self.intake_stopped = self._gauge("intake_stopped", "1 while the disk is too full to accept windows.")
        self.disk_free = self._gauge("disk_free_bytes", "Free space where the data lie.")
        self.unannounced = self._gauge("unannounced_alerts", "Alert updates that wait to be published.")
        self.late = self._counter("late_scores", "Scores too late to be judged.")
        self.unreadable = self._counter("unreadable_messages", "Messages that could not be decoded.", "topic")
        self.webhook_failures = self._counter("webhook_failures", "Webhook calls without success.")
        self._skipped = self._counter("separation_skipped", "Windows not separated for overload.", "machine", "mic")
        self._stage = self._histogram("stage_seconds", "Time per stage and window.", STAGE_BUCKETS, "stage")
        self._delay = self._histogram(
            "end_to_end_seconds", "From the end of a window's sound to its score.", DELAY_BUCKETS
        )
        self._prepare()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"factory_ear_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"factory_ear_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"factory_ear_{name}", text, labels, registry=self.registry, buckets=buckets)

    def _prepare(self) -> None:
        for mic, machine in [*self._mics.items(), (UNKNOWN, UNKNOWN)]:
            for outcome in OUTCOMES:
                self._windows.labels(machine, mic, outcome)
            if mic != UNKNOWN:
                self._skipped.labels(machine, mic)
        for machine in self._machines:
            self._level.labels(machine).set(0)
            for level in LEVELS:
                self._alarms.labels(machine, level)
        for mic, machine in self._mics.items():
            self._signal.labels(machine, mic).set(0)
        self.roles({})
        self.shelved({}, 0)
        for reason in (*DEAD_REASONS, "other"):
            self._dead.labels(reason)
        for stage in STAGES:
            self._stage.labels(stage)

    def _end(self, identity: Identity, outcome: str) -> bool:
        """Count how a window ended, the first time that it does."""
        mic = identity.mic if identity.mic in self._mics else UNKNOWN
        if mic != UNKNOWN and not self._once.first(identity):
            return False
        self._windows.labels(self._mics.get(mic, UNKNOWN), mic, outcome).inc()
        return True

    def scored(self, score: WindowScore) -> None:
        """Count a score: scored (or warming up), rejected (bad input) or dead."""
        outcome = {"bad_input": "rejected", "dead": "dead"}.get(score.status, "scored")
        if not self._end(score.identity, outcome) or score.mic not in self._mics:
            return
        for stage, seconds in score.stage_seconds.items():
            self._stage.labels(stage if stage in STAGES else "other").observe(seconds)
        self._delay.observe(max(0.0, (score.scored_ns - score.end_ns) / 1e9))
        if score.status == "ok":
            self._score.labels(self._mics[score.mic], score.mic).set(score.score)
        if score.reason == OVERLOAD:
            self._skipped.labels(self._mics[score.mic], score.mic).inc()

    def heard(self, window: Heard) -> None:
        """Note a window that was accepted."""
        mic = window.identity.mic
        if mic in self._mics:
            self._last.labels(self._mics[mic], mic).set(window.end_ns / 1e9)
            self._dbfs.labels(self._mics[mic], mic).set(window.level_dbfs)

    def dead_letter(self, letter: DeadLetter) -> None:
        """Count a dead letter; one that was an accepted window ends that window."""
        self._dead.labels(letter.reason if letter.reason in DEAD_REASONS else "other").inc()
        identity = _identity(letter.headers)
        if letter.topic and identity:
            self._end(identity, "dead")

    def lag(self, topic: str, bounds: Mapping[int, tuple[int, int]], done: Mapping[int, int]) -> int:
        """Note what waits in `topic` behind a reader that is at `done`; returns the sum over its partitions."""
        waits = {part: max(0, end - max(done.get(part, 0), start)) for part, (start, end) in bounds.items()}
        for part, waiting in waits.items():
            self._lag.labels(topic, str(part)).set(waiting)
        return sum(waits.values())

    def expired(self, bounds: Mapping[int, tuple[int, int]], done: Mapping[int, int]) -> None:
        """Count the windows that retention removed before the workers (at `done`) could read them."""
        for part, (start, _) in bounds.items():
            counted = max(done.get(part, 0), self._expired.get(part, 0))
            if start > counted:
                self._windows.labels(UNKNOWN, UNKNOWN, "expired").inc(start - counted)
            self._expired[part] = max(start, counted)

    def alarm(self, update: Update) -> None:
        """Count an alarm that has opened, or that has become danger."""
        if update.alert.machine in self._machines and (update.opened or update.escalated):
            self._alarms.labels(update.alert.machine, update.alert.level).inc()

    def level(self, machine: str, level: Level | None) -> None:
        """Note the worst that is open on a machine."""
        self._level.labels(machine).set(LEVEL_VALUES[level])

    def roles(self, roles: Mapping[str, str]) -> None:
        """Note what the open alarms are: machine -> one of ROLES."""
        for machine in self._machines:
            for role in ROLES:
                self._role.labels(machine, role).set(roles.get(machine) == role)

    def shelved(self, shelves: Mapping[str, tuple[int, int]], entries: int) -> None:
        """Note who is shelved (machine -> since, until), and how long the audit log is."""
        for machine in self._machines:
            since_ns, _ = shelves.get(machine, (0, 0))
            self._shelved.labels(machine).set(machine in shelves)
            self._shelved_since.labels(machine).set(since_ns / 1e9)
        self._audit.set(entries)

    def signals(self, verdicts: Mapping[str, Mapping[str, Verdict]]) -> None:
        """Note which microphones give a signal: machine -> microphone -> verdict."""
        for machine, mics in verdicts.items():
            for mic, verdict in mics.items():
                self._signal.labels(machine, mic).set(SIGNAL_VALUES[verdict.signal])

    def model(self, machine: str, detector: str, version: str) -> None:
        """Note which model judges a machine."""
        self._model.labels(machine, detector, version).set(1)

    def threshold(self, machine: str, mic: str, threshold: float) -> None:
        """Note from which score on a microphone's windows are odd."""
        self._threshold.labels(machine, mic).set(threshold)


def _identity(headers: Mapping[str, str]) -> Identity | None:
    try:
        return Identity(headers["mic"], headers["session"], int(headers["sequence"]))
    except (KeyError, ValueError):
        return None


def level_dbfs(window: AudioWindow) -> float:
    """RMS of a window in dB of full scale; -inf for digital silence and for no samples."""
    if not len(window.samples):
        return -math.inf
    power = float(window.samples @ window.samples) / len(window.samples)
    return 10.0 * math.log10(power) if power > 0 else -math.inf
