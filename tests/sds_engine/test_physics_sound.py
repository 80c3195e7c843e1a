"""The means of synthesis: wander, drives, rooms and the mixer, against slow references."""

import numpy as np
import pytest
import scipy.signal

from sds_engine.physics import drives
from sds_engine.physics.mixer import Mixer, Part, Response, dry, overload, transform_length
from sds_engine.physics.people import phrase
from sds_engine.physics.room import Room, diffuse_tail, room_response, shaped_noise_response
from sds_engine.physics.wander import generator, ornstein_uhlenbeck, steady_motion, wandering_motion

RATE = 16_000


def spectrum_db(sound: np.ndarray) -> np.ndarray:
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    return 10 * np.log10(power + 1e-20)


def test_ornstein_uhlenbeck_has_its_law() -> None:
    """Deviation and correlation time must be as asked, from the first point on and for any step."""
    rng = np.random.default_rng(0)
    x = ornstein_uhlenbeck(200_000, 0.02, 0.5, 3.0, rng)
    assert x.std() == pytest.approx(3.0, rel=0.05)
    assert np.mean(x[25:] * x[:-25]) / x.var() == pytest.approx(np.exp(-1.0), abs=0.05)
    first = [ornstein_uhlenbeck(2, 0.02, 300.0, 3.0, rng)[0] for _ in range(2000)]
    assert np.std(first) == pytest.approx(3.0, rel=0.06)


def test_motion_inverts_its_running_time() -> None:
    """Asking when the running time reached a sample's value must give that sample's time."""
    motion = wandering_motion(6.0, RATE, 0.01, 0.1, generator(1))
    theta = motion.running_time(1)[::1000]
    np.testing.assert_allclose(motion.when(theta), 2.0 + np.arange(32) / 16.0, atol=1e-9)
    assert (np.diff(motion.theta) > 0).all()
    assert 0.95 < motion.speed.min() < motion.speed.max() < 1.05
    assert (motion.load > 0).all()


def test_rates_that_do_not_fit_are_refused() -> None:
    """A rate that the control rate does not divide must be refused with the remedy."""
    with pytest.raises(ValueError, match="11025 Hz, allowed is a multiple of 50"):
        wandering_motion(1.0, 11_025, 0.01, 0.1, generator(1))


def test_orbit_is_its_harmonics() -> None:
    """A look-up of one turn must equal the sum of sines at the running time, to -60 dB, over block edges too."""
    motion = wandering_motion(6.0, RATE, 0.01, 0.1, generator(1))
    table = drives.orders_table({1: 1.0, 7: 0.5}, generator(2))
    orbit = drives.Orbit(motion, 24.0, table)
    found = np.concatenate([orbit.block(0), orbit.block(1)])
    theta = np.concatenate([motion.running_time(0), motion.running_time(1)])
    size = len(table) - 1
    spectrum = np.fft.rfft(table[:-1]) / size
    exact = sum(2 * (spectrum[k] * np.exp(2j * np.pi * k * 24.0 * theta)).real for k in (1, 7))
    assert np.std(found - exact) / np.std(exact) < 2e-3
    assert found.dtype == np.float32


def test_blows_fall_between_samples_where_they_belong() -> None:
    """An impulse between samples must have the phase of its true place and an even spectrum to 5 kHz."""
    hz = np.fft.rfftfreq(2 * RATE, 1 / RATE)
    inside = (hz > 50) & (hz < 5000)
    for where in (1000.25 / RATE, 1000.5 / RATE, (2 * RATE - 0.3) / RATE):
        blows = drives.Blows(RATE, np.array([where]), np.array([1.0]))
        pieces = [blows.block(i) for i in (0, 1)]
        both = np.concatenate([np.zeros(2 * RATE, np.float32) if p is None else p for p in pieces])
        spectrum = np.fft.rfft(both)[::2] * np.exp(2j * np.pi * hz * where)
        assert np.abs(spectrum[inside] - 1.0).max() < 0.05, where
    assert drives.Blows(RATE, np.array([0.5]), np.array([1.0])).block(3) is None


def test_noise_is_white_level_and_fresh() -> None:
    """Noise must have RMS 1, no memory from block to block, and the same samples when asked again."""
    noise = drives.Noise(steady_motion(6.0, RATE), 5)
    one, two = noise.block(0), noise.block(1)
    assert np.std(one) == pytest.approx(1.0, rel=0.02)
    assert abs(np.mean(one * two)) < 0.03
    assert abs(np.mean(one[1:] * one[:-1])) < 0.03
    np.testing.assert_array_equal(one, noise.block(0))


def test_clips_cross_block_edges() -> None:
    """A clip that starts in one block must go on in the next without loss."""
    clip = np.arange(1, 101, dtype=np.float32)
    clips = drives.Clips(RATE, [clip], np.array([2.0 * RATE - 40]), np.array([0.0]), np.array([0.5]))
    one, two = clips.block(0), clips.block(1)
    assert one is not None
    assert two is not None
    np.testing.assert_array_equal(np.concatenate([one[-40:], two[:60]]), 0.5 * clip)
    assert clips.block(2) is None


