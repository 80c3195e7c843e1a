"""Faults in training: a voice more in the fusion, which the healthy recordings keep in check."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from soundlab import FRONT_END, RATE, evidence, healthy, machine

from detectors.calibrate import calibrate
from detectors.exposure import ExposedQuickFusion, Head, Values
from detectors.exposure_mix import Doses, Exposed, FaultSound, expose, mix
from detectors.fusion import QuickFusion
from detectors.model import Model, fit_model
from detectors.recordings import Chosen, Clip, Span

COUNT = 20
CLIPS = [Clip(machine(seed), str(seed)) for seed in range(COUNT)]
CHOSEN = Chosen(tuple(Span(number, 0, 1, number) for number in range(COUNT)), 1, COUNT, ())
GROUPS = torch.arange(COUNT)
TRAIN = healthy(COUNT)
OTHERS = healthy(8, first=100)


def tone(hz: float, kind: str = "tone") -> FaultSound:
    return FaultSound(kind, torch.sin(2 * math.pi * hz * torch.arange(RATE // 4) / RATE))


def exposed(sounds: list[FaultSound], count: int = 60) -> Exposed:
    return expose(CLIPS, CHOSEN, sounds, FRONT_END, RATE, Doses(count, -20.0, 0.0))


def faulty(hz: float, level_db: float) -> torch.Tensor:
    """Held-out machines with a tone."""
    rng = np.random.default_rng(0)
    sounds = [machine(seed) for seed in range(200, 212)]
    parts = [tone(hz).part(sound, RATE, rng) for sound in sounds]
    return evidence([mix(sound, part, level_db) for sound, part in zip(sounds, parts, strict=True)])


FITTED = ExposedQuickFusion().expose(exposed([tone(2000.0), tone(5000.0)]))
FOLD = FITTED.cross_fit(TRAIN, GROUPS)


def test_without_faults_it_is_its_base() -> None:
    """What no faults were handed over to scores exactly as the fusion beside it, in folds and afterwards."""
    plain, base = ExposedQuickFusion(), QuickFusion()
    assert torch.equal(plain.cross_fit(TRAIN, GROUPS), base.cross_fit(TRAIN, GROUPS))
    assert torch.equal(plain.score(OTHERS), base.score(OTHERS))
    assert torch.equal(type(plain).restore(plain.state()).score(OTHERS), base.score(OTHERS))


def test_a_restored_one_scores_the_same_alone_and_in_any_company() -> None:
    """State and back, each row by itself: the same scores; the same seed fits the same."""
    before = FITTED.score(OTHERS)
    again = ExposedQuickFusion.restore({key: value.clone() for key, value in FITTED.state().items()})
    alone = torch.cat([again.score(OTHERS.rows([row])) for row in range(len(OTHERS))])
    torch.testing.assert_close(alone, before, rtol=1e-5, atol=1e-5)
    twin = ExposedQuickFusion().expose(exposed([tone(2000.0), tone(5000.0)]))
    assert torch.equal(twin.cross_fit(TRAIN, GROUPS), FOLD)


def test_a_damaged_state_is_refused() -> None:
    """A head whose tensors do not fit together is an error with the tensor's name."""
    state = dict(FITTED.state())
    state["head.spread"] = state["head.spread"][:-1]
    with pytest.raises(ValueError, match="spread"):
        ExposedQuickFusion.restore(state)
    del state["centre"]
    with pytest.raises(ValueError, match="centre"):
        ExposedQuickFusion.restore(state)


def test_a_fault_like_those_in_training_stands_out_more() -> None:
    """Beyond the healthy statistics, in their spreads, a tone that training had stands higher than without it."""
    base = QuickFusion()
    fold = base.cross_fit(TRAIN, GROUPS)
    odd = faulty(2000.0, -18.0)

    def height(fold: torch.Tensor, odd: torch.Tensor) -> float:
        return float((odd.median() - fold.median()) / (fold.quantile(0.9) - fold.median()))

    assert height(FOLD, FITTED.score(odd)) > height(fold, base.score(odd))


