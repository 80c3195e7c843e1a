"""From windows to scores: the only place that knows the order of the stages.

A batch is stacked and copied to the device once, and its features come back once. What a microphone sounded like
before a window is kept per microphone as features, so that a stream and a file give the same evidence; it is read
back from the broker when a partition comes to this worker.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from detectors.aggregate import join
from detectors.frontend import Features, FrontEnd
from detectors.model import Model
from monitor.errors import WorkFailed
from monitor.memory import give_back
from monitor.separating import Scored, Separating
from monitor.settings import Line
from streams import codec, gate
from streams.broker import Broker, Message, TopicPartition
from streams.records import TOPIC_SCORES, AudioWindow, WindowScore
from streams.worker import Outgoing

Models = Mapping[str, Mapping[str, Model]]  # machine -> microphone, or "*" for all of its microphones
Key = tuple[str, int]  # session, sequence
TIDY_NS = 60_000_000_000  # how often free memory goes back to the system


@dataclass(frozen=True, slots=True)
class Heard:
    """One window as a context needs it; `broken` says that sound is missing right before it."""

    features: Features
    broken: bool


@dataclass
class Memory:
    """What a microphone sounded like lately, by (session, sequence).

    Nothing is dropped that a repeated batch would need: `process` may see the same messages again.
    """

    recent: dict[Key, Heard] = field(default_factory=dict)

    def forget_before(self, session: str, sequence: int, context: int) -> None:
        """Keep only what a context of `context` windows that ends at `sequence` or later can need."""
        self.recent = {
            key: value for key, value in self.recent.items() if key[0] == session and key[1] > sequence - context
        }

    def context(self, session: str, sequence: int, windows: int) -> list[Features] | None:
        """The features of the `windows` unbroken windows that end with this one; None where there are not as many."""
        found: list[Features] = []
        for number in range(sequence, sequence - windows, -1):
            heard = self.recent.get((session, number))
            if heard is None or (heard.broken and number > sequence - windows + 1):
                return None
            found.append(heard.features)
        return found[::-1]


class Pipeline:
    """Scores windows in batches across microphones: a `streams.worker.Processor`.

    `clock_ns` gives UTC. A window of a microphone that no model knows is refused as unknown_machine.
    """

    def __init__(
        self, line: Line, models: Models, broker: Broker, *, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._line = line
        self._models = models
        self._broker = broker
        self._clock_ns = clock_ns
        self._tidied_ns = clock_ns()
        self._limits = gate.GateLimits(line.site.rate, line.site.window_s)
        self._device = torch.device(line.chain.device)
        self._memory: defaultdict[str, Memory] = defaultdict(Memory)
        self._waveform = any(model.needs_waveform for mics in models.values() for model in mics.values())
        self._separating = Separating(line.chain, models)
        self._front_end = replace(_common_front_end(models), fine=self._separating.needs_fine)
        self._longest = max(model.context_windows for mics in models.values() for model in mics.values())

    def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        """Read back what lies before each partition's position: the seconds before the next window."""
        mics = sum(len(machine.mic) for machine in self._line.machine)
        back = mics * (self._longest - 1)
        for where, position in partitions.items():
            before = self._broker.read(where, max(0, position - back), back)
            self._hear([message for message in before if message.offset < position])

    def _hear(self, messages: Sequence[Message]) -> None:
        for start in range(0, len(messages), self._line.chain.max_batch):
            windows = [self._readable(message) for message in messages[start : start + self._line.chain.max_batch]]
            self._remember([window for window in windows if isinstance(window, AudioWindow)])

    def _readable(self, message: Message) -> AudioWindow | WindowScore | None:
        try:
            return self._accepted(message)
        except codec.CodecError:
            return None  # it went to the dead letters when it was due; the context breaks there

    def _accepted(self, message: Message) -> AudioWindow | WindowScore:
        window = codec.decode_window(message)
        verdict = gate.check_window(window, self._limits)
        reason = verdict.reason and f"{verdict.reason}: {verdict.text}"
        if not reason and "silent" in window.flags:
            reason = "silent: no signal, so nothing to judge; look at the microphone and its cable"
        if not reason and self._model(window) is None:
            reason = f"unknown_machine: {window.machine}/{window.mic} has no model here; run factory-ear train"
        return _score(window, "bad_input", self._clock_ns(), reason=reason) if reason else window

    def _model(self, window: AudioWindow) -> Model | None:
        mics = self._models.get(window.machine, {})
        return mics.get(window.mic) or mics.get("*")

    def process(self, messages: Sequence[Message]) -> list[Outgoing]:
        """Score the windows of `messages`; one score per message, in their order.

        Raises CodecError for a message that is no window: the worker sends it to the dead letters.
        """
        started = time.perf_counter()
        taken = [self._accepted(message) for message in messages]
        windows = [one for one in taken if isinstance(one, AudioWindow)]
        decoded = time.perf_counter()
        self._remember(windows)
        heard = time.perf_counter()
        scores, separating_s = self._scores(windows)
        done = time.perf_counter()
        share = max(1, len(messages))
        seconds = {
            "decode": (decoded - started) / share,
            "front_end": (heard - decoded) / share,
            "score": (done - heard - separating_s) / share,
        }
        if self._separating.on:
            seconds["separate"] = separating_s / share
        results = iter(scores)
        records = [next(results) if isinstance(one, AudioWindow) else one for one in taken]
        self._tidy()
        return [_outgoing(record, seconds) for record in records]

    def _tidy(self) -> None:
        """Once a minute: batches of many sizes leave holes in the heap that nothing else closes."""
        now_ns = self._clock_ns()
        if not 0 <= now_ns - self._tidied_ns < TIDY_NS:  # a clock set back must not put it off
            self._tidied_ns = now_ns
            give_back()

    def _remember(self, windows: Sequence[AudioWindow]) -> None:
        if not windows:
            return
        first = {window.mic: window for window in reversed(windows)}  # the earliest of each microphone in this batch
        for mic, window in first.items():
            self._memory[mic].forget_before(window.session, window.sequence, self._longest)
        batch = torch.stack([torch.from_numpy(window.samples.copy()) for window in windows]).to(self._device)
        features = _home(self._front_end(batch, waveform=self._waveform))  # the one copy back
        for row, window in enumerate(windows):
            heard = Heard(_own(features.row(row)), broken="gap" in window.flags)
            self._memory[window.mic].recent[window.session, window.sequence] = heard

    def _scores(self, windows: Sequence[AudioWindow]) -> tuple[list[WindowScore], float]:
        """A score for every window, in their order, and the seconds that separating took of it."""
        now = self._clock_ns()
        results: list[WindowScore | None] = [None] * len(windows)
        groups: defaultdict[int, list[tuple[int, list[Features]]]] = defaultdict(list)
        models: dict[int, Model] = {}
        for row, window in enumerate(windows):
            model = self._model(window)
            assert model is not None  # noqa: S101 - _accepted refused the others
            context = self._memory[window.mic].context(window.session, window.sequence, model.context_windows)
            if context is None:
                results[row] = _score(window, "warming_up", now, model=model)
            else:
                models[id(model)] = model
                groups[id(model)].append((row, context))
        rows: list[int] = []
        packed: list[Tensor] = []
        for key, members in groups.items():
            packed.append(_pack(models[key], [context for _, context in members]))
            rows += [row for row, _ in members]
        if packed:
            table = torch.cat(packed).tolist()  # [window, 5 + part]
            for row, values in zip(rows, table, strict=True):
                window = windows[row]
                results[row] = _score(window, "ok", now, model=self._model(window), values=values)
        contexts = {row: (models[key], context) for key, members in groups.items() for row, context in members}
        return self._separated(windows, results, contexts, now)

    def _separated(
        self,
        windows: Sequence[AudioWindow],
        results: Sequence[WindowScore | None],
        contexts: Mapping[int, tuple[Model, list[Features]]],
        now: int,
    ) -> tuple[list[WindowScore], float]:
        """The results, those with a context through the expensive stage where it is on."""
        judged = {row: result for row, result in enumerate(results) if result is not None and row in contexts}
        scored = [Scored(windows[row], result, *contexts[row]) for row, result in judged.items()]
        better, seconds = self._separating(scored, now)
        final = dict(enumerate(results)) | dict(zip(judged, better, strict=True))
        return [result for result in final.values() if result is not None], seconds


