"""Machines and faults: their lines are where kinematics puts them, their levels are as asked, seeds decide all."""

import numpy as np
import pytest
import torch

from sds_engine import dsp
from sds_engine.physics import faults as fault_module
from sds_engine.physics import flow
from sds_engine.physics.cyclic import Press
from sds_engine.physics.fault_sounds import MAKERS
from sds_engine.physics.faults import FAULT_KINDS, FAULTS, Fault, add_fault, fault_parts
from sds_engine.physics.gears import mesh_hz
from sds_engine.physics.kinds import KINDS, draw_machine
from sds_engine.physics.machines import Machine, calibrated, draw_take, render, render_take
from sds_engine.physics.mixer import dry
from sds_engine.physics.rotating import Fan, Gearbox
from sds_engine.physics.wander import generator, steady_motion

RATE = 16_000
PAIRS = [(machine, fault) for machine, kinds in FAULTS.items() for fault in kinds]


@pytest.fixture(scope="module")
def machines() -> dict[str, Machine]:
    return {kind: draw_machine(kind, generator(7, i)) for i, kind in enumerate(KINDS)}


def rms_db(sound: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(sound.astype(np.float64) ** 2))))


def dry_fault(machine: Machine, fault: Fault, seconds: int = 20, seed: int = 3) -> np.ndarray:
    """The fault alone at nominal speed, at 1 m in the open; starts with the second block."""
    return dry(fault_parts(machine, fault, steady_motion(seconds, RATE), seed), range(1, seconds // 2), RATE)


def line_db(sound: np.ndarray, hz: float, width: float = 1.0) -> float:
    """How far a line at `hz` stands above the median of 40 Hz around it."""
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    f = np.fft.rfftfreq(len(sound), 1 / RATE)
    return float(10 * np.log10(power[abs(f - hz) < width].max() / np.median(power[abs(f - hz) < 20])))


@pytest.mark.parametrize("kind", KINDS)
def test_machine_is_as_loud_as_it_says(kind: str, machines: dict[str, Machine]) -> None:
    """At nominal speed and load, at 1 m in the open, the RMS must be level_dbfs within 0.5 dB."""
    machine = machines[kind]
    sound = dry(calibrated(machine, steady_motion(30.0, RATE), 99), range(1, 15), RATE)
    assert rms_db(sound) == pytest.approx(machine.level_dbfs, abs=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_recordings_are_sound_and_repeatable(kind: str, machines: dict[str, Machine]) -> None:
    """A recording must be finite float32 below full scale, repeat by seed, and differ from the next one."""
    one, same = (render(machines[kind], 5.0, RATE, np.random.default_rng(1)) for _ in range(2))
    other = render(machines[kind], 5.0, RATE, np.random.default_rng(2))
    assert one.shape == (5 * RATE,)
    assert one.dtype == np.float32
    assert np.isfinite(one).all()
    assert np.abs(one).max() < 0.99
    np.testing.assert_array_equal(one, same)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.5
    assert rms_db(other) == pytest.approx(rms_db(one), abs=4.0)


@pytest.mark.parametrize("kind", KINDS)
def test_two_individuals_differ_more_than_two_recordings(kind: str) -> None:
    """Mean log-mel spectra of two machines of a kind must lie farther apart than two recordings of one."""

    def mel(machine: Machine, seed: int) -> np.ndarray:
        sound = torch.from_numpy(render(machine, 6.0, RATE, np.random.default_rng(seed)))
        power = dsp.mel_filters(RATE, 1024, 64) @ dsp.stft_power(sound, 1024, 512)
        level = dsp.power_to_db(power).mean(dim=-1)
        return np.asarray(level - level.mean())

    a, b = (draw_machine(kind, generator(21, i)) for i in range(2))
    within = np.abs(mel(a, 1) - mel(a, 2)).mean()
    between = np.abs(mel(a, 1) - mel(b, 1)).mean()
    assert between > 1.5 * within


def test_unknown_kind_is_refused() -> None:
    """A kind that does not exist must be refused with those that do."""
    with pytest.raises(ValueError, match=r"'lathe', allowed is one of fan, pump"):
        draw_machine("lathe", generator(1))


def test_any_rate_and_length_work(machines: dict[str, Machine]) -> None:
    """Other rates and odd lengths must give as many samples as asked; nothing at all is refused."""
    for rate in (8000, 22_050, 48_000):
        sound = render(machines["gearbox"], 0.37, rate, np.random.default_rng(1))
        assert len(sound) == round(0.37 * rate)
        assert 0 < np.abs(sound).max() < 1
    with pytest.raises(ValueError, match="seconds is 0"):
        render(machines["fan"], 0.0, RATE, np.random.default_rng(1))


def test_fan_has_its_blade_pass_line(machines: dict[str, Machine]) -> None:
    """The spectrum must have a line at blades times shaft, and none between."""
    fan = machines["fan"]
    assert isinstance(fan, Fan)
    sound = dry(calibrated(fan, steady_motion(20.0, RATE), 1), range(1, 9), RATE)
    hz = flow.blade_pass_hz(fan.blades, fan.shaft_hz)
    assert line_db(sound, hz) > 20
    assert line_db(sound, hz + 0.5 * fan.shaft_hz) < 15


def test_gearbox_has_its_mesh_lines_and_sidebands(machines: dict[str, Machine]) -> None:
    """Lines must stand at N f, 2 N f and one shaft turn beside N f."""
    gearbox = machines["gearbox"]
    assert isinstance(gearbox, Gearbox)
    sound = dry(calibrated(gearbox, steady_motion(20.0, RATE), 1), range(1, 9), RATE)
    mesh = mesh_hz(gearbox.teeth[0], gearbox.shaft_hz)
    for hz in (mesh, 2 * mesh, mesh - gearbox.shaft_hz, mesh + gearbox.shaft_hz):
        assert line_db(sound, hz) > 15, hz


def test_press_strikes_once_a_cycle(machines: dict[str, Machine]) -> None:
    """The envelope must repeat with the stroke, which takes about a second."""
    press = machines["press"]
    assert isinstance(press, Press)
    assert 0.7 < 1 / press.cycle_hz < 1.3
    sound = dry(calibrated(press, steady_motion(30.0, RATE), 1), range(1, 15), RATE)
    spectrum = dsp.envelope_spectrum(torch.from_numpy(sound), RATE, 200.0).numpy()
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    slow = (hz > 0.3) & (hz < 1.7)
    assert hz[slow][spectrum[slow].argmax()] == pytest.approx(press.cycle_hz, abs=0.05)


def test_every_fault_has_a_sound_and_every_machine_faults() -> None:
    """The table must name only faults that can be made, and all of them, for all machines."""
    assert set(FAULTS) == set(KINDS)
    assert set(FAULT_KINDS) == set(MAKERS)
    assert len(FAULT_KINDS) == 10


@pytest.mark.parametrize(("kind", "fault"), PAIRS)
def test_fault_is_as_loud_as_asked(kind: str, fault: str, machines: dict[str, Machine]) -> None:
    """The fault's RMS over the machine's must be level_db within 0.5 dB, finite and repeatable."""
    sound = dry_fault(machines[kind], Fault(fault, -7.0, 2.0))[: 16 * RATE]
    assert np.isfinite(sound).all()
    assert rms_db(sound) - machines[kind].level_dbfs == pytest.approx(-7.0, abs=0.5)


def test_fault_adds_to_the_healthy_recording(machines: dict[str, Machine]) -> None:
    """Mixture less fault must be the healthy recording; before its start and after its end it must be silent."""
    take = draw_take(machines["pump"], 10.0, RATE, np.random.default_rng(1))
    mixture, part = add_fault(take, Fault("cavitation", 0.0, 3.0, 6.0), 5)
    np.testing.assert_allclose(mixture - part, render_take(take), atol=1e-6)
    assert np.abs(part[: 3 * RATE]).max() < 1e-6
    assert np.abs(part[8 * RATE :]).max() < 1e-6
    assert rms_db(part[4 * RATE : 6 * RATE]) > -50
    again, _ = add_fault(take, Fault("cavitation", 0.0, 3.0, 6.0), 5)
    np.testing.assert_array_equal(mixture, again)
    _, another = add_fault(take, Fault("cavitation", 0.0, 3.0, 6.0), 6)
    assert not np.array_equal(part, another)


def test_fault_from_the_beginning_is_there_at_once(machines: dict[str, Machine]) -> None:
    """A fault without a start must sound as loud in the first second as in the last."""
    take = draw_take(machines["fan"], 8.0, RATE, np.random.default_rng(1))
    _, part = add_fault(take, Fault("outer_race", 0.0), 5)
    assert rms_db(part[:RATE]) == pytest.approx(rms_db(part[-RATE:]), abs=1.5)


def test_fault_grows_as_asked(machines: dict[str, Machine]) -> None:
    """12 dB a minute must be 6 dB more after 30 s, and stop at the most that is allowed."""
    growing = Fault("leak", -10.0, 2.0, growth_db_per_min=12.0)
    sound = dry_fault(machines["pump"], growing, 40)
    assert rms_db(sound[33 * RATE : 35 * RATE]) - rms_db(sound[3 * RATE : 5 * RATE]) == pytest.approx(6.0, abs=0.5)
    extreme = dry_fault(machines["pump"], Fault("leak", 15.0, 2.0, growth_db_per_min=60.0), 20)
    level = rms_db(extreme[-2 * RATE :]) - machines["pump"].level_dbfs
    assert level == pytest.approx(fault_module.MOST_DB, abs=0.5)


def test_faults_that_make_no_sense_are_refused(machines: dict[str, Machine]) -> None:
    """A fault unknown, on the wrong machine, or outside the sound must be refused with what is allowed."""
    take = draw_take(machines["fan"], 4.0, RATE, np.random.default_rng(1))
    with pytest.raises(ValueError, match="kind is 'ghost'"):
        Fault("ghost", 0.0)
    with pytest.raises(ValueError, match=r"'cavitation' on a fan, allowed there is one of outer_race"):
        add_fault(take, Fault("cavitation", 0.0), 1)
    with pytest.raises(ValueError, match="before the end at 4"):
        add_fault(take, Fault("leak", 0.0, 5.0), 1)
    with pytest.raises(ValueError, match="end after that"):
        Fault("leak", 0.0, 5.0, 4.0)


@pytest.mark.parametrize("fault", ["outer_race", "inner_race", "ball"])
def test_bearing_fault_shows_in_the_envelope_spectrum(fault: str, machines: dict[str, Machine]) -> None:
    """The squared envelope above 1 kHz must have lines at the fault's harmonics, with sidebands where load turns."""
    machine = machines["fan"]
    bearing, shaft = machine.bearing, machine.shaft_hz
    sound = dry_fault(machine, Fault(fault, 0.0, 1.0))
    spectrum = dsp.envelope_spectrum(torch.from_numpy(sound), RATE, 1000.0, 7500.0).numpy()
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)

    def stands_out(at: float) -> float:
        near = spectrum[abs(hz - at) < 0.02 * at + 0.3].max()
        return float(near / np.median(spectrum[abs(hz - at) < 0.2 * at]))

    turns = {"outer_race": bearing.bpfo, "inner_race": bearing.bpfi, "ball": 2 * bearing.bsf}[fault]
    assert stands_out(turns * shaft) > 8
    if fault == "outer_race":
        assert stands_out(2 * turns * shaft) > 5
    if fault == "inner_race":
        assert stands_out((turns - 1) * shaft) > 5
        assert stands_out(shaft) > 8
    if fault == "ball":
        assert stands_out(bearing.ftf * shaft) > 8


def test_broken_tooth_strikes_once_a_turn_of_the_shaft(machines: dict[str, Machine]) -> None:
    """The envelope of a broken tooth must repeat with the shaft."""
    sound = dry_fault(machines["gearbox"], Fault("broken_tooth", 0.0, 1.0))
    spectrum = dsp.envelope_spectrum(torch.from_numpy(sound), RATE, 200.0).numpy()
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    low = (hz > 5) & (hz < 1.5 * machines["gearbox"].shaft_hz)
    assert hz[low][spectrum[low].argmax()] == pytest.approx(machines["gearbox"].shaft_hz, abs=0.2)


def test_squeal_is_a_harmonic_series(machines: dict[str, Machine]) -> None:
    """A belt squeal must be lines a belt's frequency apart, most of its power between 1 and 5 kHz."""
    sound = dry_fault(machines["conveyor"], Fault("belt_squeal", 0.0, 1.0))[: 4 * RATE]
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    assert power[(hz > 1000) & (hz < 5000)].sum() > 0.8 * power.sum()
    cepstrum = np.fft.irfft(np.log(power + 1e-12))
    spacing = np.arange(len(cepstrum)) / RATE
    belts = (spacing > 1 / 500.0) & (spacing < 1 / 120.0)  # what the belts drawn here can do
    assert cepstrum[belts].max() > 6 * np.median(np.abs(cepstrum[belts]))


def test_imbalance_is_orders_of_the_shaft(machines: dict[str, Machine]) -> None:
    """A bad blade must add lines at the shaft's turn and a turn beside blade pass."""
    fan = machines["fan"]
    assert isinstance(fan, Fan)
    sound = dry_fault(fan, Fault("blade_imbalance", 0.0, 1.0))
    assert line_db(sound, fan.shaft_hz) > 15
    assert line_db(sound, (fan.blades + 1) * fan.shaft_hz) > 15


@pytest.mark.parametrize("fault", FAULT_KINDS)
def test_fault_is_heard_the_more_the_louder(fault: str, machines: dict[str, Machine]) -> None:
    """The log-mel distance from healthy, in deviations of healthy, must rise with the level, on average."""
    kind = next(machine for machine, kinds in FAULTS.items() if fault in kinds)
    filters = dsp.mel_filters(RATE, 1024, 64)

    def features(sound: np.ndarray) -> torch.Tensor:
        mel = dsp.power_to_db(filters @ dsp.stft_power(torch.from_numpy(sound), 1024, 512))
        return torch.cat([mel.mean(dim=-1), mel.std(dim=-1)])

    takes = [draw_take(machines[kind], 3.0, RATE, generator(8, i)) for i in range(5)]
    sounds = [render_take(take) for take in takes]
    healthy = torch.stack([features(sound) for sound in sounds])
    spread = healthy.std(dim=0) + 0.3  # dB; some bands of five recordings hardly differ
    parts = [add_fault(take, Fault(fault, 0.0), 9 + i)[1] for i, take in enumerate(takes)]

    def distance(level_db: float) -> float:
        gain = np.float32(10 ** (level_db / 20))
        rows = [features(sound + gain * part) for sound, part in zip(sounds, parts, strict=True)]
        return float(((torch.stack(rows) - healthy) / spread).square().mean().sqrt())

    distances = [distance(level) for level in (-30.0, -12.0, 0.0, 10.0)]
    assert distances == sorted(distances)
    assert distances[0] < 0.5
    assert distances[-1] > 2.0
