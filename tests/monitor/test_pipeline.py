"""The pipeline: a stream and a file give the same evidence, and a repeated batch the same scores."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hummingline import RATE, hum, trained, write_line

from detectors.store import load_models
from monitor import pipeline as module
from monitor.clip_score import score_clip
from monitor.line_broker import open_line_broker
from monitor.pipeline import Models, Pipeline
from monitor.settings import Line
from streams import codec
from streams.broker import Broker, Message, TopicPartition
from streams.records import TOPIC_WINDOWS, AudioWindow, WindowScore

SECONDS = 40.0


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return trained(write_line(tmp_path_factory.mktemp("line")))


@pytest.fixture(scope="module")
def models(line: Line) -> Models:
    return {machine.id: load_models(line.models / machine.id) for machine in line.machine}


@pytest.fixture
def broker(line: Line, tmp_path: Path) -> Broker:
    settings = line.broker.model_copy(update={"url": f"embedded:{tmp_path / 'broker'}", "partitions": 1})
    return open_line_broker(line.model_copy(update={"broker": settings}))


def windows(mic: str = "fan-a", machine: str = "fan", seed: int = 99, gap_at: int = -1) -> list[AudioWindow]:
    sound = hum(SECONDS, 120.0, seed).reshape(-1, 2 * RATE)
    sound = np.round(sound * 32767) / 32767
    return [
        AudioWindow(
            machine=machine,
            mic=mic,
            session="s",
            sequence=number,
            start_ns=number * 2_000_000_000,
            rate=RATE,
            samples=samples.astype(np.float32),
            flags=frozenset({"gap"}) if number == gap_at else frozenset(),
        )
        for number, samples in enumerate(sound)
    ]


def messages(records: list[AudioWindow]) -> list[Message]:
    return [
        Message(TOPIC_WINDOWS, 0, offset, *codec.encode_window(record))  # key, value, headers
        for offset, record in enumerate(records)
    ]


def scores(pipeline: Pipeline, sent: list[Message]) -> list[WindowScore]:
    return [
        codec.decode_score(Message(one.topic, 0, 0, one.key, one.value, one.headers)) for one in pipeline.process(sent)
    ]


def values(found: list[WindowScore]) -> list[float]:
    return [round(score.score, 9) for score in found]


def test_a_stream_and_a_file_give_the_same_scores(line: Line, models: Models, broker: Broker) -> None:
    """Window by window, in batches of any size, the stream's scores are those of the file."""
    sent = windows()
    file = score_clip(Path("x.wav"), np.concatenate([window.samples for window in sent]), models["fan"]["*"])
    expected = [row["score"] for row in file.rows]
    pipeline = Pipeline(line, models, broker)
    found = [
        score
        for start in (0, 1, 4, 11)
        for score in scores(pipeline, messages(sent)[start : {0: 1, 1: 4, 4: 11, 11: 20}[start]])
    ]
    assert [score.status for score in found[:5]] == ["warming_up"] * 4 + ["ok"]
    assert all(math.isnan(score.score) for score in found[:4])
    np.testing.assert_allclose([score.score for score in found[4:]], expected[4:], atol=1e-6)


def test_a_detector_that_hears_the_waveform_scores_streams_as_files(tmp_path: Path, broker: Broker) -> None:
    """Windows of a stream keep what their waveform says, so `physical` too gives a stream the scores of the file."""
    line = trained(write_line(tmp_path), "physical")
    models = {machine.id: load_models(line.models / machine.id) for machine in line.machine}
    sent = windows()
    file = score_clip(Path("x.wav"), np.concatenate([window.samples for window in sent]), models["fan"]["*"])
    pipeline = Pipeline(line, models, broker)
    found = [
        score for start in (0, 7) for score in scores(pipeline, messages(sent)[start : start + 7 + 6 * (start > 0)])
    ]
    expected = [row["score"] for row in file.rows]
    assert len(found) == len(expected)
    np.testing.assert_allclose([one.score for one in found[4:]], expected[4:], atol=1e-4)


def test_a_repeated_batch_gives_the_same_scores(line: Line, models: Models, broker: Broker) -> None:
    """After a failed write the worker processes a batch again, wholly or one by one: nothing changes."""
    sent = messages(windows(gap_at=9))
    pipeline = Pipeline(line, models, broker)
    scores(pipeline, sent[:7])
    first = scores(pipeline, sent[7:15])
    again = scores(pipeline, sent[7:15])
    one_by_one = [score for message in sent[7:15] for score in scores(pipeline, [message])]
    assert str(values(first)) == str(values(again)) == str(values(one_by_one))


