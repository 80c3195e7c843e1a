"""costs.toml: what `init` writes is read, and every mistake has an answer that names it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monitor.errors import SettingsError
from monitor.roi.costs import Costs, load_costs
from monitor.starter import COSTS


def written(folder: Path, text: str) -> Path:
    path = folder / "costs.toml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(key: str, value: str) -> str:
    """The starter with one key set otherwise."""
    text, count = re.subn(rf"^(# )?{key} = \S+", f"{key} = {value}", COSTS, flags=re.MULTILINE)
    assert count == 1
    return text


def test_what_init_writes_is_read(tmp_path: Path) -> None:
    """The starter is valid as it is, and with every commented key switched on it holds the defaults."""
    plain = load_costs(written(tmp_path, COSTS))
    assert plain.currency == "JPY"
    full = load_costs(written(tmp_path, re.sub(r"^# (\w+ = )", r"\1", COSTS, flags=re.MULTILINE)))
    shown = {name: value for name, value in full if name not in ("machines", "listening_hours_per_week")}
    assert shown == {name: value for name, value in plain if name in shown}


@pytest.mark.parametrize("key", Costs.model_fields)
def test_every_key_stands_in_the_starter(key: str) -> None:
    """What init writes shows every key, commented where it is optional."""
    assert re.search(rf"^(# )?{key} = ", COSTS, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("inspection", "-5", "inspection = -5: a cost cannot be negative"),
        ("planned_repair", "9000000", "above unplanned_failure = 1,500,000: then no warning can save money"),
        ("share_acted_on", "1.5", "share_acted_on = 1.5: allowed is at most 1"),
        ("share_acted_on", "80", "allowed is at most 1: a share of 1, 0.8 for 80%"),
        ("discount_rate", "5", "a share of 1, 0.05 for 5%"),
        ("currency", '"yen"', "currency = 'yen': no currency of ISO 4217 that is in use; write JPY"),
        ("currency", '"usd"', "write USD"),
        ("currency", '"XYZ"', "write one such as JPY, USD or EUR"),
        ("failures_per_machine_year", "-1", "failures_per_machine_year = -1"),
        ("investment", "nan", "investment = nan"),
        ("years", "0", "years = 0"),
        ("machines", "2.5", "machines = 2.5"),
    ],
)
def test_impossible_values_are_named(tmp_path: Path, key: str, value: str, words: str) -> None:
    """The message names the key and the value."""
    with pytest.raises(SettingsError, match=re.escape(words)):
        load_costs(written(tmp_path, changed(key, value)))


def test_unknown_and_missing_keys_are_errors(tmp_path: Path) -> None:
    """A key that is misspelt is told with the known ones; one that is missing is told too."""
    with pytest.raises(
        SettingsError, match=r"inspektion = 3: no such key; did you mean inspection\?.*known: currency, planned"
    ):
        load_costs(written(tmp_path, COSTS + "inspektion = 3\n"))
    with pytest.raises(SettingsError, match="inspection: missing; add it"):
        load_costs(written(tmp_path, re.sub(r"^inspection.*\n", "", COSTS, flags=re.MULTILINE)))


def test_all_costs_zero_is_an_answer(tmp_path: Path) -> None:
    """A file that was never filled in is told so; a single zero is allowed."""
    text = COSTS
    for key in ("planned_repair", "unplanned_failure", "inspection", "running_per_month", "investment"):
        text = re.sub(rf"^{key} = \S+", f"{key} = 0", text, flags=re.MULTILINE)
    with pytest.raises(SettingsError, match=r"every cost is 0 .*fill them in"):
        load_costs(written(tmp_path, text))
    assert load_costs(written(tmp_path, changed("investment", "0"))).investment == 0


def test_files_that_are_none(tmp_path: Path) -> None:
    """A missing file and one that is no TOML say what to do."""
    with pytest.raises(SettingsError, match="no such file; factory-ear init"):
        load_costs(tmp_path / "costs.toml")
    with pytest.raises(SettingsError, match="factory-ear init"):
        load_costs(written(tmp_path, "currency = JPY"))
    with pytest.raises(SettingsError, match="numbers without commas"):
        load_costs(written(tmp_path, changed("inspection", "15,000")))