def test_mixer_is_plain_convolution() -> None:
    """Blocks through the mixer must equal one long convolution with response and path, for each microphone."""
    motion = steady_motion(6.0, RATE)
    rng = np.random.default_rng(0)
    response = rng.standard_normal(300).astype(np.float32)
    paths = rng.standard_normal((2, 3, 9000)).astype(np.float32)
    noises = [drives.Noise(motion, 1), drives.Noise(motion, 2)]
    parts = [[Part([n], Response(response, RATE), gain=0.5)] for n in noises]
    spectra = np.fft.rfft(paths, transform_length(RATE)).astype(np.complex64)
    mixer = Mixer(parts, spectra, RATE)
    found = np.concatenate([mixer.block(i) for i in range(3)], axis=1)
    for mic in range(3):
        expected = np.zeros(6 * RATE)
        for i, noise in enumerate(noises):
            sound = np.concatenate([noise.block(k) for k in range(3)]).astype(np.float64)
            chain = np.convolve(response.astype(np.float64), paths[i, mic])
            expected += 0.5 * scipy.signal.fftconvolve(sound, chain)[: 6 * RATE]
        np.testing.assert_allclose(found[mic], expected, atol=2e-5 * np.abs(expected).max())


def test_mixer_refuses_what_does_not_match() -> None:
    """Paths for another number of sources and responses beyond a second must be refused."""
    with pytest.raises(ValueError, match="1 sources and paths for 2"):
        Mixer([[]], np.ones((2, 1, 24_001), np.complex64), RATE)
    with pytest.raises(ValueError, match="allowed is up to a second"):
        Response(np.ones(RATE + 1, np.float32), RATE)


def test_overload_is_straight_then_bounded() -> None:
    """Sound below 0.7 must pass untouched, anything louder stay below full scale with its sign."""
    quiet = np.linspace(-0.7, 0.7, 11, dtype=np.float32)
    assert overload(quiet) is quiet
    loud = overload(np.linspace(-5, 5, 101, dtype=np.float32))
    assert np.abs(loud).max() < 0.99
    assert (np.diff(loud) >= 0).all()


def test_room_follows_distance() -> None:
    """Direct sound must come at r / c with 1 / r, and the tail must hold 1 / critical distance squared."""
    room = Room(9000.0, 0.9)
    assert room.critical_distance == pytest.approx(5.7)
    response = room_response(room, 3.43, RATE, 12_000, generator(1))
    assert int(np.abs(response).argmax()) == 160
    assert response[160] == pytest.approx(1 / 3.43, rel=1e-5)
    assert np.abs(response[:160]).max() == 0.0
    tail = response[160 + 1000 :]
    whole = diffuse_tail(room, RATE, 12_000, generator(2))
    share = np.sum(whole[1000 - 160 :] ** 2)
    assert np.sum(tail**2) * room.critical_distance**2 == pytest.approx(share, rel=0.2)


def test_tail_decays_as_the_reverberation_time_says() -> None:
    """At 500 Hz the tail must lose 60 dB in T60 (Schroeder's integral, -5 to -25 dB)."""
    tail = np.mean([diffuse_tail(Room(9000.0, 0.9), RATE, 12_000, generator(i)) ** 2 for i in range(1)], axis=0)
    sos = scipy.signal.butter(4, [420, 600], "bandpass", fs=RATE, output="sos")
    curves = []
    for i in range(6):
        band = scipy.signal.sosfilt(sos, diffuse_tail(Room(9000.0, 0.9), RATE, 12_000, generator(i)))
        curves.append(np.cumsum(band[::-1] ** 2)[::-1])
    decay = 10 * np.log10(np.mean(curves, axis=0) / np.mean(curves, axis=0)[0])
    early, late = np.argmax(decay < -5), np.argmax(decay < -25)
    assert (late - early) / RATE * 3 == pytest.approx(0.9, rel=0.12)
    assert tail[-1] < 1e-9


def test_shaped_noise_has_its_shape() -> None:
    """Noise through a shaping response must follow the levels asked for within 1.5 dB, and keep its RMS."""
    hz, level = np.array([100.0, 1000.0, 4000.0, 8000.0]), np.array([-10.0, 0.0, -20.0, -20.0])
    response = shaped_noise_response(hz, level, RATE)
    assert np.sum(response.astype(float) ** 2) == pytest.approx(1.0, rel=1e-5)
    magnitude = 20 * np.log10(np.abs(np.fft.rfft(response, RATE)))
    relative = magnitude[[500, 2000, 4000]] - magnitude[1000]
    np.testing.assert_allclose(relative, [np.interp(np.log(500), np.log(hz), level), -10.0, -20.0], atol=1.5)


def test_minnaert_line_is_in_a_ringing_shower() -> None:
    """A shower of clicks through a ring at 3 kHz must peak there."""
    t = np.arange(400) / RATE
    ring = (np.exp(-2 * np.pi * 0.03 * 3000 * t) * np.sin(2 * np.pi * 3000 * t)).astype(np.float32)
    part = Part([drives.Shower(steady_motion(6.0, RATE), 3, 1000.0)], Response(ring, RATE))
    hz, power = scipy.signal.welch(dry([part], range(1, 3), RATE), RATE, nperseg=1024)
    assert hz[power.argmax()] == pytest.approx(3000.0, abs=100.0)


def test_people_speak_in_syllables() -> None:
    """Speech-like sound must have formant-range energy, be finite, and swell three to seven times a second."""
    sound = phrase(6.0, RATE, generator(1))
    assert np.isfinite(sound).all()
    assert np.std(sound) == pytest.approx(1.0, rel=0.05)
    envelope = np.sqrt(np.convolve(sound**2, np.ones(400) / 400, "same"))[::100]
    spectrum = np.abs(np.fft.rfft(envelope - envelope.mean()))
    hz = np.fft.rfftfreq(len(envelope), 100 / RATE)
    slow = spectrum[(hz > 2) & (hz < 8)].sum()
    assert slow > spectrum[(hz > 12) & (hz < 18)].sum()
    power = spectrum_db(sound)
    f = np.fft.rfftfreq(len(sound), 1 / RATE)
    assert power[(f > 200) & (f < 1000)].mean() > power[(f > 4000) & (f < 7000)].mean() + 15
