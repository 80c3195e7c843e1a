"""From which level on a fault is heard: the search, the sentences, and what `train` makes of faults."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hummingline import RATE, hum, write_line

from detectors.card import read_card
from detectors.exposure_mix import FaultSound, heard, mix
from detectors.model import Clip, Model, fit_model
from detectors.store import load_models
from monitor.detectable import LOUDEST_DB, QUIETEST_DB, Audible, bisect, hear_levels, over_machine_db, pairs_of
from monitor.detectable_picture import draw_levels
from monitor.detectable_words import in_words, plain
from monitor.errors import WorkFailed
from monitor.exposing import SOURCES, FaultOrder, fault_sounds, naive_edits
from monitor.settings import Line, load_line
from monitor.train import train_line
from monitor.train_faults import Faults, exposed_name

CLIPS = [Clip(torch.from_numpy(hum(4.0, 120.0, seed)), str(seed)) for seed in range(10)]
HISS = FaultSound("leak", torch.randn(RATE, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def model() -> Model:
    return fit_model(CLIPS, detector="neighbours", grouped=True)


def test_the_search_finds_known_levels() -> None:
    """Levels that are known are found within a step; what is never heard is infinite, what always is the quietest."""
    known = np.array([-30.2, -7.0, 0.0, 11.9, 99.0, -99.0])
    found = bisect(lambda levels: levels >= known, len(known))
    step = (LOUDEST_DB - QUIETEST_DB) / 2**6
    assert (np.abs(found - known)[:4] <= step).all()
    assert (found[:4] >= known[:4]).all()
    assert math.isinf(found[4])
    assert found[5] == pytest.approx(QUIETEST_DB, abs=step)


def test_at_its_level_a_fault_alarms_and_below_it_does_not(model: Model) -> None:
    """The found level of every pair is one at which the score reaches the threshold, two steps below it does not."""
    pairs = pairs_of(model, CLIPS, {"leak": [HISS]}, count=4)
    one = hear_levels(model, pairs, 1.0)[0]
    for offset, reached in ((0.0, True), (-1.5, False)):
        mixed = [mix(pair.healthy, pair.part, level + offset) for pair, level in zip(pairs, one.levels_db, strict=True)]
        score = model.score(heard(mixed, model.front_end, 2 * RATE)).score
        assert bool((score >= 1.0 - 1e-9).all()) is reached


def test_shares_and_levels_by_hand() -> None:
    """Of four pairs at -20, -10, -10 and never: half at -10, nine in ten never; intervals hold their figure."""
    one = Audible("leak", (-10.0, -20.0, math.inf, -10.0))
    assert [one.share(level) for level in (-21.0, -20.0, -10.0, 12.0)] == [0.0, 0.25, 0.75, 0.75]
    assert one.at(0.5) == -10.0
    assert math.isinf(one.at(0.9))
    low, high = one.interval(0.5)
    assert low <= -10.0 <= high


def test_a_loud_background_raises_the_level_over_the_machine() -> None:
    """Where half of the power is the hall's, a level over the whole is 3 dB higher over the machine alone."""
    generator = torch.Generator().manual_seed(0)
    machine, hall = torch.randn(2, 100_000, generator=generator)
    assert over_machine_db([machine + hall], [hall]) == pytest.approx(3.0, abs=0.1)
    assert over_machine_db([hall], [hall]) is None
    assert over_machine_db([machine], []) is None


