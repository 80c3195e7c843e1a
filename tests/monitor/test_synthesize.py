"""`factory-ear synthesize` and `prior`: files with provenance from a prompt, and clear errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from monitor.cli import app
from sds_engine.priors import build
from sds_engine.priors.build import Recipe
from sds_engine.priors.codec import MelCodec
from sds_engine.priors.network import Network
from sds_engine.priors.training import Plan
from sds_engine.tasks import library

Start = tuple[MelCodec, Network]

pytest.importorskip("sentence_transformers")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two iterations instead of all: the road is the same."""
    few = replace(library.SETTINGS, iterations=2, draws=1, steps=1)
    monkeypatch.setattr(library.make_library, "__defaults__", (few, None))


def call(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    said = result.output + (str(result.exception) if result.exception is not None else "")
    return result.exit_code, said


def test_a_prompt_becomes_sounds_with_provenance(tmp_path: Path) -> None:
    """Each sound is 2 s at 16 kHz, has a sidecar that names prompt, seed and prior, and `provenance` knows it."""
    code, said = call("synthesize", "--prompt", "compressed air leak", "-n", "2", "--out", tmp_path, "--json")
    assert code == 0, said
    result = json.loads(said[said.index("{") :])
    assert result["kind"] == "leak"
    assert len(result["sounds"]) == 2
    for row in result["sounds"]:
        sound, rate = soundfile.read(row["file"])
        assert (rate, sound.shape) == (16_000, (32_000,))
        sidecar = json.loads(Path(row["file"]).with_suffix(".provenance.json").read_text(encoding="utf-8"))
        assert sidecar["prompt"] == "compressed air leak"
        assert sidecar["seed"] == row["seed"]
        assert len(sidecar["prior_sha256"]) == 64
        assert sidecar["parameters"]["physical"]
    code, said = call("provenance", *sorted(tmp_path.glob("*.wav")), "--json")
    assert code == 0
    assert [row["verdict"] for row in json.loads(said)] == ["generated", "generated"]


def test_a_machines_own_sound_goes_in(tmp_path: Path) -> None:
    """Healthy recordings lend their resonances, and the fault can be laid over them at a level."""
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "healthy.wav", 0.05 * rng.standard_normal(64_000), 16_000)
    words = ["synthesize", "--prompt", "エア漏れの音", "-n", "1", "--out", tmp_path / "out", "--json"]
    code, said = call(*words, "--healthy", tmp_path / "healthy.wav", "--over", "-6")
    assert code == 0, said
    assert json.loads(said[said.index("{") :])["sounds"][0]["over_machine_db"] == -6.0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--prompt", "a birthday cake with strawberries"], "near to no maker"),
        (["--prompt", "？？？"], "no known word"),
        (["--prompt", "leak", "--kind", "ghost"], "allowed is one of"),
        (["--prompt", "leak", "--over", "-6"], "needs healthy recordings"),
        (["--prompt", "leak", "--prior", "/nowhere"], "no prior in"),
    ],
)
def test_what_cannot_be_made_is_said(tmp_path: Path, words: list[str], text: str) -> None:
    """Prompts, makers, levels and priors that do not work are named with the remedy, and nothing is written."""
    code, said = call("synthesize", *words, "--out", tmp_path / "out")
    assert code != 0
    assert text in said
    assert not (tmp_path / "out").exists()


def test_the_shipped_prior_says_what_it_is() -> None:
    """`prior info` names data, examples seen and licence; at least a million examples were seen."""
    code, said = call("prior", "info", "--json")
    assert code == 0
    card = json.loads(said)
    assert card["training"]["examples_seen"] + card["training"].get("examples_before", 0) >= 1_000_000
    assert card["licence"]
    files = card["data"]["files"]
    assert not [name for name in files if "__3-" in name or "mimii" in name.lower()], "test recordings in training"


def test_a_prior_is_trained_and_tuned_by_command(tmp_path: Path) -> None:
    """A tiny run from nothing leaves a prior that loads; a tiny fine-tuning starts from the shipped one."""
    out = tmp_path / "tiny"
    code, said = call("prior", "train", "--out", out, "--steps", "1", "--machines", "1", "--others", "14", "--json")
    assert code == 0, said
    assert json.loads(said)["training"]["steps"] == 1
    sound = 0.05 * np.random.default_rng(0).standard_normal(80_000)
    (tmp_path / "site").mkdir()
    soundfile.write(tmp_path / "site" / "a.wav", sound, 16_000)
    words = ["prior", "train", "--out", tmp_path / "tuned", "--recordings", tmp_path / "site", "--steps", "1"]
    code, said = call(*words, "--machines", "1", "--others", "14", "--json")
    assert code == 0, said
    card = json.loads(said)
    assert card["tuned_from_shipped"] is True
    assert card["data"]["files"] == ["a.wav"]
    assert card["training"]["examples_before"] >= 1_000_000


def test_a_prior_is_tuned_with_emphasis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--tune` starts from the shipped prior and writes on the card what it dwelt on; nonsense is refused at once."""
    asked: list[Plan] = []

    def unlearned(recipe: Recipe, plan: Plan, folder: Path, say: object, report: object, start: Start) -> Start:
        asked.append(plan)
        return start

    monkeypatch.setattr(build, "build", unlearned)
    words = ["prior", "train", "--out", tmp_path / "tuned", "--tune", "--steps", "1"]
    code, said = call(*words, "--emphasise", "ball=4", "--fault-db", "3", "18", "--noise", "0.7", "1", "--json")
    assert code == 0, said
    training = json.loads(said)["training"]
    assert asked[0].emphasise == (("ball", 4.0),)
    assert (training["emphasised"], training["fault_over_machine_db"]) == ({"ball": 4.0}, [3.0, 18.0])
    assert training["log_sigma_mean_and_deviation"] == [0.7, 1.0]
    assert training["examples_before"] >= 1_000_000
    for nonsense in ("ball", "ball=0", "hiccup=2", "ball=nan"):
        code, said = call(*words, "--emphasise", nonsense)
        assert code != 0
        assert "give KIND=WEIGHT" in said
    assert len(asked) == 1
