"""One round of the monitor after the other: sound, scores, signals, store, announce, clips, board.

Scores are read from the offsets in the store, which move in the transaction that stores what they led to; the
broker's own offsets serve for windows and dead letters, which only feed rings and counters.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from monitor.alarm_store import AlarmStore, ClipRequest
from monitor.alarms import Plan, Update, plan
from monitor.announce import Publisher
from monitor.board import Facing, board, starting
from monitor.evidence import Evidence, clip_request
from monitor.fault_names import read_names
from monitor.history import History
from monitor.judges import Judges
from monitor.keepsakes import Keeper
from monitor.line_broker import WORKERS
from monitor.liveness import Heard, Liveness
from monitor.memory import give_back
from monitor.metrics import Metrics, level_dbfs
from monitor.score_reader import ScoreReader
from monitor.settings import Line
from streams import codec
from streams.broker import Broker, BrokerError, LeaseLost, Message, StorageFull, TopicPartition
from streams.records import TOPIC_DEAD, TOPIC_SCORES, TOPIC_WINDOWS, WindowScore

GROUP = "monitor"
SOUNDS = 64  # windows and dead letters in one round
SCORES = 512  # scores in one round
ALERTS_SHOWN = 40
LOOK_S = 0.5  # how often the board and the gauges are renewed
COMMIT_S = 1.0  # how often the position among the windows is stored
EXPIRE_S = 60.0
HISTORY_S = 5.0
NAME_S = 2.0
CLIP_WAIT_S = 30.0  # a clip whose sound ends early is written with what there is
RETRY_S = 1.0

_log = logging.getLogger(__name__)


class Monitor:
    """Everything of the monitor but the threads. `tick` does one round; `clock_ns` is UTC, `steady_s` only goes on."""

    def __init__(
        self,
        line: Line,
        broker: Broker,
        store: AlarmStore,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line, self._broker, self._store = line, broker, store
        store.lang = line.site.lang
        self._clock_ns, self._steady_s = clock_ns, steady_s
        self.metrics = Metrics(line)
        self.metrics.shelved(store.shelves(), store.audit_entries())
        self.evidence = Evidence(line, line.site.data / "evidence")
        self._keeper = Keeper(self.evidence, line.site.data / "evidence", line.site.time_zone)
        mics = [mic.id for machine in line.machine for mic in machine.mic]
        self._history = History(line.site.data / "history.sqlite", mics, line.history.keep_days)
        self.facing = Facing()
        self._judges = Judges(line, _plans(line, self.metrics, self.facing))
        self._judges.restore(store.states())
        self.machines = self._judges.machines
        self.liveness = Liveness(line, clock_ns())
        self._consumer = broker.consumer(GROUP, (TOPIC_WINDOWS, TOPIC_DEAD))
        self._publisher = Publisher(store, broker.producer())
        self._offsets = {TopicPartition(TOPIC_SCORES, p): n for p, n in store.offsets(TOPIC_SCORES).items()}
        self._reader = ScoreReader(broker, store.offsets(TOPIC_SCORES))
        self._unsaved = _Unsaved()
        self._clips: dict[str, tuple[ClipRequest, float]] = {
            one.clip_id: (one, steady_s()) for one in store.clip_requests()
        }
        self._drained = False
        self._owned = False
        self._due = dict.fromkeys(("look", "name", "commit", "expire", "history"), 0.0)
        self.alive_s = steady_s()
        self.board: Mapping[str, Any] = starting(line, clock_ns())

    def tick(self, wait_s: float) -> None:
        """One round: sound, scores, signals, store, announce, clips, board. Waits up to `wait_s` for sound."""
        try:
            busy = self._scores()
            self._sounds(0.0 if busy else wait_s)
            self._signals()
            self._save()
            self._store.unshelved(webhook=bool(self._line.alarms.webhook))
            self._publisher.publish()
            self.facing.problems.pop("broker_down", None)
        except StorageFull as error:
            self.facing.problems["store_full"] = {}
            _log.warning("%s", error)
            self._pause(wait_s)
        except BrokerError as error:
            self.facing.problems["broker_down"] = {"error": str(error)}
            _log.warning("%s", error)
            self._pause(wait_s)
        self._write_clips()
        self._look()
        self.alive_s = self._steady_s()

    def _pause(self, wait_s: float) -> None:
        if wait_s:
            time.sleep(RETRY_S)

    def _scores(self) -> bool:
        """Judge new scores; True where there were any. Nothing is read while the last results are not stored."""
        self._save()
        count = 0
        for read in self._reader.pull(SCORES):
            if read.score:
                self._score(read.score)
            elif read.error:
                self._unreadable(read.message, read.error)
            self._offsets[read.where] = self._unsaved.offsets[read.where] = read.message.offset + 1
            count += 1
        if self._reader.all_read:
            self._take(self._judges.settle())
        return count > 0

    def _score(self, score: WindowScore) -> None:
        self.metrics.scored(score)
        machine = self.machines.get(score.machine)
        if machine is None:
            return
        late, repeated = machine.late, machine.repeated
        self._take(self._judges.feed(score))
        if machine.repeated == repeated:
            rule = machine.rule(score.mic)
            self._history.add(score, rule.threshold if rule else math.inf)
        self.metrics.late.inc(machine.late - late)
        self._unsaved.machines.add(score.machine)
        if score.status == "ok":
            self.facing.newest[score.mic] = score
            self.facing.since_ns.setdefault(score.machine, score.start_ns)

    def _take(self, updates: list[Update]) -> None:
        for update in updates:
            alert = update.alert
            self.metrics.alarm(update)
            self._unsaved.machines.add(alert.machine)
            self._unsaved.updates.append(update)
            if alert.closed_ns:
                self.facing.since_ns[alert.machine] = alert.closed_ns
            request = clip_request(alert, update.facts, self._line) if update.opened else None
            if request:
                self._unsaved.clips.append(request)
                self._clips[request.clip_id] = (request, self._steady_s())

    def _unreadable(self, message: Message, error: Exception) -> None:
        self.metrics.unreadable.labels(message.topic).inc()
        _log.warning("%s %d/%d cannot be read: %s", message.topic, message.partition, message.offset, error)

    def _sounds(self, wait_s: float) -> None:
        messages = self._consumer.poll(SOUNDS, wait_s)
        for message in messages:
            try:
                self._letter(message) if message.topic == TOPIC_DEAD else self._sound(message)
            except codec.CodecError as error:
                self._unreadable(message, error)
        self._drained = len(messages) < SOUNDS
        if self._is_due("commit", COMMIT_S):
            try:
                self._consumer.commit(self._consumer.assignment())
            except LeaseLost as error:
                _log.info("windows are read again: %s", error)

    def _letter(self, message: Message) -> None:
        self.metrics.dead_letter(codec.decode_dead(message))
        self.facing.dead += 1

    def _sound(self, message: Message) -> None:
        window = codec.decode_window(message)
        heard = Heard(window.identity, window.start_ns, window.end_ns, level_dbfs(window), window.flags, window.gap_s)
        self.liveness.hear(heard, self._clock_ns())
        self.metrics.heard(heard)
        self.evidence.hear(window.mic, window.session, window.sequence, window.start_ns, window.rate, message.value)

    def _signals(self) -> None:
        """Ask which microphones give a signal, once all there is has been read: not in the middle of a backlog."""
        if not self._drained or not self._owns_all():
            return
        for machine, verdicts in self.liveness.verdicts(self._clock_ns()).items():
            self._take(self._judges.signal(machine, verdicts))
        if self.liveness.quiet(self._clock_ns()):
            self._take(self._judges.settle(over=True))

    def _owns_all(self) -> bool:
        """Whether all windows come to us; until a crashed predecessor's lease ends they do not, and nobody is lost."""
        mine = sum(where.topic == TOPIC_WINDOWS for where in self._consumer.assignment())
        owned = mine == len(self._broker.bounds(TOPIC_WINDOWS))
        if owned and not self._owned:
            self.liveness.awake(self._clock_ns())
        self._owned = owned
        return owned

    def _save(self) -> None:
        unsaved = self._unsaved
        if not (unsaved.offsets or unsaved.updates):
            return
        self._store.commit(
            states=self._judges.states(unsaved.machines),
            updates=unsaved.updates,
            offsets=unsaved.offsets,
            clips=unsaved.clips,
            webhook=bool(self._line.alarms.webhook),
        )
        self._unsaved = _Unsaved()
        self.facing.problems.pop("store_full", None)

    def _write_clips(self, *, now: bool = False) -> None:
        """Write the clips whose sound is there; with `now`, all that wait, with what sound there is."""
        if self._unsaved.clips:
            return  # a clip is announced with its alert, which must be stored first
        for request, asked_s in list(self._clips.values()):
            overdue = self._drained and self._steady_s() - asked_s > CLIP_WAIT_S
            if not (now or overdue or self.evidence.ready(request)):
                continue
            try:
                found = self.evidence.write(request)
                outcome: Literal["written", "no_sound"] = "written" if found else "no_sound"
                self._store.clip_done(request, outcome, webhook=bool(self._line.alarms.webhook))
            except (OSError, StorageFull) as error:
                _log.warning("clip %s waits: %s", request.clip_id, error)
                self._clips[request.clip_id] = (request, self._steady_s())
                continue
            del self._clips[request.clip_id]

    def _is_due(self, what: str, every_s: float) -> bool:
        now_s = self._steady_s()
        if now_s < self._due[what]:
            return False
        self._due[what] = now_s + every_s
        return True

    def _look(self) -> None:
        """Renew the gauges and the board."""
        if not self._is_due("look", LOOK_S):
            return
        self._disk()
        try:
            self._lag()
        except BrokerError as error:
            self.facing.problems["broker_down"] = {"error": str(error)}
        for name, level in self._judges.levels().items():
            self.metrics.level(name, level)
        self.metrics.roles(self._judges.roles())
        self.metrics.shelved(self._store.shelves(), self._store.audit_entries())
        self.facing.clips = {request.alert_id for request, _ in self._clips.values()}
        now_ns = self._clock_ns()
        verdicts = self.liveness.verdicts(now_ns) if self._owned else {}
        self.metrics.signals(verdicts)
        alerts = self._store.alerts(ALERTS_SHOWN)
        self._name(alerts)
        self.board = board(self._line, self.machines, self.liveness.ears, verdicts, alerts, self.facing, now_ns)
        self._keep(now_ns)

    def _name(self, alerts: list[Update]) -> None:
        """Put what the sound resembles into its alert, once the clip was looked into."""
        if not self._is_due("name", NAME_S):
            return
        for one in alerts:
            names = read_names(self.evidence.shown / one.alert.clip) if one.alert.clip and not one.facts.named else ()
            if not names:
                continue
            try:
                self._store.named(one.alert.alert_id, names, webhook=bool(self._line.alarms.webhook))
            except StorageFull as error:
                _log.warning("alert %s stays without a name: %s", one.alert.alert_id, error)

    def _keep(self, now_ns: int) -> None:
        """What is kept for later, within its bounds: the course of the scores, healthy days, clips."""
        if self._is_due("history", HISTORY_S):
            self._history.flush()
        if not self._is_due("expire", EXPIRE_S):
            return
        keep = self._line.evidence
        self.evidence.expire(now_ns / 1e9, keep.keep_days * 86_400, keep.keep_mb * 1_000_000)
        self._history.expire(now_ns / 1e9)
        give_back()
        try:
            self._keeper.look(self.board)
        except OSError as error:
            _log.warning("no healthy sound of today is kept: %s", error)

    def _disk(self) -> None:
        free = shutil.disk_usage(_disk_of(self._line)).free
        stopped = free < self._line.broker.min_free_mb * 1_000_000
        self.metrics.disk_free.set(free)
        self.metrics.intake_stopped.set(stopped)
        self.facing.problems.pop("intake_stopped", None)
        if stopped:
            self.facing.problems["intake_stopped"] = {}

    def _lag(self) -> None:
        done = self._broker.committed(WORKERS, TOPIC_WINDOWS)
        bounds = self._broker.bounds(TOPIC_WINDOWS)
        self.facing.lag = self.metrics.lag(TOPIC_WINDOWS, bounds, done)
        self.metrics.expired(bounds, done)
        mine = {where.partition: following for where, following in self._offsets.items()}
        self.metrics.lag(TOPIC_SCORES, self._broker.bounds(TOPIC_SCORES), mine)
        self.metrics.unannounced.set(len(self._store.pending("broker")))

    def finish(self) -> None:
        """Stop in order: what has come is judged, stored and announced, and waiting clips are written."""
        for _ in range(100):
            before = dict(self._offsets)
            self.tick(0.0)
            if self._offsets == before and self._drained:
                break
        self._write_clips(now=True)
        try:
            if all(mic.finite for machine in self._line.machine for mic in machine.mic):
                self._take(self._judges.settle(over=True))  # nothing will come that could change it
                self._save()
            self._publisher.publish()
            self._consumer.commit(self._consumer.assignment())
        except (BrokerError, StorageFull) as error:
            _log.warning("at the stop: %s; it is made up for at the next start", error)
        self._consumer.close()
        self._publisher.close()
        self._history.close()
        self.evidence.close()


