"""The nearest healthy recording: what a model remembers of its sources, on disk too, and older models without it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from soundlab import evidence, machine, whistle

from detectors.card import ModelError, sha256_of
from detectors.kinematics import Kinematics
from detectors.model import Clip, Model, fit_model
from detectors.store import load_models, save_models
from sds_engine.physics.bearings import Bearing

KINEMATICS = Kinematics(24.7, Bearing(9, 7.94, 39.04), 32)


@pytest.fixture(scope="module")
def model() -> Model:
    clips = [Clip(machine(seed, 6.0, gain_db=2.0 * seed), f"{seed}.wav") for seed in range(5)]
    return fit_model(clips, window_s=1.0, detector="neighbours", kinematics=KINEMATICS)


def test_the_nearest_recording_is_found_despite_a_fault(model: Model) -> None:
    """A recording is nearest to itself, also with a whistle in one band, and the place in it is said."""
    assert model.library is not None
    sound = machine(3, 6.0, gain_db=6.0)
    for one in (sound, sound + 0.02 * whistle(torch.zeros(len(sound)) + 1e-6)):
        (nearest,) = model.library.nearest(evidence([one]), model.healthy.mean_spread)
        assert nearest.recording == "3.wav"
        assert nearest.start_s == 0.0
        assert nearest.spreads < 0.05


def test_names_and_kinematics_travel_with_the_model(model: Model, tmp_path: Path) -> None:
    """A saved model gives the same nearest recordings and knows the machine's parts."""
    save_models(tmp_path / "fan", {"*": model}, machine="fan")
    again = load_models(tmp_path / "fan")["*"]
    assert again.library is not None
    assert model.library is not None
    assert again.library.recordings == model.library.recordings == tuple(f"{n}.wav" for n in range(5))
    assert again.kinematics == KINEMATICS
    assert again.id == model.id


def aged(folder: Path) -> None:
    """The model folder as version 1 wrote it: a card without the new keys, tensors without a library."""
    card = json.loads((folder / "card.json").read_text())
    (mic,) = card["mics"].values()
    old = {key: value for key, value in load((folder / mic["file"]).read_bytes()).items() if "library" not in key}
    identity = replace(load_models(folder)["*"], library=None).id
    data = save(old)
    (folder / mic["file"]).unlink()
    mic |= {"file": f"{identity}.safetensors", "model": identity}
    del mic["recordings"], mic["kinematics"]
    (folder / mic["file"]).write_bytes(data)
    (folder / "card.json").write_text(json.dumps(card | {"v": 1, "sha256": {mic["file"]: sha256_of(data)}}))


def test_models_of_version_1_still_score(model: Model, tmp_path: Path) -> None:
    """An older folder loads, scores the same, and has no library to look into; version 3 is refused by name."""
    folder = tmp_path / "fan"
    save_models(folder, {"*": model}, machine="fan")
    aged(folder)
    old = load_models(folder)["*"]
    assert old.library is None
    assert old.kinematics == Kinematics()
    heard = evidence([machine(9, 3.0)])
    assert torch.equal(old.score(heard).score, model.score(heard).score)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"v": 3}))
    with pytest.raises(ModelError, match="version is 3, this program reads 1 and 2"):
        load_models(folder)


def test_a_library_that_points_nowhere_is_refused(model: Model, tmp_path: Path) -> None:
    """Fewer names on the card than the tensors point to, and kinematics that are none, refuse to load."""
    folder = tmp_path / "fan"
    save_models(folder, {"*": model}, machine="fan")
    card = json.loads((folder / "card.json").read_text())
    for key, value, text in (
        ("recordings", ["0.wav"], "1 recordings"),
        ("kinematics", {"shaft": 3.0}, "kinematics are"),
        ("kinematics", {"n": 9.0}, "kinematics are"),
    ):
        changed = card | {"mics": {"*": card["mics"]["*"] | {key: value}}}
        (folder / "card.json").write_text(json.dumps(changed))
        with pytest.raises(ModelError, match=text):
            load_models(folder)


def test_kinematics_give_the_lines_of_the_bearing() -> None:
    """n = 9, d = 7.94, D = 39.04 (Randall and Antoni 2011): 3.585, 5.415, 2 x 2.357 and 0.398 per turn; mesh 32."""
    lines = KINEMATICS.bearing_hz()
    orders = {name: hz / 24.7 for name, hz in lines.items()}
    assert orders == pytest.approx({"BPFO": 3.585, "BPFI": 5.415, "2BSF": 4.714, "FTF": 0.398}, abs=1e-3)
    assert KINEMATICS.mesh_hz() == 32 * 24.7
    assert Kinematics.of(KINEMATICS.plain()) == KINEMATICS
    assert Kinematics(bearing=Bearing(9, 7.94, 39.04)).bearing_hz() == {}
    assert Kinematics(24.7).mesh_hz() is None
