"""Physical features: what they measure, that they need the waveform, and what kinematics add."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from soundlab import FRONT_END, RATE, evidence, healthy, machine
from torch import Tensor

from detectors.aggregate import clips_evidence, join
from detectors.base import Evidence, needs_waveform
from detectors.frontend import FrontEnd
from detectors.kinematics import Kinematics
from detectors.lineup import new_detector
from detectors.model import Clip, fit_model
from detectors.neighbours import Neighbours
from detectors.physical import Physical
from detectors.recordings import stack
from detectors.waveform import VALUES, Waveform, waveform_values
from sds_engine.physics.bearings import Bearing
from sds_engine.physics.faults import Fault, add_fault
from sds_engine.physics.kinds import draw_machine
from sds_engine.physics.machines import draw_take, render_take


def heard(sounds: list[Tensor]) -> Evidence:
    return stack(clips_evidence(sounds, FrontEnd.at(RATE), 2 * RATE, 5, waveform=True))


def test_crest_factor_and_kurtosis_are_the_textbooks() -> None:
    """A sine has 3.01 dB and 1.5, noise a kurtosis of 3, silence finite values; rows do not mix."""
    time = torch.arange(RATE) / RATE
    sine = torch.sin(2 * math.pi * 440.0 * time)
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    values = waveform_values(torch.stack([sine, noise, torch.zeros(RATE)]), RATE)
    assert values.shape == (3, VALUES)
    found = Waveform.of(values)
    assert float(found.crest_db[0]) == pytest.approx(20 * math.log10(2**0.5), abs=0.01)
    assert found.kurtosis[:2].tolist() == pytest.approx([1.5, 3.0], abs=0.1)
    assert torch.isfinite(values).all()
    assert torch.allclose(values[1:2], waveform_values(noise[None], RATE), rtol=1e-4, atol=1e-6)
    assert float(found.lines[2].max()) < 1e-12


def test_the_waveform_is_heard_only_where_it_is_asked_for() -> None:
    """Most detectors do without; a context has a waveform only if each of its windows was heard with one."""
    assert needs_waveform(Physical)
    assert needs_waveform(Physical())
    assert not needs_waveform(Neighbours)
    window = machine(0, 1.0)[None]
    plain, whole = FRONT_END(window).row(0), FRONT_END(window, waveform=True).row(0)
    assert join([[plain, whole]]).waveform is None
    both = join([[whole, whole]]).waveform
    assert both is not None
    assert both.shape == (1, 2, VALUES)
    with pytest.raises(ValueError, match="waveform=True"):
        Physical().fit(healthy(6)).score(join([[plain]]))


def test_a_windowed_stream_and_a_file_are_the_same_evidence() -> None:
    """Windows heard one by one and joined give the features of the file cut into windows."""
    sound = machine(3, 4.0)
    (whole,) = clips_evidence([sound], FRONT_END, 2 * RATE, 2, waveform=True)
    alone = [FRONT_END(part[None], waveform=True).row(0) for part in sound.reshape(2, -1)]
    detector = Physical()
    assert torch.allclose(detector.features(whole), detector.features(join([alone])), rtol=1e-4, atol=1e-4)


def test_kinematics_find_a_bearing_that_is_18_db_down() -> None:
    """On procedural fans the rates of their own bearing tell a damaged race from healthy far better than without."""
    gains = []
    for seed in (21, 22):
        rng = np.random.default_rng(seed)
        fan = draw_machine("fan", rng)
        learned = heard([torch.from_numpy(render_take(draw_take(fan, 10.0, RATE, rng))) for _ in range(20)])
        good = heard([torch.from_numpy(render_take(draw_take(fan, 10.0, RATE, rng))) for _ in range(10)])
        takes = [draw_take(fan, 10.0, RATE, rng) for _ in range(10)]
        bad = heard([torch.from_numpy(add_fault(take, Fault("outer_race", -18.0), 1)[0]) for take in takes])
        areas = []
        for kinematics in (Kinematics(fan.shaft_hz, fan.bearing), None):
            detector = Physical(kinematics).fit(learned)
            areas.append(float((detector.score(bad)[:, None] > detector.score(good)).double().mean()))
        gains.append(areas)
    with_them, without = np.mean(gains, axis=0)
    assert with_them > 0.8
    assert with_them > without + 0.1


def test_kinematics_reach_the_detector_and_survive_the_disk() -> None:
    """fit_model hands them on, the state keeps them, and rates beyond the grid are left out rather than guessed."""
    kinematics = Kinematics(24.7, Bearing(9, 7.94, 39.04), 32)  # the mesh at 790 Hz is beyond the grid
    clips = [Clip(machine(seed, 4.0), f"{seed}") for seed in range(5)]
    model = fit_model(clips, window_s=2.0, detector="physical", kinematics=kinematics)
    assert isinstance(model.detector, Physical)
    assert model.needs_waveform
    again = Physical.restore(model.detector.state())
    assert again.kinematics == kinematics
    plain = Physical().features(evidence([machine(1)])).shape[1]
    assert again.features(evidence([machine(1)])).shape[1] == plain + 5  # shaft, BPFO, BPFI, 2BSF, FTF
    assert isinstance(new_detector("physical", kinematics), Physical)
    assert new_detector("neighbours", kinematics).name == "neighbours"
