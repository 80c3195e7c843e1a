"""The hall and the demo line: distances, continuity, independence, and seeds."""

import numpy as np
import pytest

from sds_engine.physics.background import EVENTS, clank, clip_pool
from sds_engine.physics.hall import FaultEvent, Hall, Spot, hall_mix
from sds_engine.physics.kinds import draw_machine
from sds_engine.physics.line import CORNER_MICS, MICS, SimulatedLine, demo_line
from sds_engine.physics.room import Room
from sds_engine.physics.wander import generator

RATE = 16_000


@pytest.fixture(scope="module")
def line() -> SimulatedLine:
    return demo_line(5)


def joined(blocks: list[dict[str, np.ndarray]], mic: str) -> np.ndarray:
    return np.concatenate([block[mic] for block in blocks])


def rms_db(sound: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(sound.astype(np.float64) ** 2)) + 1e-12))


def test_line_is_five_machines_and_eight_microphones(line: SimulatedLine) -> None:
    """The line must be what the demo says, with each microphone nearest to its own machine."""
    assert len(line.machines) == 5
    assert len(line.mics) == 8
    for mic, machine in line.mics.items():
        distances = {name: line.hall.places[name].to(MICS[mic][1]) for name in line.machines}
        assert min(distances, key=lambda name: distances[name]) == machine
        assert distances[machine] < 1.5


@pytest.mark.parametrize("seed", [5, 6])
def test_the_corner_is_a_hard_place(seed: int) -> None:
    """The coolant pump's microphone must hear the hall 6 to 16 dB louder than the pump, as the mean over 32 s."""
    line = demo_line(seed, corner=True)
    assert len(line.mics) == 9
    (alone,) = line.apart("coolant", 1, 8.0, runs=True)
    hall = np.concatenate([one["coolant-1"] for one in line.apart("coolant", 4, 8.0, runs=False)])
    assert -16 < rms_db(alone["coolant-1"]) - rms_db(hall) < -6
    assert line.hall.places["coolant"].to(CORNER_MICS["coolant-1"][1]) < 0.6
    assert demo_line(seed).machines.keys() == line.machines.keys() - {"coolant"}


def test_levels_are_as_stated(line: SimulatedLine) -> None:
    """Every microphone must hear about -30 dBFS, finite float32 without clipping."""
    session = next(line.sessions(1, 6.0))
    for sound in session.values():
        assert sound.dtype == np.float32
        assert sound.shape == (6 * RATE,)
        assert np.isfinite(sound).all()
        assert -36 < rms_db(sound) < -20
        assert np.abs(sound).max() < 0.99


def test_recordings_repeat_by_seed_and_differ_otherwise(line: SimulatedLine) -> None:
    """The same line must give the same recordings, another seed another factory, each recording another moment."""
    one = line.training("fan-1", 2, 3.0)
    again = demo_line(5).training("fan-1", 2, 3.0)
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert abs(np.corrcoef(one[0], one[1])[0, 1]) < 0.5
    assert demo_line(6).machines["fan"] != line.machines["fan"]


def test_one_microphone_hears_what_it_hears_among_all(line: SimulatedLine) -> None:
    """Asking for one microphone must give the samples that it has among all eight."""
    among = [session["press-1"] for session in line.sessions(2, 3.0)]
    for alone, all_of_them in zip(line.training("press-1", 2, 3.0), among, strict=True):
        np.testing.assert_allclose(alone, all_of_them, atol=1e-7)


def test_stream_comes_in_blocks_without_seams(line: SimulatedLine) -> None:
    """Blocks must be 2 s, the last as long as what is left, and the joint as smooth as the rest."""
    blocks = list(line.blocks(7.0, number=1))
    assert [len(block["pump-1"]) for block in blocks] == [2 * RATE] * 3 + [RATE]
    sound = joined(blocks, "pump-1")
    step = np.abs(np.diff(sound, 2))
    seams = step[[2 * RATE * i - 1 for i in (1, 2, 3)]]
    assert seams.max() < 6 * step.std()


def test_streams_per_microphone_are_the_blocks(line: SimulatedLine) -> None:
    """Iterators read out of step must each give their microphone's blocks."""
    streams = line.stream(4.0, number=2)
    blocks = list(line.blocks(4.0, number=2))
    first = list(streams["fan-1"])
    np.testing.assert_array_equal(np.concatenate(first), joined(blocks, "fan-1"))
    np.testing.assert_array_equal(np.concatenate(list(streams["press-2"])), joined(blocks, "press-2"))


def test_neighbours_hear_a_fault_attenuated(line: SimulatedLine) -> None:
    """A fault must change its own microphone most, others by what distance says, and nothing before its start."""
    event = FaultEvent("press", "leak", 4.0, 8.0, 0.0)
    healthy, faulty = list(line.blocks(10.0)), list(line.blocks(10.0, [event]))
    levels = {}
    for mic in line.mics:
        change = joined(faulty, mic) - joined(healthy, mic)
        assert np.abs(change[: 4 * RATE]).max() < 1e-6
        assert np.abs(change[int(9.5 * RATE) :]).max() < 1e-6
        levels[mic] = rms_db(change[4 * RATE : 8 * RATE])
    assert levels["press-1"] > levels["gearbox-1"] + 6
    assert levels["gearbox-1"] > levels["press-1"] - 30
    assert levels["press-1"] == pytest.approx(line.machines["press"].level_dbfs, abs=3.0)


