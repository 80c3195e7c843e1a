"""Public data sets: tiny folders of the real shapes become rows, a report and the table of their year."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.metrics import roc_auc_score
from test_cli import factory_ear

from monitor.dataset_table import Judged, dataset_table
from monitor.datasets import NAMES, find_rows, write_manifest
from monitor.manifest import ManifestError, read_manifest
from monitor.roc import TestSet

RATE = 16_000


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"sound")


def sections(kind: Path, tests: dict[str, tuple[str, ...]], section: str = "00", attribute: str = "_vel_4") -> None:
    """One section as DCASE 2021 and later have it; `tests` gives each test folder its domains."""
    for domain in ("source", "target"):
        touch(kind / "train", *(f"section_{section}_{domain}_train_normal_{n:04d}{attribute}.wav" for n in range(3)))
    for folder, domains in tests.items():
        for domain in domains:
            for label in ("normal", "anomaly"):
                touch(kind / folder, f"section_{section}_{domain}_test_{label}_0000{attribute}.wav")


def counted(name: str, folder: Path) -> Counter[tuple[str, str, str, str]]:
    return Counter((row["machine"], row["split"], row["label"], row["domain"]) for row in find_rows(name, folder).rows)


def test_dcase_2020_has_ids(tmp_path: Path) -> None:
    """train and test hold normal_id_XX and anomaly_id_XX; each id is a machine; the layout has no domains."""
    for kind in ("fan", "ToyCar"):
        for part in ("id_00", "id_02"):
            touch(tmp_path / "dev_data" / kind / "train", *(f"normal_{part}_{n:08d}.wav" for n in range(3)))
            touch(tmp_path / "dev_data" / kind / "test", f"normal_{part}_00000000.wav", f"anomaly_{part}_00000000.wav")
    found = counted("dcase2020", tmp_path)
    assert {machine for machine, *_ in found} == {"fan/id_00", "fan/id_02", "ToyCar/id_00", "ToyCar/id_02"}
    assert found["fan/id_02", "train", "normal", ""] == 3
    assert found["fan/id_02", "test", "anomaly", ""] == 1
    assert counted("dcase2020", tmp_path / "dev_data" / "fan")["fan/id_02", "train", "normal", ""] == 3


def test_dcase_2021_tests_each_domain_in_a_folder(tmp_path: Path) -> None:
    """source_test and target_test are read, test files carry no attribute, every section is a machine."""
    for section in ("00", "01"):
        sections(tmp_path / "fan", {"source_test": ("source",), "target_test": ("target",)}, section, "")
    found = counted("dcase2021", tmp_path)
    assert found["fan/section_01", "test", "anomaly", "target"] == 1
    assert found["fan/section_00", "train", "normal", "target"] == 3
    assert sum(found.values()) == 2 * (6 + 4)


@pytest.mark.parametrize("name", ["dcase2022", "dcase2023", "dcase2024", "dcase2025"])
def test_later_years_have_one_test_folder(tmp_path: Path, name: str) -> None:
    """train and test hold both domains; attributes are carried, also none and noAttribute; resource forks are not."""
    sections(tmp_path / "dev_bearing" / "bearing", {"test": ("source", "target")}, attribute="_noAttribute")
    sections(tmp_path / "dev_fan" / "fan", {"test": ("source", "target")}, attribute="_")
    touch(tmp_path / "dev_fan" / "fan", "attributes_00.csv")
    touch(tmp_path / "dev_fan" / "fan" / "test", "._section_00_source_test_normal_0000_.wav")
    found = counted(name, tmp_path)
    assert found["bearing/section_00", "test", "normal", "source"] == 1
    assert found["fan/section_00", "train", "normal", "target"] == 3
    assert sum(found.values()) == 2 * (6 + 4)
    assert {row["attributes"] for row in find_rows(name, tmp_path).rows} == {"noAttribute", ""}


def test_dcase_2025_brings_clean_machines_and_background(tmp_path: Path) -> None:
    """supplemental holds the machine alone or the noise alone, in any spelling that occurs; both only train."""
    for kind, names in {
        "fan": ("section_00_machine_0001_.wav", "section_00_source_supplemental_machine_0002.wav"),
        "valve": ("section_00_noise_0001_.wav", "section_00_noise_supplemental_normal_0002.wav"),
    }.items():
        sections(tmp_path / kind, {"test": ("source", "target")})
        touch(tmp_path / kind / "supplemental", *names)
    found = counted("dcase2025", tmp_path)
    assert found["fan/section_00", "train", "clean", ""] == 2
    assert found["valve/section_00", "train", "background", ""] == 2
    touch(tmp_path / "fan" / "supplemental", "section_00_other_0003.wav")
    with pytest.raises(ManifestError, match=r"neither machine.*nor noise"):
        find_rows("dcase2025", tmp_path)


def test_mimii_draws_as_many_test_normals_as_there_are_abnormal_files(tmp_path: Path) -> None:
    """Normals are split by seed and machine; a signal-to-noise ratio above the type makes machines of its own."""
    for snr in ("-6_dB_fan", "0_dB_fan"):
        where = tmp_path / snr / "fan" / "id_00"
        touch(where / "normal", *(f"{n:08d}.wav" for n in range(20)))
        touch(where / "abnormal", *(f"{n:08d}.wav" for n in range(5)))
    found = counted("mimii", tmp_path)
    for snr in ("-6_dB_fan", "0_dB_fan"):
        machine = f"{snr}/fan/id_00"
        assert found[machine, "train", "normal", ""] == 15
        assert found[machine, "test", "normal", ""] == found[machine, "test", "anomaly", ""] == 5
    assert find_rows("mimii", tmp_path, seed=1).rows == find_rows("mimii", tmp_path, seed=1).rows
    assert find_rows("mimii", tmp_path, seed=1).rows != find_rows("mimii", tmp_path, seed=2).rows
    assert "fan/id_00" in {row["machine"] for row in find_rows("mimii", tmp_path / "0_dB_fan" / "fan").rows}
    touch(tmp_path / "0_dB_fan" / "fan" / "id_00" / "abnormal", *(f"{n:08d}.wav" for n in range(20)))
    with pytest.raises(ManifestError, match="20 normal and 20 abnormal"):
        find_rows("mimii", tmp_path)


def test_evaluation_sets_without_labels_get_a_clear_answer(tmp_path: Path) -> None:
    """Alone they are refused, with the reason; beside a development set they are left out and named."""
    touch(tmp_path / "eval_data" / "fan" / "train", "section_03_source_train_normal_0000_x.wav")
    touch(tmp_path / "eval_data" / "fan" / "test", "section_03_test_0000.wav")
    with pytest.raises(ManifestError, match=r"section_03_test_0000\.wav: no label.*evaluation set.*published apart"):
        find_rows("dcase2022", tmp_path)
    sections(tmp_path / "dev_data" / "fan", {"test": ("source", "target")})
    found = find_rows("dcase2022", tmp_path)
    assert {row["machine"] for row in found.rows} == {"dev_data/fan/section_00"}
    assert found.notes == ("eval_data/fan/section_03: no labelled test files, so left out",)
    touch(tmp_path / "2020" / "fan" / "train", "normal_id_01_00000000.wav")
    touch(tmp_path / "2020" / "fan" / "test", "id_01_00000000.wav")
    with pytest.raises(ManifestError, match="evaluation set of dcase2020"):
        find_rows("dcase2020", tmp_path / "2020")


def test_a_renamed_evaluation_set_is_read(tmp_path: Path) -> None:
    """test_rename, which the organisers' tool writes beside test, has the labels."""
    sections(tmp_path / "drone", {"test_rename": ("source", "target")})
    touch(tmp_path / "drone" / "test", "section_00_test_0000.wav")
    assert counted("dcase2023", tmp_path)["drone/section_00", "test", "anomaly", "target"] == 1


