"""Healthy sound of every day, kept for a while, so that an alarm can be heard beside the same machine a week before.

Once a day and microphone, ten seconds are taken from the evidence ring while the machine is normal and the newest score
lies well under its threshold: evidence/healthy/MIC'S HASH/START IN NANOSECONDS.flac. Microphones without evidence keep
nothing. What is older than `KEEP_DAYS` goes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.evidence import Evidence, write_flac
from monitor.words import local

KEEP_DAYS = 9
LENGTH_S = 10.0
AT_ONCE = 4  # files in one look: the monitor has other things to do
WELL_UNDER = 0.6  # of the threshold
NAME = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Keepsake:
    """Healthy sound from `at_ns` on."""

    at_ns: int
    path: Path


def folder_of(evidence: Path, mic: str) -> Path:
    """Where a microphone's healthy days lie."""
    return evidence / "healthy" / hashlib.sha256(mic.encode()).hexdigest()[:16]


def keepsakes(evidence: Path, mic: str) -> list[Keepsake]:
    """What is kept of a microphone, oldest first."""
    found = [path for path in folder_of(evidence, mic).glob("*.flac") if NAME.fullmatch(path.stem)]
    return sorted((Keepsake(int(path.stem), path) for path in found), key=lambda one: one.at_ns)


class Keeper:
    """Keeps healthy days under `folder`, from the rings of `evidence`, by the calendar of `zone`."""

    def __init__(self, evidence: Evidence, folder: Path, zone: str) -> None:
        self._evidence, self._folder, self._zone = evidence, folder, zone
        self._days: dict[str, str] = {}

    def look(self, board: Mapping[str, Any]) -> int:
        """Keep what is due, a few at a time; returns how many. Raises OSError where the disk takes nothing."""
        kept = 0
        for machine in board["machines"]:
            if machine["state"] != "ok":
                continue
            for mic in machine["mics"]:
                if kept < AT_ONCE and self._is_due(mic) and self._keep(mic):
                    kept += 1
        return kept

    def _is_due(self, mic: Mapping[str, Any]) -> bool:
        score, threshold = mic["score"], mic["threshold"]
        if score is None or threshold is None or score > WELL_UNDER * threshold or not mic["last_ns"]:
            return False
        if mic["id"] not in self._days:
            kept = keepsakes(self._folder, mic["id"])
            self._days[mic["id"]] = self._day(kept[-1].at_ns) if kept else ""
        return self._days[mic["id"]] != self._day(mic["last_ns"])

    def _day(self, ns: int) -> str:
        return local(ns, self._zone).strftime("%Y-%m-%d")

    def _keep(self, mic: Mapping[str, Any]) -> bool:
        to_ns = int(mic["last_ns"])
        pieces = self._evidence.sound(mic["id"], to_ns - round(LENGTH_S * 1e9), to_ns)
        if not pieces or pieces[-1].end_ns - pieces[0].start_ns < 0.9 * LENGTH_S * 1e9:
            return False
        folder = folder_of(self._folder, mic["id"])
        folder.mkdir(parents=True, exist_ok=True)
        write_flac(folder / f"{pieces[0].start_ns}.flac", pieces)
        self._days[mic["id"]] = self._day(to_ns)
        oldest_ns = to_ns - round(KEEP_DAYS * 86_400 * 1e9)
        for one in keepsakes(self._folder, mic["id"]):
            if one.at_ns < oldest_ns:
                one.path.unlink(missing_ok=True)
        return True