def test_it_is_told_in_both_languages(tmp_path: Path) -> None:
    """Levels, what is never heard, and levels over the machine are sentences; JSON has null for never."""
    found = [
        Audible("outer_race", (-14.0,) * 9 + (-9.0,)),
        Audible("leak", (math.inf,) * 3),
        Audible("rattle", (-36.0,)),
    ]
    told = in_words(found[0], "en")
    assert "from -14 dB over all it hears when healthy on (one in two, nine in ten from -14 dB)" in told
    assert "outer race" in told
    assert "-11 dB over the machine" in in_words(found[0], "en", 3.0)
    assert "would not hear" in in_words(found[1], "en")
    assert "+12 dB でも聞き分けられない" in in_words(found[1], "ja")
    assert "-36 dB 以下" in in_words(found[2], "ja")
    figures = plain(found, 1.5, None)
    assert figures["kinds"]["leak"]["db50"] is None
    json.dumps(figures, allow_nan=False)
    for lang in ("en", "ja"):
        draw_levels(found, "fan-1", tmp_path / f"{lang}.png", lang=lang, offset_db=3.0)  # type: ignore[arg-type]  # one of both
        assert (tmp_path / f"{lang}.png").read_bytes().startswith(b"\x89PNG")


def test_every_source_gives_what_was_ordered() -> None:
    """Equal counts from each source, each seed its own sounds, silence from none; an unknown source is an error."""
    order = FaultOrder(("leak", "outer_race"), 5, seed=1)
    for source in SOURCES[1:-1]:  # sds takes minutes
        sounds = fault_sounds(source, order)
        assert len(sounds) == 5
        again, others = (fault_sounds(source, replace(order, seed=seed)) for seed in (1, 2))
        same = [torch.equal(a.wave, b.wave) and a.band_hz == b.band_hz for a, b in zip(sounds, again, strict=True)]
        assert all(same)
        assert not all(torch.equal(a.wave, b.wave) for a, b in zip(sounds, others, strict=True) if len(a.wave))
    assert [one.kind for one in fault_sounds("physics", order)] == ["leak"] * 3 + ["outer_race"] * 2
    assert {one.kind for one in naive_edits(6, 0)} == {"clicks", "band noise", "gain"}
    assert fault_sounds("none", order) == []
    with pytest.raises(ValueError, match="allowed is one of none, naive"):
        fault_sounds("rumours", order)  # type: ignore[arg-type]  # that is the point


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    path = write_line(tmp_path_factory.mktemp("faults"), live_s=4.0)
    path.write_text(path.read_text().replace('id = "fan"', 'id = "fan"\nprompt = "press"', 1))  # four kinds of fault
    return load_line(path)


def test_training_writes_levels_into_the_card(line: Line, tmp_path: Path) -> None:
    """`--levels` leaves figures and sentences on the card, and a picture; `--faults` a model like any other."""
    only = {"only": ["fan"], "quiet": True}
    train_line(line, detector="quick-fusion", faults=Faults("naive", tmp_path), **only)  # type: ignore[arg-type]  # as the command does
    card = read_card(line.models / "fan")
    levels = card.figures["levels"]["*"]
    assert set(levels["kinds"]) == {"looseness", "rattle", "leak", "belt_squeal"}
    for one in levels["kinds"].values():
        assert one["pairs"] == 12
        assert set(one["words"]) == {"ja", "en"}
    assert (tmp_path / "fan-all.png").exists()
    model = next(iter(load_models(line.models / "fan").values()))
    assert model.detector_name == "quick-fusion+faults"
    sound = torch.from_numpy(hum(10.0, 120.0, 77, fault=0.05))
    assert float(model.score(heard([sound], model.front_end, 2 * RATE)).score[0]) > 0.9


def test_what_cannot_be_done_is_said(line: Line) -> None:
    """A detector that cannot hear faults, and another sampling rate: refused with what is allowed."""
    with pytest.raises(WorkFailed, match=r"'?neighbours\+faults'?.*allowed is"):
        train_line(line, only=["fan"], detector="neighbours", faults=Faults("naive"), quiet=True)
    with pytest.raises(WorkFailed, match="16000 Hz only"):
        Faults("naive").checked(48_000)
    assert Faults().checked(48_000) == Faults()
    assert exposed_name("", Faults("physics")) == "fusion+faults"
    assert exposed_name("", Faults()) == ""
