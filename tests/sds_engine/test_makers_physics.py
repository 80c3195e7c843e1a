"""Rates and frequencies land where the formulas say; the fast render agrees with a slow one in float64."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from sds_engine.dsp import envelope_spectrum
from sds_engine.dsp.modal import find_modes
from sds_engine.makers import Maker, Params, Resonances, heard_resonances, maker_for, tools
from sds_engine.physics import flow, modes
from sds_engine.physics.bearings import Bearing
from sds_engine.physics.friction import bounces

RATE = 16_000
BEARING = Bearing(9, 7.94, 39.04)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def with_values(maker: Maker, params: Params, **values: float) -> Params:
    """The same sounds with some physical values set."""
    free = dict(params.free)
    for name, value in values.items():
        shape = tuple(free[name].shape)
        free[name] = torch.from_numpy(maker.bounds[name].free(np.full(shape, value))).float()
    return params.with_free(free)


def line(wave: torch.Tensor, hz: float, width: float) -> tuple[float, float]:
    """The strongest line of the envelope spectrum within +- width of hz, and how far it stands out."""
    spectrum = envelope_spectrum(wave.double(), RATE, 500.0).numpy()
    grid = np.arange(spectrum.shape[-1]) * RATE / wave.shape[-1]
    near = np.abs(grid - hz) <= width
    around = (np.abs(grid - hz) <= 7.0) & ~near
    return float(grid[near][np.argmax(spectrum[near])]), float(spectrum[near].max() / spectrum[around].max())


@pytest.mark.parametrize(("kind", "order"), [("outer_race", 3.585), ("inner_race", 5.415), ("ball", 2 * 2.357)])
def test_bearing_lines_lie_where_the_geometry_says(kind: str, order: float) -> None:
    """The squared envelope has a line at BPFO, BPFI or 2 BSF, within slip, and the facts name the same figure."""
    maker = maker_for(kind, RATE, 8.0)
    params = with_values(maker, maker.start(2, 0, shaft_hz=25.0, bearing=BEARING), slip=0.002)
    facts = maker.physical(params)
    for item, wave in enumerate(maker.render(params).detach()):
        expected = float(facts["blows_hz"][item])
        assert expected == pytest.approx(order * 25.0, rel=2e-3)
        found, over = line(wave, expected, 0.75)
        assert found == pytest.approx(expected, rel=0.006)
        assert over > 2.0


def test_the_inner_race_has_sidebands_of_the_shaft_and_the_outer_has_not() -> None:
    """The load zone modulates the inner race's blows at shaft rate, hardly those of the outer."""
    shares = {}
    for kind in ("outer_race", "inner_race"):
        maker = maker_for(kind, RATE, 4.0)
        params = maker.start(1, 1, shaft_hz=20.0, bearing=BEARING)
        spectrum = envelope_spectrum(maker.render(params)[0].detach().double(), RATE, 500.0)
        shares[kind] = float(spectrum[78:83].max())  # 20 Hz
    assert shares["inner_race"] > 5.0 * shares["outer_race"]


def test_more_slip_smears_the_line() -> None:
    """Slip is what it says: high harmonics of BPFO smear out as intervals become uneven."""
    maker = maker_for("outer_race", RATE, 4.0)
    start = maker.start(4, 0, shaft_hz=25.0, bearing=BEARING)
    heights = []
    for slip in (0.002, 0.025):
        spectrum = envelope_spectrum(maker.render(with_values(maker, start, slip=slip)).detach().double(), RATE, 500.0)
        heights.append(float(spectrum[:, 1426:1443].amax(dim=1).mean()))
    assert heights[1] < 0.5 * heights[0]


