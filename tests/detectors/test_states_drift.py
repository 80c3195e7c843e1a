"""States found in healthy sound, and the test for drift: what each finds, and how rarely it errs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from soundlab import evidence, healthy, machine, whistle

from detectors.drift import conformal_p_values, drift_of, log10_fortune
from detectors.impulses import Impulses
from detectors.mahalanobis import Mahalanobis
from detectors.states import States

GAINS_DB = (-18.0, 0.0, 12.0)  # idle, running, at full speed


def three_states(first: int, count: int) -> list[torch.Tensor]:
    return [machine(first + n, gain_db=GAINS_DB[n % 3]) for n in range(count)]


def test_states_are_found_and_one_state_stays_one() -> None:
    """Three loudnesses make three states, in order of level; a machine with one way of running has one."""
    fitted = States().fit(evidence(three_states(0, 36)))
    assert fitted.count == 3
    nearest = fitted.distances(evidence(three_states(100, 6))).argmin(1)
    assert nearest.tolist() == [0, 1, 2, 0, 1, 2]
    assert States().fit(healthy(24)).count == 1


def test_what_lies_between_states_is_odd() -> None:
    """Half-way between idle and running is no state: odd for the nearest state, ordinary for one broad baseline."""
    heard = evidence(three_states(0, 36))
    others, between = evidence(three_states(100, 9)), evidence([machine(200 + n, gain_db=-9.0) for n in range(6)])
    states, single = States().fit(heard), Mahalanobis().fit(heard)
    assert states.score(between).min() > states.score(others).max()
    assert single.score(between).min() < single.score(others).max()


def test_a_fault_is_found_in_every_state() -> None:
    """The same whistle, relative to the machine, is odd when idle, running and at full speed."""
    fitted = States().fit(evidence(three_states(0, 36)))
    sounds = three_states(300, 6)
    faulty = [whistle(sound, 0.01 * 10 ** (GAINS_DB[n % 3] / 20)) for n, sound in enumerate(sounds)]
    assert (fitted.score(evidence(faulty)) > fitted.score(evidence(sounds)).max()).all()


def test_one_odd_recording_is_no_state() -> None:
    """Contexts of a single recording never make a state of their own."""
    sounds = [machine(n) for n in range(20)] + [machine(n, gain_db=15.0) for n in range(6)]
    groups = torch.tensor([*range(20), *[20] * 6])
    assert States().fit(evidence(sounds), groups).count == 1


def clicks(sound: torch.Tensor, level: float) -> torch.Tensor:
    """20 ms of noise in the middle of the sound."""
    count = 320
    generator = torch.Generator().manual_seed(1)
    faulty = sound.clone()
    faulty[8000 : 8000 + count] += level * torch.randn(count, generator=generator)
    return faulty


def test_a_click_that_a_mean_does_not_hear_is_heard() -> None:
    """One loud click in 4 s is odd for the view of events, at a level at which Mahalanobis hears nothing."""
    fitted = {kind: kind().fit(healthy(24, seconds=4.0)) for kind in (Impulses, Mahalanobis)}
    sounds = [machine(seed, 4.0) for seed in range(100, 106)]
    plain, clicked = evidence(sounds), evidence([clicks(sound, 0.06) for sound in sounds])
    assert (fitted[Impulses].score(clicked) > fitted[Impulses].score(plain).max()).all()
    assert not (fitted[Mahalanobis].score(clicked) > fitted[Mahalanobis].score(plain).max()).all()


def test_a_machine_that_always_strikes_is_healthy() -> None:
    """Where every healthy context has its strike, a strike is not odd, and one 12 dB louder is."""
    fitted = Impulses().fit(evidence([clicks(machine(seed, 2.0), 0.1) for seed in range(24)]))
    usual = fitted.score(evidence([clicks(machine(seed, 2.0), 0.1) for seed in range(100, 108)]))
    louder = fitted.score(evidence([clicks(machine(seed, 2.0), 0.4) for seed in range(200, 204)]))
    assert louder.min() > usual.max()


def test_p_values_of_unchanged_recordings_are_uniform() -> None:
    """Smoothed conformal p-values are uniform and independent, ties or none."""
    rng = np.random.default_rng(0)
    for draw in (rng.standard_normal, lambda n: rng.integers(0, 3, n).astype(float)):
        p = np.concatenate([conformal_p_values(draw(20), draw(60), seed) for seed in range(60)])
        share = np.histogram(p, bins=10, range=(0, 1))[0] / len(p)
        assert np.abs(share - 0.1).max() < 0.025


def test_the_false_alarm_rate_is_the_stated_one() -> None:
    """Of 300 unchanged machines, each watched over 200 recordings, at most 5% are ever said to have drifted at 0.05."""
    rng = np.random.default_rng(1)
    said = [drift_of(rng.standard_normal(15), rng.standard_normal(200), alpha=0.05, seed=n).drifted for n in range(300)]
    assert np.mean(said) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize("shift", [1.5, -1.5])
def test_a_drift_is_found_soon(shift: float) -> None:
    """A shift of 1.5 deviations, up or down, is found within 60 recordings in nine of ten, and not before it begins."""
    rng = np.random.default_rng(2)
    first = []
    for seed in range(40):
        later = rng.standard_normal(80)
        later[20:] += shift
        first.append(drift_of(rng.standard_normal(40), later, seed=seed).first)
    assert np.mean([one is not None for one in first]) >= 0.9
    assert np.mean([one is not None and one < 20 for one in first]) <= 0.05


def test_the_fortune_is_fair() -> None:
    """Over one uniform p-value the mean fortune is 1: nobody gains on average where nothing has changed."""
    u = (np.arange(20_000) + 0.5) / 20_000
    p = 0.5 * u**60  # dense where the bets are steep; the fortune is the same at 1 - p
    fortune = 10 ** np.array([log10_fortune(one)[0] for one in p[:, None]])
    assert 0.9 < float((fortune * 60 * u**59).mean()) <= 1.001  # p is cut at 1e-12, to the gambler's loss


def test_what_cannot_be_tested_is_said() -> None:
    """No healthy statistic, NaN, and an impossible alpha raise ValueError; no later recording is no drift."""
    with pytest.raises(ValueError, match="0 healthy"):
        drift_of([], [1.0])
    with pytest.raises(ValueError, match="finite"):
        drift_of([1.0], [float("nan")])
    with pytest.raises(ValueError, match="alpha"):
        drift_of([1.0], [1.0], alpha=1.0)
    assert not drift_of([1.0, 2.0], []).drifted
