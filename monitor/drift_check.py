"""Has a machine's normal changed? Asked of the scores that the line has kept, or of recordings that somebody hands in.

The test (`detectors.drift`) wants one value per recording, so of a stream one look in an hour is taken, and one of each
shorter session. Only looks by the model in force count: "this is the new normal" starts the test anew. What is found
is a change, up or down; whether it is a fault that grows or a new normal is for people to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from detectors.card import MicCard, read_card
from detectors.drift import Drift, drift_of_scores
from monitor.console import say
from monitor.errors import WorkFailed
from monitor.settings import Line, Machine
from streams import codec, soundfiles
from streams.broker import Broker, Message, TopicPartition
from streams.records import TOPIC_SCORES, WindowScore

APART_NS = 3_600_000_000_000  # looks of one session closer than this are not independent
LEAST = 5  # looks before anything is said
PLACES, CHUNK = 400, 64  # a long topic is read at so many places, so many messages each


class Look(NamedTuple):
    """A score that counts as a recording of its own, and when it was heard."""

    start_ns: int
    session: str
    score: float


class Found(NamedTuple):
    """What the looks of one microphone (or the recordings handed in) say; since_ns: the look at which drift showed."""

    machine: str
    mic: str
    effective_n: int
    looks: int
    drift: Drift
    since_ns: int | None

    @property
    def drifted(self) -> bool:
        """Whether the machine's sound has changed for certain."""
        return self.drift.drifted

    def words(self) -> str:
        """One line."""
        what = f"{self.looks} looks against {self.effective_n} healthy recordings"
        if self.looks < LEAST:
            return f"too early to say: {what}, at least {LEAST} are needed"
        if not self.drifted:
            return f"no drift: {what}, odds {10 ** min(self.drift.log10_fortune[-1], 9.0):.2g} to 1"
        since = datetime.fromtimestamp((self.since_ns or 0) / 1e9, UTC).isoformat(timespec="minutes")
        return (
            f"has drifted, for certain since {since}, to {self.drift.direction} sound: {what}"
            if self.since_ns
            else (f"has drifted, to {self.drift.direction} sound: {what}")
        )

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "machine": self.machine,
            "mic": self.mic,
            "effective_n": self.effective_n,
            "looks": self.looks,
            "drifted": self.drifted,
            "direction": self.drift.direction if self.drifted else None,
            "log10_odds": float(self.drift.log10_fortune[-1]) if self.looks else 0.0,
            "alpha": self.drift.alpha,
            "since_ns": self.since_ns,
            "words": self.words(),
        }


REMEDY = "listen: a fault that grows, or a new normal (factory-ear rebaseline)?"


def check_line(line: Line, broker: Broker, only: str = "") -> list[Found]:
    """What the kept scores say of each microphone that has a model, of one machine or of all."""
    cards: dict[tuple[str, str], MicCard] = {}
    for machine in line.machine:
        if (not only or machine.id == only) and (line.models / machine.id / "card.json").exists():
            mics = read_card(line.models / machine.id).mics
            for mic in machine.mic:
                if mic.id in mics or "*" in mics:
                    cards[machine.id, mic.id] = mics[mic.id if mic.id in mics else "*"]
    seen: dict[tuple[str, str], list[WindowScore]] = {key: [] for key in cards}
    for message in _sample(broker):
        try:
            score = codec.decode_score(message)
        except codec.CodecError:
            continue  # `run` counts and reports what cannot be read
        key = (score.machine, score.mic)
        if score.status == "ok" and key in cards and score.model == cards[key].model:
            seen[key].append(score)
    return [_found(*key, cards[key].effective_n, spaced(scores)) for key, scores in seen.items()]


def check_files(line: Line, machine: Machine, files: Sequence[Path], mic: str = "") -> Found:
    """What recordings say that were made after training: one look of each, from its middle, in the order given."""
    import torch

    from detectors.aggregate import clips_evidence
    from detectors.store import load_models

    models = load_models(line.models / machine.id)
    key = mic if mic in models else "*" if "*" in models else next(iter(models), "")
    if mic and mic not in {one.id for one in machine.mic}:
        raise WorkFailed(f"--mic is {mic!r}; {machine.id} has {', '.join(one.id for one in machine.mic)}")
    if key not in models or (not mic and len(models) > 1):
        raise WorkFailed(f"{machine.id} has models of {', '.join(models)}: say --mic")
    model = models[key]
    looks = []
    for path in files:
        samples = torch.from_numpy(soundfiles.read_clip(path, rate=model.rate))
        size = round(model.window_s * model.rate)
        if len(samples) < size * model.context_windows:
            raise WorkFailed(f"{path}: {len(samples) / model.rate:.1f} s, at least {model.context_s:g} s are needed")
        evidence = clips_evidence(
            [samples], model.front_end, size, model.context_windows, waveform=model.needs_waveform
        )[0]
        looks.append(Look(0, str(path), float(model.score(evidence.rows([len(evidence) // 2])).score[0])))
    return _found(machine.id, mic or key, model.effective_n, looks)


def check_machine(
    line: Line, machine_id: str, files: Sequence[Path], *, mic: str = "", quiet: bool = False
) -> list[Found]:
    """`rebaseline --check`: of the recordings in `files`, or where there are none of the scores that the line kept.

    Raises WorkFailed for an unknown machine, ModelError where it has no model.
    """
    known = {machine.id: machine for machine in line.machine}
    if machine_id not in known:
        raise WorkFailed(f"machine {machine_id} is not in line.toml: it has {', '.join(known)}")
    if files:
        found = [check_files(line, known[machine_id], files, mic)]
    else:
        from monitor.line_broker import open_line_broker

        read_card(line.models / machine_id)  # no model: say so before looking for its scores
        broker = open_line_broker(line)
        try:
            found = [one for one in check_line(line, broker, machine_id) if not mic or one.mic == mic]
        finally:
            broker.close()
    say_found(found, quiet=quiet)
    return found


def say_found(found: Iterable[Found], *, quiet: bool = False) -> None:
    """A line for each, and what to do where something has drifted."""
    found = list(found)
    for one in found:
        say(f"{one.machine}/{one.mic}: {one.words()}", quiet=quiet)
    if any(one.drifted for one in found):
        say(REMEDY, quiet=quiet)


def spaced(scores: Iterable[WindowScore]) -> list[Look]:
    """The looks among the scores of one microphone: the first of each session, then one an hour, oldest first."""
    looks: list[Look] = []
    newest: dict[str, int] = {}  # of each session
    for score in sorted(scores, key=lambda one: one.start_ns):
        if score.session not in newest or score.start_ns - newest[score.session] >= APART_NS:
            newest[score.session] = score.start_ns
            looks.append(Look(score.start_ns, score.session, score.score))
    return looks


def _found(machine: str, mic: str, effective_n: int, looks: Sequence[Look]) -> Found:
    drift = drift_of_scores(effective_n, [look.score for look in looks])
    since = looks[drift.first].start_ns if drift.first is not None else None
    return Found(machine, mic, effective_n, len(looks), drift, since or None)


def _sample(broker: Broker) -> Iterator[Message]:
    """The messages of the topic of scores; of a long one those at evenly spread places."""
    for partition, (start, end) in broker.bounds(TOPIC_SCORES).items():
        step = max(CHUNK, (end - start) // PLACES)
        for place in range(start, end, step):
            yield from broker.read(TopicPartition(TOPIC_SCORES, partition), place, min(CHUNK, end - place))