def test_impact_rings_at_its_modes_and_dies_as_rayleigh_says() -> None:
    """A recording-grade modal analysis of the rendered impact finds the formula's frequencies and dampings."""
    maker = maker_for("impact", RATE, 2.0)
    start = maker.start(1, 4, body="beam", material="steel", size_m=0.3, thickness_m=0.01)
    params = with_values(maker, start, reverb_db=-45.0, mode_shift=1.0, scale=1.0, onset_s=0.02, damping_shift=1.0)
    facts = maker.physical(params)
    nominal = modes.beam_frequencies(0.3, 0.01, modes.MATERIALS["steel"], 3)
    np.testing.assert_allclose(facts["modes_hz"][0, :3].numpy(), nominal, rtol=2e-3)
    wave = maker.render(params)[0].detach().double().numpy()
    found = find_modes([wave[round(0.03 * RATE) : round(1.0 * RATE)]], RATE, 300.0, 6500.0)
    for hz, zeta in zip(facts["modes_hz"][0, :3].numpy(), facts["modes_zeta"][0, :3].numpy(), strict=True):
        nearest = int(np.argmin(np.abs(found.hz - hz)))
        assert found.hz[nearest] == pytest.approx(hz, rel=1e-3)
        assert found.zeta[nearest] == pytest.approx(zeta, rel=0.1)
    omega = 2.0 * math.pi * nominal
    alpha, beta = 8.0, 6e-8
    np.testing.assert_allclose(facts["modes_zeta"][0, :3].numpy(), (alpha / omega + beta * omega) / 2.0, rtol=0.02)


@pytest.mark.parametrize("body", ["plate", "ring"])
def test_plates_and_rings_are_those_of_the_books(body: str) -> None:
    """The modes of a start are the physics package's own, for every material that it knows."""
    maker = maker_for("impact", RATE)
    size, wall = (0.4, 0.003) if body == "plate" else (0.1, 0.006)
    for name in ("steel", "cast_iron", "aluminium", "brass", "glass", "wood"):
        params = maker.start(1, 2, body=body, material=name, size_m=size, thickness_m=wall)
        hz = params.fixed["f0_hz"][0].numpy()
        E, rho, nu = params.fixed["material"][0].tolist()
        material = modes.Material(E, rho, nu)
        if body == "ring":
            np.testing.assert_allclose(hz, modes.ring_frequencies(size, wall, material, len(hz)), rtol=1e-5)
        else:
            rows = [modes.plate_frequencies(size, size * slim, wall, material, 5000.0)[0] for slim in (0.6, 0.9)]
            assert rows[1] <= hz[0] <= rows[0]


def test_contact_time_is_hertz() -> None:
    """A 10 mm steel ball at 1 m/s on steel touches for 34.6 us; slower and softer blows sound duller."""
    maker = maker_for("impact", RATE)
    ball = 4 / 3 * math.pi * 0.005**3 * 7850.0
    start = maker.start(1, 0, material="steel", body="plate")
    params = with_values(maker, start, striker_radius_m=0.005, striker_kg=ball, speed_m_s=1.0)
    contact = float(maker.physical(params)["contact_s"])
    assert contact == pytest.approx(34.6e-6, rel=0.01)
    pulse = modes.hertz_pulse(5e-4, 64_000)
    hz = np.array([0.0, 500.0, 1500.0, 3000.0, 6000.0])
    slow = np.abs(np.exp(-2j * np.pi * hz[:, None] * np.arange(len(pulse)) / 64_000) @ pulse)
    fast = tools.pulse_spectrum(torch.tensor([[5e-4]], dtype=torch.float64), torch.from_numpy(hz))[0].abs()
    np.testing.assert_allclose(fast.numpy(), slow, atol=6e-3)


def test_a_broken_tooth_strikes_once_a_turn_and_meshes_with_sidebands() -> None:
    """The envelope has the shaft's line, the spectrum the mesh N f with lines at one shaft rate on either side."""
    maker = maker_for("broken_tooth", RATE, 4.0)
    start = maker.start(1, 3, shaft_hz=24.0, teeth=25)
    wave = maker.render(with_values(maker, start, mesh_db=-30.0))[0].detach()
    found, over = line(wave, 24.0, 0.5)
    assert found == pytest.approx(24.0, abs=0.3)
    assert over > 3.0
    loud = maker.render(with_values(maker, start, mesh_db=0.0, mesh_modulation=0.8))[0].detach().double()
    power = torch.fft.rfft(loud * torch.hann_window(len(loud), dtype=torch.float64)).abs()
    for hz in (576.0, 600.0, 624.0):  # 4 bins a Hz
        k = round(4 * hz)
        assert float(power[k - 3 : k + 4].max()) > 8.0 * float(power[k + 20 : k + 60].median())


