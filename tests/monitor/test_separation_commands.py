"""`separate` and `evaluate-separation` as users run them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hummingline import RATE, hum
from typer.testing import CliRunner

from monitor.cli import app
from monitor.errors import WorkFailed
from monitor.evaluate_separation import evaluate_separation
from monitor.manifest import ManifestError, read_manifest
from monitor.separate import PIECE_S, in_pieces, separate_file
from monitor.separation_controls import CONTROLS
from monitor.separation_gains import mean_interval
from monitor.separation_rows import separation_rows, write_rows
from sds_engine.physics.kinds import KINDS
from sds_engine.separation.base import Query
from sds_engine.separation.classical import SpectralGating
from streams import soundfiles

SECONDS = 4.0


def hiss(seed: int) -> np.ndarray:
    return (0.03 * np.random.default_rng(seed).standard_normal(round(SECONDS * RATE))).astype(np.float32)


def write(path: Path, samples: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfiles.write_wav(path, samples, RATE)
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two machines, clean and background recordings, and two mixtures of each with their reference."""
    rows = []
    for machine, tone in (("fan", 120.0), ("pump", 310.0)):
        for number in range(2):
            clean = hum(SECONDS, tone, number)
            noise = hiss(10 + number)
            parts = {"clean": clean, "background": noise}
            for label, samples in parts.items():
                path = write(tmp_path / machine / f"{label}{number}.wav", samples)
                rows.append((path, machine, "train", label, f"{label}{number}", ""))
            wanted = hum(SECONDS, tone, 50 + number)
            reference = write(tmp_path / machine / f"ref{number}.wav", wanted)
            mixed = write(tmp_path / machine / f"mix{number}.wav", wanted + hiss(60 + number))
            rows.append((mixed, machine, "test", "normal", f"r{number}", reference))
    path = tmp_path / "manifest.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "machine", "split", "label", "recording", "reference", "prompt"])
        for file, machine, split, label, recording, reference in rows:
            shown = reference.relative_to(tmp_path) if reference else ""
            writer.writerow(
                [file.relative_to(tmp_path), machine, split, label, f"{machine}/{recording}", shown, machine]
            )
    return path


def test_the_report_is_as_designed(manifest: Path, tmp_path: Path) -> None:
    """Every method has its figures, the oracle is the best, the mixture gains nothing, and JSON holds them all."""
    report = evaluate_separation(manifest, tmp_path / "out", methods=["mixture", "wiener", "nmf"], quiet=True)
    assert json.loads((tmp_path / "out" / "report.json").read_text("utf-8")) == report
    assert set(report) == {"protocol", "methods", "paired", "oracle", *CONTROLS}
    for one in (*report["methods"].values(), *report["oracle"].values()):
        assert {"si_sdr_in", "si_sdr_out", "si_sdri", "si_sdri_ci", "nfe", "rtf"} <= set(one)
        assert one["si_sdri"] == pytest.approx(one["si_sdr_out"] - one["si_sdr_in"])
        assert one["si_sdri_ci"][0] <= one["si_sdri"] <= one["si_sdri_ci"][1]
    gains = {name: one["si_sdri"] for name, one in report["methods"].items()}
    assert gains["mixture"] == pytest.approx(0.0, abs=1e-4)
    assert 0.0 < gains["wiener"] < report["oracle"]["ideal_ratio_mask"]["si_sdri"]


def test_limits_and_mistakes(manifest: Path, tmp_path: Path) -> None:
    """--limit takes fewer files; unknown methods, Ex-Diff and manifests without references are clear errors."""
    report = evaluate_separation(manifest, tmp_path / "out", methods=["mixture"], limit=2, quiet=True)
    assert report["methods"]["mixture"]["files"] == 2
    for name, text in (("magic", "allowed is"), ("mixture-diffusion", "not shipped")):
        with pytest.raises(WorkFailed, match=text):
            evaluate_separation(manifest, tmp_path / "out", methods=[name], quiet=True)
    bare = tmp_path / "bare.csv"
    bare.write_text("file,machine,split,label\nfan/mix0.wav,fan,test,normal\n", "utf-8")
    with pytest.raises(WorkFailed, match="reference"):
        evaluate_separation(bare, tmp_path / "out", quiet=True)


def test_a_lone_machine_is_swapped_for_simulated_ones(manifest: Path, tmp_path: Path) -> None:
    """Where a manifest has one machine, strangers of every kind and the background are asked for, and lose."""
    head, *rows = manifest.read_text("utf-8").splitlines()
    lone = manifest.with_name("lone.csv")
    lone.write_text("\n".join([head, *(row for row in rows if row.startswith("fan/"))]) + "\n", "utf-8")
    report = evaluate_separation(lone, tmp_path / "out", methods=["extractor"], limit=1, quiet=True)
    strangers = report["swapped_enrolment"]["extractor"]
    assert set(strangers["lost_db_by_kind"]) == set(KINDS)
    assert strangers["lost_db"] == pytest.approx(np.mean(list(strangers["lost_db_by_kind"].values())))
    assert strangers["lost_db"] > 0.0
    assert report["swapped_background"]["extractor"]["asked"] == "the background"
    both = evaluate_separation(manifest, tmp_path / "out", methods=["extractor"], limit=2, quiet=True)
    assert both["swapped_enrolment"]["extractor"]["asked"] == "another machine"


