"""The judge that reports: what it hears, that it answers, and that its prompts are whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from reporting import hearing
from reporting.bodies import N, drawn, without_phase
from reporting.judge import FOLDER, ReportingJudge, load_reporting
from reporting.sounds import CLASSES, one_sound

from sds_engine.priors.captions import phrases

TIME = np.arange(N) / hearing.RATE


@pytest.fixture(scope="module")
def judge() -> ReportingJudge:
    return load_reporting()


@pytest.fixture(scope="module")
def sounds() -> np.ndarray:
    """Four sounds of every class with seeds that no training and no benchmark uses; every other one lost its phase."""
    every = [one_sound(name, 3_000_000 + 11 * k + i) for k in range(4) for i, name in enumerate(CLASSES)]
    return np.stack([without_phase(s, np.random.default_rng(k)) if k % 2 else s for k, s in enumerate(every)])


def test_a_swell_is_heard_at_its_rate() -> None:
    """Noise that swells 20 times a second has its strongest line there, in the rhythm and in the buzz."""
    noise = np.random.default_rng(0).normal(size=N)
    _, rhythm, buzz = hearing.figures(noise * (1 + 0.8 * np.cos(2 * np.pi * 20 * TIME)))
    assert hearing.RHYTHM_HZ[rhythm[-1].argmax()] == pytest.approx(20, rel=0.07)
    assert hearing.BUZZ_HZ[buzz.mean(0).argmax()] == pytest.approx(20, rel=0.08)


def test_level_plays_no_part(sounds: np.ndarray) -> None:
    """40 dB less of everything is heard alike, and silence is heard as finite figures."""
    for loud, soft in zip(hearing.figures(sounds[0]), hearing.figures(0.01 * sounds[0]), strict=True):
        np.testing.assert_allclose(soft, loud, atol=0.02)
    assert all(np.all(np.isfinite(part)) for part in hearing.figures(np.zeros(N)))


def test_wrong_sounds_are_told() -> None:
    """Another length and NaN are errors that say what is allowed."""
    for wrong in (np.zeros(100), np.full(N, np.nan)):
        with pytest.raises(ValueError, match="allowed is \\[32000\\], finite"):
            hearing.figures(wrong)


def test_a_row_stands_alone(judge: ReportingJudge, sounds: np.ndarray) -> None:
    """Probabilities add up to one and do not depend on batch mates; an empty batch has none."""
    said = judge.probabilities(sounds[:5])
    torch.testing.assert_close(said.sum(1), torch.ones(5))
    torch.testing.assert_close(judge.probabilities(sounds[2:3])[0], said[2], atol=1e-5, rtol=0)
    assert judge.probabilities(np.zeros((0, N))).shape == (0, len(CLASSES))


def test_fresh_sounds_are_recognised(judge: ReportingJudge, sounds: np.ndarray) -> None:
    """Sounds that it never met, half of them rebuilt from magnitudes: far above chance (0.09)."""
    truth = torch.arange(len(CLASSES)).repeat(4)
    assert float((judge.probabilities(sounds).argmax(1) == truth).float().mean()) > 0.5


def test_the_same_seed_is_the_same_sound() -> None:
    """A sound is its class and its seed, at RMS 1; a class that is none is an error."""
    sound = one_sound("rattle", 3_100_000)
    np.testing.assert_array_equal(sound, one_sound("rattle", 3_100_000))
    assert float(np.sqrt(np.mean(sound**2))) == pytest.approx(1.0, abs=0.01)
    with pytest.raises(KeyError):
        one_sound("rust", 1)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    """A flipped bit is told before anything is judged."""
    for name in ("reporting.json", "reporting.safetensors"):
        shutil.copy(FOLDER / name, tmp_path)
    data = bytearray((tmp_path / "reporting.safetensors").read_bytes())
    data[-5] ^= 1
    (tmp_path / "reporting.safetensors").write_bytes(bytes(data))
    with pytest.raises(ValueError, match="is not the file"):
        load_reporting(tmp_path)


def test_every_set_of_prompts_is_new() -> None:
    """Per class the same canonical prompt, and beside it prompts that no earlier set and no training caption has."""
    sets = [
        json.loads((FOLDER / name).read_text(encoding="utf-8"))["kinds"]
        for name in ("prompts.json", "prompts_2.json", "prompts_3.json")
    ]
    met = {phrase for several in phrases().values() for phrase in several}
    for kinds in sets:
        assert list(kinds) == list(sets[0])
        assert all(kinds[name]["canonical"] == sets[0][name]["canonical"] for name in kinds)
        fresh = [text for kind in kinds.values() for text in kind["en"] + kind["ja"]]
        assert len(fresh) == len(set(fresh)) == 11 * (7 if kinds is sets[0] else 8)
        assert not set(fresh) & met
        met |= set(fresh)


def test_a_drawn_sound_keeps_its_picture() -> None:
    """Rebuilt from bands alone, a sound keeps its levels over time and frequency to a few dB, and loses its samples."""
    sound = one_sound("looseness", 3_200_000)
    again = drawn(sound, np.random.default_rng(1))
    levels = [10 * np.log10(hearing._frames(s, 512, 256) @ hearing._bands(512, 16).T + 1e-3) for s in (sound, again)]
    assert float(np.abs(levels[0] - levels[1]).mean()) < 3.0
    assert abs(float(np.corrcoef(sound, again)[0, 1])) < 0.5
