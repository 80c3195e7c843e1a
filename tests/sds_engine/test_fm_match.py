"""FM matching: counts its renders, beats random search at equal renders, and its distances measure what they say."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sds_engine.makers import maker_for
from sds_engine.makers.fm import Fm
from sds_engine.physics.wander import generator
from sds_engine.tasks.fm_match import MatchSettings, Search, descend, match_fm
from sds_engine.tasks.fm_starts import free_rows, guess, hear, jump
from sds_engine.tasks.spectral import Spectra, spectral_distance, transport

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

RATE = 8_000
SETTINGS = MatchSettings(renders=240, keep=(4, 2))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def voice() -> Fm:
    maker = maker_for("fm", RATE, 0.5)
    assert isinstance(maker, Fm)
    return maker


def target(seed: int) -> torch.Tensor:
    maker = voice()
    return maker.render(maker.start(1, seed))[0].detach()


def sine(hz: float) -> torch.Tensor:
    return torch.sin(2.0 * torch.pi * hz * torch.arange(RATE // 2) / RATE)[None]


def test_equal_sounds_are_at_no_distance_whatever_their_level() -> None:
    """The distance is 0 for a sound and itself, louder or softer, and above 0 for another."""
    one, other = Spectra.of(sine(500.0)), Spectra.of(0.01 * sine(500.0))
    assert float(spectral_distance(one, other)) < 1e-3
    assert float(transport(one, other, RATE)) < 1e-3
    assert float(spectral_distance(one, Spectra.of(sine(700.0)))) > 0.5


def test_transport_has_a_slope_where_partials_do_not_overlap() -> None:
    """An octave apart the plain distance hardly changes with pitch; the work of carrying says how many octaves."""
    base = Spectra.of(sine(400.0))
    far = [float(transport(Spectra.of(sine(hz)), base, RATE)) for hz in (450.0, 565.7, 800.0, 1600.0)]
    assert far == pytest.approx([0.17, 0.5, 1.0, 2.0], abs=0.12)
    plain = [float(spectral_distance(Spectra.of(sine(hz)), base)) for hz in (1000.0, 1600.0)]
    assert plain[0] == pytest.approx(plain[1], rel=0.05)


def test_hearing_finds_partials_spacings_and_envelope() -> None:
    """Peaks lie at the partials, gaps at their spacing, and the envelope is that of the sound."""
    t = np.arange(RATE // 2) / RATE
    sound = sum(np.sin(2 * np.pi * hz * t) for hz in (400.0, 520.0, 640.0)) * (0.2 + 0.8 * np.exp(-t / 0.1))
    heard = hear(sound, RATE)
    for hz in (400.0, 520.0, 640.0):
        assert np.abs(heard.peaks_hz - hz).min() < 2.0
    assert np.abs(heard.spacings_hz - 120.0).min() < 3.0
    assert 0.03 < heard.decay_s < 0.2
    assert heard.sustain == pytest.approx(0.21, abs=0.06)
    assert np.isfinite(hear(np.zeros(4000), RATE).peaks_hz).all()


def test_guesses_and_jumps_stay_inside_the_bounds() -> None:
    """Every guess and every jump from it maps to finite free values; the parent is not changed."""
    maker, rng = voice(), generator(3)
    heard = hear(target(4).double().numpy(), RATE)
    for _ in range(30):
        first = guess(heard, rng)
        before = {name: value.copy() for name, value in first.items()}
        rows = free_rows([first, jump(first, heard, rng)], maker.bounds)
        assert all(np.isfinite(value).all() for value in rows.values())
        assert all(np.array_equal(first[name], before[name]) for name in before)


def test_renders_are_counted_and_never_exceeded() -> None:
    """Each rendered sound counts as one, a gradient step as one a row; beyond the budget nothing is rendered."""
    found = match_fm(target(3), voice(), 1, SETTINGS)
    assert 0.9 * SETTINGS.renders <= found.renders <= SETTINGS.renders
    steps, distances = zip(*found.trace, strict=True)
    assert list(steps) == sorted(steps)
    assert list(distances) == sorted(distances, reverse=True)
    assert distances[-1] == found.distance
    search = Search(voice(), target(3), 10)
    free = {n: v.detach() for n, v in voice().start(4, 0).free.items() if n != "level_db"}
    descend(search, free, 2)
    assert search.renders == 8
    with pytest.raises(ValueError, match="4 renders asked, 2 left of 10"):
        search.distances(free)


def test_a_match_is_what_it_says_and_repeats() -> None:
    """The voice handed back has the distance it claims, the target's level, and the same seed finds it again."""
    sound = target(5)
    found, again = (match_fm(sound, voice(), 2, SETTINGS) for _ in range(2))
    wave = voice().render(found.params).detach()
    assert float(spectral_distance(Spectra.of(wave), Spectra.of(sound[None]))) == pytest.approx(
        found.distance, abs=2e-3
    )
    assert float(wave.square().mean().log10() * 10) == pytest.approx(float(sound.square().mean().log10() * 10), abs=0.5)
    assert again.distance == found.distance


