"""The settings of one side of a comparison: a small TOML file. Unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from monitor.roi.costs import read_settings
from monitor.settings import AlarmRules
from monitor.settings_web import Part


class Side(Part):
    """What may differ between A and B.

    `detector` (empty: the default) and `chain` as for `evaluate`; `adapt_minutes` for a chain that separates;
    `faults` in training as for `train`, with `fusion` or `quick-fusion` and chain raw;
    `window_s` is cut anew for each side; `false_alarm_share` is the share of healthy files at which the threshold is
    laid, from training recordings alone (None: the rarest that they can count, and not below one in a hundred).
    `alarms`: then both sides are judged by the alarms that `run` would have opened (`alarmed`), not by the threshold.
    """

    name: str = Field("", max_length=60)
    detector: str = ""
    chain: Literal["raw", "separated", "enhanced", "full", "full-enhanced"] = "raw"
    faults: Literal["none", "naive", "physics", "adapted", "sds"] = "none"
    seed: int = Field(0, ge=0)
    adapt_minutes: float = Field(8.0, gt=0.0, le=600.0)
    window_s: float = Field(2.0, ge=0.5, le=10.0)
    false_alarm_share: float | None = Field(None, gt=0.0, lt=1.0)
    alarms: AlarmRules | None = None


def read_side(path: Path) -> Side:
    """Read and check one side. Raises SettingsError, which names the key, the value and the remedy."""
    return read_settings(path, Side, f"write one with any of the keys {', '.join(Side.model_fields)}")


def differences(a: Side, b: Side) -> tuple[str, ...]:
    """The settings that differ, those of alarms as alarms.KEY; the name does not count."""
    first, second = flat(a), flat(b)
    return tuple(key for key in first | second if key != "name" and first.get(key) != second.get(key))


def flat(side: Side) -> dict[str, object]:
    """Every setting by its name, those of alarms, where there are any, as alarms.KEY."""
    plain = side.model_dump(exclude={"alarms"})
    return plain | {f"alarms.{key}": value for key, value in (side.alarms.model_dump() if side.alarms else {}).items()}
