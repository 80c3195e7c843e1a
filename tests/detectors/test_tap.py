"""The tap detector: what it finds, what it calls healthy, and what it keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from detectors.card import ModelError
from detectors.tap import TapModel, fit_taps, hear_taps
from detectors.tap_reference import learn
from detectors.tap_store import load_tap, save_tap
from sds_engine.dsp.modal import Modes
from sds_engine.physics.taps import Part, draw_design, draw_station, make_part, tap

HZ = np.array([500.0, 1300.0, 2100.0, 3400.0, 5200.0])
ZETA = np.array([0.002, 0.001, 0.003, 0.002, 0.0015])
SNR = np.array([55.0, 50.0, 45.0, 48.0, 40.0])


def part(rng: np.random.Generator, hz: np.ndarray | None = None, zeta: np.ndarray | None = None) -> Modes:
    """The modes of one part as an estimator would give them: 0.1% of size, 0.05% and 3% of each mode."""
    own = HZ * (1 + 1e-3 * rng.standard_normal()) * (1 + 5e-4 * rng.standard_normal(5)) * (1 if hz is None else hz)
    damp = ZETA * np.exp(0.03 * rng.standard_normal(5)) * (1 if zeta is None else zeta)
    return Modes(own, damp, SNR + 3 * rng.standard_normal(5), np.full(5, 1e-5), np.full(5, 0.01))


def one(mode: int, factor: float) -> np.ndarray:
    factors = np.ones(5)
    factors[mode] = factor
    return factors


@pytest.fixture(scope="module")
def model() -> TapModel:
    rng = np.random.default_rng(0)
    return fit_taps([part(rng) for _ in range(40)], [str(n) for n in range(40)], 16_000)


def test_a_mode_one_percent_off_is_found(model: TapModel) -> None:
    """Each mode, up or down by 1%: odd beyond every healthy part, and the finding names it."""
    rng = np.random.default_rng(1)
    for mode in range(5):
        for factor in (0.99, 1.01):
            scored = model.score(part(rng, hz=one(mode, factor)))
            assert scored.extrapolated
            assert scored.departure.what == "mode"
            assert scored.departure.hz == pytest.approx(HZ[mode], rel=0.005)
            assert scored.departure.shift == pytest.approx(factor - 1, abs=0.004)


def test_damping_a_quarter_off_is_found(model: TapModel) -> None:
    """Damping up 30% or down 25% in one mode, where it scatters by 3%, is named and scores above healthy parts."""
    rng = np.random.default_rng(2)
    for mode in range(5):
        for factor in (0.75, 1.3):
            departure = model.score(part(rng, zeta=one(mode, factor))).departure
            assert departure.what == "damping"
            assert departure.hz == pytest.approx(HZ[mode], rel=0.005)
            assert departure.damping == pytest.approx(factor - 1, abs=0.1)


def test_the_card_tells_what_is_found(model: TapModel) -> None:
    """A change of one mode as large as the smallest that reaches a z-score of 5 gives that z-score."""
    smallest = model.reference.smallest_shift(5.0)
    for mode in range(len(model.reference.level)):
        for kind in range(2):
            hz, zeta = np.exp(model.reference.centre)
            (hz, zeta)[kind][mode] *= 1.0 + smallest[kind, mode]
            usual = model.reference.sure
            changed = Modes(hz, zeta, 50.0 + model.reference.level, usual[0], usual[1])
            assert model.score(changed).departure.statistic == pytest.approx(5.0, rel=0.01)


def test_a_wrong_part_and_a_dead_one_are_found(model: TapModel) -> None:
    """All modes 2% off (another size, another metal), a mode that is gone, and no mode at all."""
    rng = np.random.default_rng(3)
    assert model.score(part(rng, hz=np.full(5, 1.02))).departure.what == "all modes"
    gone = model.score(part(rng).pick(np.array([0, 1, 3, 4]))).departure
    assert (gone.what, round(gone.hz, -2)) == ("missing", 2100.0)
    nothing = model.score(part(rng).pick(np.zeros(0, dtype=np.intp)))
    assert nothing.departure.what == "missing"
    assert nothing.extrapolated


def test_healthy_parts_are_called_odd_as_rarely_as_promised(model: TapModel) -> None:
    """Of 400 fresh healthy parts about a tenth has p <= 0.1, and few are beyond all 40 that were learned from."""
    rng = np.random.default_rng(4)
    scores = np.array([model.score(part(rng)).score for _ in range(400)])
    assert 0.03 < (scores >= 1.0).mean() < 0.2
    assert (scores >= -np.log10(1 / 41) - 1e-9).mean() < 0.07


def test_size_is_not_taken_for_a_crack() -> None:
    """Where all modes scatter together by 1%, one mode off by 1% still stands out against the others."""
    rng = np.random.default_rng(5)

    def sized(factor: np.ndarray) -> Modes:
        return part(rng, hz=factor * (1 + 0.01 * rng.standard_normal()))

    fitted = fit_taps([sized(np.ones(5)) for _ in range(30)], [str(n) for n in range(30)], 16_000)
    scored = fitted.score(sized(one(2, 1.01)))
    assert scored.extrapolated
    assert scored.departure.what == "mode"


def test_weak_satellites_change_nothing(model: TapModel) -> None:
    """Modes that reflections make beside the strong ones neither match nor count."""
    modes = part(np.random.default_rng(6))
    more = Modes(*(np.concatenate([getattr(modes, name)] * 2) for name in ("hz", "zeta", "snr_db", "hz_sd", "zeta_sd")))
    more.hz[5:] *= 1.02
    more.snr_db[5:] -= 25.0
    assert model.score(more).departure.statistic == pytest.approx(model.score(modes).departure.statistic)


def test_a_lost_mode_is_not_mistaken_for_a_moved_one() -> None:
    """Where healthy parts often have a twin 1% above a mode, the twin alone is hardly odder than the mode's absence."""
    rng = np.random.default_rng(11)

    def with_twin(modes: Modes) -> Modes:
        twin = modes.pick(np.array([2]))
        twin.hz[:] *= 1.01
        twin.snr_db[:] -= 6.0
        names = ("hz", "zeta", "snr_db", "hz_sd", "zeta_sd")
        return Modes(*(np.concatenate([getattr(modes, name), getattr(twin, name)]) for name in names))

    healthy = [with_twin(part(rng)) if number % 2 else part(rng) for number in range(40)]
    reference = learn(healthy)
    lost = with_twin(part(rng)).pick(np.array([0, 1, 3, 4, 5]))
    gone = lost.pick(np.arange(4))
    moved = part(rng, hz=one(2, 0.99))
    assert reference.compare(lost).statistic < reference.compare(gone).statistic + 1.5
    assert reference.compare(moved).statistic > reference.compare(lost).statistic + 2.0