def test_loose_parts_bounce_as_goldsmith_says() -> None:
    """Blows of one throw come at the instants and with the speeds of a bouncing mass."""
    maker = maker_for("looseness", RATE, 1.0)
    start = maker.start(1, 0, cycle_hz=2.0)
    params = with_values(maker, start, restitution=0.5, flight_s=0.05, jitter=0.0021, throw_spread=0.0201)
    values = {name: value.double() for name, value in maker.values(params).items()}
    fixed = {name: value.double() for name, value in params.fixed.items()}
    instants, strengths = (x.detach() for x in maker._blows(values, fixed))
    e, flight = float(values["restitution"]), float(values["flight_s"])
    speed = flight * 9.80665 / 2.0
    after, speeds = bounces(speed, e, 5)
    first = instants[0, 14:19].numpy()
    np.testing.assert_allclose(np.diff(first), np.diff(after), rtol=0.1)
    np.testing.assert_allclose((strengths[0, 14:19] / strengths[0, 14]).numpy(), speeds / speeds[0], rtol=1e-3)


def test_flow_and_friction_lie_where_the_formulas_say() -> None:
    """A leak peaks at 0.2 U/D, bubbles ring at Minnaert's frequency, a belt squeals at (1/2L) sqrt(T/mu)."""
    leak = maker_for("leak", RATE)
    params = with_values(leak, leak.start(1, 0), jet_m_s=60.0, diameter_m=0.006, whistle_db=-49.0)
    spectrum = torch.stft(leak.render(params)[0].detach(), 512, 256, window=torch.hann_window(512), return_complex=True)
    power = spectrum.abs().square().mean(dim=1)
    near = [float(power[k - 6 : k + 7].mean()) for k in (22, 64, 186)]  # 688, 2000 and 5812 Hz
    wanted = flow.jet_density(np.array([687.5, 2000.0, 5812.5]), 2000.0)
    np.testing.assert_allclose(near / np.array(near[1]), wanted, rtol=0.15)
    assert float(leak.physical(params)["peak_hz"]) == pytest.approx(flow.jet_peak_hz(60.0, 0.006), rel=1e-4)
    cavitation = maker_for("cavitation", RATE)
    facts = cavitation.physical(cavitation.start(1, 0))
    radii, rings = facts["radius_m"][0].tolist(), facts["minnaert_hz"][0].tolist()
    assert rings == pytest.approx([flow.minnaert_hz(r) for r in radii], rel=5e-3)
    assert float(facts["collapse_s"][0, 0]) == pytest.approx(flow.collapse_time(radii[0], 101_325.0), rel=5e-3)
    squeal = maker_for("belt_squeal", RATE)
    start = with_values(squeal, squeal.start(1, 0), length_m=0.1, tension_N=600.0, mass_kg_m=0.05, wander=6e-4)
    wave = squeal.render(start)[0].detach().double()
    hz = math.sqrt(600.0 / 0.05) / 0.2  # 547.7
    power = torch.fft.rfft(wave * torch.hann_window(len(wave), dtype=torch.float64)).abs()
    top = float(power.argmax()) * RATE / len(wave)
    assert top / hz == pytest.approx(round(top / hz), abs=0.03)


def test_a_bad_blade_shows_orders_and_sidebands() -> None:
    """Tones lie at 1, 2, 3 times the shaft and at one and two shaft rates beside blade pass."""
    maker = maker_for("blade_imbalance", RATE, 4.0)
    params = with_values(maker, maker.start(1, 0, shaft_hz=20.0, blades=6), air_db=-29.0, wander=1.1e-4, direct=0.59)
    wave = maker.render(params)[0].detach().double()
    power = torch.fft.rfft(wave * torch.hann_window(len(wave), dtype=torch.float64)).abs()
    for hz in (20.0, 40.0, 60.0, 100.0, 140.0, 220.0, 260.0):
        k = round(4 * hz)
        assert float(power[k - 2 : k + 3].max()) > 10.0 * float(power[k + 20 : k + 40].median()), hz