def test_healthy_sound_alarms_no_more_often_than_calibrated() -> None:
    """Over several factories, with whatever faults in training, held-out healthy sound stays at the nominal rate."""
    alarms = trials = 0
    for seed in range(4):
        first = 1000 * (seed + 1)
        clips = [Clip(machine(first + number), str(number)) for number in range(COUNT)]
        rng = np.random.default_rng(seed)
        sounds = [FaultSound("hiss", torch.from_numpy(rng.standard_normal(RATE).astype(np.float32)))]
        detector = ExposedQuickFusion().expose(expose(clips, CHOSEN, sounds, FRONT_END, RATE, Doses(40, -12, 6, seed)))
        fold = detector.cross_fit(evidence([clip.samples for clip in clips]), GROUPS)
        score = calibrate(fold, GROUPS)(detector.score(healthy(25, first=first + 500))).score
        alarms += int((score >= 1.0 - 1e-9).sum())
        trials += 25
    # p <= 0.1 of twenty recordings: k = 2, a rate of 2/21; three binomial deviations above it
    assert alarms / trials <= 2 / 21 + 3 * math.sqrt(0.1 * 0.9 / trials)


def test_faults_in_a_recording_stay_out_of_its_fold() -> None:
    """A head that is fitted without a recording is not shown that recording's faults either."""
    values = torch.zeros(4, Head.values(TRAIN).shape[1])
    values[3] = torch.nan  # would spoil the fit
    head = Head(Values(values, torch.tensor([0, 1, 2, 7])))
    kept = GROUPS != 7
    head.fit(TRAIN.rows(torch.nonzero(kept).squeeze(1)), GROUPS[kept])
    assert bool(torch.isfinite(head.score(OTHERS)).all())


def test_levels_are_those_asked_for() -> None:
    """What is added has the asked RMS over the healthy context, for waves shorter and longer than it, and for bands."""
    rng = np.random.default_rng(1)
    sound = machine(5)
    long = FaultSound("long", torch.randn(3 * RATE, generator=torch.Generator().manual_seed(0)))
    for fault in (tone(2000.0), long, FaultSound("gain", torch.zeros(0), (500.0, 2000.0))):
        added = mix(sound, fault.part(sound, RATE, rng), -6.0) - sound
        ratio = 10 * math.log10(float(added.square().mean() / sound.square().mean()))
        assert ratio == pytest.approx(-6.0, abs=0.1)
    silence = FaultSound("none", torch.zeros(RATE))
    assert torch.equal(mix(sound, silence.part(sound, RATE, rng), 6.0), sound)
    assert torch.equal(mix(sound, FaultSound("empty", torch.zeros(0)).part(sound, RATE, rng), 6.0), sound)


def test_a_repeated_wave_has_no_seam() -> None:
    """A short hum that is repeated keeps its level at every moment: no gap and no step where copies meet."""
    rng = np.random.default_rng(2)
    wave = torch.randn(RATE // 5, generator=torch.Generator().manual_seed(0))
    part = FaultSound("hiss", wave).part(torch.randn(RATE, generator=torch.Generator().manual_seed(1)), RATE, rng)
    powers = part.reshape(20, -1).square().mean(1)
    assert float(powers.min()) > 0.3 * float(powers.median())
    assert float(part.diff().abs().max()) < 8 * float(part.std())


def test_a_model_keeps_what_it_heard() -> None:
    """`fit_model` with faults gives a model that is restored to the same scores; other detectors refuse faults."""
    clips = [Clip(machine(seed, 2.0), str(seed)) for seed in range(8)]
    model = fit_model(clips, detector="quick-fusion+faults", grouped=True, faults=[tone(2000.0)])
    settings = (model.front_end, model.window_s, model.context_windows, model.detector_name, model.library.recordings)
    again = Model.restore({key: value.clone() for key, value in model.state().items()}, *settings)
    two = [machine(seed, 2.0) for seed in (50, 51)]
    odd = evidence(two)
    torch.testing.assert_close(again.score(odd).score, model.score(odd).score)
    assert again.id == model.id
    with pytest.raises(ValueError, match=r"quick-fusion\+faults"):
        fit_model(clips, detector="quick-fusion", grouped=True, faults=[tone(2000.0)])
    with pytest.raises(ValueError, match="0 fault sounds"):
        expose(clips, CHOSEN, [], FRONT_END, RATE, Doses())
