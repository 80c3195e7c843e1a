"""Where the page takes from, and what it asks on the way: everything else of the monitor is unknown to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from monitor.actions import Actions


@dataclass(frozen=True, slots=True)
class Sources:
    """`board` is the newest state, `alive` says whether the monitor goes on, `clip` makes a path of a clip's id.

    `actions` keeps what people do; without it the page only reads. The course of the scores, the older alarms, the
    models and what was prepared of a clip are read from the line's data folder.
    """

    board: Callable[[], Mapping[str, Any]]
    alive: Callable[[], bool]
    clip: Callable[[str], Path]
    registry: CollectorRegistry
    actions: Actions | None = None