def test_fm_of_two_operators_has_bessel_sidebands() -> None:
    """One sine modulated by another has lines at f + k g of size J_k(index) (Chowning 1973)."""
    import scipy.special

    maker = maker_for("fm", RATE, 1.0)
    start = maker.start(1, 0)
    fixed = {name: value.double() for name, value in start.fixed.items()}
    values = {n: v.detach().double() for n, v in maker.values(start).items()}
    index = torch.zeros(1, 16, dtype=torch.float64)
    index[0, 1] = 1.5  # from operator 1 into operator 0
    values |= {
        "f0_hz": torch.tensor([[1000.0]], dtype=torch.float64),
        "ratio": torch.tensor([[1.0, 0.2, 1.0, 1.0]], dtype=torch.float64),
        "index": index,
        "amplitude_db": torch.tensor([[0.0, -300.0, -300.0, -300.0]], dtype=torch.float64),
        "sustain": torch.ones(1, 4, dtype=torch.float64),
        "attack_s": torch.full((1, 4), 1e-6, dtype=torch.float64),
    }
    wave = maker._wave(values, fixed)[0]
    lines = torch.fft.rfft(wave).abs() * 2.0 / len(wave)
    for k in range(4):
        assert float(lines[1000 + 200 * k]) == pytest.approx(abs(scipy.special.jv(k, 1.5)), abs=2e-3)