def test_recordings_of_one_part_stay_together() -> None:
    """The effective n counts parts, not recordings; under five parts are refused, and so is sound without modes."""
    rng = np.random.default_rng(7)
    taps = [part(rng) for _ in range(12)]
    assert fit_taps(taps, [str(n // 2) for n in range(12)], 16_000).effective_n == 6
    with pytest.raises(ValueError, match="4 healthy parts"):
        fit_taps(taps[:4], ["a", "b", "c", "d"], 16_000)
    with pytest.raises(ValueError, match="rings"):
        learn([taps[0].pick(np.zeros(0, dtype=np.intp))] * 5)


def test_a_saved_model_scores_the_same_and_damage_is_refused(model: TapModel, tmp_path: Path) -> None:
    """A round trip changes nothing; a flipped bit, an old or foreign card and an empty folder are refused."""
    save_tap(tmp_path / "m", model)
    modes = part(np.random.default_rng(8), hz=one(1, 1.01))
    assert load_tap(tmp_path / "m").score(modes) == model.score(modes)
    card = json.loads((tmp_path / "m" / "tap.json").read_text(encoding="utf-8"))
    assert [round(mode["hz"], -2) for mode in card["modes"]] == [500, 1300, 2100, 3400, 5200]
    data = bytearray((tmp_path / "m" / "tap.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "m" / "tap.safetensors").write_bytes(bytes(data))
    with pytest.raises(ModelError, match="SHA-256"):
        load_tap(tmp_path / "m")
    (tmp_path / "m" / "tap.json").write_text('{"v": 1, "kind": "tap"}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"version 1.*learn it anew"):
        load_tap(tmp_path / "m")
    (tmp_path / "m" / "tap.json").write_text('{"v": 1}', encoding="utf-8")
    with pytest.raises(ModelError, match="not the card"):
        load_tap(tmp_path / "m")
    with pytest.raises(ModelError, match="no such file"):
        load_tap(tmp_path)


def test_struck_plates_with_a_crack_are_found() -> None:
    """From sound to score: 12 healthy plates are learned; a mode 1% off is beyond them, a healthy plate is not."""
    rng = np.random.default_rng(9)
    design = draw_design("plate", rng)
    station = draw_station(16_000, rng)

    def heard(piece: Part) -> Modes:
        modes = hear_taps(tap(design, piece, station, rng, strikes=2), 16_000).modes
        assert modes is not None
        return modes

    fitted = fit_taps([heard(make_part(design, rng)) for _ in range(12)], [str(n) for n in range(12)], 16_000)
    known = np.exp(fitted.reference.centre[0, :4])
    for hz in known:
        mode = int(np.abs(np.log(design.nominal.hz / hz)).argmin())
        assert fitted.score(heard(make_part(design, rng).with_fault(mode, hz=0.99))).extrapolated
    assert not all(fitted.score(heard(make_part(design, rng))).extrapolated for _ in range(3))


def test_sound_without_a_strike_has_no_modes() -> None:
    """Noise and silence are said to hold no strike, never scored."""
    noise = 0.1 * np.random.default_rng(10).standard_normal(32_000)
    for sound in (noise, np.zeros(32_000)):
        assert hear_taps(sound, 16_000).modes is None
