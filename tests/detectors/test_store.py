"""Models on disk: whole or not at all, checked byte by byte, never a pickle."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from soundlab import FRONT_END, RATE, machine

from detectors.aggregate import clips_evidence
from detectors.card import CARD, ModelError, Source, read_card
from detectors.lineup import CONTROLS, DETECTORS
from detectors.model import Clip, fit_model
from detectors.store import load_models, save_models

CLIPS = [Clip(machine(seed), str(seed)) for seed in range(5)]
MODEL = fit_model(CLIPS, window_s=1.0)
HEARD = clips_evidence([machine(9)], FRONT_END, RATE, 1, waveform=True)[0]
SOURCES = [Source("healthy/1.wav", "0" * 64, 1.0, "CC BY 4.0")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_models(tmp_path / "press", {"*": MODEL, "near": MODEL}, machine="press", sources=SOURCES, made="2026-11-21")
    return tmp_path / "press"


@pytest.mark.parametrize("name", [kind.name for kind in (*DETECTORS, *CONTROLS)])
def test_a_loaded_model_is_the_saved_one(tmp_path: Path, name: str) -> None:
    """Every detector comes back with the same id and the same scores."""
    model = fit_model(CLIPS, window_s=1.0, detector=name)
    save_models(tmp_path / "press", {"*": model}, machine="press")
    (loaded,) = load_models(tmp_path / "press").values()
    assert loaded.id == model.id
    for before, after in zip(model.score(HEARD), loaded.score(HEARD), strict=True):
        assert torch.equal(before, after)


def test_the_card_says_what_it_is(folder: Path) -> None:
    """The card names microphones, data with licence, and effective n; microphones that share a model share its file."""
    card = read_card(folder)
    assert card.machine == "press"
    assert card.made == "2026-11-21"
    assert card.sources == tuple(SOURCES)
    assert set(card.mics) == {"*", "near"}
    one = card.mics["near"]
    assert (one.model, one.detector, one.effective_n, one.rate) == (MODEL.id, "fusion", 5, RATE)
    assert one.context_s == MODEL.context_s
    assert sorted(path.name for path in folder.iterdir()) == sorted([CARD, one.file])
    assert load_models(folder)["*"].id == load_models(folder)["near"].id


def test_reading_a_card_needs_no_torch() -> None:
    """A page or a gateway can read cards without the weight of torch."""
    code = "import sys, detectors.card; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_any_flipped_bit_is_noticed(folder: Path) -> None:
    """One bit anywhere in the tensors, which safetensors itself would load, is refused by name and remedy."""
    file = folder / read_card(folder).mics["*"].file
    good = file.read_bytes()
    for place in range(0, len(good), len(good) // 23):
        file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(ModelError, match=rf"{file.name}.*SHA-256.*factory-ear train"):
            load_models(folder)
    file.write_bytes(good[:-1])
    with pytest.raises(ModelError, match="SHA-256"):
        load_models(folder)


def test_a_card_changed_by_hand_is_noticed(folder: Path) -> None:
    """Settings that are not those of the model, wrong kinds, missing keys and paths that lead elsewhere are refused."""
    good = json.loads((folder / CARD).read_text())
    for key, value in (
        ("window_s", 4.0), ("context_windows", 3), ("rate", 8000), ("detector", "neighbours"), ("detector", "oracle"),
        ("model", "0" * 12), ("effective_n", "many"), ("file", "../x"), ("front_end", 2), ("rate", True), ("hop", -1),
    ):  # fmt: skip
        changed = json.loads(json.dumps(good))
        changed["mics"]["*"][key] = value
        (folder / CARD).write_text(json.dumps(changed))
        with pytest.raises(ModelError, match="factory-ear train"):
            load_models(folder)
    for key in good:
        (folder / CARD).write_text(json.dumps({name: one for name, one in good.items() if name != key}))
        with pytest.raises(ModelError, match=CARD):
            read_card(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"v": 2}', '{"v": 1}', "[" * 100_000, "\x80"])
def test_what_is_no_card_is_refused(folder: Path, text: str) -> None:
    """Broken JSON, other JSON and other versions raise ModelError that names the card."""
    (folder / CARD).write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=CARD):
        read_card(folder)


def test_missing_and_strange_files_are_refused(folder: Path) -> None:
    """A listed file that is gone, a file that nobody listed, and a folder without a model are each named."""
    with pytest.raises(ModelError, match="holds no model"):
        load_models(folder / "nowhere")
    stranger = folder / "extra.pkl"
    stranger.write_bytes(b"x")
    with pytest.raises(ModelError, match=r"extra\.pkl.*does not know"):
        load_models(folder)
    stranger.unlink()
    file = folder / read_card(folder).mics["*"].file
    file.unlink()
    with pytest.raises(ModelError, match=f"{file.name}: cannot be read"):
        load_models(folder)


def replace_tensors(folder: Path, write) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - a small callback
    """Put a foreign file in place, with a card that vouches for it."""
    from detectors.card import sha256_of

    file = folder / read_card(folder).mics["*"].file
    write(file)
    card = json.loads((folder / CARD).read_text())
    card["sha256"][file.name] = sha256_of(file.read_bytes())
    (folder / CARD).write_text(json.dumps(card))


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (Path("exploded"), "a pickle was read"))


def test_a_pickle_is_never_read(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Even with a card that vouches for it, a pickle is refused and its code does not run."""
    monkeypatch.chdir(tmp_path)
    replace_tensors(folder, lambda file: file.write_bytes(pickle.dumps(Bomb())))
    with pytest.raises(ModelError, match="not a model that this program knows"):
        load_models(folder)
    replace_tensors(folder, lambda file: torch.save({"x": torch.ones(1)}, file))
    with pytest.raises(ModelError, match="not a model that this program knows"):
        load_models(folder)
    assert not (tmp_path / "exploded").exists()


def test_foreign_tensors_are_refused(folder: Path) -> None:
    """A good safetensors file of something else, and our tensors with another value, are refused."""
    replace_tensors(folder, lambda file: save_file({"weight": torch.ones(3)}, file))
    with pytest.raises(ModelError, match="tensor centre is missing"):
        load_models(folder)
    changed = {key: value.clone().contiguous() for key, value in MODEL.state().items()}
    changed["calibration.healthy"] += 1.0
    replace_tensors(folder, lambda file: save_file(changed, file))
    with pytest.raises(ModelError, match="card's settings are not those"):
        load_models(folder)


@pytest.mark.parametrize("crash_at", [1, 2])
def test_a_crash_while_saving_leaves_a_whole_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    """Whichever rename never happens, the old model still loads, and the next save works."""
    new = fit_model(CLIPS[:4], window_s=1.0)
    renames = 0
    rename = Path.rename

    def crash(self: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames == crash_at:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        save_models(folder, {"*": new}, machine="press")
    monkeypatch.undo()
    assert load_models(folder)["*"].id == MODEL.id
    save_models(folder, {"*": new}, machine="press")
    assert load_models(folder)["*"].id == new.id
    assert [path.name for path in folder.parent.iterdir()] == ["press"]


def test_there_must_be_something_to_save(tmp_path: Path) -> None:
    """No models raise ValueError before anything is written."""
    with pytest.raises(ValueError, match="no models"):
        save_models(tmp_path / "press", {}, machine="press")
    assert not list(tmp_path.iterdir())