def _common_front_end(models: Models) -> FrontEnd:
    ends = {model.front_end for mics in models.values() for model in mics.values()}
    if len(ends) != 1:
        raise WorkFailed(f"models have {len(ends)} different front ends, a line has one: train all machines anew")
    return ends.pop()


def _home(features: Features) -> Features:
    if features.log_mel.device.type == "cpu":
        return features
    log_mel = features.log_mel.cpu()  # confidence is ones for raw sound: made anew, not copied
    waveform = None if features.waveform is None else features.waveform.cpu()
    fine = None if features.fine is None else features.fine.cpu()
    return Features(log_mel, log_mel.new_ones(()).expand(log_mel.shape), features.level_dbfs.cpu(), waveform, fine)


def _own(features: Features) -> Features:
    """A copy that does not keep the whole batch alive."""
    waveform = None if features.waveform is None else features.waveform.clone()
    fine = None if features.fine is None else features.fine.clone()
    return Features(features.log_mel.clone(), features.confidence, features.level_dbfs.clone(), waveform, fine)


def _pack(model: Model, contexts: Sequence[Sequence[Features]]) -> Tensor:
    scored = model.score(join(contexts))
    columns = (scored.score, scored.extrapolated, scored.band_hz[:, 0], scored.band_hz[:, 1], scored.band_db)
    table = torch.stack([column.double() for column in columns], dim=1)
    return torch.cat([table, scored.profile_db], dim=1)  # [window, 5 + part]


def _score(
    window: AudioWindow,
    status: str,
    now_ns: int,
    *,
    model: Model | None = None,
    values: Sequence[float] = (math.nan, 0.0, 0.0, 0.0, 0.0),
    reason: str = "",
) -> WindowScore:
    return WindowScore(
        machine=window.machine,
        mic=window.mic,
        session=window.session,
        sequence=window.sequence,
        start_ns=window.start_ns,
        duration_s=window.duration_s,
        status=status,  # type: ignore[arg-type]  # checked by the record
        score=values[0],
        extrapolated=bool(values[1]),
        detector=model.detector_name if model else "",
        model=model.id if model else "",
        flags=window.flags,
        level_dbfs=gate.level_dbfs(window.samples),
        band_hz=(values[2], values[3]),
        band_db=values[4],
        profile_db=tuple(round(value, 1) for value in values[5:]),
        reason=reason,
        scored_ns=now_ns,
    )


def _outgoing(record: WindowScore, seconds: Mapping[str, float]) -> Outgoing:
    key, value = codec.encode_score(replace(record, stage_seconds=dict(seconds)))
    return Outgoing(TOPIC_SCORES, key, value, {})
