"""The settings of one side of a comparison: a small TOML file. Unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from monitor.roi.costs import read_settings
from monitor.settings_web import Part


class Side(Part):
    """What may differ between A and B.

    `detector` (empty: the default) and `chain` as for `evaluate`; `adapt_minutes` for a chain that separates;
    `faults` in training as for `train`, with `fusion` or `quick-fusion` and chain raw;
    `window_s` is cut anew for each side; `false_alarm_share` is the share of healthy files at which the threshold is
    laid, from training recordings alone (None: the rarest that they can count, and not below one in a hundred).
    """

    name: str = Field("", max_length=60)
    detector: str = ""
    chain: Literal["raw", "separated", "full"] = "raw"
    faults: Literal["none", "naive", "physics", "adapted", "sds"] = "none"
    seed: int = Field(0, ge=0)
    adapt_minutes: float = Field(8.0, gt=0.0, le=600.0)
    window_s: float = Field(2.0, ge=0.5, le=10.0)
    false_alarm_share: float | None = Field(None, gt=0.0, lt=1.0)


def read_side(path: Path) -> Side:
    """Read and check one side. Raises SettingsError, which names the key, the value and the remedy."""
    return read_settings(path, Side, f"write one with any of the keys {', '.join(Side.model_fields)}")


def differences(a: Side, b: Side) -> tuple[str, ...]:
    """The settings that differ; the name does not count."""
    return tuple(key for key in Side.model_fields if key != "name" and getattr(a, key) != getattr(b, key))
