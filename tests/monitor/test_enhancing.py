"""The stage `enhanced`: its identity twin, what it hands on, and the real pipeline behind it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hummingline import RATE, hum
from separatedline import separated_line, windows

from detectors.base import Evidence
from detectors.frontend import FrontEnd, cells
from detectors.model import Clip, Model, fit_model
from detectors.store import load_models, save_models
from monitor.cascade import OVERLOAD
from monitor.enhancing import EnhancedStage, separator_of
from monitor.errors import WorkFailed
from monitor.line_broker import open_line_broker
from monitor.pipeline import Models, Pipeline
from monitor.settings import Chain, Line
from monitor.show_clip import _stages, separated
from monitor.site_sound import SiteRecordings, adapted_stage, enhanced_stage
from monitor.stages import MaskStage
from sds_engine.separation.exdiff.cells import CELLS, pooled
from sds_engine.separation.exdiff.model import ExDiffModel
from sds_engine.separation.exdiff.network import LATENT, ExDiffSize
from sds_engine.separation.grid import BINS
from sds_engine.separation.network import STATISTICS, MaskNet, NetSize
from streams import codec
from streams.broker import Broker, Message
from streams.records import TOPIC_WINDOWS, WindowScore

FINE = FrontEnd(fine=True)
EVERY = Chain(stages=("raw", "separated", "enhanced"), cascade=False)


def mask_stage(seed: int = 0) -> MaskStage:
    torch.manual_seed(seed)
    net = MaskNet(NetSize(LATENT, (1,), 8))
    torch.nn.init.normal_(net.last.weight, std=0.05)
    statistics = torch.cat([torch.linspace(2.6, 2.0, STATISTICS // 2), torch.zeros(STATISTICS // 2)])
    return MaskStage.restore(MaskStage(net, statistics).state())


def over(mask: MaskStage, trust: float = 1.0, seed: int = 0) -> EnhancedStage:
    """A small Ex-Diff with random weights over a mask stage."""
    torch.manual_seed(seed)
    model = ExDiffModel("latents", mask.net, ExDiffSize(16, (1,), 8, 2, 2, (0,)))
    torch.nn.init.normal_(model.net.last.weight, std=0.05)
    power = torch.rand(BINS, generator=torch.Generator().manual_seed(seed))
    return EnhancedStage.restore(EnhancedStage(mask, model, power, trust).state())


def heard(seed: int = 0, seconds: float = 2.0, batch: int = 2) -> Evidence:
    sound = 0.05 * torch.randn(batch, round(seconds * RATE), generator=torch.Generator().manual_seed(seed))
    found = FINE(sound)
    return Evidence(found.log_mel, found.confidence, found.level_dbfs, found.waveform, found.fine)


def test_without_trust_it_is_the_extractors_stage() -> None:
    """The identity twin: with trust 0 every path and every confidence is that of the stage `separated`."""
    mask, given = mask_stage(), heard()
    usual = torch.full((128,), -60.0)
    twin, plain = over(dataclasses.replace(mask, usual=usual), 0.0), dataclasses.replace(mask, usual=usual)
    ours, theirs = twin(given), plain(given)
    for path in ("raw", "separated", "residual"):
        torch.testing.assert_close(ours[path].log_mel, theirs[path].log_mel, rtol=0.0, atol=1e-3)
        torch.testing.assert_close(ours[path].confidence, theirs[path].confidence, rtol=0.0, atol=1e-4)
    taught = over(mask, 0.0).learned(given).mask.usual
    torch.testing.assert_close(taught, mask.learned(given).usual, rtol=0.0, atol=1e-3)
    moved = over(mask, 1.0)(given)["separated"].log_mel - theirs["separated"].log_mel
    assert float(moved.abs().max()) > 0.1


def test_a_wide_posterior_is_believed_less() -> None:
    """Where the network is unsure of its answer the confidence is below the squared share, where it is sure above."""
    given = heard()
    for unsure, sign in ((2.0, -1.0), (-2.0, 1.0)):
        stage = over(mask_stage())
        torch.nn.init.zeros_(stage.model.net.last.weight)
        with torch.no_grad():
            stage.model.net.last.bias.zero_()
            stage.model.net.last.bias.reshape(2, 4, CELLS)[:, 3] = unsure
        found = stage.shares(given)
        torch.testing.assert_close(found.share, stage.mask.share(given.log_mel), rtol=0.0, atol=1e-4)
        confidence = stage.paths(given, found.share, found.known)["separated"].confidence
        middle = (found.share > 0.1) & (found.share < 0.9)
        assert bool(middle.any())
        assert bool((sign * (confidence - found.share.square())[middle] > 0.0).all())


def test_fine_cells_are_those_of_ex_diff() -> None:
    """What the front end calls fine are Ex-Diff's cells, in dB; log-mel is the same with and without."""
    sound = 0.05 * torch.randn(1, 4096, generator=torch.Generator().manual_seed(3))
    found, plain = FINE(sound), FrontEnd()(sound)
    assert cells(FINE) == CELLS
    assert torch.equal(found.log_mel, plain.log_mel)
    assert plain.fine is None
    framed = sound.unfold(-1, 1024, 512) * torch.hann_window(1024)
    power = pooled(torch.fft.rfft(framed).abs().square()).transpose(1, 2)
    assert found.fine is not None
    assert float((found.fine.float() - 10.0 * power.log10()).abs().max()) < 0.05


