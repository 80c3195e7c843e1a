"""Every formula against a closed form, a numerical solution or a number worked by hand."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from sds_engine.physics import bearings, flow, friction, gears, modes
from sds_engine.physics.modes import MATERIALS

STEEL = MATERIALS["steel"]


@pytest.mark.parametrize(("ends", "sign"), [("free-free", 1.0), ("cantilever", -1.0)])
def test_beam_roots_solve_their_equation(ends: str, sign: float) -> None:
    """Each root must solve cos b cosh b = +-1; cosh is divided out so that high roots can be told."""
    for root in modes.beam_roots(ends, 8):
        exact = brentq(lambda b: np.cos(b) - sign / np.cosh(b), root - 0.05, root + 0.05, xtol=1e-12)
        assert root == pytest.approx(exact, abs=2e-7)
    with pytest.raises(ValueError, match="free-free or cantilever"):
        modes.beam_roots("hinged", 2)


def test_beam_by_hand() -> None:
    """A steel rod of 1 m and 10 mm height: 4.73^2 / (2 pi) sqrt(210e9 1e-4 / 12 / 7850) = 53.17 Hz."""
    first = modes.beam_frequencies(1.0, 0.01, STEEL, 3)
    assert first[0] == pytest.approx(53.17, abs=0.01)
    assert first[1] / first[0] == pytest.approx((7.8532 / 4.7300) ** 2, rel=1e-4)
    assert modes.beam_frequencies(1.0, 0.01, STEEL, 1, "cantilever")[0] == pytest.approx(8.355, abs=0.005)


def test_plate_solves_the_plate_equation() -> None:
    """Omega^2 rho h must equal D (k_m^2 + k_n^2)^2 for the sine that fits the edges (Kirchhoff); no mode may lack."""
    a, b, h = 0.5, 0.4, 0.002
    D = STEEL.E * h**3 / (12 * (1 - STEEL.nu**2))
    expected = sorted(
        np.sqrt(D * ((m * np.pi / a) ** 2 + (n * np.pi / b) ** 2) ** 2 / (STEEL.rho * h)) / (2 * np.pi)
        for m in range(1, 30)
        for n in range(1, 30)
    )
    found = modes.plate_frequencies(a, b, h, STEEL, 500.0)
    np.testing.assert_allclose(found, [f for f in expected if f < 500.0], rtol=1e-12)
    assert found[0] == pytest.approx(50.40, abs=0.01)


def test_ring_by_hand() -> None:
    """n = 2 of a steel ring, R = 50 mm, h = 5 mm: 6 / (2 pi sqrt 5) sqrt(E h^2 / (12 rho R^4)) = 1,275 Hz."""
    found = modes.ring_frequencies(0.05, 0.005, STEEL, 2)
    assert found[0] == pytest.approx(1275.0, abs=1.0)
    assert found[1] / found[0] == pytest.approx((24 / np.sqrt(10)) / (6 / np.sqrt(5)))


def test_rayleigh_damping_has_its_least_where_it_must() -> None:
    """Zeta must be sqrt(alpha beta) at omega = sqrt(alpha / beta), and no less elsewhere."""
    alpha, beta = 60.0, 1e-6
    at = np.sqrt(alpha / beta) / (2 * np.pi)
    zeta = modes.rayleigh_damping(np.array([at, 0.5 * at, 2.0 * at]), alpha, beta)
    assert zeta[0] == pytest.approx(np.sqrt(alpha * beta))
    assert (zeta[1:] > zeta[0]).all()


def test_damped_mode_is_the_oscillators_answer() -> None:
    """One mode must follow x'' + 2 zeta w x' + w^2 x = 0 from a blow, as a solver of equations finds it."""
    hz, zeta, rate = 100.0, 0.02, 8000
    w = 2 * np.pi * hz
    t = np.arange(400) / rate
    solved = solve_ivp(
        lambda _, y: [y[1], -2 * zeta * w * y[1] - w * w * y[0]], (0, t[-1]), [0.0, w], t_eval=t, rtol=1e-9
    ).y[0]
    ours = modes.damped_modes(np.array([hz, 5000.0]), np.array([zeta, 0.1]), np.array([1.0, 9.0]), rate, 400)
    np.testing.assert_allclose(ours, solved, atol=0.01)  # sin(w t) for sin(w sqrt(1 - zeta^2) t): 2 zeta^2 of a turn