def test_gradient_descent_comes_closer_and_rows_do_not_touch() -> None:
    """From a voice close by, descent reduces the distance; a broken row neither moves nor disturbs its neighbours."""
    maker = voice()
    near = {n: v.detach() for n, v in maker.start(1, 6).free.items() if n != "level_db"}
    noise = torch.Generator().manual_seed(1)
    off = {
        n: v if n in ("f0_hz", "ratio") else v + 0.4 * torch.randn(v.shape, generator=noise) for n, v in near.items()
    }
    search = Search(maker, target(6), 400)
    before = float(search.distances(off)[0])
    alone = descend(search, off, 30)
    assert float(search.distances(alone)[0]) < 0.7 * before
    broken = {name: torch.cat([value, torch.full_like(value, torch.nan)]) for name, value in off.items()}
    beside = descend(search, broken, 30)
    for name, value in alone.items():
        torch.testing.assert_close(beside[name][:1], value, atol=2e-2, rtol=1e-2)


def test_the_regulariser_is_asked_and_felt() -> None:
    """A hook on the wave takes part in the gradient: its value falls when it is weighed, and it may be a scalar."""
    maker, sound = voice(), target(7)
    free = {n: v.detach() for n, v in maker.start(2, 8).free.items() if n != "level_db"}

    def roughness(wave: torch.Tensor) -> torch.Tensor:
        return wave.diff(dim=-1).square().mean() * 1e4

    values = []
    for weight in (0.0, 50.0):
        search = Search(maker, sound, 1000)
        last: list[float] = []

        def hook(wave: torch.Tensor, last: list[float] = last) -> torch.Tensor:
            last.append(float(roughness(wave).detach()))
            return roughness(wave)

        descend(search, free, 25, 0.0, hook, weight)
        assert len(last) == 25
        values.append(last[-1])
    assert values[1] < values[0]


def test_it_beats_random_search_and_cma_es_at_equal_renders() -> None:
    """On voices that the synthesiser can make the match is nearer, on average over three, than either peer."""
    pytest.importorskip("cma", reason="CMA-ES is a peer for developers only")
    from fm_peers import cma_es, random_search

    ours, drawn, evolved = [], [], []
    for seed in (20, 21, 22):
        sound = target(seed)
        ours.append(match_fm(sound, voice(), seed, SETTINGS).distance)
        drawn.append(random_search(sound, voice(), seed, SETTINGS.renders).distance)
        evolved.append(cma_es(sound, voice(), seed, SETTINGS.renders).distance)
    assert np.mean(ours) < np.mean(drawn)
    assert np.mean(ours) < np.mean(evolved)


def test_wrong_use_is_refused_in_words() -> None:
    """Silence, NaN, another length and impossible settings are errors that say what is allowed."""
    for bad in (torch.zeros(4000), torch.full((4000,), torch.nan), torch.ones(100)):
        with pytest.raises(ValueError, match="give 4000 finite samples that are not silent"):
            match_fm(bad, voice(), 0, SETTINGS)
    with pytest.raises(ValueError, match="give 72 or more"):
        MatchSettings(renders=10)
    with pytest.raises(ValueError, match=r"together below 0.9"):
        MatchSettings(screen=0.5, jumps=0.5)
    with pytest.raises(ValueError, match="nothing was rendered"):
        Search(voice(), target(1), 10).result()
    with pytest.raises(ValueError, match="2048 samples or more"):
        Spectra.of(torch.ones(1, 100))
