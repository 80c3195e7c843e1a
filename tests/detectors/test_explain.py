"""Explanations: envelope lines against their closed form, and guesses at faults whose cause is known."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
import torch
from soundlab import RATE, evidence, machine

from detectors.aggregate import clips_evidence
from detectors.base import Evidence
from detectors.envelope import (
    BINS,
    OCTAVES,
    STEP_HZ,
    line_at,
    octave_edges,
    octave_envelopes,
    over_surroundings,
    rate_of_strokes,
)
from detectors.explain import Explanation, explain
from detectors.kinematics import Kinematics
from detectors.model import Clip, Model, fit_model
from sds_engine.physics.faults import Fault, add_fault
from sds_engine.physics.kinds import draw_machine
from sds_engine.physics.machines import Machine, draw_take, render_take

SECONDS = 10.0


def modulated(hz: float, depth: float, carrier_hz: float = 3000.0, seconds: float = 4.0) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return (1 + depth * torch.cos(2 * math.pi * hz * time)).sqrt() * torch.cos(2 * math.pi * carrier_hz * time)


def test_a_modulation_reads_its_depth() -> None:
    """1 + m cos(2 pi f t) on the squared envelope is a line of power m^2 at f in its octave, and nothing elsewhere."""
    power, _ = octave_envelopes(modulated(40.0, 0.5)[None], RATE)
    assert octave_edges(RATE) == [500.0, 1000.0, 2000.0, 4000.0, 8000.0]
    assert power.shape == (1, OCTAVES, BINS)
    assert float(power[0, 2, round(40.0 / STEP_HZ)]) == pytest.approx(0.25, rel=1e-3)
    power[0, 2, round(40.0 / STEP_HZ)] = 0.0
    assert float(power[0, 2].max()) < 1e-3


def test_noise_is_not_peaky_and_strokes_are() -> None:
    """White noise has peakiness 1 in every octave, clicks ten times a second far more, in any batch and length."""
    noise = torch.randn(2, 4 * RATE, generator=torch.Generator().manual_seed(0))
    _, peaks = octave_envelopes(noise, RATE)
    assert torch.allclose(peaks, torch.ones(2, OCTAVES), atol=0.15)
    clicks = torch.zeros(1, 4 * RATE)
    clicks[0, :: RATE // 10] = 1.0
    power, peaks = octave_envelopes(clicks + 1e-4 * noise[:1], RATE)
    assert float(peaks.min()) > 5.0
    assert rate_of_strokes(over_surroundings(power)[0, 3])[0] == 10.0
    short, _ = octave_envelopes(clicks[:, : RATE // 2], RATE)  # half a second: coarser bins on the same grid
    assert line_at(over_surroundings(short)[0, 3], 10.0, 0.1)[1] > 5.0
    assert torch.isfinite(over_surroundings(octave_envelopes(torch.zeros(1, RATE), RATE)[0])).all()


def test_a_strong_second_harmonic_does_not_pass_for_the_rate() -> None:
    """Strokes of which every other one is much weaker come at the rate of the pairs."""
    clicks = torch.zeros(1, 6 * RATE)
    clicks[0, :: RATE // 20] = 1.0
    clicks[0, :: RATE // 10] = 3.0
    noise = 1e-3 * torch.randn(1, 6 * RATE, generator=torch.Generator().manual_seed(0))
    power, _ = octave_envelopes(clicks + noise, RATE)
    assert rate_of_strokes(over_surroundings(power)[0, 3])[0] == 10.0


@cache
def individual(kind: str, seed: int) -> tuple[Machine, Kinematics, Model]:
    rng = np.random.default_rng(seed)
    one = draw_machine(kind, rng)
    clips = [torch.from_numpy(render_take(draw_take(one, SECONDS, RATE, rng))) for _ in range(8)]
    teeth = getattr(one, "teeth", None)
    kinematics = Kinematics(one.shaft_hz, one.bearing, teeth[0] if isinstance(teeth, tuple) else teeth)
    named = [Clip(clip, f"{number}.wav") for number, clip in enumerate(clips)]
    return one, kinematics, fit_model(named, detector="neighbours", kinematics=kinematics)


def explained(kind: str, seed: int, fault: str, level_db: float, take: int = 0) -> Explanation:
    one, _, model = individual(kind, seed)
    rng = np.random.default_rng([seed, take])
    sound, _ = add_fault(draw_take(one, SECONDS, RATE, rng), Fault(fault, level_db), take)
    samples = torch.from_numpy(sound)
    return explain(model, heard(samples, model), samples)


def heard(samples: torch.Tensor, model: Model) -> Evidence:
    (context,) = clips_evidence([samples], model.front_end, 2 * RATE, 5)
    return context


@pytest.mark.parametrize(("kind", "seed"), [("fan", 6), ("gearbox", 3)])
@pytest.mark.parametrize(("fault", "part"), [("outer_race", "BPFO"), ("inner_race", "BPFI"), ("ball", "2BSF")])
def test_a_damaged_bearing_is_named(kind: str, seed: int, fault: str, part: str) -> None:
    """As loud as the machine, each fault of the bearing is named in its strongest band, at its rate within 3%."""
    guess = explained(kind, seed, fault, 0.0).bands[0].guess
    assert (guess.kind, guess.part) == ("impacts", part)
    assert guess.hz == pytest.approx(individual(kind, seed)[1].bearing_hz()[part], rel=0.03, abs=STEP_HZ)


def test_without_kinematics_the_rate_is_said() -> None:
    """The same outer race on an unknown machine is so many impacts a second."""
    one, kinematics, model = individual("gearbox", 3)
    sound, _ = add_fault(draw_take(one, SECONDS, RATE, np.random.default_rng(5)), Fault("outer_race", 0.0), 5)
    samples = torch.from_numpy(sound)
    guess = explain(model, heard(samples, model), samples, Kinematics()).bands[0].guess
    assert (guess.kind, guess.part) == ("impacts", "")
    assert guess.hz == pytest.approx(kinematics.bearing_hz()["BPFO"], rel=0.03)


def test_a_leak_hisses_and_a_loose_cover_strikes_irregularly() -> None:
    """Broadband noise is no impact and no tone; what rattles comes in strokes without a rate."""
    assert {band.guess.kind for band in explained("pump", 2, "leak", 0.0).bands} == {"hiss"}
    assert explained("fan", 6, "rattle", 0.0).bands[0].guess.kind == "strokes"


def test_a_tone_is_named_after_what_turns() -> None:
    """A pure tone in a band is a tone at its frequency, the third harmonic of the gear mesh if that fits."""
    _, kinematics, model = individual("gearbox", 3)
    rng = np.random.default_rng(9)
    quiet = torch.from_numpy(render_take(draw_take(individual("gearbox", 3)[0], SECONDS, RATE, rng)))
    mesh = kinematics.mesh_hz()
    assert mesh is not None
    time = torch.arange(len(quiet)) / RATE
    for hz, part, order in ((3 * mesh, "mesh", 3), (5000.0, "", 0)):
        samples = quiet + 0.05 * torch.sin(2 * math.pi * hz * time)
        band = explain(model, heard(samples, model), samples).bands[0]
        assert band.low_hz - 50 < hz < band.high_hz + 50
        assert (band.guess.kind, band.guess.part, band.guess.order) == ("tone", part, order)
        assert band.guess.hz == pytest.approx(hz, abs=2.0)


def test_what_is_missing_is_quieter() -> None:
    """A machine whose upper half went silent has lost level, and no tone or impact is invented for that."""
    clips = [Clip(machine(seed, 4.0), f"{seed}.wav") for seed in range(6)]
    model = fit_model(clips, window_s=2.0, detector="neighbours")
    sound = machine(50, 4.0)
    spectrum = torch.fft.rfft(sound)
    spectrum[len(spectrum) // 2 :] *= 0.1
    dull = torch.fft.irfft(spectrum, n=len(sound))
    band = explain(model, evidence([dull]), dull).bands[0]
    assert band.guess.kind == "quieter"
    assert band.db == pytest.approx(-20.0, abs=3.0)
    assert band.spreads < 0


def test_the_explanation_is_json_and_names_a_recording() -> None:
    """As plain values it survives JSON; three bands at most, the strongest first, from one context only."""
    found = explained("fan", 6, "rattle", 0.0)
    plain = json.loads(json.dumps(found.plain()))
    assert plain["nearest"]["recording"].endswith(".wav")
    spreads = [abs(band["spreads"]) for band in plain["bands"]]
    assert 1 <= len(spreads) <= 3
    assert spreads == sorted(spreads, reverse=True)
    model = individual("fan", 6)[2]
    two = evidence([machine(1, 2.0), machine(2, 2.0)])
    with pytest.raises(ValueError, match="one at a time"):
        explain(model, two, machine(1))