def test_hertz_contact_is_the_papers_number_and_the_equations() -> None:
    """A 10 mm steel ball on steel at 1 m/s: 34.6 us, and the same from integrating m d'' = -k d^1.5."""
    radius = 5e-3
    mass = STEEL.rho * 4 / 3 * np.pi * radius**3
    E_star = modes.contact_modulus(STEEL, STEEL)
    contact = modes.hertz_contact_time(mass, radius, E_star, 1.0)
    assert contact == pytest.approx(34.6e-6, rel=0.005)
    k = modes.hertz_stiffness(radius, E_star)

    def left(_t: float, y: np.ndarray) -> float:
        return float(y[0])

    left.terminal, left.direction = True, -1  # type: ignore[attr-defined]  # scipy reads these attributes
    path = solve_ivp(
        lambda _, y: [y[1], -k * max(y[0], 0.0) ** 1.5 / mass],
        (0.0, 1e-4),
        [0.0, 1.0],
        events=left,
        rtol=1e-9,
        atol=1e-14,
        max_step=1e-7,
    )
    assert path.t_events[0][-1] == pytest.approx(contact, rel=2e-3)
    peak = k * path.y[0].max() ** 1.5
    assert modes.hertz_peak_force(mass, radius, E_star, 1.0) == pytest.approx(peak, rel=1e-3)
    t, d = path.t, np.maximum(path.y[0], 0.0)
    shape = np.sin(np.pi * np.clip(t / contact, 0, 1)) ** 1.5
    assert np.abs(k * d**1.5 / peak - shape).max() < 0.05  # how good sin^1.5 is


def test_hertz_pulse_keeps_momentum_and_length() -> None:
    """The sampled blow must sum to 1 and last as long as asked, also when shorter than a sample."""
    pulse = modes.hertz_pulse(1e-3, 16_000)
    assert len(pulse) == 16
    assert float(pulse.sum()) == pytest.approx(1.0, abs=1e-6)
    assert int(pulse.argmax()) in (7, 8)
    assert modes.hertz_pulse(2e-5, 16_000).tolist() == [1.0]


def test_bearing_frequencies_by_hand() -> None:
    """N = 9, d = 7.94, D = 39.04 must give 3.585, 5.415, 2.357 and 0.398 per turn."""
    bearing = bearings.Bearing(9, 7.94, 39.04)
    found = (bearing.bpfo, bearing.bpfi, bearing.bsf, bearing.ftf)
    assert found == pytest.approx((3.585, 5.415, 2.357, 0.398), abs=5e-4)
    assert bearing.bpfo + bearing.bpfi == pytest.approx(9.0)
    tilted = bearings.Bearing(9, 7.94, 39.04, 60.0)
    assert tilted.ratio == pytest.approx(0.5 * bearing.ratio)


def test_slip_makes_the_phase_walk() -> None:
    """Intervals must have mean 1/f and deviation slip/f, and the phase error must grow like the square root of time."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        instants = bearings.slipping_train(100.0, 5.0, 15.0, 0.02, rng)
        assert instants[0] >= 5.0
        assert instants[-1] < 15.0
        errors.append((instants[900] - instants[0]) * 100.0 - 900)
    assert np.std(errors) == pytest.approx(0.02 * np.sqrt(900), rel=0.15)
    steps = np.diff(instants) * 100.0
    assert steps.mean() == pytest.approx(1.0, abs=0.003)
    assert steps.std() == pytest.approx(0.02, rel=0.1)


def test_load_zone_is_stribecks() -> None:
    """Epsilon 0.5 must load half the turn: 1 below the load, cos^1.5 beside it, 0 from 90 degrees on."""
    angle = np.radians([0.0, 60.0, 90.0, 120.0, 180.0])
    np.testing.assert_allclose(bearings.load_zone(angle), [1.0, 0.5**1.5, 0.0, 0.0, 0.0], atol=1e-12)


def test_races_are_modulated_as_they_must() -> None:
    """Strengths: outer race steady, inner race once a turn of the shaft, ball once a turn of the cage."""
    bearing, rng = bearings.Bearing(9, 7.94, 39.04), np.random.default_rng(1)

    def depth(train: tuple[np.ndarray, np.ndarray], hz: float) -> float:
        return float(abs(np.mean(train[1] * np.exp(2j * np.pi * hz * train[0]))) / np.mean(train[1]))

    outer = bearings.outer_race_train(bearing, 25.0, 0.0, 20.0, 0.01, rng)
    inner = bearings.inner_race_train(bearing, 25.0, 0.0, 20.0, 0.01, rng)
    ball = bearings.ball_train(bearing, 25.0, 0.0, 20.0, 0.01, rng)
    assert [len(train[0]) / 500 for train in (outer, inner, ball)] == pytest.approx([3.585, 5.415, 4.713], abs=0.01)
    assert depth(outer, 25.0) < 0.1
    assert depth(inner, 25.0) > 0.6
    assert depth(ball, 25.0 * bearing.ftf) > 0.6


def test_mesh_has_its_harmonics_and_sidebands() -> None:
    """23 teeth: orders 23, 46 with sidebands at +-1 and +-2 of half the modulation and its square."""
    orders = gears.mesh_orders(23, 2, 0.4, 6.0)
    assert sorted(orders) == [21, 22, 23, 24, 25, 44, 45, 46, 47, 48]
    assert orders[23] == 1.0
    assert orders[22] == orders[24] == pytest.approx(0.2)
    assert orders[46] == pytest.approx(0.501, abs=1e-3)
    assert gears.mesh_hz(23, 25.0) == 575.0


def test_broken_tooth_strikes_once_a_turn() -> None:
    """The strong blows must come exactly one turn apart."""
    instants, strengths = gears.broken_tooth_train(25.0, 1.0, 3.0, np.random.default_rng(0))
    first = instants[::2]
    assert len(first) == 50
    np.testing.assert_allclose(np.diff(first), 0.04)
    assert strengths[::2].mean() > 2 * strengths[1::2].mean()


def test_rayleigh_collapse_is_the_integral() -> None:
    """0.915 R sqrt(rho / dp) must equal the integral of Rayleigh's equation of motion of the wall."""
    x = (np.arange(200_000) + 0.5) / 200_000
    # R'^2 = 2/3 dp/rho (R0^3/R^3 - 1); with R = R0 (1 - x^2) the integrand has no pole
    r = 1 - x**2
    integral = np.mean(2 * x / np.sqrt(2 / 3 * (1 / r**3 - 1)))
    assert integral == pytest.approx(0.915, abs=5e-4)
    assert flow.collapse_time(1e-3, 1e5, 1000.0) == pytest.approx(91.5e-6)


