"""The front end against librosa and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from soundlab import FRONT_END, machine

from detectors.aggregate import clips_evidence
from detectors.frontend import FrontEnd, mel_edges, mel_matrix


def test_log_mel_is_librosas() -> None:
    """The plain pipeline with the same settings gives the same decibels."""
    librosa = pytest.importorskip("librosa", reason="librosa is the oracle: install the extra dev")
    sound = machine(0, 2.0)
    power = librosa.feature.melspectrogram(
        y=sound.numpy(), sr=16_000, n_fft=1024, hop_length=512, center=False, n_mels=128, htk=True, norm=None
    )
    theirs = librosa.power_to_db(power, amin=1e-10, top_db=None)
    np.testing.assert_allclose(FRONT_END(sound[None]).log_mel[0].numpy(), theirs, atol=1e-3)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_bands_follow_the_htk_scale(rate: int) -> None:
    """Corners are evenly spaced in mel, the matrix is triangles of height 1 between them, at every rate."""
    front_end = FrontEnd.at(rate)
    mel = 2595.0 * torch.log10(1.0 + mel_edges(front_end) / 700.0)
    torch.testing.assert_close(mel.diff(), mel.diff()[:1].expand(129))
    weights = mel_matrix(front_end, torch.device("cpu"))
    assert weights.shape == (front_end.n_fft // 2 + 1, 128)
    assert float(weights.min()) >= 0.0
    assert float(weights.max()) <= 1.0
    assert front_end.n_fft / rate == pytest.approx(0.064, rel=0.35)


def test_level_of_a_sine_is_its_rms() -> None:
    """A full-scale sine is at -3.01 dBFS in every frame, digital silence at the floor."""
    time = torch.arange(32_000) / 16_000
    level = FRONT_END(torch.sin(2 * math.pi * 1000.0 * time)[None]).level_dbfs
    torch.testing.assert_close(level, torch.full_like(level, -10 * math.log10(2)), atol=1e-3, rtol=0.0)
    silent = FRONT_END(torch.zeros(1, 32_000))
    assert float(silent.level_dbfs.max()) == pytest.approx(-100.0)
    assert float(silent.log_mel.max()) == pytest.approx(-100.0)


def test_a_stream_and_a_file_give_the_same_evidence() -> None:
    """A file cut into windows sounds like the same windows one by one; nothing leaks between them."""
    sound = machine(3, 10.0)
    windows = sound.reshape(5, 32_000)
    one_by_one = [FRONT_END(window[None]).row(0) for window in windows]
    (whole,) = clips_evidence([sound], FRONT_END, 32_000, 5)
    torch.testing.assert_close(whole.log_mel[0], torch.cat([one.log_mel for one in one_by_one], 1), atol=1e-3, rtol=0.0)
    assert whole.log_mel.shape == (1, 128, 5 * FRONT_END.frames(32_000))
    assert torch.equal(whole.level_dbfs[0], torch.cat([one.level_dbfs for one in one_by_one]))


def test_many_windows_are_the_same_as_few() -> None:
    """Working in chunks is invisible: 40 windows equal two times 20."""
    sounds = torch.stack([machine(seed) for seed in range(40)])
    together = FRONT_END(sounds)
    parts = torch.cat([FRONT_END(sounds[:20]).log_mel, FRONT_END(sounds[20:]).log_mel])
    torch.testing.assert_close(together.log_mel, parts, atol=1e-3, rtol=0.0)
    assert len(together) == 40


def test_raw_sound_is_fully_believed_and_input_kept() -> None:
    """Confidence is one everywhere; the samples are not changed."""
    sound = machine(1)[None]
    before = sound.clone()
    features = FRONT_END(sound)
    assert bool((features.confidence == 1).all())
    assert features.confidence.shape == features.log_mel.shape
    assert torch.equal(sound, before)


@pytest.mark.parametrize(
    ("samples", "text"),
    [(torch.zeros(1, 1023), "time >= 1024"), (torch.zeros(32_000), "batch"), (torch.zeros(1, 2048).int(), "floating")],
)
def test_what_is_no_window_is_refused(samples: torch.Tensor, text: str) -> None:
    """Too short, no batch, whole numbers: ValueError that says what is allowed."""
    with pytest.raises(ValueError, match=text):
        FRONT_END(samples)


def test_settings_are_checked() -> None:
    """An unknown version, a hop that does not divide the frame, and mixed front ends are refused."""
    with pytest.raises(ValueError, match="version is 2"):
        FrontEnd(version=2)
    with pytest.raises(ValueError, match="whole number of hops"):
        FrontEnd(hop=500)
    with pytest.raises(ValueError, match="rate is 0"):
        FrontEnd.at(0)

    class Holder:
        def __init__(self, rate: int) -> None:
            self.front_end = FrontEnd.at(rate)

    assert FrontEnd.common([Holder(16_000), Holder(16_000)]).to(torch.device("cpu")) == FRONT_END
    with pytest.raises(ValueError, match="2 different front ends"):
        FrontEnd.common([Holder(16_000), Holder(8_000)])