def test_another_layout_is_refused(tmp_path: Path) -> None:
    """A wrong year, a wrong folder, a stray file and an unknown name say what was looked for."""
    sections(tmp_path / "fan", {"test": ("source", "target")})
    with pytest.raises(ManifestError, match="no labelled test files of dcase2021"):
        find_rows("dcase2021", tmp_path)
    with pytest.raises(ManifestError, match="not a name that dcase2020 has in train"):
        find_rows("dcase2020", tmp_path)
    with pytest.raises(ManifestError, match="no folder id_XX"):
        find_rows("mimii", tmp_path)
    with pytest.raises(ManifestError, match="no folder with train and source_test and target_test"):
        find_rows("dcase2021", tmp_path / "fan" / "train")
    with pytest.raises(ManifestError, match="no such folder"):
        find_rows("mimii", tmp_path / "nowhere")
    with pytest.raises(ManifestError, match="'dcase1999', allowed is one of dcase2020"):
        find_rows("dcase1999", tmp_path)


def test_rows_are_a_manifest(tmp_path: Path) -> None:
    """What is written can be read back, without columns that are empty throughout."""
    sections(tmp_path / "fan", {"test": ("source", "target")})
    write_manifest(find_rows("dcase2023", tmp_path), tmp_path / "out" / "manifest.csv")
    manifest = read_manifest(tmp_path / "out" / "manifest.csv")
    assert manifest.machines() == ["fan/section_00"]
    assert manifest.columns == ("file", "machine", "split", "label", "domain", "attributes")
    assert manifest.rows[0].extra == {"attributes": "vel_4"}
    touch(tmp_path / "id" / "fan" / "id_00" / "normal", "0.wav", "1.wav")
    touch(tmp_path / "id" / "fan" / "id_00" / "abnormal", "0.wav")
    write_manifest(find_rows("mimii", tmp_path / "id"), tmp_path / "mimii.csv")
    with (tmp_path / "mimii.csv").open(newline="") as handle:
        assert next(csv.reader(handle)) == ["file", "machine", "split", "label"]


def drawn(seed: int, machine: str) -> Judged:
    generator = np.random.default_rng(seed)
    anomaly = np.arange(80) % 2 == 1
    domain = np.where(np.arange(80) < 40, "source", "target").astype(np.str_)
    scores = generator.normal(size=80) + anomaly + 0.5 * (domain == "target")
    return Judged(machine, TestSet(anomaly, domain, np.arange(80).astype(np.str_)), {"one": scores})


