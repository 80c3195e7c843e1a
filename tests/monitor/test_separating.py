"""The separated chain in the real pipeline: identity twins, the cascade, overload, and one copy in and out."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hummingline import RATE, write_line
from separatedline import EVERY, separated_line, windows

from detectors.base import Evidence
from detectors.model import Model
from detectors.paths import PATHS
from detectors.store import load_models, save_models
from monitor.cascade import LIVE_S, OVERLOAD, Cascade
from monitor.errors import WorkFailed
from monitor.line_broker import open_line_broker
from monitor.pipeline import Models, Pipeline
from monitor.score import score_files
from monitor.settings import Chain, Line, SettingsError, load_line
from monitor.stages import Identity, MaskStage, paths_of
from sds_engine.separation.network import STATISTICS, MaskNet, NetSize
from streams import codec, soundfiles
from streams.broker import Broker, Message
from streams.records import TOPIC_WINDOWS, WindowScore


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return separated_line(tmp_path_factory.mktemp("separated"))


@pytest.fixture(scope="module")
def models(line: Line) -> Models:
    return {"fan": load_models(line.models / "fan")}


@pytest.fixture
def broker(line: Line, tmp_path: Path) -> Broker:
    settings = line.broker.model_copy(update={"url": f"embedded:{tmp_path / 'broker'}", "partitions": 1})
    return open_line_broker(line.model_copy(update={"broker": settings}))


def run(
    line: Line, chain: Chain, models: Models, broker: Broker, now_ns: int = 0, mic: str = "fan-a"
) -> list[WindowScore]:
    pipeline = Pipeline(line.model_copy(update={"chain": chain}), models, broker, clock_ns=lambda: now_ns)
    sent = [Message(TOPIC_WINDOWS, 0, at, *codec.encode_window(one)) for at, one in enumerate(windows(mic))]
    return [codec.decode_score(Message("", 0, 0, one.key, one.value, one.headers)) for one in pipeline.process(sent)]


def test_every_window_on_all_paths(line: Line, models: Models, broker: Broker) -> None:
    """With the cascade off each scored window has the worst of its paths, the same for a batch and window by window."""
    found = run(line, EVERY, models, broker)
    scored = [one for one in found if one.status == "ok"]
    assert scored
    assert {one.path for one in scored} <= set(PATHS)
    assert all("separate" in one.stage_seconds for one in found)
    pipeline = Pipeline(line.model_copy(update={"chain": EVERY}), models, broker, clock_ns=lambda: 0)
    single = []
    for at, one in enumerate(windows()):
        made = pipeline.process([Message(TOPIC_WINDOWS, 0, at, *codec.encode_window(one))])[0]
        single.append(codec.decode_score(Message("", 0, 0, made.key, made.value, made.headers)))
    assert [one.score for one in single if one.status == "ok"] == pytest.approx([one.score for one in scored], abs=1e-3)


def test_a_file_is_scored_as_its_line_would(line: Line, models: Models, broker: Broker, tmp_path: Path) -> None:
    """`score` gives a file the stream's scores and paths behind the chain, and with `--chain raw` those without it."""
    sound = np.concatenate([one.samples for one in windows()])
    soundfiles.write_wav(tmp_path / "hum.wav", sound, RATE)
    for chain, stages in ((None, EVERY), ("raw", Chain())):
        rows = score_files(
            [tmp_path / "hum.wav"], line.models / "fan", mic="fan-a", out=tmp_path / "s.csv", chain=chain
        )
        found = [one for one in run(line, stages, models, broker) if one.status == "ok"]
        ok = [row for row in rows if row["status"] == "ok"]
        assert [row["path"] for row in ok] == [one.path for one in found]
        assert [row["score"] for row in ok] == pytest.approx([one.score for one in found], abs=2e-3)
    assert {row["path"] for row in rows if row["status"] == "ok"} == {"raw"}


def test_a_chain_that_a_model_has_not_is_refused(line: Line, tmp_path: Path) -> None:
    """`score --chain full` of a model without a separator says so and names what is allowed."""
    model = dataclasses.replace(load_models(line.models / "fan")["*"], paths=None)
    save_models(tmp_path / "plain", {"*": model}, machine="fan")
    with pytest.raises(WorkFailed, match="without a separator; allowed is raw"):
        score_files([], tmp_path / "plain", chain="full")