def test_it_is_restored_from_its_tensors() -> None:
    """A stage made again from its state gives the same shares; one without fine cells or a broken state is refused."""
    stage, given = over(mask_stage()), heard()
    again = separator_of(stage.state())
    assert isinstance(again, EnhancedStage)
    assert torch.equal(stage.shares(given).known, again.shares(given).known)
    assert isinstance(separator_of(stage.mask.state()), MaskStage)
    with pytest.raises(ValueError, match="fine=True"):
        stage.shares(dataclasses.replace(given, fine=None))
    broken = {key: value for key, value in stage.state().items() if key != "exdiff.power"}
    with pytest.raises(WorkFailed, match="train it anew"):
        separator_of(broken)


def test_rows_do_not_depend_on_their_batch() -> None:
    """A context alone has the shares that it has among others."""
    stage, given = over(mask_stage()), heard(batch=3)
    whole, alone = stage.shares(given), stage.shares(given.rows([1]))
    torch.testing.assert_close(whole.share[1:2], alone.share, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(whole.known[1:2], alone.known, rtol=0.0, atol=1e-5)


def test_a_clip_can_be_heard_behind_both_stages() -> None:
    """What the page plays as enhanced is of Ex-Diff's mask, as separated of the extractor's; alike without trust."""
    sound = (0.05 * torch.randn(RATE, generator=torch.Generator().manual_seed(5))).numpy()
    for trust, least, most in ((0.0, 0.0, 1e-4), (1.0, 1e-3, 1.0)):
        before, after = _stages(over(mask_stage(), trust).state())
        assert (before.name, after.name) == ("separated", "enhanced")
        moved = abs(separated(before, sound) - separated(after, sound)).max()
        assert least <= moved <= most


def test_it_is_adapted_to_a_site() -> None:
    """From the shipped weights, led by the site's own extractor, and notes say for how long."""
    recordings = SiteRecordings([torch.from_numpy(hum(5.0, 120.0, 0))], [torch.from_numpy(hum(5.0, 900.0, 1))])
    mask, _ = adapted_stage(recordings, minutes=0.0)
    stage, notes = enhanced_stage(mask, recordings, minutes=10.0, steps=1)
    assert stage.model.extractor is stage.mask.net
    assert any("1 steps" in note for note in notes)
    assert bool(torch.isfinite(stage.shares(heard()).share).all())


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return separated_line(tmp_path_factory.mktemp("enhanced"))


@pytest.fixture(scope="module")
def models(line: Line) -> Models:
    """The fan's model behind a random Ex-Diff, kept and loaded again."""
    plain = load_models(line.models / "fan")["*"]
    assert plain.paths is not None
    stage = over(MaskStage.restore(plain.paths.separator))
    clips = [Clip(torch.from_numpy(hum(60.0, 120.0, seed)), str(seed)) for seed in range(4)]
    model = fit_model(clips, detector="neighbours", separation=stage)
    save_models(line.models / "kept", {"*": model}, machine="fan", sources=[])
    loaded = load_models(line.models / "kept")
    assert loaded["*"].front_end.fine
    assert loaded["*"].id == model.id
    return {"fan": loaded}


@pytest.fixture
def broker(line: Line, tmp_path: Path) -> Broker:
    settings = line.broker.model_copy(update={"url": f"embedded:{tmp_path / 'broker'}", "partitions": 1})
    return open_line_broker(line.model_copy(update={"broker": settings}))


def run(line: Line, models: Models, broker: Broker, mics: tuple[str, ...], now_ns: int = 0) -> list[WindowScore]:
    pipeline = Pipeline(line.model_copy(update={"chain": EVERY}), models, broker, clock_ns=lambda: now_ns)
    both = [one for mic in mics for one in windows(mic, seconds=16.0)]
    sent = [Message(TOPIC_WINDOWS, 0, at, *codec.encode_window(one)) for at, one in enumerate(both)]
    return [codec.decode_score(Message("", 0, 0, one.key, one.value, one.headers)) for one in pipeline.process(sent)]


def test_microphones_share_a_batch_and_one_copy(
    line: Line, models: Models, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models with one Ex-Diff are enhanced in one batch, each scored as if alone; sound goes to the device once."""
    model = models["fan"]["*"]
    pair: dict[str, dict[str, Model]] = {"fan": {"fan-a": model, "fan-b": dataclasses.replace(model, notes=("b",))}}
    alone = [one.score for mic in ("fan-a", "fan-b") for one in run(line, pair, broker, (mic,))]
    batches, moved = [], []
    shares, send = EnhancedStage.shares, torch.Tensor.to

    def counted(self: torch.Tensor, *given: object, **options: object) -> torch.Tensor:
        if self.ndim == 2 and self.shape[1] == 2 * RATE:
            moved.append(self.shape)
        return send(self, *given, **options)

    monkeypatch.setattr(EnhancedStage, "shares", lambda self, one: (batches.append(len(one)), shares(self, one))[1])
    monkeypatch.setattr(torch.Tensor, "to", counted)
    found = run(line, pair, broker, ("fan-a", "fan-b"))
    assert [one.score for one in found] == pytest.approx(alone, abs=1e-3, nan_ok=True)
    assert any(one.status == "ok" for one in found)
    assert all("separate" in one.stage_seconds for one in found)
    assert (len(batches), len(moved)) == (1, 1)


def test_overload_skips_it(line: Line, models: Models, broker: Broker) -> None:
    """Late live windows keep their raw score and say why."""
    late = run(line, models, broker, ("fan-a",), now_ns=windows(seconds=16.0)[-1].end_ns + int(100e9))
    assert {one.reason for one in late if one.status == "ok"} == {OVERLOAD}
    assert {one.path for one in late if one.status == "ok"} == {"raw"}


def test_a_model_of_another_stage_is_told(line: Line, models: Models, broker: Broker) -> None:
    """Paths that were calibrated behind one stage are never scored behind the other."""
    chain = Chain(stages=("raw", "separated"))
    with pytest.raises(WorkFailed, match=r'trained for the stage "enhanced".*end with "separated"'):
        Pipeline(line.model_copy(update={"chain": chain}), models, broker)
