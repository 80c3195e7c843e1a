"""costs.toml: what failures, inspections and the service cost, and what is assumed. Unknown keys are errors."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from monitor.errors import SettingsError
from monitor.roi.currencies import check_currency
from monitor.settings_web import Part

Amount = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Settings = TypeVar("Settings", bound=BaseModel)
AMOUNTS = ("planned_repair", "unplanned_failure", "inspection", "running_per_month", "investment")


class Costs(Part):
    """Amounts are in `currency`, an ISO 4217 code. `running_per_month` and `investment` are for all machines together.

    `failures_per_machine_year` comes from maintenance records; without it a trial with times counts its own.
    `least_lead_hours`: a warning that comes later than this before the failure is not early. `share_early_if_unknown`
    stands in where the trial has no times. `recordings_per_week` (per machine) turns the share of healthy recordings
    that alarmed into a rate, where the trial has no times; `listening_hours_per_week` (per machine) does it by hours
    that were listened to, and goes first. `machines`: how many the service will cover; without it those of the trial.
    `years` is the horizon, `discount_rate` is a year, `uncertainty` is how far each assumption may be off (0.3: 30%).
    """

    currency: Annotated[str, AfterValidator(check_currency)]
    planned_repair: Amount
    unplanned_failure: Amount
    inspection: Amount
    running_per_month: Amount
    investment: Amount
    share_acted_on: Share
    discount_rate: float = Field(ge=0.0, le=1.0)
    failures_per_machine_year: float | None = Field(None, ge=0.0, le=365.0)
    machines: int | None = Field(None, ge=1, le=100_000)
    years: int = Field(5, ge=1, le=30)
    least_lead_hours: float = Field(24.0, ge=0.0, le=10_000.0)
    share_early_if_unknown: Share = 0.5
    listening_hours_per_week: float | None = Field(None, gt=0.0, le=168.0)
    recordings_per_week: float = Field(7.0, gt=0.0, le=100_000.0)
    uncertainty: float = Field(0.3, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _makes_sense(self) -> Costs:
        if not any(getattr(self, name) for name in AMOUNTS):
            raise ValueError(f"every cost is 0 ({', '.join(AMOUNTS)}), so there is nothing to weigh: fill them in")
        if self.planned_repair > self.unplanned_failure:
            raise ValueError(
                f"planned_repair = {self.planned_repair:,.10g} is above unplanned_failure = "
                f"{self.unplanned_failure:,.10g}: then no warning can save money; are they swapped, or is the stop of "
                "the line missing?"
            )
        return self


def load_costs(path: Path) -> Costs:
    """Read and check costs.toml. Raises SettingsError, which names the key, the value and the remedy."""
    return read_settings(path, Costs, "factory-ear init DIR writes one with every key")


def read_settings(path: Path, kind: type[Settings], remedy: str) -> Settings:
    """A small settings file as a `kind`. Raises SettingsError."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such file; {remedy}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"{path}: {error}; write KEY = VALUE, numbers without commas or units (1500000), texts in quotes; {remedy}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}; {remedy}") from error
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(f"{path}: {_in_words(error, kind)}") from error


def _known_keys(kind: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The keys of the table at `path` in a settings model."""
    for part in path:
        inner = kind.model_fields[str(part)].annotation
        kind = next(one for one in (*get_args(inner), inner) if isinstance(one, type) and issubclass(one, BaseModel))
    return list(kind.model_fields)


_BOUNDS = {
    "greater_than_equal": ("ge", "allowed is {} or more"),
    "greater_than": ("gt", "allowed is above {}"),
    "less_than_equal": ("le", "allowed is at most {}"),
    "less_than": ("lt", "allowed is below {}"),
}


def _bound(kind: str, context: Mapping[str, Any], given: object) -> str:
    """What is allowed of a number; a percentage where a share is wanted is told so."""
    name, words = _BOUNDS[kind]
    limit = context[name]
    told = words.format(f"{limit:g}")
    if limit == 1 and name in ("le", "lt") and isinstance(given, int | float) and 2 <= given <= 100:
        told += f": a share of 1, {given / 100:g} for {given:g}%"
    return told


def _in_words(error: ValidationError, kind: type[BaseModel]) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _known_keys(kind, item["loc"][:-1])
            meant = get_close_matches(str(item["loc"][-1]), known, 1)
            cure = f"did you mean {meant[0]}?" if meant else "correct its spelling or remove it"
            lines.append(f"{key} = {item['input']!r}: no such key; {cure} (known: {', '.join(known)})")
        elif item["type"] == "missing":
            lines.append(f"{key}: missing; add it")
        elif item["type"] == "greater_than_equal" and item["input"] and key in AMOUNTS:
            lines.append(
                f"{key} = {item['input']!r}: a cost cannot be negative; write what is paid as a number above 0"
            )
        elif item["type"] in _BOUNDS:
            lines.append(f"{key} = {item['input']!r}: {_bound(item['type'], item.get('ctx', {}), item['input'])}")
        elif not key:
            lines.append(item["msg"].removeprefix("Value error, "))
        else:
            lines.append(f"{key} = {item['input']!r}: {item['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)
