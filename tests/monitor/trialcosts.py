"""What a trial costs, the same in every test of the report."""

from __future__ import annotations

from typing import Any

COSTS: dict[str, Any] = {
    "currency": "JPY",
    "planned_repair": 200_000,
    "unplanned_failure": 1_500_000,
    "inspection": 15_000,
    "running_per_month": 30_000,
    "investment": 800_000,
    "share_acted_on": 0.8,
    "discount_rate": 0.05,
    "failures_per_machine_year": 0.5,
    "machines": 10,
}