def test_raw_is_untouched(line: Line, models: Models, broker: Broker) -> None:
    """With the stage off the scores are those of a model without a separator, bit for bit."""
    plain = {"fan": {mic: dataclasses.replace(model, paths=None) for mic, model in models["fan"].items()}}
    ours, theirs = run(line, Chain(), models, broker), run(line, Chain(), plain, broker)
    assert [one.score for one in ours if one.status == "ok"] == [one.score for one in theirs if one.status == "ok"]
    assert {one.path for one in ours} == {"raw"}
    assert not any("separate" in one.stage_seconds for one in ours)


def test_the_cascade_takes_its_share_in_turn(line: Line, models: Models, broker: Broker) -> None:
    """Below the level one window in five is separated, at a time of each microphone's own; the rest stay raw."""
    chain = Chain(stages=("raw", "separated"), cascade_above=9.0, cascade_share=0.2)
    cascade = Cascade(chain)
    taken = [one.sequence for one in windows() if cascade.wants(one, 0.0)]
    assert len(taken) == len(windows()) // 5
    assert {b - a for a, b in itertools.pairwise(taken)} == {5}
    full = {one.sequence: one for one in run(line, EVERY, models, broker)}
    raw = {one.sequence: one for one in run(line, Chain(), models, broker)}
    for one in run(line, chain, models, broker):
        if one.status == "ok":
            expected = full if one.sequence in taken else raw
            assert one.score == pytest.approx(expected[one.sequence].score, abs=1e-3)


def test_odd_windows_are_always_separated() -> None:
    """From the level on every window is separated, whatever its turn."""
    cascade = Cascade(Chain(stages=("raw", "separated"), cascade_above=1.0, cascade_share=0.0))
    assert all(cascade.wants(one, 1.0) for one in windows())
    assert not any(cascade.wants(one, 0.99) for one in windows())


def test_overload_skips_the_stage_and_no_window(line: Line, models: Models, broker: Broker) -> None:
    """Late live windows keep their raw score and say why; a replay of old sound is no overload."""
    last = windows()[-1].end_ns
    late = run(line, EVERY, models, broker, now_ns=last + int(100e9))
    raw = run(line, Chain(), models, broker)
    assert len(late) == len(windows())
    assert [one.score for one in late if one.status == "ok"] == [one.score for one in raw if one.status == "ok"]
    assert {one.reason for one in late if one.status == "ok"} == {OVERLOAD}
    old = run(line, EVERY, models, broker, now_ns=last + int((LIVE_S + 100) * 1e9))
    assert not any(one.reason for one in old if one.status == "ok")