def test_an_interval_is_over_recordings() -> None:
    """Copies of a file add nothing; one recording alone supports no interval."""
    values, names = np.array([1.0, 3.0]), np.array(["a", "b"])
    once = mean_interval(values, names, 0)
    often = mean_interval(values.repeat(50), names.repeat(50), 0)
    assert once == pytest.approx(often)
    assert mean_interval(values, np.array(["a", "a"]), 0) is None


def test_separate_writes_parts_that_add_up(manifest: Path, tmp_path: Path) -> None:
    """Target and residual are the recording within 16-bit rounding, and JSON says how they came about."""
    folder, out = manifest.parent, tmp_path / "parts"
    arguments = ["separate", str(folder / "fan/mix0.wav"), "--method", "wiener", "--out", str(out), "--json"]
    arguments += ["--enrol", str(folder / "fan/clean0.wav"), "--background", str(folder / "fan/background0.wav")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    mix, target, residual = (
        soundfile.read(path)[0] for path in (folder / "fan/mix0.wav", said["target"], said["residual"])
    )
    assert np.abs(target + residual - said["scale"] * mix).max() < 3 / 32768
    assert 0.0 < said["share_of_power"] < 1.0


def test_separate_says_what_it_needs(manifest: Path, tmp_path: Path) -> None:
    """No query is wrong use; methods that are not there are told; so is a query that a method cannot answer."""
    source = manifest.parent / "fan/mix0.wav"
    assert CliRunner().invoke(app, ["separate", str(source), "--out", str(tmp_path)]).exit_code == 2
    for method, text in (("sds", "--prompt"), ("mixture-diffusion", "not shipped"), ("wiener", "--enrol")):
        with pytest.raises(WorkFailed, match=text):
            separate_file(source, tmp_path, method=method, quiet=True)
    with pytest.raises(WorkFailed, match="go with --method sds"):
        separate_file(source, tmp_path, method="wiener", others=["rain"], quiet=True)
    alone = ["separate", str(source), "--out", str(tmp_path), "--method", "sds", "--enrol", str(source)]
    assert CliRunner().invoke(app, alone).exit_code == 2


def test_sds_separates_by_words(manifest: Path, tmp_path: Path) -> None:
    """By prompt and other prompts, seeded; the parts add up; evaluate-separation asks it in the manifest's words."""
    source, out = manifest.parent / "fan/mix0.wav", tmp_path / "words"
    arguments = ["separate", str(source), "--method", "sds", "--out", str(out), "--json", "--prompt", "fan"]
    arguments += ["--other", "people talking", "--other", "rain", "--iterations", "1", "--seed", "3"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["method"], said["seed"], said["others"]) == ("sds", 3, ["people talking", "rain"])
    mix, target, residual = (soundfile.read(path)[0] for path in (source, said["target"], said["residual"]))
    assert np.abs(target + residual - said["scale"] * mix).max() < 3 / 32768
    report = evaluate_separation(manifest, tmp_path / "report", methods=["sds"], limit=1, quiet=True)
    assert report["methods"]["sds"]["files"] == 1
    assert report["methods"]["sds"]["nfe"] > 0


def test_long_sound_is_separated_in_pieces_without_seams() -> None:
    """Beyond a minute pieces are faded into each other, and the parts still add up everywhere."""
    sound = 0.1 * torch.randn(round((PIECE_S + 7) * RATE), generator=torch.Generator().manual_seed(0))
    found = in_pieces(SpectralGating(), sound, Query((), (sound[: 2 * RATE],)))
    assert torch.allclose(found.target + found.residual, sound[None], atol=1e-6)
    whole = SpectralGating()(sound[None], Query((), (sound[: 2 * RATE],)))
    assert torch.allclose(found.target, whole.target, atol=0.02)


def test_public_layouts_become_manifests(tmp_path: Path) -> None:
    """MUSDB18-HQ and VoiceBank-DEMAND as they unpack give rows with references that evaluate-separation reads."""
    short = hum(1.0, 120.0, 0)
    for split in ("train", "test"):
        for name in ("mixture", "vocals", "drums"):
            write(tmp_path / "mus" / split / "A - B" / f"{name}.wav", short)
    for part in ("trainset_28spk", "testset"):
        for kind in ("clean", "noisy"):
            write(tmp_path / "vb" / f"{kind}_{part}_wav" / "p1.wav", short)
    for name, folder in (("musdb18", "mus"), ("voicebank-demand", "vb")):
        write_rows(separation_rows(name, tmp_path / folder), tmp_path / f"{name}.csv")
        rows = read_manifest(tmp_path / f"{name}.csv").rows
        assert [row.label for row in rows if row.split == "train"] == ["normal", "clean"]
        tests = [row for row in rows if row.split == "test"]
        assert len(tests) == 1
        assert tests[0].reference is not None
        assert tests[0].prompt
    with pytest.raises(ManifestError, match="vocals"):
        separation_rows("musdb18", tmp_path / "vb")
    with pytest.raises(ManifestError, match="no such folder"):
        separation_rows("musdb18", tmp_path / "nowhere")
