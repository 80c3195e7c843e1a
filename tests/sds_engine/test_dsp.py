"""Signal processing against outside libraries and closed forms."""

import librosa
import numpy as np
import pytest
import scipy.signal
import torch

from sds_engine import dsp

RATE = 16_000


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randn(3, RATE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def tone(hz: float, amplitude: float = 1.0, seconds: float = 1.0) -> torch.Tensor:
    return amplitude * torch.sin(2 * torch.pi * hz * torch.arange(int(RATE * seconds), dtype=torch.float64) / RATE)


def test_stft_power_is_librosas(noise: torch.Tensor) -> None:
    """The STFT power must equal librosa's without padding, for every row of a batch."""
    expected = np.abs(librosa.stft(noise.numpy(), n_fft=1024, hop_length=512, center=False)) ** 2
    np.testing.assert_allclose(dsp.stft_power(noise, 1024, 512).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_sound_shorter_than_a_frame_is_refused() -> None:
    """A sound that fills no frame must be refused, and the text must name both lengths."""
    with pytest.raises(ValueError, match=r"100 samples.*1024"):
        dsp.stft_power(torch.zeros(100), 1024, 512)


def test_mel_filters_are_librosas() -> None:
    """The mel filters must equal librosa's HTK filters without area normalisation."""
    expected = librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=64, fmin=50.0, fmax=7000.0, htk=True, norm=None)
    np.testing.assert_allclose(dsp.mel_filters(RATE, 1024, 64, 50.0, 7000.0).numpy(), expected, atol=2e-5)


def test_empty_mel_bands_are_refused() -> None:
    """More bands than the bins can fill must be refused instead of reading as silence."""
    with pytest.raises(ValueError, match="hold no bin"):
        dsp.mel_filters(RATE, 256, 128)
    with pytest.raises(ValueError, match="0 <= low < high"):
        dsp.mel_filters(RATE, 1024, 64, 0.0, 9000.0)


def test_decibels_have_a_floor_of_their_own() -> None:
    """Decibels must not depend on what else is in the tensor, and zero must read as the floor."""
    assert dsp.power_to_db(torch.tensor([1.0, 100.0, 0.0]), -80.0).tolist() == pytest.approx([0.0, 20.0, -80.0])


def test_level_of_known_sounds() -> None:
    """A sine of amplitude A must read 20 log10(A / sqrt 2), silence and nothing the floor."""
    assert float(dsp.level_dbfs(tone(1000.0, 0.1))) == pytest.approx(-23.0103, abs=1e-3)
    assert float(dsp.level_dbfs(torch.zeros(10))) == -120.0
    assert float(dsp.level_dbfs(torch.zeros(0))) == -120.0
    assert dsp.rms(torch.tensor([[3.0, -3.0], [0.0, 2.0]])).tolist() == pytest.approx([3.0, 2.0**0.5])


def test_si_sdr_of_a_known_mixture(noise: torch.Tensor) -> None:
    """Orthogonal noise 20 dB below the target must read 20 dB at any scale of the estimate."""
    target, other = tone(500.0), tone(1500.0, 0.1)
    for scale in (0.01, 1.0, -30.0):
        assert float(dsp.si_sdr(scale * (target + other), target)) == pytest.approx(20.0, abs=1e-6)
    assert dsp.si_sdr(noise, noise.flip(0)).shape == (3,)


def test_si_sdr_at_the_edges() -> None:
    """A silent reference must say nothing (NaN), a silent estimate -inf, other shapes be refused."""
    assert torch.isnan(dsp.si_sdr(tone(500.0), torch.zeros(RATE, dtype=torch.float64)))
    assert float(dsp.si_sdr(torch.zeros(RATE, dtype=torch.float64), tone(500.0))) == -torch.inf
    assert float(dsp.si_sdr(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]))) == torch.inf
    with pytest.raises(ValueError, match="same shape"):
        dsp.si_sdr(torch.zeros(3), torch.zeros(4))


def test_envelope_spectrum_is_scipys_hilbert(noise: torch.Tensor) -> None:
    """Over the whole band it must equal the spectrum of the squared magnitude of scipy's analytic signal."""
    row = noise[0].numpy() - noise[0].numpy().mean()
    squared = np.abs(scipy.signal.hilbert(row)) ** 2
    expected = np.abs(np.fft.rfft(squared - squared.mean())) * 2 / RATE / squared.mean()
    ours = dsp.envelope_spectrum(noise, RATE)[0].numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-3)  # ours leaves out the Nyquist bin


def test_envelope_spectrum_reads_the_depth_of_modulation() -> None:
    """A carrier whose squared envelope is 1 + 0.6 cos must read 0.6 at that frequency, in its band only."""
    t = torch.arange(RATE, dtype=torch.float64) / RATE
    sound = (1 + 0.6 * torch.cos(2 * torch.pi * 37 * t)).sqrt() * tone(3000.0) + tone(500.0)
    spectrum = dsp.envelope_spectrum(sound, RATE, 2000.0, 4000.0)
    assert float(spectrum[37]) == pytest.approx(0.6, abs=1e-3)
    assert float(dsp.envelope_spectrum(sound, RATE, 100.0, 1000.0)[37]) < 1e-3
    assert torch.equal(dsp.envelope_spectrum(torch.zeros(64), RATE), torch.zeros(33))


def test_octave_bands_are_the_standards() -> None:
    """The third-octave band at 1 kHz must reach from 891.25 to 1122.02 Hz (IEC 61260-1, base ten)."""
    edges = dsp.band_edges(3, 900.0, 1100.0)
    assert edges == pytest.approx((891.2509, 1122.0185), abs=1e-3)
    assert len(dsp.band_edges(1, 125.0, 8000.0)) == 8
    with pytest.raises(ValueError, match="widen the range"):
        dsp.band_edges(1, 1100.0, 1200.0)


def test_bands_add_up_to_the_sound(noise: torch.Tensor) -> None:
    """The bands must sum to the sound, and a tone must lie in its own band alone."""
    edges = dsp.band_edges(1, 250.0, 4000.0)
    bands = dsp.split_bands(noise, RATE, edges)
    assert bands.shape == (3, len(edges) + 1, RATE)
    torch.testing.assert_close(bands.sum(dim=1), noise)
    energy = dsp.split_bands(tone(1000.0), RATE, edges).square().sum(dim=-1)
    assert int(energy.argmax()) == 3
    assert float(energy[3] / energy.sum()) > 0.9999
    with pytest.raises(ValueError, match="each higher"):
        dsp.split_bands(noise, RATE, (500.0, 400.0))
