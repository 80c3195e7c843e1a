"""A model from sound to score, and where it says that the sound departs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from soundlab import FRONT_END, RATE, machine, whistle

from detectors.aggregate import clips_evidence
from detectors.base import Evidence
from detectors.healthy import PARTS
from detectors.model import Clip, Model, fit_model
from detectors.recordings import stack

CLIPS = [Clip(machine(seed, 2.0), f"recording {seed}") for seed in range(12)]
MODEL = fit_model(CLIPS, window_s=1.0)


def context(sound: torch.Tensor, model: Model = MODEL) -> Evidence:
    return clips_evidence([sound], FRONT_END, RATE, model.context_windows, waveform=model.needs_waveform)[0]


def test_a_fault_scores_above_every_healthy_sound() -> None:
    """What twelve recordings cannot count is called extrapolated; healthy sound is not."""
    healthy = MODEL.score(context(machine(50, 2.0)))
    faulty = MODEL.score(context(whistle(machine(50, 2.0), 0.05)))
    assert float(faulty.score[0]) > max(1.2, float(healthy.score[0]))
    assert bool(faulty.extrapolated[0])
    assert float(faulty.statistic[0]) > float(healthy.statistic[0])
    assert MODEL.effective_n == 12
    assert (MODEL.detector_name, MODEL.rate, MODEL.context_s) == ("fusion", RATE, 2.0)


def test_it_says_where_the_sound_departs() -> None:
    """A whistle at 3 kHz is found around 3 kHz with its decibels; so is a band that went missing, with a minus."""
    found = MODEL.score(context(whistle(machine(51, 2.0), 0.03)))
    low, high = found.band_hz[0].tolist()
    assert low <= 3000.0 <= high
    assert high - low < 1000.0
    assert float(found.band_db[0]) > 6.0
    sound = context(machine(52, 2.0))
    muffled = sound.log_mel.clone()
    muffled[:, 60:80] -= 20.0
    lost = MODEL.score(replace(sound, log_mel=muffled))
    edges = MODEL.band_edges_hz
    assert float(edges[58]) <= float(lost.band_hz[0, 0]) <= float(lost.band_hz[0, 1]) <= float(edges[82])
    assert float(lost.band_db[0]) == pytest.approx(-20.0, abs=3.0)


def test_the_profile_rises_where_the_whistle_is() -> None:
    """The share of the spectrum that holds 3 kHz rises most, and shares far from it stay near 0 dB."""
    profile = MODEL.score(context(whistle(machine(51, 2.0), 0.03))).profile_db[0]
    tops = [float(part[-1]) for part in MODEL.band_edges_hz[1:].tensor_split(PARTS)]
    place = next(index for index, top in enumerate(tops) if top >= 3000.0)
    assert int(profile.argmax()) == place
    assert float(profile[place]) > 3.0
    assert float(profile[place]) > 2 * float(profile[: place - 2].abs().max())


def test_the_heat_map_is_the_sound_in_healthy_spreads() -> None:
    """Healthy frames lie around 0, the whistle's band far above, in every frame."""
    heat = MODEL.heat(context(whistle(machine(53, 2.0), 0.03)))
    assert heat.shape == (128, 2 * FRONT_END.frames(RATE))
    band = int(torch.searchsorted(MODEL.band_edges_hz, torch.tensor(3000.0))) - 1
    assert float(heat[band].min()) > 2.0
    assert abs(float(MODEL.heat(context(machine(54, 2.0))).median())) < 1.0


def test_band_edges_are_ordered_and_whole() -> None:
    """The borders of 128 bands rise from 0 Hz to half the rate."""
    edges = MODEL.band_edges_hz
    assert edges.shape == (129,)
    assert bool((edges.diff() > 0).all())
    assert (float(edges[0]), float(edges[-1])) == pytest.approx((0.0, RATE / 2))


def test_the_id_is_the_models_content() -> None:
    """The same sound and seed give the same id, other sound or another detector another."""
    assert fit_model(CLIPS, window_s=1.0).id == MODEL.id
    assert fit_model(CLIPS[:-1], window_s=1.0).id != MODEL.id
    assert fit_model(CLIPS, window_s=1.0, detector="neighbours").id != MODEL.id
    assert len(MODEL.id) == 12


def test_rows_of_a_batch_are_scored_each_for_itself() -> None:
    """Every field of a scored batch equals that of its rows alone."""
    sounds = [machine(60, 2.0), whistle(machine(61, 2.0)), machine(62, 2.0)]
    batch = MODEL.score(stack([context(sound) for sound in sounds]))
    for row, sound in enumerate(sounds):
        for together, alone in zip(batch, MODEL.score(context(sound)), strict=True):
            torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-4)


def test_too_few_recordings_are_refused_with_a_remedy() -> None:
    """Two recordings cannot calibrate anything."""
    with pytest.raises(ValueError, match="2 healthy recordings, at least 3"):
        fit_model(CLIPS[:2], window_s=1.0)
    with pytest.raises(ValueError, match="detector is 'oracle'"):
        fit_model(CLIPS, detector="oracle")


def test_other_rates_work() -> None:
    """At 48 kHz frames stay 64 ms long and a fault at 3 kHz is found where it is."""
    clips = [Clip(machine(seed, 3.0), str(seed)) for seed in range(6)]  # the same samples, read three times as fast
    model = fit_model(clips, rate=48_000, window_s=1.0)
    assert model.front_end.n_fft == 4096
    evidence = clips_evidence([whistle(machine(9, 3.0), 0.05)], model.front_end, 48_000, 1, waveform=True)[0]
    low, high = model.score(evidence).band_hz[0].tolist()
    assert low <= 9000.0 <= high
