"""The gate's judge: what it hears, what it ships with, and what it says of sounds that it never met."""

from __future__ import annotations

import ast
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from sds_engine.judges.augment import rephased
from sds_engine.judges.features import FRAMES, GROUPS, MELS, MODULATION_BINS, RATE, SAMPLES, hear
from sds_engine.judges.gate import FOLDER, Judge, load_gate
from sds_engine.judges.sounds import CLASSES, FIRST_SEED, HELD_OUT_SEED, batch_of
from sds_engine.physics.faults import FAULT_KINDS

ROOT = Path(__file__).parents[2]
TIME = torch.arange(SAMPLES) / RATE


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_gate()


@pytest.fixture(scope="module")
def sounds() -> tuple[torch.Tensor, torch.Tensor]:
    """Windows of six machines that nobody trained on."""
    return batch_of(range(9_900_000, 9_900_006))


def test_shapes_and_level(sounds: tuple[torch.Tensor, torch.Tensor]) -> None:
    """The pictures have the promised shapes, and 40 dB less of everything looks the same."""
    wave = sounds[0][:4]
    picture, rhythm = hear(wave)
    assert picture.shape == (4, MELS, FRAMES)
    assert rhythm.shape == (4, GROUPS, MODULATION_BINS)
    again, same = hear(0.01 * wave)
    torch.testing.assert_close(again, picture, atol=2e-4, rtol=0)
    torch.testing.assert_close(same, rhythm, atol=2e-3, rtol=0)


def test_the_modulation_of_noise_is_seen_where_it_is() -> None:
    """Noise that swells 12.5 times a second has its line at 12.5 Hz, at its depth."""
    noise = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(0))
    rhythm = hear((noise * (1 + 0.8 * torch.cos(2 * math.pi * 12.5 * TIME)))[None])[1][0]
    top = rhythm[6:].mean(0)
    assert int(top.argmax()) == 24  # (24 + 1) / 2 Hz
    assert float(top[24]) == pytest.approx(math.log10(0.8), abs=0.2)


def test_a_turned_phase_changes_little() -> None:
    """What is rebuilt from magnitudes looks alike: the mean picture moves by less than 2 dB."""
    wave = torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(1))
    back = rephased(wave, torch.Generator().manual_seed(2), 32, 0)
    assert float((hear(wave)[0] - hear(back)[0]).abs().mean()) < 2.0 / 70.0


def test_wrong_use_is_told() -> None:
    """Another length, NaN and a class that is none are errors that say what is allowed."""
    with pytest.raises(ValueError, match="allowed is \\[batch, 32000\\]"):
        hear(torch.zeros(2, 16_000))
    with pytest.raises(ValueError, match="NaN"):
        hear(torch.full((1, SAMPLES), math.nan))


def test_the_card_says_what_the_judge_is(judge: Judge) -> None:
    """Ten faults and healthy; the held-out figures stand in the card, on machines that were not trained on."""
    card = json.loads((FOLDER / "gate.json").read_text(encoding="utf-8"))
    assert judge.classes == CLASSES == (*FAULT_KINDS, "healthy")
    assert card["held_out"]["accuracy"] >= 0.6
    assert card["seeds"]["train"][0] == FIRST_SEED >= 9_000_000
    assert FIRST_SEED + card["seeds"]["train"][1] <= HELD_OUT_SEED
    with pytest.raises(ValueError, match="allowed is one of"):
        judge.index("rust")


def test_probabilities_are_a_row_each(judge: Judge, sounds: tuple[torch.Tensor, torch.Tensor]) -> None:
    """They add up to one, and a row does not depend on its batch mates or on their order."""
    wave = sounds[0][:6]
    said = judge.probabilities(wave)
    torch.testing.assert_close(said.sum(1), torch.ones(6))
    torch.testing.assert_close(judge.probabilities(wave.flip(0)).flip(0), said, atol=1e-5, rtol=0)
    torch.testing.assert_close(judge.probabilities(wave[2:3])[0], said[2], atol=1e-5, rtol=0)
    assert judge.probabilities(torch.zeros(0, SAMPLES)).shape == (0, 11)
    assert bool(torch.isfinite(judge.probabilities(torch.zeros(1, SAMPLES))).all())


def test_machines_never_met_are_recognised(judge: Judge, sounds: tuple[torch.Tensor, torch.Tensor]) -> None:
    """On fresh machines at -6 to 20 dB, a third of them rebuilt without phase: far above chance (0.09)."""
    wave, label = sounds
    hits = (judge.probabilities(wave).argmax(1) == label).float().mean()
    assert float(hits) > 0.5


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    """A flipped bit is told before anything is judged."""
    for name in ("gate.json", "gate.safetensors"):
        shutil.copy(FOLDER / name, tmp_path)
    data = bytearray((tmp_path / "gate.safetensors").read_bytes())
    data[-5] ^= 1
    (tmp_path / "gate.safetensors").write_bytes(bytes(data))
    with pytest.raises(ValueError, match="install it anew"):
        load_gate(tmp_path)


def test_the_judges_share_no_code() -> None:
    """What reports imports nothing of what gates, nor of the synthesis that the gate learned from."""
    for path in (ROOT / "tests" / "benchmarks" / "reporting").glob("*.py"):
        names = [
            name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            for name in (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")]
            )
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert names
        assert not [name for name in names if (name or "").startswith("sds_engine")]


def test_the_test_prompts_are_complete() -> None:
    """Each kind has one canonical prompt, four paraphrases and three Japanese ones, all different."""
    kinds = json.loads((ROOT / "tests/benchmarks/reporting/prompts.json").read_text(encoding="utf-8"))["kinds"]
    assert set(kinds) == set(CLASSES)
    every = [text for kind in kinds.values() for text in (kind["canonical"], *kind["en"], *kind["ja"])]
    assert len(every) == len(set(every)) == 11 * 8