def test_batch_mates_change_nothing(line: Line, models: Models, broker: Broker) -> None:
    """A loud neighbour in the same batch leaves a score as it is."""
    alone = scores(Pipeline(line, models, broker), messages(windows()))
    loud = [
        AudioWindow("fan", "fan-b", "t", w.sequence, w.start_ns, w.rate, np.clip(w.samples * 20, -1, 1), w.flags)
        for w in windows(seed=5)
    ]
    mixed = [message for pair in zip(messages(windows()), messages(loud), strict=True) for message in pair]
    together = scores(Pipeline(line, models, broker), mixed)[::2]
    np.testing.assert_allclose([s.score for s in together[4:]], [s.score for s in alone[4:]], rtol=0, atol=1e-6)


def test_a_gap_begins_a_new_context(line: Line, models: Models, broker: Broker) -> None:
    """No score looks across missing sound: after a gap a context fills anew."""
    found = scores(Pipeline(line, models, broker), messages(windows(gap_at=8)))
    status = [score.status for score in found]
    assert status == ["warming_up"] * 4 + ["ok"] * 4 + ["warming_up"] * 4 + ["ok"] * 8


def test_silence_is_no_evidence(line: Line, models: Models, broker: Broker) -> None:
    """A dead microphone is refused by name, and what follows warms up again."""
    sent = windows()
    quiet = AudioWindow(
        "fan", "fan-a", "s", 6, sent[6].start_ns, RATE, np.zeros(2 * RATE, np.float32), frozenset({"silent"})
    )
    found = scores(Pipeline(line, models, broker), messages([*sent[:6], quiet, *sent[7:]]))
    assert found[6].status == "bad_input"
    assert found[6].reason.startswith("silent")
    assert [score.status for score in found[7:12]] == ["warming_up"] * 4 + ["ok"]


@pytest.mark.parametrize(
    ("machine", "rate", "seconds", "reason"),
    [("press", RATE, 2.0, "unknown_machine"), ("fan", 8000, 2.0, "wrong_rate"), ("fan", RATE, 1.0, "wrong_length")],
)
def test_what_does_not_fit_is_refused_alone(
    line: Line, models: Models, broker: Broker, machine: str, rate: int, seconds: float, reason: str
) -> None:
    """A window that cannot be scored is counted with its reason and stops no other."""
    odd = AudioWindow(machine, "x", "s", 0, 0, rate, hum(seconds, 100.0, 1)[: round(seconds * rate)])
    found = scores(Pipeline(line, models, broker), [*messages([odd]), *messages(windows())])
    assert found[0].status == "bad_input"
    assert reason in found[0].reason
    assert [score.status for score in found[5:]] == ["ok"] * 16


def test_context_comes_back_with_a_partition(line: Line, models: Models, broker: Broker) -> None:
    """A worker that takes over a partition knows the seconds before it: no second warm-up, the same scores."""
    producer = broker.producer()
    for window in windows():
        producer.send(TOPIC_WINDOWS, *codec.encode_window(window))
    producer.flush()
    producer.close()
    where = TopicPartition(TOPIC_WINDOWS, 0)
    stored = broker.read(where, 0, 100)
    whole = scores(Pipeline(line, models, broker), stored)
    heir = Pipeline(line, models, broker)
    producer = broker.producer()
    producer.send(TOPIC_WINDOWS, "fan-a", b"no window", {"v": "1"})  # must not keep the rest from being read back
    producer.flush()
    producer.close()
    heir.assigned({where: 21})
    heir.assigned({where: 9})
    assert values(scores(heir, stored[9:])) == values(whole[9:])
    broker.close()


def test_a_message_that_is_no_window_raises(line: Line, models: Models, broker: Broker) -> None:
    """The worker sends it to the dead letters; the pipeline does not guess."""
    with pytest.raises(codec.CodecError):
        Pipeline(line, models, broker).process([Message(TOPIC_WINDOWS, 0, 0, "fan-a", b"\x01", {})])


def test_free_memory_goes_back_once_a_minute(
    line: Line, models: Models, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock handed in, not by batches; a clock that was set back does not stop it."""
    times, given = iter([0, 30, 59, 60, 61, 119, 121, 5, 6]), []
    now_s = [next(times)]
    monkeypatch.setattr(module, "give_back", lambda: given.append(now_s[0]))
    pipeline = Pipeline(line, models, broker, clock_ns=lambda: now_s[0] * 1_000_000_000)
    for message in messages(windows())[:8]:
        now_s[0] = next(times)
        pipeline.process([message])
    assert given == [60, 121, 5]