def test_flow_by_hand() -> None:
    """Minnaert: 1 mm rings at 3.29 kHz, twice the size at half; a jet of 100 m/s from 5 mm peaks at 4 kHz."""
    assert flow.minnaert_hz(1e-3) == pytest.approx(3286.5, abs=0.1)
    assert flow.minnaert_hz(2e-3) == pytest.approx(flow.minnaert_hz(1e-3) / 2)
    assert flow.jet_peak_hz(100.0, 5e-3) == pytest.approx(4000.0)
    assert flow.jet_level_db(200.0, 100.0) == pytest.approx(24.08, abs=0.01)
    hz = np.geomspace(10, 1e6, 20_001)
    density = flow.jet_density(hz, 4000.0)
    assert hz[density.argmax()] == pytest.approx(4000.0, rel=1e-3)
    assert density.max() == pytest.approx(1.0)
    assert density[0] / density[1] == pytest.approx((hz[0] / hz[1]) ** 2, rel=1e-3)
    assert density[-1] / density[-2] == pytest.approx((hz[-1] / hz[-2]) ** -2, rel=1e-3)


def test_blades_and_imbalance_by_hand() -> None:
    """7 blades at 24 turns a second pass 168 times; 10 g at 0.3 m and 24 Hz pull with 68.2 N."""
    assert flow.blade_pass_hz(7, 24.0) == 168.0
    assert flow.imbalance_force(0.01, 0.3, 24.0) == pytest.approx(68.2, abs=0.1)
    orders = flow.imbalance_orders(7)
    assert max(orders, key=lambda order: orders[order]) == 1
    assert {5, 6, 8, 9, 13, 15} <= set(orders)


def test_belt_by_hand() -> None:
    """0.2 m, 500 N, 0.05 kg/m: 2.5 * 100 = 250 Hz; its sawtooth falls as 1 / n."""
    assert friction.belt_hz(0.2, 500.0, 0.05) == pytest.approx(250.0)
    saw = friction.stick_slip_orders(40)
    t = np.arange(1000) / 1000
    ours = sum(a * np.sin(2 * np.pi * n * t) for n, a in saw.items())
    assert np.abs(ours - np.pi * (0.5 - t))[50:-50].max() < 0.1


def test_bounces_are_those_of_a_falling_ball() -> None:
    """The first flight must last 2 v / g, each next e times as long, the whole 2 v / (g (1 - e))."""
    when, speed = friction.bounces(1.0, 0.5, 40)
    assert when[0] == pytest.approx(2 / 9.80665)
    np.testing.assert_allclose(np.diff(when)[1:20] / np.diff(when)[:19], 0.5)
    assert when[-1] == pytest.approx(2 / 9.80665 / 0.5)
    assert speed[1] == 0.5
    with pytest.raises(ValueError, match="restitution is 1"):
        friction.bounces(1.0, 1.0, 3)


def test_a_new_throw_ends_the_old_bounces() -> None:
    """Blows must stay sorted, and none of a series may come after the next throw."""
    throws = np.array([0.0, 0.1])
    when, strength = friction.bouncing_train(throws, np.ones(2), 0.9, 2.0 / 0.03, 10)
    assert (np.diff(when) > 0).all()
    assert when[0] == pytest.approx(0.03)
    before = when < 0.1
    assert before.sum() == 3
    np.testing.assert_allclose(strength[before], [1.0, 0.9, 0.81])
    assert strength[before.sum()] == 1.0
