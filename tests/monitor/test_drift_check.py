"""Has a machine's normal changed? Asked of recordings and of the scores that the line kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hummingline import RATE, hum, trained, write_line
from typer.testing import CliRunner

from detectors.card import read_card
from detectors.drift import drift_of_scores
from monitor.cli import app
from monitor.doctor import examine
from monitor.drift_check import APART_NS, check_line, check_machine, spaced
from monitor.line_broker import open_line_broker
from monitor.settings import Line
from streams import codec, soundfiles
from streams.records import TOPIC_SCORES, WindowScore

HOUR_NS = APART_NS
START_NS = 1_790_000_000_000_000_000


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return trained(write_line(tmp_path_factory.mktemp("line"), live_s=4.0))


def config(line: Line) -> Path:
    return line.machine[0].healthy.parents[1] / "line.toml"


def scores(mic: str, model: str, values: list[float], session: str = "s") -> Iterator[WindowScore]:
    """A score every quarter of an hour, each value four times."""
    for number, value in enumerate(np.repeat(values, 4).tolist()):
        start_ns = START_NS + number * HOUR_NS // 4
        machine = "fan" if mic.startswith("fan") else "pump"
        yield WindowScore(machine, mic, session, number, start_ns, 2.0, "ok", score=value, model=model)


def keep(line: Line, mic: str, values: list[float], model: str) -> None:
    broker = open_line_broker(line)
    producer = broker.producer()
    for score in scores(mic, model, values):
        producer.send(TOPIC_SCORES, *codec.encode_score(score))
    producer.flush()
    broker.close()


def recordings(folder: Path, count: int, fault: float) -> list[Path]:
    paths = [folder / f"{fault}-{number}.wav" for number in range(count)]
    for number, path in enumerate(paths):
        soundfiles.write_wav(path, hum(12.0, 310.0, 500 + number, fault=fault), RATE)
    return paths


def test_a_look_counts_once_an_hour_and_once_a_session() -> None:
    """Of a stream one look an hour is taken; a new session is a recording of its own."""
    stream = list(scores("pump-a", "m", [1.0, 2.0, 3.0]))
    assert [look.score for look in spaced(reversed(stream))] == [1.0, 2.0, 3.0]
    restarted = [*stream[:2], *scores("pump-a", "m", [0.5], session="t")]
    assert [look.session for look in spaced(restarted)].count("t") == 1


def test_scores_of_an_unchanged_machine_keep_to_alpha() -> None:
    """Calibrated scores of a machine that has not changed are called a drift in at most 2% of 300 lines at 1%."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        healthy, later = rng.standard_normal(20), rng.standard_normal(80)
        count = (healthy[None, :] >= later[:, None]).sum(1)
        wrong += drift_of_scores(20, (-np.log10((1 + count) / 21)).tolist()).drifted
    assert wrong <= 6


def test_recordings_say_whether_normal_has_changed(line: Line, tmp_path: Path) -> None:
    """Ten recordings like the healthy ones are no drift; twenty with a hiss are, and nothing on disk changes."""
    before = read_card(line.models / "pump").mics["*"].model
    same = check_machine(line, "pump", recordings(tmp_path, 10, 0.0), quiet=True)[0]
    assert not same.drifted
    assert "no drift" in same.words()
    moved = check_machine(line, "pump", recordings(tmp_path, 20, 0.01), quiet=True)[0]
    assert moved.drifted
    assert "has drifted, to odder sound" in moved.words()
    assert read_card(line.models / "pump").mics["*"].model == before


def test_kept_scores_say_it_too_and_doctor_shows_it(line: Line) -> None:
    """Sixty hours of odd looks are a drift, with the hour of certainty; another model's scores do not count."""
    models = {name: read_card(line.models / name).mics["*"].model for name in ("fan", "pump")}
    keep(line, "pump-a", [0.3, 0.6] + [0.9] * 58, models["pump"])
    keep(line, "fan-a", [0.9] * 60, "an older one")
    keep(line, "fan-b", np.random.default_rng(1).permutation(-np.log10(np.arange(1, 10) / 9)).tolist(), models["fan"])
    broker = open_line_broker(line)
    found = {one.mic: one for one in check_line(line, broker)}
    broker.close()
    assert found["pump-a"].looks == 60
    assert found["pump-a"].drifted
    assert found["pump-a"].since_ns is not None
    assert START_NS < found["pump-a"].since_ns < START_NS + 60 * HOUR_NS
    assert "too early" in found["fan-a"].words()
    assert not found["fan-b"].drifted
    rows = {finding.what: finding for finding in examine(config(line))}
    assert rows["pump-a: drift"].state == "missing"
    assert "rebaseline" in rows["pump-a: drift"].remedy
    assert rows["fan-b: drift"].state == "good"


def test_the_command_needs_no_signature_to_check(line: Line) -> None:
    """`--check` takes neither --by nor --why and changes nothing; without it both are asked for."""
    run = CliRunner()
    base = ["rebaseline", "-c", str(config(line)), "--machine", "fan"]
    done = run.invoke(app, [*base, "--check", "--json"])
    assert done.exit_code == 0
    assert {one["mic"] for one in json.loads(done.stdout)} == {"fan-a", "fan-b"}
    assert run.invoke(app, [*base, "--from", "x.wav"]).exit_code == 2
    assert run.invoke(app, [*base, "--roll-back", "--check"]).exit_code == 2
    assert run.invoke(app, [*base[:-1], "lathe", "--check"]).exit_code != 0