def test_a_batch_is_copied_once_in_and_once_out(
    line: Line, models: Models, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stacking makes one tensor that goes to the device once; with the stages on nothing further is sent."""
    moved = []
    original = torch.Tensor.to

    def counted(self: torch.Tensor, *given: object, **options: object) -> torch.Tensor:
        if self.ndim == 2 and self.shape[1] == 2 * RATE:
            moved.append(self.shape)
        return original(self, *given, **options)

    monkeypatch.setattr(torch.Tensor, "to", counted)
    run(line, EVERY, models, broker)
    assert moved == [(len(windows()), 2 * RATE)]


def test_a_model_without_a_separator_is_told(line: Line, models: Models, broker: Broker) -> None:
    """A chain that separates refuses a model that cannot, with the remedy."""
    plain: dict[str, dict[str, Model]] = {
        "fan": {mic: dataclasses.replace(model, paths=None) for mic, model in models["fan"].items()}
    }
    with pytest.raises(WorkFailed, match="factory-ear train"):
        Pipeline(line.model_copy(update={"chain": EVERY}), plain, broker)


def test_wrong_stages_are_refused(tmp_path: Path) -> None:
    """Stages in another order, or unknown ones, are errors that say what to write."""
    for stages in ('["separated"]', '["raw", "raw"]', '["raw", "magic"]'):
        path = write_line(tmp_path, extra=f"[chain]\nstages = {stages}\n")
        with pytest.raises(SettingsError, match="stages"):
            load_line(path)


def evidence(seed: int = 0) -> Evidence:
    generator = torch.Generator().manual_seed(seed)
    log_mel = -50.0 + 5.0 * torch.randn(2, 128, 30, generator=generator)
    return Evidence(log_mel, torch.ones_like(log_mel), log_mel.mean(1))


def test_the_identity_changes_nothing() -> None:
    """Its separated path is the raw one; the residual is silent and not believed."""
    given = evidence()
    made = Identity()(given)
    assert torch.equal(made["separated"].log_mel, given.log_mel)
    assert torch.equal(made["separated"].confidence, given.confidence)
    assert float(made["residual"].confidence.max()) == 0.0


def test_the_parts_share_the_power() -> None:
    """Separated and residual power add up to the raw one, cell by cell, and confidence is the squared share."""
    given = evidence()
    share = torch.rand(given.log_mel.shape, generator=torch.Generator().manual_seed(1)).clamp(0.01, 0.99)
    made = paths_of(given, share)
    total = sum(10.0 ** (made[path].log_mel / 10.0) for path in ("separated", "residual"))
    assert torch.allclose(total, 10.0 ** (given.log_mel / 10.0), rtol=1e-4)
    assert torch.allclose(made["separated"].confidence, share.square())


def test_where_nothing_is_believed_a_band_is_as_usual() -> None:
    """A band that the mask gives away has the usual level; one that it keeps is untouched to a tenth of a dB."""
    given = evidence()
    share = torch.full(given.log_mel.shape, 0.999)
    share[:, :5] = 0.0
    made = paths_of(given, share, torch.full((128,), -70.0))["separated"]
    assert torch.allclose(made.log_mel[:, :5], torch.tensor(-70.0))
    assert float((made.log_mel[:, 5:] - given.log_mel[:, 5:]).abs().max()) < 0.5
    assert float(made.confidence[:, :5].max()) < 0.02


def test_the_usual_level_is_learned_from_what_is_believed() -> None:
    """Healthy contexts under a background in half of the frames teach the machine's own level, each by its belief."""
    torch.manual_seed(0)
    quiet = torch.full((4, 128, 30), -60.0)
    quiet[:, :, 15:] = -20.0
    machine = 10.0 ** (-59.0 / 10.0)
    statistics = torch.cat([torch.full((128,), (-59.0 + 45.0) / 20.0), torch.zeros(128)])
    stage = MaskStage(MaskNet(NetSize(16, (1, 2), 8)), statistics)
    taught = stage.learned(Evidence(quiet, torch.ones_like(quiet), quiet.mean(1)))
    assert taught.usual is not None
    assert float((taught.usual - 10.0 * torch.tensor(machine).log10()).abs().max()) < 3.0
    again = MaskStage.restore(taught.state())
    assert again.usual is not None
    assert torch.equal(again.usual, taught.usual)


def test_microphones_of_a_machine_share_a_batch(
    line: Line, models: Models, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models with one network are separated in one batch, each scored by its own model as if it were alone."""
    model = models["fan"]["*"]
    pair: Models = {"fan": {"fan-a": model, "fan-b": dataclasses.replace(model, notes=("another",))}}
    alone = [one.score for mic in ("fan-a", "fan-b") for one in run(line, EVERY, pair, broker, mic=mic)]
    batches = []
    share = MaskStage.share
    monkeypatch.setattr(MaskStage, "share", lambda self, given: (batches.append(len(given)), share(self, given))[1])
    pipeline = Pipeline(line.model_copy(update={"chain": EVERY}), pair, broker, clock_ns=lambda: 0)
    both = [*windows("fan-a"), *windows("fan-b")]
    made = pipeline.process([Message(TOPIC_WINDOWS, 0, at, *codec.encode_window(one)) for at, one in enumerate(both)])
    found = [codec.decode_score(Message("", 0, 0, one.key, one.value, one.headers)).score for one in made]
    assert found == pytest.approx(alone, abs=1e-3, nan_ok=True)
    assert len(batches) == 1


def test_a_stage_is_restored_from_its_tensors() -> None:
    """A stage made again from its state gives the same paths; a foreign state is refused."""
    torch.manual_seed(0)
    stage = MaskStage.restore(MaskStage(MaskNet(NetSize(16, (1, 2), 8)), torch.randn(STATISTICS)).state())
    again = MaskStage.restore(stage.state())
    assert torch.equal(stage.share(evidence().log_mel), again.share(evidence().log_mel))
    with pytest.raises(WorkFailed, match="train it anew"):
        MaskStage.restore({"size": torch.tensor([1, 2, 3])})
