"""The name of a fault in its alert: read from what was made of the clip, once it is there (`monitor.naming_store`)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from monitor.alarms import Update
from monitor.langs import Lang
from monitor.words import resembling

MOST, LONGEST = 3, 60
Names = Sequence[tuple[str, float]]


def read_names(folder: Path) -> tuple[tuple[str, float], ...]:
    """What naming.json in a clip's folder says, likeliest first; empty where it is not there or makes no sense."""
    try:
        found = json.loads((folder / "naming.json").read_text(encoding="utf-8"))["guesses"]
        names = tuple((str(kind)[:LONGEST], float(share)) for kind, share in found[:MOST])
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return names if all(math.isfinite(share) and 0.0 <= share <= 1.0 for _, share in names) else ()


def with_names(update: Update, names: Names, lang: Lang) -> Update:
    """The alert with what its sound resembles, in its facts, its record and at the end of its reason."""
    alert = update.alert
    alert = replace(alert, faults=dict(names), reason=alert.reason + resembling(names, lang))
    return replace(update, alert=alert, facts=replace(update.facts, named=tuple(names)))