def test_each_year_counts_by_its_own_rule() -> None:
    """2020 takes arithmetic means, 2021 harmonic ones within domains, 2022 and later against all anomalies."""
    machines = [drawn(1, "fan/section_00"), drawn(2, "fan/section_01"), drawn(3, "pump/section_00")]

    def auc(one: Judged, keep: np.ndarray, **more: float) -> float:
        return float(roc_auc_score(one.test.anomaly[keep], one.scores["one"][keep], **more))

    everything = np.ones(80, dtype=bool)
    flat = [(auc(one, everything), auc(one, everything, max_fpr=0.1)) for one in machines]
    rows = dataset_table("dcase2020", machines)["rows"]["one"]
    assert rows["fan"]["AUC"] == pytest.approx(np.mean([flat[0][0], flat[1][0]]))
    assert rows["all"]["mean"] == pytest.approx(np.mean(flat))

    def harmonic(values: list[float]) -> float:
        return len(values) / sum(1 / value for value in values)

    within = [
        auc(one, one.test.domain == d, **more) for one in machines for d in ("source", "target")
        for more in ({}, {"max_fpr": 0.1})
    ]  # fmt: skip
    assert dataset_table("dcase2021", machines)["rows"]["one"]["all"]["official"] == pytest.approx(harmonic(within))
    against = [auc(one, one.test.anomaly | (one.test.domain == d)) for one in machines for d in ("source", "target")]
    later = dataset_table("dcase2023", machines)
    assert later["columns"] == ["AUC source", "AUC target", "pAUC", "official"]
    total = harmonic(against + [both[1] for both in flat])
    assert later["rows"]["one"]["all"]["official"] == pytest.approx(total)
    assert list(later["rows"]["one"]) == ["fan", "pump", "all"]
    assert dataset_table("mimii", machines)["rows"]["one"]["all"] == {
        "AUC": pytest.approx(np.mean([f[0] for f in flat])), "mean": pytest.approx(np.mean([f[0] for f in flat])),
    }  # fmt: skip


def test_every_data_set_has_a_rule() -> None:
    """A table of nothing is an empty table, for each name that the command knows; a missing domain is null."""
    for name in NAMES:
        assert dataset_table(name, [])["rows"] == {}
    lonely = drawn(1, "fan/section_00")
    keep = lonely.test.domain == "source"
    test = TestSet(lonely.test.anomaly[keep], lonely.test.domain[keep], lonely.test.recording[keep])
    row = dataset_table("dcase2021", [Judged("fan/x", test, {"one": lonely.scores["one"][keep]})])["rows"]["one"]["all"]
    assert row["AUC target"] is None
    assert row["official"] is None
    assert row["AUC source"] is not None


def hum(seed: int, *, faulty: bool) -> np.ndarray:
    generator = np.random.default_rng(seed)
    time = np.arange(round(2.2 * RATE)) / RATE
    sound = 0.05 * np.sin(2 * np.pi * 120 * time) + 0.02 * generator.normal(size=len(time))
    return sound + faulty * 0.03 * np.sin(2 * np.pi * 3000 * time)


def test_one_command_prints_the_table_of_the_task(tmp_path: Path) -> None:
    """evaluate --dataset writes manifest and report, with the data set's own table."""
    data = tmp_path / "data"
    for n in range(8):
        for domain in ("source", "target"):
            for split, label in (("train", "normal"), ("test", "normal"), ("test", "anomaly")):
                target = data / "fan" / split / f"section_00_{domain}_{split}_{label}_{n:04d}_.wav"
                target.parent.mkdir(parents=True, exist_ok=True)
                seed = hash((n, domain == "source", split == "train", label == "normal")) % 2**32
                soundfile.write(target, hum(seed, faulty=label == "anomaly"), RATE)
    done = factory_ear("evaluate", "--dataset", "dcase2023", data, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "official" in done.stdout
    assert "AUC target" in done.stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["dataset"]["rows"]["fusion"]["all"]["official"] == pytest.approx(
        report["results"]["fusion"]["official"]
    )
    assert report["dataset"]["rows"]["fusion"]["fan"]["AUC source"] == 1.0
    assert len(read_manifest(tmp_path / "out" / "manifest.csv").rows) == 48


def test_wrong_combinations_are_wrong_use(tmp_path: Path) -> None:
    """A folder without --dataset, a manifest with it, nothing at all and an unknown data set exit with 2."""
    manifest = tmp_path / "m.csv"
    manifest.write_text("file,machine,split,label\n")
    for arguments, text in (
        ((tmp_path,), "is a folder"),
        ((manifest, "--dataset", "mimii"), "is a file"),
        ((), "Missing argument"),
        ((tmp_path, "--dataset", "dcase1999"), "dcase1999"),
    ):
        done = factory_ear("evaluate", *arguments, "--out", tmp_path / "out")
        assert done.returncode == 2, done.stderr
        assert text in done.stderr.replace("\n", " ")
        assert not (tmp_path / "out").exists()
