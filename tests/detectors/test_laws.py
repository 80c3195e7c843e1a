"""Laws that every detector and every control keeps, written once and run over all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from soundlab import evidence, healthy, machine, whistle

from detectors.base import Detector
from detectors.fusion import Fusion
from detectors.lineup import CONTROLS, DEFAULT, DETECTORS, ON_DEMAND, DetectorType, detector_named, new_detector
from detectors.mahalanobis import Mahalanobis

EVERYONE = [pytest.param(kind, id=kind.name) for kind in (*DETECTORS, *ON_DEMAND, *CONTROLS)]
LISTENERS = [pytest.param(kind, id=kind.name) for kind in (*DETECTORS, *ON_DEMAND)]
HEALTHY = healthy(20)
OTHERS = healthy(6, first=100)


class _Fitted(dict[DetectorType, Detector]):
    """Each kind fitted once, when it is first asked for: collecting tests fits nothing."""

    def __missing__(self, kind: DetectorType) -> Detector:
        self[kind] = kind().fit(HEALTHY)
        return self[kind]


FITTED = _Fitted()


def close(left: torch.Tensor, right: torch.Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", EVERYONE)
def test_batch_mates_never_change_a_score(kind: DetectorType) -> None:
    """A context scores the same alone, among others, and in any order."""
    together = FITTED[kind].score(OTHERS)
    alone = torch.cat([FITTED[kind].score(OTHERS.rows([row])) for row in range(len(OTHERS))])
    close(together, alone)
    order = torch.tensor([5, 0, 3, 1, 4, 2])
    close(together[order], FITTED[kind].score(OTHERS.rows(order)))


@pytest.mark.parametrize("kind", EVERYONE)
def test_a_loud_or_broken_neighbour_never_changes_a_score(kind: DetectorType) -> None:
    """Neither a screaming batch mate nor one of NaN reaches another row."""
    before = FITTED[kind].score(OTHERS)
    log_mel, level = OTHERS.log_mel.clone(), OTHERS.level_dbfs.clone()
    log_mel[0] += 60.0
    log_mel[1] = torch.nan
    assert OTHERS.waveform is not None
    waveform = OTHERS.waveform.clone()
    waveform[0] *= 1e6
    waveform[1] = torch.nan
    after = FITTED[kind].score(replace(OTHERS, log_mel=log_mel, level_dbfs=level, waveform=waveform))
    close(before[2:], after[2:])


@pytest.mark.parametrize("kind", EVERYONE)
def test_input_is_not_changed(kind: DetectorType) -> None:
    """Fitting and scoring leave the evidence as it was."""
    assert HEALTHY.waveform is not None
    mine = HEALTHY.rows(list(range(len(HEALTHY))))
    assert mine.waveform is not None
    kind().fit(mine).score(mine)
    assert torch.equal(mine.log_mel, HEALTHY.log_mel)
    assert torch.equal(mine.confidence, HEALTHY.confidence)
    assert torch.equal(mine.level_dbfs, HEALTHY.level_dbfs)
    assert torch.equal(mine.waveform, HEALTHY.waveform)


@pytest.mark.parametrize("kind", EVERYONE)
def test_fitting_twice_gives_the_same_score(kind: DetectorType) -> None:
    """A fit is a function of its data, and `cross_fit` leaves the same detector as `fit`."""
    again = kind()
    again.cross_fit(HEALTHY)
    assert torch.equal(FITTED[kind].score(OTHERS), kind().fit(HEALTHY).score(OTHERS))
    assert torch.equal(FITTED[kind].score(OTHERS), again.score(OTHERS))


@pytest.mark.parametrize("kind", EVERYONE)
def test_a_restored_detector_scores_the_same(kind: DetectorType) -> None:
    """All that a detector knows is in its state."""
    state = {key: value.clone() for key, value in FITTED[kind].state().items()}
    assert torch.equal(FITTED[kind].score(OTHERS), kind.restore(state).score(OTHERS))


@pytest.mark.parametrize("kind", EVERYONE)
def test_a_damaged_state_is_refused(kind: DetectorType) -> None:
    """A state without one of its tensors, with a wrong shape or with NaN raises ValueError that names the tensor."""
    state = dict(FITTED[kind].state())
    for key, value in state.items():
        short = key.rpartition(".")[2]
        for broken in (None, value[None], torch.full_like(value, torch.nan)):
            wrong = {name: one for name, one in state.items() if name != key}
            if broken is not None:
                wrong[key] = broken
            with pytest.raises(ValueError, match=short):
                kind.restore(wrong)


@pytest.mark.parametrize("kind", EVERYONE)
def test_silence_and_clipping_survive(kind: DetectorType) -> None:
    """Digital silence and square waves get finite scores, fitted on and scored."""
    odd = evidence([torch.zeros(16_000), torch.sign(machine(0)), *(machine(seed) for seed in range(8))])
    assert torch.isfinite(FITTED[kind].score(odd)).all()
    assert torch.isfinite(kind().fit(odd).score(odd)).all()


@pytest.mark.parametrize("kind", EVERYONE)
def test_identical_recordings_can_be_learned_from(kind: DetectorType) -> None:
    """Healthy sound without any variance gives finite scores, and the fault still a higher one."""
    same = evidence([machine(1)] * 6)
    fitted = kind().fit(same)
    scores = fitted.score(evidence([machine(1), whistle(machine(1), 0.1)]))
    assert torch.isfinite(scores).all()
    if kind not in CONTROLS:
        assert scores[1] > scores[0]


@pytest.mark.parametrize("kind", LISTENERS)
def test_a_fault_of_the_same_loudness_ranks_above_healthy(kind: DetectorType) -> None:
    """A whistle that adds nothing to the RMS scores above all healthy sound; loudness alone does not notice it."""
    sounds = [machine(seed) for seed in range(200, 206)]
    faulty = FITTED[kind].score(evidence([whistle(sound) for sound in sounds]))
    assert faulty.min() > FITTED[kind].score(evidence(sounds)).max()
    loud = FITTED[detector_named("loudness")].score
    close(loud(evidence([whistle(sound) for sound in sounds])), loud(evidence(sounds)))


@pytest.mark.parametrize("kind", LISTENERS)
def test_what_a_gain_does(kind: DetectorType) -> None:
    """Levels are heard both ways: 12 dB up and 12 dB down are odd, while loudness calls the quiet one healthier."""
    scores = {db: FITTED[kind].score(evidence([machine(300, gain_db=db)]))[0] for db in (-12, 0, 12)}
    assert min(scores[-12], scores[12]) > scores[0]
    loud = {
        db: FITTED[detector_named("loudness")].score(evidence([machine(300, gain_db=db)]))[0] for db in (-12, 0, 12)
    }
    assert loud[12] - loud[0] == pytest.approx(12.0, abs=1e-3)
    assert loud[0] - loud[-12] == pytest.approx(12.0, abs=1e-3)


@pytest.mark.parametrize("kind", [one for one in EVERYONE if one.id != "loudness"])
def test_what_is_not_believed_does_not_count(kind: DetectorType) -> None:
    """A gap of sound under zero confidence moves the score far less than the same gap believed."""
    log_mel = OTHERS.log_mel.clone()
    log_mel[:, 40:80, :13] -= 40.0
    doubt = torch.ones_like(log_mel)
    doubt[:, 40:80, :13] = 0.0
    plain = FITTED[kind].score(replace(OTHERS, confidence=doubt))
    believed = FITTED[kind].score(replace(OTHERS, log_mel=log_mel, confidence=torch.ones_like(log_mel)))
    doubted = FITTED[kind].score(replace(OTHERS, log_mel=log_mel, confidence=doubt))
    assert ((doubted - plain).abs() <= 0.1 * (believed - plain).abs() + 1e-6).all()


@pytest.mark.parametrize("kind", EVERYONE)
def test_full_confidence_is_raw_sound(kind: DetectorType) -> None:
    """Ones that fill a tensor and ones that are a view score the same, and so does any other even confidence."""
    raw = FITTED[kind].score(OTHERS)
    ones = torch.ones(()).expand(OTHERS.log_mel.shape)
    assert torch.equal(raw, FITTED[kind].score(replace(OTHERS, confidence=ones)))
    close(raw, FITTED[kind].score(replace(OTHERS, confidence=ones * 0.5)))


@pytest.mark.parametrize("kind", LISTENERS)
def test_cross_fit_never_hears_its_own_recording(kind: DetectorType) -> None:
    """One odd recording heard twice looks normal when its copies count as strangers, and odd when they do not."""
    sounds = [machine(seed) for seed in range(9)] + [whistle(machine(9), 0.05)] * 3
    heard = evidence(sounds)
    strangers = kind().cross_fit(heard, torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]))
    together = kind().cross_fit(heard, torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9]))
    assert (together[9:] - together[:9].median()).min() > (strangers[9:] - strangers[:9].median()).max()


@pytest.mark.parametrize("kind", EVERYONE)
def test_numbers_of_recordings_are_only_names(kind: DetectorType) -> None:
    """Renumbering the recordings in the same order changes nothing; as many numbers as contexts are needed."""
    groups = torch.arange(20) // 2
    assert torch.equal(kind().cross_fit(HEALTHY, groups), kind().cross_fit(HEALTHY, groups * 7 + 3))
    with pytest.raises(ValueError, match="groups"):
        kind().fit(HEALTHY, groups[:3])


@pytest.mark.parametrize("kind", LISTENERS)
def test_too_little_to_learn_from_is_said(kind: DetectorType) -> None:
    """One recording cannot be checked against another: ValueError, not a score."""
    with pytest.raises(ValueError, match="recording"):
        kind().cross_fit(HEALTHY, torch.zeros(20, dtype=torch.long))


def test_names_are_unique_and_the_default_is_a_detector() -> None:
    """Every name means one detector, the default is among them and not a control, others are refused by name."""
    names = [kind.name for kind in (*DETECTORS, *ON_DEMAND, *CONTROLS)]
    assert len(set(names)) == len(names)
    assert new_detector().name == DEFAULT
    assert DEFAULT in {kind.name for kind in DETECTORS}
    with pytest.raises(ValueError, match="allowed is one of fusion"):
        detector_named("oracle")


def test_mahalanobis_is_scikit_learns() -> None:
    """Our one matrix product gives the distance of scikit-learn's LedoitWolf on standardised band statistics."""
    from sklearn.covariance import LedoitWolf
    from sklearn.preprocessing import StandardScaler

    from detectors.statistics import band_statistics

    scaler = StandardScaler().fit(band_statistics(HEALTHY).numpy())
    peer = LedoitWolf().fit(scaler.transform(band_statistics(HEALTHY).numpy()))
    theirs = torch.from_numpy(peer.mahalanobis(scaler.transform(band_statistics(OTHERS).numpy()))).sqrt()
    torch.testing.assert_close(Mahalanobis().fit(HEALTHY).score(OTHERS), theirs, rtol=1e-3, atol=0.0)


