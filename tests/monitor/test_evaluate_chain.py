"""`evaluate --chain`: the same files behind every chain, a separator that knows training rows alone."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from hummingline import RATE, hum

from detectors.base import Evidence
from detectors.neighbours import Neighbours
from monitor.errors import WorkFailed
from monitor.evaluate import evaluate
from monitor.evaluate_chain import SINGLE, Remembering, chains_of, named, site_stage, through
from monitor.manifest import read_manifest
from monitor.site_sound import SiteRecordings, adapted_stage
from monitor.stages import Identity, MaskStage
from sds_engine.separation.network import STATISTICS, MaskNet, NetSize
from streams import soundfiles

ROWS = (
    *(("train", "normal", 12.0, 120.0, 0.0) for _ in range(5)),
    *(("train", "clean", 6.0, 120.0, 0.0) for _ in range(2)),
    *(("train", "background", 6.0, 900.0, 0.0) for _ in range(2)),
    *(("test", "normal", 12.0, 120.0, 0.0) for _ in range(3)),
    *(("test", "anomaly", 12.0, 120.0, 0.02) for _ in range(3)),
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    path = folder / "manifest.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "machine", "split", "label"])
        for number, (split, label, seconds, tone, fault) in enumerate(ROWS):
            soundfiles.write_wav(folder / f"{number}.wav", hum(seconds, tone, number, fault), RATE)
            writer.writerow([f"{number}.wav", "fan", split, label])
    return path


def test_all_chains_stand_side_by_side(manifest: Path, tmp_path: Path) -> None:
    """Each detector has a row for every chain; the loud fault is found behind all; notes say how."""
    report = evaluate(manifest, tmp_path, chain="all", detectors="neighbours", adapt_minutes=0.005)
    assert report["protocol"]["chain"] == "all"
    for name in (named("neighbours", one, "all") for one in SINGLE):
        assert report["results"][name]["auc"] == pytest.approx(1.0)
    assert "delta_raw_ci" in report["results"]["neighbours+full"]
    notes = " ".join(report["protocol"]["notes"])
    assert "Ex-Diff is no part of it" in notes
    assert "separator: starts from" in notes
    assert "Ex-Diff: " in notes


def test_nonsense_is_refused(manifest: Path, tmp_path: Path) -> None:
    """A chain that there is not is an error that says which there are."""
    with pytest.raises(WorkFailed, match="raw, separated, enhanced, full, full-enhanced, all"):
        evaluate(manifest, tmp_path, chain="best")


def test_the_separator_knows_training_rows_alone(manifest: Path) -> None:
    """What it is given are the clean and background rows of train; without clean ones, healthy mixtures of train."""
    given: list[SiteRecordings] = []

    def adapt(recordings: SiteRecordings, **_: object) -> tuple[MaskStage, tuple[str, ...]]:
        given.append(recordings)
        return MaskStage(MaskNet(NetSize(8, (1,), 4)), torch.zeros(STATISTICS)), ("note",)

    whole = read_manifest(manifest)
    site_stage(whole, "fan", 0, 1.0, adapt)
    assert (len(given[0].clean), len(given[0].background), len(given[0].healthy)) == (2, 2, 0)
    bare = type(whole)(whole.path, tuple(row for row in whole.rows if row.label != "clean"), whole.columns)
    site_stage(bare, "fan", 0, 1.0, adapt)
    assert (len(given[1].clean), len(given[1].healthy)) == (0, 5)


def test_a_site_without_background_invents_one() -> None:
    """Healthy mixtures alone are enough to begin with, and the notes say what that means; nothing at all is not."""
    sound = torch.from_numpy(hum(5.0, 120.0, 0))
    stage, notes = adapted_stage(SiteRecordings(healthy=[sound]), minutes=0.001)
    assert stage.share(torch.zeros(1, 128, 10)).shape == (1, 128, 10)
    assert any("invented hall" in note for note in notes)
    assert any("no clean recordings" in note for note in notes)
    with pytest.raises(ValueError, match="no recordings"):
        adapted_stage(SiteRecordings())


def test_the_identity_behind_a_detector_changes_nothing() -> None:
    """Behind the identity twin the separated chain scores as raw, and paths are made once for each batch."""
    generator = torch.Generator().manual_seed(0)
    log_mel = -50.0 + torch.randn(12, 128, 30, generator=generator)
    evidence = Evidence(log_mel, torch.ones_like(log_mel), log_mel.mean(1))
    stage = Remembering(Identity())
    assert stage(evidence) is stage(evidence)
    plain, behind = Neighbours().fit(evidence), through(Neighbours(), "separated", stage).fit(evidence)
    assert torch.equal(plain.score(evidence), behind.score(evidence))


def test_names_of_results() -> None:
    """One chain keeps the detectors' names, several say which."""
    assert chains_of("all") == SINGLE
    assert chains_of("enhanced") == ("enhanced",)
    assert named("fusion", "separated", "separated") == "fusion"
    assert named("fusion", "full", "all") == "fusion+full"
    assert named("fusion", "raw", "all") == "fusion"