def test_distance_sets_the_level() -> None:
    """In a hall that swallows sound, twice the distance must be 6 dB less."""
    fan = draw_machine("fan", generator(1))
    mics = {"near": Spot(1.0, 0.0), "far": Spot(4.0, 0.0)}
    dead = Room(1e7, 0.5, walls=0.0)
    hall = Hall(
        1,
        {"fan": fan},
        {"fan": Spot(0.0, 0.0)},
        mics,
        room=dead,
        noise_dbfs=-90.0,
        ventilation_dbfs=-90.0,
        gain_sd_db=0.0,
    )
    blocks = list(hall_mix(hall, 6.0, 1))
    assert rms_db(joined(blocks, "near")) - rms_db(joined(blocks, "far")) == pytest.approx(12.0, abs=0.7)


def test_microphones_have_noise_of_their_own() -> None:
    """A hall without machines must leave ventilation and noise, the noise independent from microphone to microphone."""
    hall = Hall(1, {}, {}, {"a": Spot(0.0, 0.0), "b": Spot(9.0, 9.0)}, noise_dbfs=-50.0)
    blocks = list(hall_mix(hall, 4.0, 1))
    a, b = joined(blocks, "a"), joined(blocks, "b")
    assert -48 < rms_db(a) < -42
    assert abs(np.corrcoef(np.diff(a), np.diff(b))[0, 1]) < 0.05


@pytest.mark.parametrize("kind", EVENTS)
def test_events_are_clips_of_unit_level(kind: str) -> None:
    """Every clip of the pool must be finite, of RMS 1, and not the same as its neighbour."""
    pool = clip_pool(kind, 3, RATE)
    for clip in pool:
        assert np.isfinite(clip).all()
        assert np.sqrt(np.mean(clip**2)) == pytest.approx(1.0, rel=1e-3)
    n = min(len(pool[0]), len(pool[1]))
    assert not np.array_equal(pool[0][:n], pool[1][:n])


def test_events_are_heard() -> None:
    """A hall full of events must be louder and burstier than an empty one."""
    mics = {"a": Spot(0.0, 0.0)}
    quiet = Hall(1, {}, {}, mics)
    busy = Hall(1, {}, {}, mics, [(kind, Spot(2.0, 2.0)) for kind in EVENTS])
    a, b = (joined(list(hall_mix(hall, 60.0, 1)), "a") for hall in (quiet, busy))
    assert rms_db(b) > rms_db(a) + 1
    assert np.abs(b).max() > 3 * np.abs(a).max()


def test_what_runs_and_what_stands_still_make_the_hall() -> None:
    """A machine alone and the hall without it add up to the whole, but for the noise of the microphone."""
    hall = demo_line(5).hall
    quiet = Hall(5, hall.machines, hall.places, {"fan-1": hall.mics["fan-1"]}, hall.events, noise_dbfs=-200.0)
    others = ["events", *(name for name in hall.machines if name != "fan")]

    def heard(still: list[str]) -> np.ndarray:
        return joined(list(hall_mix(quiet, 2.0, 3, still=still)), "fan-1")

    nobody = heard([*others, "fan"])
    whole, parts = heard([]), heard(others) + heard(["fan"]) - nobody
    assert rms_db(whole - parts) < rms_db(whole) - 40.0
    assert rms_db(nobody) < rms_db(whole) - 6.0
    with pytest.raises(ValueError, match="not in the hall"):
        next(hall_mix(quiet, 2.0, 3, still=["crane"]))


def test_recordings_apart_are_of_the_machines_own_microphones(line: SimulatedLine) -> None:
    """The machine alone and the hall without it are recorded where the machine is listened to, and differ in level."""
    for runs in (True, False):
        (recording,) = line.apart("gearbox", 1, 2.0, runs=runs)
        assert set(recording) == {"gearbox-1", "gearbox-2"}
        assert all(len(sound) == 2 * RATE for sound in recording.values())


def test_what_is_not_there_is_refused_at_once(line: SimulatedLine) -> None:
    """Unknown machines, microphones, faults and lengths must be refused before anything is rendered."""
    with pytest.raises(ValueError, match=r"machine 'lathe', allowed is one of fan"):
        line.blocks(4.0, [FaultEvent("lathe", "leak", 0.0, 2.0, 0.0)])
    with pytest.raises(ValueError, match=r"\['fan-9'\] are not in the hall"):
        line.blocks(4.0, mics=["fan-9"])
    with pytest.raises(ValueError, match="'broken_tooth' on a fan"):
        line.blocks(4.0, [FaultEvent("fan", "broken_tooth", 0.0, 2.0, 0.0)])
    with pytest.raises(ValueError, match="seconds is 0"):
        line.blocks(0.0)
    with pytest.raises(ValueError, match="name the same ones"):
        Hall(1, {}, {"fan": Spot(0.0, 0.0)}, {})
    with pytest.raises(ValueError, match=r"\['party'\] have no level"):
        Hall(1, {}, {}, {}, [("party", Spot(0.0, 0.0))])


def test_what_is_dropped_can_be_heard() -> None:
    """No clip is silence divided by itself, whatever the seed, even where a rate leaves few modes below Nyquist."""
    for seed in range(40):
        assert np.isfinite(clank(4000, generator(seed, 50, 0))).all()