def sines(hz: np.ndarray, zeta: np.ndarray, gain: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Damped sines, one after the other."""
    sound = np.zeros_like(t)
    for f, z, g in zip(hz, zeta, gain, strict=True):
        sound += g * np.exp(-2 * np.pi * z * f * t) * np.sin(2 * np.pi * f * t)
    return sound


def test_the_fast_train_is_the_slow_sum() -> None:
    """Blows, pulse and body joined by transforms equal a float64 sum over blows of the ringing after each."""
    maker = maker_for("outer_race", RATE, 0.25)
    resonances = Resonances(
        np.array([700.0, 1900.0, 3300.0]), np.array([0.02, 0.015, 0.02]), np.array([1.0, 1.3, -0.7])
    )
    params = maker.start(1, 8, shaft_hz=20.0, bearing=BEARING, resonances=resonances).to(dtype=torch.float64)
    params = params.with_free({**params.free, "contact_s": torch.full((1, 1), -8.0, dtype=torch.float64)})
    values = {name: value.detach() for name, value in maker.values(params).items()}
    instants, strengths = (x[0].numpy() for x in maker._blows(values, params.fixed))
    strengths = strengths * 10.0 ** (values["uneven_db"][0].item() * params.fixed["uneven"][0].numpy() / 20.0)
    facts = maker.physical(params)
    hz, zeta, gain = (facts[n][0].numpy() for n in ("modes_hz", "modes_zeta", "modes_gain"))
    t = np.arange(4000) / RATE
    taps = np.arange(3840) / RATE
    ring = sines(hz, zeta, gain, taps)
    fade = np.minimum((1.0 - np.arange(3840) / 3840) / 0.2, 1.0)
    energy = math.sqrt(float(np.sum((ring * fade) ** 2)))
    slow = np.zeros(4000)
    for instant, strength in zip(instants, strengths, strict=True):
        after = t - instant
        on = (after > 0.0) & (after < 0.24)
        x = after[on]
        slow[on] += strength * sines(hz, zeta, gain, x) * np.minimum((1.0 - x / 0.24) / 0.2, 1.0) / energy
    # what goes straight out is one sample and no part of this sum
    wave = maker._wave({**values, "direct": torch.zeros(1, 1, dtype=torch.float64)}, params.fixed)[0].numpy()
    error = np.sqrt(np.mean((wave - slow) ** 2) / np.mean(slow**2))
    assert error < 0.03  # 8 taps of interpolation, and the pulse of 40 us


def test_ringing_is_the_sum_of_damped_sines() -> None:
    """The matrix product equals the formula in float64 to rounding, for long sounds too."""
    rng = np.random.default_rng(0)
    hz, zeta, gain = rng.uniform(50.0, 6000.0, 12), rng.uniform(1e-4, 0.05, 12), rng.standard_normal(12)
    slow = modes.damped_modes(hz, zeta, gain, RATE, 20_000)
    rows = [torch.from_numpy(row)[None] for row in (hz, zeta, gain)]
    np.testing.assert_allclose(tools.ringing(*rows, RATE, 20_000)[0].numpy(), slow, atol=1e-5)
    single = tools.ringing(*(row.float() for row in rows), RATE, 20_000)[0].numpy()
    np.testing.assert_allclose(single, slow, atol=2e-3)


def test_blows_between_samples_keep_their_time() -> None:
    """A blow at a fraction of a sample has the phase of that instant; outside the sound it is left out."""
    for position in (100.0, 100.25, 100.5, 100.9):
        train = tools.place(torch.tensor([[position / RATE]], dtype=torch.float64), torch.ones(1, 1), RATE, 256)[0]
        spectrum = torch.fft.rfft(train)
        for k in (5, 20, 50):  # up to 3 kHz
            wanted = np.exp(-2j * np.pi * k * position / 256)
            assert abs(complex(spectrum[k]) - wanted) < 0.02
    assert not tools.place(torch.tensor([[-1.0, 5.0]]), torch.ones(1, 2), RATE, 256).any()


def test_silence_stays_silence_and_peaks_bend() -> None:
    """Nothing in gives nothing out, not NaN; what is loud stays below full scale and keeps its slope."""
    quiet = torch.zeros(1, 100, requires_grad=True)
    out = tools.limited(tools.to_level(quiet, torch.full((1, 1), -20.0)))
    out.sum().backward()
    assert not out.any()
    assert quiet.grad is not None
    assert torch.isfinite(quiet.grad).all()
    loud = torch.linspace(-50.0, 50.0, 1001)
    bent = tools.limited(loud)
    assert float(bent.abs().max()) < 0.981
    assert (bent.diff() >= 0.0).all()


def test_resonances_are_heard_in_recordings() -> None:
    """Noise through a known body, with a mesh tone over it, gives back the body's strong modes and not the tone."""
    rng = np.random.default_rng(2)
    hz, zeta, gain = np.array([620.0, 1800.0, 4100.0]), np.array([0.03, 0.02, 0.015]), np.array([1.0, 1.2, 1.0])
    body = modes.damped_modes(hz, zeta, gain, RATE, 2000)
    tone = 0.5 * np.sin(2 * np.pi * 1000.0 * np.arange(5 * RATE) / RATE)
    sounds = []
    for _ in range(3):
        noise = np.convolve(rng.standard_normal(5 * RATE), body)[: 5 * RATE]
        sounds.append(noise / noise.std() + tone)
    found = heard_resonances(sounds, RATE)
    energy = found.gains**2 / (found.zeta * found.hz)
    for f, z in zip(hz, zeta, strict=True):
        near = np.abs(found.hz / f - 1.0) < 0.03
        assert near.any()
        best = np.flatnonzero(near)[np.argmax(energy[near])]
        assert found.zeta[best] == pytest.approx(z, rel=0.5)
    sharp = (np.abs(found.hz - 1000.0) < 15.0) & (found.zeta < 0.01)
    assert not sharp.any()


def test_bad_recordings_and_bodies_are_refused() -> None:
    """Silence, NaN, too little sound and impossible modes are errors in words."""
    for sounds, words in (
        ([np.zeros(RATE)], "silent"),
        ([np.full(RATE, np.nan)], "NaN"),
        ([np.ones(100)], "too little"),
        ([], "too little"),
    ):
        with pytest.raises(ValueError, match=words):
            heard_resonances(sounds, RATE)
    with pytest.raises(ValueError, match="zeta between 0 and 1"):
        Resonances(np.array([100.0]), np.array([1.5]), np.array([1.0]))
    with pytest.raises(ValueError, match="no mode lies below"):
        maker_for("ball", 4000).start(
            1, 0, resonances=Resonances(np.array([3000.0]), np.array([0.01]), np.array([1.0]))
        )