def test_frame_gmm_is_scikit_learns() -> None:
    """With full confidence the frames' likelihood is that of scikit-learn's mixture with our parameters."""
    from scipy.special import logsumexp
    from scipy.stats import norm

    fitted = FITTED[detector_named("frame-gmm")]
    state = {key: value.numpy() for key, value in fitted.state().items()}
    frames = OTHERS.log_mel[0].T.double().numpy()  # [frame, mel]
    each = norm(state["mean"], state["variance"] ** 0.5).logpdf(frames[:, None, :]).sum(-1) + state["log_weight"]
    assert float(fitted.score(OTHERS)[0]) == pytest.approx(-logsumexp(each, axis=1).mean(), rel=1e-4)


def test_fusion_is_carried_by_the_members_that_hear_something() -> None:
    """Healthy sound fuses to about 0, a fault pulls the mean up, but no member alone outvotes all others."""
    fusion = Fusion()
    statistic = fusion.cross_fit(HEALTHY)
    assert abs(float(statistic.median())) < 0.5
    assert float(fusion.score(evidence([whistle(machine(400), 0.05)]))[0]) > float(statistic.max()) + 1.0
    state = dict(fusion.state())
    state["frame-gmm.mean"] = state["frame-gmm.mean"] + 1000.0  # one member goes mad: every frame is impossible
    mad = Fusion.restore(state).score(OTHERS) - fusion.score(OTHERS)
    assert bool((mad > 0).all())
    assert float(mad.max()) < 6.0