class _Unsaved:
    """What a round led to and the store does not have yet."""

    def __init__(self) -> None:
        self.machines: set[str] = set()
        self.updates: list[Update] = []
        self.offsets: dict[TopicPartition, int] = {}
        self.clips: list[ClipRequest] = []


def _disk_of(line: Line) -> Path:
    folder = Path(line.broker.url.removeprefix("embedded:")) if line.broker.url.startswith("embedded:") else None
    return folder if folder and folder.exists() else line.site.data


def _plans(line: Line, metrics: Metrics, facing: Facing) -> dict[str, dict[str, Plan]]:
    """Per machine and microphone (or `*`) the rule of its model card; a machine without a card is a problem shown."""
    from detectors.card import ModelError, read_card

    plans: dict[str, dict[str, Plan]] = {}
    missing = []
    for machine in line.machine:
        try:
            card = read_card(line.models / machine.id)
        except ModelError as error:
            _log.warning("%s", error)
            missing.append(machine.id)
            plans[machine.id] = {}
            continue
        plans[machine.id] = {mic: plan(one.effective_n, one.context_s, line.alarms) for mic, one in card.mics.items()}
        for one in card.mics.values():
            metrics.model(machine.id, one.detector, one.model)
        for mic in machine.mic:
            found = mic.id if mic.id in card.mics else "*"
            if found in card.mics:
                facing.detectors[mic.id] = card.mics[found].detector
                metrics.threshold(machine.id, mic.id, plans[machine.id][found].threshold)
    if missing:
        facing.problems["no_model"] = {"machines": ", ".join(missing)}
    return plans
